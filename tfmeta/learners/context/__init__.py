"""Learners that read a support set as it is: its points are a context to condition on."""
