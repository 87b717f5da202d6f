"""Learners with a posterior: in closed form on learned features, or of weights, by particles."""
