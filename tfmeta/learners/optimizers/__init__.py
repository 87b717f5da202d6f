"""Learned optimizers: the rule that trains a network from its first step is what is learned."""
