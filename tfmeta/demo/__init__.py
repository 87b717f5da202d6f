"""A page to draw characters on: a network that ships in the package tells them apart."""
