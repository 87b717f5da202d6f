"""BOIL: body only update in the inner loop."""

from collections.abc import Sequence

import keras

from tfmeta.learners.gradient.adapted_part import SomeLayers
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class BOIL(GradientLearner):
    """MAML whose inner loop changes every layer but the last: the features, not the classifier.

    Inner loop, for each task, with body `b` and head `h`, both meta-learned:

        b_0 = b,    b_{t+1} = b_t - a * grad_b L_support(b_t, h),    t = 0..T-1

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(b_T, h)` along
    `b` and `h`.

    Meta-learned: all trainable weights of the network. Adapted: those of `adapted_layers`.

    Differs from the paper: normalisation as in `MAML`; the paper's networks end in the classifier,
    here any layers can be adapted.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        adapted_layers: names of the layers that the inner loop changes; None for all but the last
            layer with weights, which in a subclassed network is the last that `__init__` makes.
        inner_learning_rate: `a`. The paper: 0.5 with Conv4.
        inner_steps: `T` in training. The paper: 1.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: the network has one layer with weights alone.

    Reference:
        Oh, Yoo, Kim and Yun, "BOIL: Towards Representation Change for Few-shot Learning", ICLR
        2021, arXiv:2008.08882, section 3.
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
        return SomeLayers(self.adapted_layers, default=_all_but_the_last)


def _all_but_the_last(layers):
    if len(layers) < 2:
        raise ValueError(
            "Expected a network with a body below its head. Received: one layer with weights, "
            f"{[x.name for x in layers]}. Add layers, or name adapted_layers."
        )
    return layers[:-1]
