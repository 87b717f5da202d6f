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


class StepwiseSGD:
    """Gradient descent with rates of their own for each step: `w <- w - rate_t * g`.

    Args:
        rates: one tensor `[T]` a weight.
    """

    def __init__(self, rates):
        self.rates = rates

    def init(self, weights):
        pairs = zip(self.rates, weights, strict=True)
        return tf.constant(0), [tf.convert_to_tensor(rates, w.dtype) for rates, w in pairs]

    def update(self, gradients, weights, state):
        t, rates = state
        new = [w - tf.gather(a, t) * g for w, a, g in zip(weights, rates, gradients, strict=True)]
        return new, (t + 1, rates)


class ProximalSGD:
    """Descent to the minimum of `loss(w) + strength / 2 |w - w_0|^2`, at a rate that it bears.

    With `d` the gradient of the sum at `w`, and `w'`, `d'` those of the step before:

        w <- w - rate * d,    rate = min(learning_rate, |w - w'| / |d - d'|)

    The fraction is one over the curvature met on the way, after Malitsky and Mishchenko, "Adaptive
    Gradient Descent without Descent", ICML 2020 (who take half of it, and bound its growth). A step
    more than twice as long climbs, if the loss is a parabola: the next one starts where it began.
    On a loss less curved than `1 / learning_rate` this is gradient descent.

    Args:
        learning_rate: a float, the largest rate.
        strength: a float, of the pull towards the first weights.
    """

    def __init__(self, learning_rate, strength):
        self.learning_rate = learning_rate
        self.strength = strength

    def init(self, weights):
        zeros = [tf.zeros_like(w) for w in weights]
        return list(weights), list(weights), zeros, tf.zeros([], weights[0].dtype)

    def update(self, gradients, weights, state):
        start, before, slopes_before, rate = state
        slopes = [
            g + self.strength * (w - s) for g, w, s in zip(gradients, weights, start, strict=True)
        ]
        moved, bent = _distance(weights, before), _distance(slopes, slopes_before)
        measured = (rate > 0) & (bent > 0)
        bearable = tf.math.divide_no_nan(moved, bent)
        too_long = measured & (rate > 2 * bearable)
        rate = tf.where(measured, tf.minimum(bearable, self.learning_rate), self.learning_rate)
        weights = [tf.where(too_long, b, w) for w, b in zip(weights, before, strict=True)]
        slopes = [tf.where(too_long, b, d) for d, b in zip(slopes, slopes_before, strict=True)]
        new = [w - rate * d for w, d in zip(weights, slopes, strict=True)]
        return new, (start, weights, slopes, rate)


def _distance(a, b):
    return tf.sqrt(tf.add_n([tf.reduce_sum((s - t) ** 2) for s, t in zip(a, b, strict=True)]))


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


class GeneratedSGD:
    """Gradient descent whose rates and decays a small network makes of weights and gradients.

    With means of each weight and gradient in `m` `[2N]` and step t:

        h = relu(m K_1 + b_1) K_2 + b_2,    rate_i, decay_i = h * scale_t
        w_i <- (1 - decay_i) w_i - rate_i g_i

    Args:
        kernels: `K_1` and `K_2`, `[2N, 2N]`.
        biases: `b_1` and `b_2`, `[2N]`.
        scales: `[T, 2N]`, for each step those of the rates, then those of the decays.
    """

    def __init__(self, kernels, biases, scales):
        self.parameters = (*kernels, *biases, scales)

    def init(self, weights):
        parameters = [tf.convert_to_tensor(p, weights[0].dtype) for p in self.parameters]
        return tf.constant(0), parameters

    def update(self, gradients, weights, state):
        t, parameters = state
        kernel_1, kernel_2, bias_1, bias_2, scales = parameters
        means = tf.stack([tf.reduce_mean(v) for v in (*weights, *gradients)])[None]
        generated = tf.nn.relu(means @ kernel_1 + bias_1) @ kernel_2 + bias_2
        rates, decays = tf.split(generated[0] * tf.gather(scales, t), 2)
        new = [
            (1 - decays[i]) * w - rates[i] * g
            for i, (w, g) in enumerate(zip(weights, gradients, strict=True))
        ]
        return new, (t + 1, parameters)
