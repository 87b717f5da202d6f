"""Update rules written by hand, whose rates and decays are learned: SGD, momentum, Adam."""

import math

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.inner import Rule
from tfmeta.learners.optimizers.flat import exactly


class _LearnedNumbers(Rule):
    """Base of rules that learn a few numbers, each kept as a logarithm: they stay positive."""

    def _add(self, weights, **first):
        """Make a number a name, which starts at the value given; they are of the weights' dtype."""
        self.logs = {}
        for name, value in first.items():
            self.logs[name] = self.add_weight(
                shape=(),
                dtype=weights[0].dtype,
                initializer=exactly(math.log(value)),
                name=f"log_{name}",
            )

    def _value(self, name, dtype):
        return tf.exp(tf.cast(tf.convert_to_tensor(self.logs[name]), dtype))

    def learned_rates(self):
        return tf.reshape(tf.exp(tf.convert_to_tensor(self.logs["rate"])), [1, 1])

    def _decay(self, name, dtype):
        # `1 - decay` is what is learned: decays near 1 differ in it, and stay below 1.
        return 1.0 - tf.minimum(self._value(name, dtype), 1.0)


@keras.saving.register_keras_serializable("tfmeta")
class LearnedSGD(_LearnedNumbers):
    """Gradient descent with one learned rate: `w <- w - exp(a) g`.

    The rate is the same for all weights, whatever the network: `MetaSGD` learns one for each.

    Args:
        learning_rate: where the rate starts, > 0.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: the rate is not > 0.
    """

    def __init__(self, learning_rate: float = 0.01, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate = check_number("learning_rate", learning_rate)

    def make(self, weights):
        self._add(weights, rate=self.learning_rate)

    def update(self, gradients, weights, slots, step):
        rate = self._value("rate", weights[0].dtype)
        return [w - rate * g for w, g in zip(weights, gradients, strict=True)], slots

    def get_config(self):
        return super().get_config() | {"learning_rate": self.learning_rate}


@keras.saving.register_keras_serializable("tfmeta")
class LearnedMomentum(_LearnedNumbers):
    """Momentum with a learned rate and decay: `m <- b m + g, w <- w - exp(a) m`.

    Args:
        learning_rate: where the rate starts, > 0.
        momentum: where the decay `b` starts, > 0 and < 1. Learned is `log(1 - b)`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate = check_number("learning_rate", learning_rate)
        self.momentum = _check_decay("momentum", momentum)

    def make(self, weights):
        self._add(weights, rate=self.learning_rate, one_minus_momentum=1 - self.momentum)

    def init(self, weights):
        return [tf.zeros_like(w) for w in weights]

    def update(self, gradients, weights, slots, step):
        dtype = weights[0].dtype
        rate, decay = self._value("rate", dtype), self._decay("one_minus_momentum", dtype)
        slots = [decay * m + g for m, g in zip(slots, gradients, strict=True)]
        return [w - rate * m for w, m in zip(weights, slots, strict=True)], slots

    def get_config(self):
        numbers = {"learning_rate": self.learning_rate, "momentum": self.momentum}
        return super().get_config() | numbers


@keras.saving.register_keras_serializable("tfmeta")
class LearnedAdam(_LearnedNumbers):
    """Adam with a learned rate, decays and epsilon.

    At step t, from 0, elementwise:

        m <- b_1 m + (1 - b_1) g,    v <- b_2 v + (1 - b_2) g^2
        w <- w - a sqrt(1 - b_2^(t+1)) / (1 - b_1^(t+1)) m / (sqrt(v) + e)

    Learned are `log a`, `log(1 - b_1)`, `log(1 - b_2)` and `log e`.

    Args:
        learning_rate: where the rate `a` starts, > 0.
        beta_1, beta_2: where the decays start, > 0 and < 1.
        epsilon: where `e` starts, > 0.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.learning_rate = check_number("learning_rate", learning_rate)
        self.beta_1, self.beta_2 = _check_decay("beta_1", beta_1), _check_decay("beta_2", beta_2)
        self.epsilon = check_number("epsilon", epsilon)

    def make(self, weights):
        self._add(
            weights,
            rate=self.learning_rate,
            one_minus_beta_1=1 - self.beta_1,
            one_minus_beta_2=1 - self.beta_2,
            epsilon=self.epsilon,
        )

    def init(self, weights):
        return {name: [tf.zeros_like(w) for w in weights] for name in ("first", "second")}

    def update(self, gradients, weights, slots, step):
        dtype = weights[0].dtype
        rate, epsilon = self._value("rate", dtype), self._value("epsilon", dtype)
        beta_1 = self._decay("one_minus_beta_1", dtype)
        beta_2 = self._decay("one_minus_beta_2", dtype)
        pairs = zip(slots["first"], slots["second"], gradients, strict=True)
        moments = [
            (beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g * g) for m, v, g in pairs
        ]
        count = tf.cast(step + 1, dtype)
        # Decays may be learned down to 0, of which a power has no logarithm.
        small = tf.constant(1e-30, dtype)
        left = [tf.exp(count * tf.math.log(tf.maximum(b, small))) for b in (beta_1, beta_2)]
        rate = rate * tf.sqrt(1 - left[1]) / (1 - left[0])
        steps = zip(weights, moments, strict=True)
        new = [w - rate * m / (_root(v) + epsilon) for w, (m, v) in steps]
        return new, dict(zip(slots, map(list, zip(*moments, strict=True)), strict=True))

    def get_config(self):
        names = ("learning_rate", "beta_1", "beta_2", "epsilon")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _root(v):
    """`sqrt(v)` whose derivative at 0 is 0, not infinite: weights that no gradient has reached."""
    positive = v > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, v, tf.ones_like(v))), tf.zeros_like(v))


def _check_decay(name, value):
    if check_number(name, value) >= 1:
        raise ValueError(f"Expected {name} > 0 and < 1. Received: {value!r}.")
    return float(value)
