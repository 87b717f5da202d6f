"""Learners with a posterior in closed form, of weights or of functions, on learned features."""
