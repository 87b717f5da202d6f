"""Convolutional conditional neural processes (ConvCNP)."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.context.base import GaussianDecoder, check_layer, check_minimum_scale
from tfmeta.learners.gaussian import GaussianLearner, full_precision, rows_of_targets
from tfmeta.types import Examples


class FunctionOnGrid(NamedTuple):
    """What `ConvCNP.adapt` returns.

    Attributes:
        grid: `[G, 1]`, inputs at equal distances, around the middle of the context.
        values: `[G, C]`, what the convolutions made of the context there.
    """

    grid: Any
    values: Any


@keras.saving.register_keras_serializable("tfmeta")
class ConvCNP(GaussianLearner):
    """Smooth the context onto a grid, convolve it there, and read the targets off by smoothing.

    For curves, inputs `x` of one column. With the context points `(x_i, y_i)`, grid points `t_k`,
    and `w(r) = exp(-r^2 / (2 l^2))`, of a learned length `l` each for the context and the targets:

        density(t) = sum_i w(t - x_i),    signal(t) = sum_i w(t - x_i) y_i / density(t)
        c = CNN([density(t_k), signal(t_k)] over k)                                        `[G, C]`
        [m, v] = g(sum_k w'(x - t_k) c_k),    s = s_0 + (1 - s_0) softplus(v)
        y ~ N(m, s^2),                        loss = - mean of log N(y; m, s^2) over the query set

    The grid goes with the context: to each side of its middle as far as `reach`. So predictions
    are equivariant to shifts: context and targets that are moved along x alike give the same ones.
    For regression, as in `CNP`.

    Meta-learned: both lengths, the convolutions and the weights of `g`. Adapted: `c`.

    Differs from the paper: the grid is of a fixed size, so that a step is traced once, and lies
    around the context alone; the paper's covers context and targets together, which makes a
    prediction depend on where the other targets are. The default convolutions are plain ones in
    residual blocks, each of twice the dilation of the one before it (the paper: separable ones in
    such blocks, without dilation, or a U-Net, which sees as far); `convolutions` takes others.

    What is farther from a target than the convolutions see has no part in its prediction. The
    default ones see `2^blocks (kernel_size - 1) / 2` grid points to each side, which is 4 of x with
    the default arguments. Sinusoids of period 2 pi with 10 points in -5..5 had an error of 0.515
    where they saw 1.25 of x, and have one of 0.032 where they see 4.

    Args:
        network: a `keras.Model` that maps inputs to one feature `[rows, 1]`, which then stands for
            x; None for x itself.
        convolutions: the CNN, a `keras.Model` or layer from `[1, G, 1 + d]` to `[1, G, C]`; None
            for residual blocks.
        decoder: `g`, a `keras.Model` or layer from `[rows, C]` to `[rows, 2 d]`, means first; None
            for one dense layer.
        points_per_unit: grid points for each 1 of x. The paper's experiments have 64 at most; at
            least 4 for the shortest length that functions vary on.
        reach: how far the grid goes from the middle of the context, > 0: as far as the targets.
        filters: `C`, the width of the convolutions made here.
        kernel_size: of each of them.
        blocks: how many of them come after the first one; each one more doubles how far they see.
        minimum_scale: `s_0`, > 0 and < 1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, inputs have more columns than one, or, in
            the first meta-batch, are out of reach.

    Reference:
        Gordon et al., "Convolutional Conditional Neural Processes", ICLR 2020, arXiv:1910.13556,
        section 4 and algorithm 1.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        convolutions: keras.Model | None = None,
        decoder: keras.Model | None = None,
        points_per_unit: int = 16,
        reach: float = 10.0,
        filters: int = 32,
        kernel_size: int = 9,
        blocks: int = 4,
        minimum_scale: float = 0.01,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.points_per_unit = check_integer("points_per_unit", points_per_unit, 1)
        self.reach = check_number("reach", reach)
        self.filters = check_integer("filters", filters, 1)
        self.kernel_size = check_integer("kernel_size", kernel_size, 1)
        self.blocks = check_integer("blocks", blocks, 0)
        self.minimum_scale = check_minimum_scale(minimum_scale)
        self.convolutions = check_layer("convolutions", convolutions)
        self.decoder = check_layer("decoder", decoder)
        dtype, length = self.dtype_policy, 2.0 / self.points_per_unit
        self.onto_grid = Smoothing(length, dtype=dtype, name="onto_grid")
        self.off_grid = Smoothing(length, dtype=dtype, name="off_grid")
        sizes = (self.filters, self.kernel_size, self.blocks)
        self.convolve = convolutions or ResidualConvolutions(*sizes, dtype=dtype)
        self.decode = GaussianDecoder(decoder, (), self.minimum_scale, dtype=dtype)

    def fixed_arguments(self):
        return {
            "blocks",
            "convolutions",
            "decoder",
            "filters",
            "kernel_size",
            "minimum_scale",
            "points_per_unit",
        }

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "points_per_unit": hp.Choice(
                "points_per_unit", [8, 16, 32, 64], default=default_argument(cls, "points_per_unit")
            ),
            "filters": hp.Choice("filters", [16, 32, 64], default=default_argument(cls, "filters")),
            "blocks": hp.Int("blocks", 2, 8, default=default_argument(cls, "blocks")),
        }

    def grid_offsets(self):
        """The grid around 0, a NumPy array `[G, 1]`."""
        half = math.ceil(self.reach * self.points_per_unit)
        return np.arange(-half, half + 1)[:, None] / self.points_per_unit

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        x = self._inputs(support.x, training)
        y = rows_of_targets(support.y, x.dtype)
        grid = _middle(x, support.mask) + tf.constant(self.grid_offsets(), x.dtype)
        both = self.onto_grid(grid, x, tf.concat([tf.ones_like(x), y], axis=-1), support.mask)
        density, signal = both[:, :1], both[:, 1:]
        on_grid = tf.concat([density, signal / (density + 1e-8)], axis=-1)
        values = full_precision(self.convolve(on_grid[None], training=training)[0])
        if not self.decode.built:  # here it sees the width of targets
            self.decode(self.off_grid(x, grid, values), y)
        return FunctionOnGrid(grid, values)

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        x = self._inputs(x, training)
        return self.decode(self.off_grid(x, *adapted), training=training)

    def _inputs(self, x, training):
        x = self.features(x, training)
        if x.shape[-1] != 1:
            raise ValueError(
                f"Expected inputs of one column, [rows, 1]. Received: {x.shape[-1]} columns. Take "
                "another neural process, or give a network that maps inputs to one feature."
            )
        return x

    def check_episodes(self, first):
        super().check_episodes(first)
        if self.network is not None:
            return
        parts = (first.support.x, first.support.mask, first.query.x, first.query.mask)
        if any(x.size != mask.size for x, mask in (parts[:2], parts[2:])):
            return  # not of one column: `adapt` says so
        of_tasks = zip(*(t.reshape(len(t), -1) for t in parts), strict=True)
        far = max(_distance(*part) for part in of_tasks)
        if far > self.reach:
            raise ValueError(
                f"Expected query inputs within reach={self.reach} of the middle of the context. "
                f"Received: one at a distance of {far:.4g}. Make ConvCNP with a larger reach."
            )


class Smoothing(keras.layers.Layer):
    """`sum_i w(t - x_i) v_i` with `w(r) = exp(-r^2 / (2 l^2))` of a learned length `l`.

    Args:
        length: where `l` starts.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, length, **kwargs):
        super().__init__(**kwargs)
        self.length = length

    def build(self, to_shape, x_shape, values_shape, mask_shape=None):
        first = keras.initializers.Constant(math.log(self.length))
        self.log_length = self.add_weight((), first, name="log_length")

    def call(self, to, x, values, mask=None):
        """`[T, C]`, of inputs `to` `[T, 1]`, `x` `[S, 1]`, values `[S, C]` and a mask `[S]`."""
        length = tf.exp(tf.cast(self.log_length, to.dtype))
        weights = tf.exp(-0.5 * ((to - tf.transpose(x)) / length) ** 2)
        if mask is not None:
            weights *= tf.cast(mask, weights.dtype)
        return tf.matmul(weights, values)


class ResidualConvolutions(keras.layers.Layer):
    """A convolution, then blocks that each add one to what they get: `[1, G, C']` to `[1, G, C]`.

    Block `i` has dilation `2^i`, from 0 on: with the same work they see that much farther.

    Args:
        filters, kernel_size, blocks: as in `ConvCNP`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, filters, kernel_size, blocks, **kwargs):
        super().__init__(**kwargs)
        dilations = [1, *(2**i for i in range(blocks))]
        self.layers = [
            keras.layers.Conv1D(
                filters, kernel_size, padding="same", dilation_rate=d, dtype=self.dtype_policy
            )
            for d in dilations
        ]

    def build(self, inputs_shape):
        for layer in self.layers:
            layer.build(inputs_shape)
            inputs_shape = layer.compute_output_shape(inputs_shape)

    def call(self, inputs):
        first, *others = self.layers
        values = first(inputs)
        for layer in others:
            values = values + layer(tf.nn.relu(values))
        return tf.nn.relu(values)


def _middle(x, mask):
    """Half way between the smallest and the largest real x `[S, 1]`."""
    real = tf.cast(mask, x.dtype)[:, None] > 0
    smallest = tf.reduce_min(tf.where(real, x, x.dtype.max))
    return (smallest + tf.reduce_max(tf.where(real, x, x.dtype.min))) / 2


def _distance(x, mask, query_x, query_mask):
    """Of one task, NumPy arrays `[rows]`: the largest distance of a target from the middle."""
    middle = (x[mask > 0].min() + x[mask > 0].max()) / 2
    return np.abs(query_x[query_mask > 0] - middle).max()
