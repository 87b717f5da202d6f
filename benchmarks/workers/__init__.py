"""One process a contender; see `serve`."""
