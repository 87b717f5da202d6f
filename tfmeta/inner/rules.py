"""Update rules of the inner loop, as init/update pairs.

`init(weights)` makes the rule's state; `update(gradients, weights, state)` returns the new
weights and the new state. Both are pure.
"""


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
