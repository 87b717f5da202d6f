"""A small network that steps each number of a network's weights, from nineteen features."""

import itertools
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.inner import Rule
from tfmeta.learners.optimizers.flat import flat, size_of, unflat

#: Decays of the momenta, and the time scales, in steps.
DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
_OF_A_WEIGHT = 2 + len(DECAYS)


@keras.saving.register_keras_serializable("tfmeta")
class MLPRule(Rule):
    """An MLP for each number of each weight, the same for all of them.

    Nineteen features: the gradient, the weight and six momenta `m_i <- b_i m_i + (1 - b_i) g`, each
    divided by the root of its mean square over the weight's tensor, and eleven of the time,
    `tanh(t/s - 1)`. Two hidden layers of ReLUs, and two outputs, direction d and magnitude e:

        w <- w - step_size d exp(exponent e)

    Differs from the authors' code: in nothing but names; there the outputs start as Haiku draws
    them, here as Glorot.

    Args:
        units: width of each hidden layer.
        step_size: > 0.
        exponent: > 0.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Metz, Freeman, Harrison, Maheswaranathan and Sohl-Dickstein, "Practical tradeoffs between
        memory, compute, and performance in learned optimizers", CoLLAs 2022, arXiv:2203.11860;
        `MLPLOpt` of google/learned_optimization.
    """

    def __init__(
        self,
        units: Sequence[int] = (32, 32),
        step_size: float = 0.001,
        exponent: float = 0.001,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(units, tuple | list) or not units:
            raise ValueError(f"Expected units to be a tuple of widths. Received: {units!r}.")
        self.units = tuple(check_integer("each width in units", width, 1) for width in units)
        self.step_size = check_number("step_size", step_size)
        self.exponent = check_number("exponent", exponent)

    def make(self, weights):
        widths, dtype = (_OF_A_WEIGHT + len(TIMES), *self.units, 2), weights[0].dtype

        def add(name, shape, initializer):
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        layers = list(enumerate(itertools.pairwise(widths)))
        self.kernels = [add(f"kernel_{i}", shape, "glorot_uniform") for i, shape in layers]
        self.biases = [add(f"bias_{i}", shape[1:], "zeros") for i, shape in layers]

    def init(self, weights):
        return tf.zeros([sum(map(size_of, weights)), len(DECAYS)], weights[0].dtype)

    def update(self, gradients, weights, slots, step):
        dtype = weights[0].dtype
        g, decays = flat(gradients)[:, None], tf.constant(DECAYS, dtype)
        momenta = decays * slots + (1 - decays) * g
        features = tf.concat([g, flat(weights)[:, None], momenta], axis=1)
        x = self._hidden(_normalized(features, weights), step)
        direction, magnitude = tf.unstack(x, axis=1)
        steps = unflat(self.step_size * direction * tf.exp(self.exponent * magnitude), weights)
        return [w - s for w, s in zip(weights, steps, strict=True)], momenta

    def _hidden(self, x, step):
        """The MLP: features of each number `[P, 8]`, and the time, to outputs `[P, 2]`."""
        kernels = [tf.cast(kernel, x.dtype) for kernel in self.kernels]
        biases = [tf.cast(bias, x.dtype) for bias in self.biases]
        time = tf.cast(step, x.dtype) / tf.constant(TIMES, x.dtype)
        # The same for all numbers: its part of the first layer is computed once.
        biases[0] += (tf.tanh(time - 1.0)[None] @ kernels[0][_OF_A_WEIGHT:])[0]
        kernels[0] = kernels[0][:_OF_A_WEIGHT]
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            x = tf.nn.relu(x @ kernel + bias)
        return x @ kernels[-1] + biases[-1]

    def get_config(self):
        names = ("units", "step_size", "exponent")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _normalized(features, weights):
    """Features `[P, F]`, each divided by the root of its mean square over a weight's tensor."""
    parts = tf.split(features, [size_of(w) for w in weights])
    roots = [tf.math.rsqrt(tf.reduce_mean(tf.square(p), 0, keepdims=True) + 1e-5) for p in parts]
    return tf.concat([p * root for p, root in zip(parts, roots, strict=True)], axis=0)
