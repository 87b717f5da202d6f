"""A meta-learning method as a Keras model."""
