"""Meta-SGD: learn the initialisation, and a learning rate for each of its numbers."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.inner import Rule
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class MetaSGD(GradientLearner):
    """Learn an initialisation `w` and rates `a` of the same shape.

    Inner loop, for each task, `*` elementwise:

        w_0 = w,    w_{t+1} = w_t - a * grad L_support(w_t),    t = 0..T-1

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)` along both
    `w` and `a`. A rate may become negative; its direction is then learned, too.

    Meta-learned: all trainable weights of the network, and a rate for each of their numbers.
    Adapted: the weights.

    Differs from the paper: more than one inner step is allowed, with the same rates at each; rates
    start at one value, where the paper draws them at random; first order and non-transductive
    normalisation as in `MAML`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: where each rate starts, > 0.
        inner_steps: `T` in training. The paper: 1.
        evaluation_steps: `T` outside training, None for the same.
        first_order: True treats inner gradients as constants; rates still have theirs.
        transductive: True normalises query examples by the statistics of their own batch.
        **kwargs: `checkpoint_inner_steps`, `task_batching`, `name` and `dtype`, as in `MAML`.

    Reference:
        Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017,
        arXiv:1707.09835, equation 3 and algorithm 1.
    """

    def make_rule(self):
        return LearnedRates(self.inner_learning_rate, name="rates")

    def fixed_arguments(self):
        return {"inner_learning_rate"}


class LearnedRates(Rule):
    """A rate for each number of each weight: `w <- w - a * g`.

    Args:
        first: where each rate starts.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, first, **kwargs):
        super().__init__(**kwargs)
        self.first = first

    def make(self, weights):
        self.rates = [
            self.add_weight(shape=w.shape, dtype=w.dtype, initializer="zeros", name=f"rate_{i}")
            for i, w in enumerate(weights)
        ]
        for rate in self.rates:  # in float64, too, where a constant initialiser gives 32 bits
            rate.assign(np.full(rate.shape, self.first))

    def update(self, gradients, weights, slots, step):
        steps = zip(weights, self.rates, gradients, strict=True)
        return [w - a * g for w, a, g in steps], slots

    def learned_rates(self):
        """The mean size of the rates of each weight, `[1, weights]`."""
        return tf.stack([tf.reduce_mean(tf.abs(a)) for a in self.rates])[None]
