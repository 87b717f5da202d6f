"""What a learner relies on: tests of it, and verdicts in words."""
