"""Learners whose `adapt` takes gradient steps."""
