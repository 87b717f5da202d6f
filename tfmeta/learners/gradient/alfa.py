"""ALFA: learn to make each inner step's rates and decays out of weights and gradients."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.inner import Rule
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.ops import row


@keras.saving.register_keras_serializable("tfmeta")
class ALFA(GradientLearner):
    """Learn an initialisation, and a network that sets the inner loop's hyperparameters.

    Inner loop, for each task and each weight i of the network, a kernel or a bias:

        w_i <- b_i w_i - a_i grad_i L_support(w),    (a, b) = g(m),    t = 0..T-1

    `m` holds the mean of each weight and of each gradient, `[2N]`. `g` has two dense layers with
    a ReLU between; its outputs, times a learned number for each weight and step, are the rates
    `a_i` and the decays `1 - b_i`.

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)` along the
    initialisation, `g`, and the numbers for each step.

    Meta-learned: all trainable weights of the network, `g`, and a scale of the rate and of the
    decay for each weight and step. Adapted: the weights.

    Differs from the paper: `g` starts as the constant 1, so that training starts from MAML with
    weight decay, where the authors start `g` at random; normalisation as in `MAML`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: where the rates start.
        weight_decay: where the decays start, as a multiple of the rate. The authors: 5e-4.
        inner_steps: `T` in training, and the most that there are. The paper: 5.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range, or more steps are asked for than `inner_steps`.

    Reference:
        Baik, Choi, Choi, Kim and Lee, "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020,
        arXiv:2011.00209, equations 4 and 5.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.01,
        weight_decay: float = 5e-4,
        inner_steps: int = 5,
        evaluation_steps: int | None = None,
        **kwargs,
    ):
        check_integer("inner_steps", inner_steps, 1)
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            evaluation_steps=evaluation_steps,
            **kwargs,
        )
        self.weight_decay = check_number("weight_decay", weight_decay, zero=True)

    @property
    def most_steps(self):
        return self.inner_steps

    @classmethod
    def search_space(cls, hp):
        decay = hp.Float(
            "weight_decay",
            1e-5,
            1e-1,
            sampling="log",
            default=default_argument(cls, "weight_decay"),
        )
        return super().search_space(hp) | {"weight_decay": decay}

    def make_rule(self):
        return GeneratedRates(self.inner_learning_rate, self.weight_decay, self.inner_steps)

    def fixed_arguments(self):
        return {"inner_steps", "inner_learning_rate", "weight_decay"}


class GeneratedRates(Rule):
    """Descent at rates and decays that a small network makes of weights and gradients.

    With means of each weight and gradient in `m` `[2N]` and step t:

        h = relu(m K_1 + b_1) K_2 + b_2,    rate_i, decay_i = h * scale_t
        w_i <- (1 - decay_i) w_i - rate_i g_i

    Args:
        rate: where the rates start.
        decay: where the decays start, as a multiple of the rate.
        steps: `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, rate, decay, steps, name="hyperparameters", **kwargs):
        super().__init__(name=name, **kwargs)
        self.rate, self.decay, self.steps = rate, decay, steps

    def make(self, weights):
        count, dtype = len(weights), weights[0].dtype
        rates = np.full((self.steps, count), self.rate)
        scales = np.concatenate([rates, self.decay * rates], axis=1)

        def add(name, shape, initializer):
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        size = 2 * count
        self.kernels = [
            add("kernel_1", (size, size), "glorot_uniform"),
            add("kernel_2", (size, size), "zeros"),
        ]
        self.biases = [add("bias_1", (size,), "zeros"), add("bias_2", (size,), "ones")]
        self.scales = add("scales", scales.shape, "zeros")
        self.scales.assign(scales)

    def update(self, gradients, weights, slots, step):
        (first, second), (bias_1, bias_2) = self.kernels, self.biases
        means = tf.stack([tf.reduce_mean(v) for v in (*weights, *gradients)])[None]
        generated = tf.nn.relu(means @ first + bias_1) @ second + bias_2
        values = tf.unstack(generated[0] * row(self.scales, step))
        rates, decays = values[: len(weights)], values[len(weights) :]
        steps = zip(weights, gradients, rates, decays, strict=True)
        return [(1 - decay) * w - rate * g for w, g, rate, decay in steps], slots

    def learned_rates(self):
        """The scales of the rates, which are the rates where the small network says 1."""
        return tf.convert_to_tensor(self.scales)[:, : self.scales.shape[1] // 2]
