"""Update rules of the inner loop, as init/update pairs.

`init(weights)` makes the rule's state; `update(gradients, weights, state)` returns the new
weights and the new state. Both are pure. What a rule has learned is part of its state: a step that
is computed again (`checkpoint_inner_steps`) has no gradient for anything else.
"""

import tensorflow as tf


class SGD:
    """Gradient descent: `w <- w - learning_rate * g`.

    Args:
        learning_rate: a Python float or a scalar tensor.
    """

    def __init__(self, learning_rate):
        self.learning_rate = learning_rate

    def init(self, weights):
        del weights
        return ()

    def update(self, gradients, weights, state):
        new = [w - self.learning_rate * g for w, g in zip(weights, gradients, strict=True)]
        return new, state


class LearnedSGD:
    """Gradient descent with rates of their own: `w <- w - rate * g`, elementwise.

    Args:
        rates: one tensor a weight, of its shape or one that broadcasts to it.
    """

    def __init__(self, rates):
        self.rates = rates

    def init(self, weights):
        return [
            tf.convert_to_tensor(rate, w.dtype) for rate, w in zip(self.rates, weights, strict=True)
        ]

    def update(self, gradients, weights, state):
        new = [w - a * g for w, a, g in zip(weights, state, gradients, strict=True)]
        return new, state
