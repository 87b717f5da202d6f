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


class CurvedSGD:
    """Gradient descent along gradients transformed by mode products: `w <- w - rate * M(g)`.

    A gradient of rank 2 or more is a tensor `[spatial, in, out]`; each axis is multiplied by a
    matrix. One of rank 1 is multiplied elementwise.

    Args:
        learning_rate: a float.
        factors: for each weight, a list: its matrices `[out, out]`, `[in, in]` and, if it has
            spatial axes, `[spatial, spatial]`; or one vector.
    """

    def __init__(self, learning_rate, factors):
        self.learning_rate = learning_rate
        self.factors = factors

    def init(self, weights):
        pairs = zip(self.factors, weights, strict=True)
        return [[tf.convert_to_tensor(f, w.dtype) for f in factors] for factors, w in pairs]

    def update(self, gradients, weights, state):
        new = [
            w - self.learning_rate * _mode_products(g, factors)
            for w, g, factors in zip(weights, gradients, state, strict=True)
        ]
        return new, state


def _mode_products(g, factors):
    if g.shape.rank < 2:
        return g * factors[0]
    out, inputs, *spatial = factors
    product = tf.reshape(g, (-1, g.shape[-2], g.shape[-1]))
    product = tf.einsum("sio,po->sip", product, out)
    product = tf.einsum("sio,pi->spo", product, inputs)
    if spatial:
        product = tf.einsum("sio,ps->pio", product, spatial[0])
    return tf.reshape(product, g.shape)
