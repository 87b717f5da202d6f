"""What is learned besides a network's weights; above all the rule of an inner step."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.hints import Nest
from tfmeta.version import __version__


class Learned(keras.layers.Layer):
    """A part of a learner that holds what it learns besides the network's weights."""

    def call(self, inputs):
        return inputs

    def load_own_variables(self, store):
        if self.weights and not store.keys():
            raise ValueError(
                f"Expected a file of tfmeta {__version__} or later, in which {type(self).__name__} "
                "has its weights. Received: a file without them, such as tfmeta 0.1.0 wrote. "
                "Train the learner again."
            )
        super().load_own_variables(store)


@keras.saving.register_keras_serializable("tfmeta")
class Rule(Learned):
    """How weights change, given their gradients.

    A subclass defines `update` and, where it needs them, `make` and `init`. All that is learned is
    made by `add_weight` in `make`: the outer loop descends along it, and files keep it.

    Example:

    ```python
    class Momentum(tfmeta.inner.Rule):
        def make(self, weights):
            self.rate = self.add_weight(shape=(), initializer="ones", name="rate")

        def init(self, weights):
            return [tf.zeros_like(w) for w in weights]

        def update(self, gradients, weights, slots, step):
            slots = [0.9 * m + g for m, g in zip(slots, gradients)]
            return [w - self.rate * m for w, m in zip(weights, slots)], slots
    ```
    """

    #: True if `update` also takes the support loss, a scalar: `loss=`.
    takes_loss = False
    #: The rate that steps start from, where the rule has one number for it.
    learning_rate: Any = None

    def make(self, weights: Sequence) -> None:
        """Make what is learned.

        Args:
            weights: the tensors or variables that will be stepped, a list. Their shapes and dtypes
                count; a method whose weights are drawn anew may leave their values alone.
        """

    def init(self, weights: Sequence) -> Nest:
        """The slots before the first step.

        Args:
            weights: list of tensors.

        Returns:
            A nest of tensors of this task, of the same shapes after each step; () for none.
        """
        return ()

    def update(
        self, gradients: Sequence, weights: Sequence, slots: Nest, step: Any
    ) -> tuple[Sequence, Nest]:
        """One step. Pure: what changes is returned.

        Args:
            gradients: list of tensors, like `weights`.
            weights: list of tensors.
            slots: what `init` or the step before returned.
            step: the number of the step, from 0, an int32 scalar.

        Returns:
            `(new_weights, new_slots)`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `update`.")

    def learned_rates(self) -> tf.Tensor | None:
        """The learning rates among what is learned, for those who watch a training run.

        Returns:
            `[steps, weights]`, a rate for each inner step and each of the weights; one row if all
            steps have the same, one column if all weights have. None if no rate is learned.
        """
        return None


@keras.saving.register_keras_serializable("tfmeta")
class SGD(Rule):
    """Gradient descent: `w <- w - learning_rate * g`.

    Args:
        learning_rate: a Python float or a scalar tensor.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, learning_rate: float, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate = learning_rate

    def update(self, gradients, weights, slots, step):
        rate = self.learning_rate
        return [w - rate * g for w, g in zip(weights, gradients, strict=True)], slots

    def get_config(self):
        return super().get_config() | {"learning_rate": self.learning_rate}
