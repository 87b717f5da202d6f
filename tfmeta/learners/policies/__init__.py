"""Learners that act: policies, which live through a task instead of reading examples of it."""
