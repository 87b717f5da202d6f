"""ALFA: learn to make each inner step's rates and decays out of weights and gradients."""

import keras
import numpy as np

from tfmeta.arguments import check_integer, check_number
from tfmeta.inner import GeneratedSGD, MetaParameters
from tfmeta.learners.gradient.base import GradientLearner


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
        network=None,
        *,
        inner_learning_rate=0.01,
        weight_decay=5e-4,
        inner_steps=5,
        evaluation_steps=None,
        **kwargs,
    ):
        check_integer("inner_steps", inner_steps, 1)
        # First: the base's __init__ makes variables of these sizes.
        self.weight_decay = check_number("weight_decay", weight_decay, zero=True)
        self.most_steps = inner_steps
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            evaluation_steps=evaluation_steps,
            **kwargs,
        )

    @classmethod
    def search_space(cls, hp):
        decay = hp.Float("weight_decay", 1e-5, 1e-1, sampling="log", default=5e-4)
        return super().search_space(hp) | {"weight_decay": decay}

    def make_meta_parameters(self):
        weights = self.network_weights()
        size, dtype = 2 * len(weights), weights[0].dtype
        rates = np.full((self.inner_steps, len(weights)), self.inner_learning_rate, dtype)
        first = keras.initializers.GlorotUniform()((size, size), dtype)
        values = {
            "kernel_1": np.array(first),
            "kernel_2": np.zeros((size, size), dtype),
            "bias_1": np.zeros(size, dtype),
            "bias_2": np.ones(size, dtype),
            "scales": np.concatenate([rates, self.weight_decay * rates], axis=1),
        }
        return MetaParameters(values, name="hyperparameters")

    def fixed_arguments(self):
        return {"inner_steps", "inner_learning_rate", "weight_decay"}

    def update_rule(self):
        kernel_1, kernel_2, bias_1, bias_2, scales = self.meta_parameters.trainable_variables
        return GeneratedSGD((kernel_1, kernel_2), (bias_1, bias_2), scales)
