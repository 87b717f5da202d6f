"""Meta-Curvature: learn the initialisation, and a transformation of the inner gradients."""

import math

import keras
import numpy as np

from tfmeta.inner import CurvedSGD, MetaParameters
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class MetaCurvature(GradientLearner):
    """Learn an initialisation and, for each weight, matrices that its inner gradient is bent by.

    Inner loop, for each task, with the gradient `G` of a kernel as a tensor over its output
    channels, input channels and places, and `x_n` the product with a matrix along axis n:

        w_{t+1} = w_t - a * M(grad L_support(w_t)),    M(G) = G x_1 M_o x_2 M_i x_3 M_f

    A dense kernel has no `M_f`; biases, and scales of normalisation, are multiplied elementwise.
    All matrices start as the identity, where this is MAML.

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)` along the
    initialisation and the matrices.

    Meta-learned: all trainable weights of the network, and the matrices. Adapted: the weights.

    Differs from the paper: the learned transformation of a bias is elementwise, as in learn2learn;
    normalisation as in `MAML`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: `a`.
        inner_steps: `T` in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Reference:
        Park and Oliva, "Meta-Curvature", NeurIPS 2019, arXiv:1902.03356, section 3.
    """

    def make_meta_parameters(self):
        values = {}
        for i, weight in enumerate(self.network_weights()):
            for name, size in _bent_axes(weight.shape).items():
                values[f"{name}_{i}"] = np.eye(size, dtype=weight.dtype)
            if len(weight.shape) < 2:
                values[f"bend_{i}"] = np.ones(weight.shape, weight.dtype)
        return MetaParameters(values, name="curvature")

    def update_rule(self):
        variables = iter(self.meta_parameters.trainable_variables)
        counts = [len(_bent_axes(w.shape)) or 1 for w in self.network_weights()]
        factors = [[next(variables) for _ in range(count)] for count in counts]
        return CurvedSGD(self.inner_learning_rate, factors)


def _bent_axes(shape):
    """Name -> size of the axes of a kernel that have a matrix; none of a bias."""
    if len(shape) < 2:
        return {}
    *spatial, inputs, outputs = shape
    places = {"places": math.prod(spatial)} if spatial else {}
    return {"out": outputs, "in": inputs, **places}
