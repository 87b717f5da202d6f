"""Learners whose networks run on weights that another network gives."""
