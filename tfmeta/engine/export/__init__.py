"""A learner as a file for programs without tfmeta: its signatures, their note, the formats."""
