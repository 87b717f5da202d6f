"""ANIL: almost no inner loop, MAML that adapts the head alone."""

from collections.abc import Sequence

import keras

from tfmeta.learners.gradient.adapted_part import SomeLayers
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class ANIL(GradientLearner):
    """MAML whose inner loop changes the last layer, and reuses the features of all others.

    Inner loop, for each task, with body `b` and head `h`, both meta-learned:

        h_0 = h,    h_{t+1} = h_t - a * grad_h L_support(b, h_t),    t = 0..T-1

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(b, h_T)` along
    `b` and `h`.

    Meta-learned: all trainable weights of the network. Adapted: those of `adapted_layers`.

    Differs from the paper: any layers can be adapted, the last one with weights by default;
    normalisation as in `MAML`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        adapted_layers: names of the layers that the inner loop changes; None for the last layer
            with weights, which in a subclassed network is the last that its `__init__` makes.
        inner_learning_rate: `a`.
        inner_steps: `T` in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Reference:
        Raghu, Raghu, Bengio and Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding
        the Effectiveness of MAML", ICLR 2020, arXiv:1909.09157, section 4.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        adapted_layers: Sequence | None = None,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.adapted_layers = adapted_layers
        self.adapted_layers = self.adapted_part.layer_names

    @property
    def adapted_part(self):
        return SomeLayers(self.adapted_layers, default=lambda layers: layers[-1:])
