"""Learners that put a classifier of their own on top of an embedding."""
