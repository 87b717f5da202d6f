"""An LSTM that steps each number of a network's weights by itself."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.inner import Rule
from tfmeta.learners.optimizers.flat import exactly, flat, size_of, unflat


@keras.saving.register_keras_serializable("tfmeta")
class LSTMRule(Rule):
    """A coordinatewise LSTM: it reads a gradient's history, and gives the step.

    Each number of each weight has hidden states of its own; all of them share one LSTM:

        u = features(g),    h, c <- LSTM(u, h, c) for each layer,    w <- w + scale (k . h + b)

    The features are the logarithm of the gradient's size and its sign, so that gradients of all
    sizes are told apart:

        (log|g| / p, sign(g))   if |g| >= e^-p,   else (-1, e^p g),    p = 10

    Differs from the paper: forget gates start at 1, as in Keras's LSTM; the outputs start at a
    tenth of Glorot's size, so that the first steps are small. The authors' code has `p = 5`,
    `scale = 0.01` for networks, and no features (`log_and_sign=False`), `scale = 1` for quadratics.

    Args:
        units: width of each layer. The paper: (20, 20).
        scale: what the output is multiplied by, > 0.
        log_and_sign: False gives the gradient itself to the LSTM.
        precision: `p`, > 0.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Andrychowicz, Denil, Gomez, Hoffman, Pfau, Schaul, Shillingford and de Freitas, "Learning to
        learn by gradient descent by gradient descent", NeurIPS 2016, arXiv:1606.04474, section 2.1
        and appendix A.
    """

    def __init__(
        self,
        units: Sequence[int] = (20, 20),
        scale: float = 0.1,
        log_and_sign: bool = True,
        precision: float = 10.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(units, tuple | list) or not units:
            raise ValueError(f"Expected units to be a tuple of widths. Received: {units!r}.")
        self.units = tuple(check_integer("each width in units", width, 1) for width in units)
        self.scale = check_number("scale", scale)
        self.log_and_sign = check_flag("log_and_sign", log_and_sign)
        self.precision = check_number("precision", precision)

    def make(self, weights):
        dtype = weights[0].dtype

        def add(name, shape, initializer="glorot_uniform"):
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        widths = (2 if self.log_and_sign else 1, *self.units)
        self.kernels = [
            add(f"kernel_{i}", (widths[i] + width, 4 * width)) for i, width in enumerate(self.units)
        ]
        first = [exactly(np.repeat([0.0, 1.0, 0.0, 0.0], width)) for width in self.units]
        pairs = enumerate(zip(self.units, first, strict=True))
        self.biases = [add(f"bias_{i}", (4 * width,), value) for i, (width, value) in pairs]
        last = keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform")
        self.output_kernel = add("output_kernel", (self.units[-1], 1), last)
        self.output_bias = add("output_bias", (1,), "zeros")

    def init(self, weights):
        rows, dtype = sum(map(size_of, weights)), weights[0].dtype
        # Hidden and cell state of each layer, for each number of the weights.
        return [[tf.zeros([rows, width], dtype) for _ in range(2)] for width in self.units]

    def update(self, gradients, weights, slots, step):
        x = self._features(flat(gradients))
        new = []
        for kernel, bias, (hidden, cell) in zip(self.kernels, self.biases, slots, strict=True):
            sums = tf.concat([x, hidden], axis=1) @ tf.cast(kernel, x.dtype)
            into, forget, candidate, out = tf.split(sums + tf.cast(bias, x.dtype), 4, axis=1)
            cell = tf.sigmoid(forget) * cell + tf.sigmoid(into) * tf.tanh(candidate)
            x = tf.sigmoid(out) * tf.tanh(cell)
            new.append([x, cell])
        outputs = x @ tf.cast(self.output_kernel, x.dtype) + tf.cast(self.output_bias, x.dtype)
        steps = unflat(self.scale * outputs[:, 0], weights)
        return [w + s for w, s in zip(weights, steps, strict=True)], new

    def _features(self, g):
        """Gradients `[P]` as what the LSTM reads, `[P, 2]`, or `[P, 1]`."""
        if not self.log_and_sign:
            return g[:, None]
        p, smallest = self.precision, tf.constant(1e-30, g.dtype)
        size = tf.maximum(tf.math.log(tf.maximum(tf.abs(g), smallest)) / p, -1.0)
        sign = tf.clip_by_value(np.exp(p).astype(g.dtype.as_numpy_dtype) * g, -1.0, 1.0)
        return tf.stack([size, sign], axis=1)

    def get_config(self):
        names = ("units", "scale", "log_and_sign", "precision")
        return super().get_config() | {name: getattr(self, name) for name in names}
