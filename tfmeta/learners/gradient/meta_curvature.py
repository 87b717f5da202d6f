"""Meta-Curvature: learn the initialisation, and a transformation of the inner gradients."""

import math

import keras
import tensorflow as tf

from tfmeta.inner import Rule
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

    def make_rule(self):
        return Curvature(self.inner_learning_rate, name="curvature")

    def arguments_changed(self):
        super().arguments_changed()
        if self.rule is not None:
            self.rule.learning_rate = self.inner_learning_rate


class Curvature(Rule):
    """Descent along gradients transformed by mode products: `w <- w - rate * M(g)`.

    A gradient of rank 2 or more is a tensor `[places, in, out]`; each axis is multiplied by a
    matrix. One of rank 1 is multiplied elementwise.

    Args:
        learning_rate: a float.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, learning_rate, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate = learning_rate

    def make(self, weights):
        self.factors = [
            {
                name: self.add_weight(
                    shape=(size, size), dtype=w.dtype, initializer="identity", name=f"{name}_{i}"
                )
                for name, size in _bent_axes(w.shape).items()
            }
            or {
                "bend": self.add_weight(
                    shape=w.shape, dtype=w.dtype, initializer="ones", name=f"bend_{i}"
                )
            }
            for i, w in enumerate(weights)
        ]

    def update(self, gradients, weights, slots, step):
        steps = zip(weights, gradients, self.factors, strict=True)
        return [w - self.learning_rate * _bent(g, **factors) for w, g, factors in steps], slots


def _bent(g, out=None, into=None, places=None, bend=None):
    """`M(g)`: the product with one vector, or along each axis with its matrix."""
    if bend is not None:
        return g * bend
    product = tf.reshape(g, (-1, g.shape[-2], g.shape[-1]))
    product = tf.einsum("sio,po->sip", product, tf.convert_to_tensor(out))
    product = tf.einsum("sio,pi->spo", product, tf.convert_to_tensor(into))
    if places is not None:
        product = tf.einsum("sio,ps->pio", product, tf.convert_to_tensor(places))
    return tf.reshape(product, g.shape)


def _bent_axes(shape):
    """Name -> size of the axes of a kernel that have a matrix; none of a bias."""
    if len(shape) < 2:
        return {}
    *spatial, inputs, outputs = shape
    places = {"places": math.prod(spatial)} if spatial else {}
    return {"out": outputs, "into": inputs, **places}
