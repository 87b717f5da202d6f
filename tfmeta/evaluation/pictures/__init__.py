"""Pictures: of episodes, curves, functions, gates and beliefs."""
