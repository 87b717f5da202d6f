"""A rule as a Keras optimizer."""

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import summed_over_replicas
from tfmeta.inner.rule import Rule


@keras.saving.register_keras_serializable("tfmeta")
class RuleOptimizer(keras.optimizers.Optimizer):
    """A `tfmeta.inner.Rule` that steps the weights of any Keras model.

    What the rule has learned is kept, and does not change. Its slots are variables of this
    optimizer, like any optimizer's; `learned` tells the two apart.

    The rule steps all variables at once, as in an inner loop; `learning_rate` multiplies the step
    that it takes, 1.0 for the rule as it was learned.

    Args:
        rule: a `Rule`, whose weights are made or will be made for the model's variables.
        learning_rate: a float, or a Keras schedule.
        **kwargs: as in `keras.optimizers.Optimizer`.

    Raises:
        ValueError: `rule` is no `Rule`, or one that takes the loss.
    """

    def __init__(
        self, rule: Rule, learning_rate: float = 1.0, name: str = "rule_optimizer", **kwargs
    ):
        if not isinstance(rule, Rule):
            raise ValueError(f"Expected a tfmeta.inner.Rule. Received: {type(rule).__name__}.")
        if rule.takes_loss:
            raise ValueError(
                "Expected a rule that goes by gradients, which is all that Keras gives an "
                f"optimizer. Received: {type(rule).__name__}, which takes the loss, too."
            )
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.rule = rule
        self._slots: list = []

    @property
    def learned(self):
        """The variables that the rule has learned, a list."""
        return self.rule.variables

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        if not self.rule.weights:
            self.rule.make(variables)
        first = self.rule.init([tf.convert_to_tensor(v) for v in variables])
        for i, value in enumerate(tf.nest.flatten(first)):
            slot = self.add_variable(value.shape, dtype=value.dtype.name, name=f"slot_{i}")
            slot.assign(value)
            self._slots.append(slot)
        self._structure = tf.nest.map_structure(lambda _: 0, first)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        weights = [tf.convert_to_tensor(v) for v in trainable_variables]
        slots = [tf.convert_to_tensor(s) for s in self._slots]
        slots = tf.nest.pack_sequence_as(self._structure, slots)
        step = tf.cast(self.iterations, tf.int32)
        gradients = summed_over_replicas(self, grads, trainable_variables)
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        new, slots = self.rule.update(gradients, weights, slots, step)
        for variable, old, value in zip(trainable_variables, weights, new, strict=True):
            variable.assign(old + tf.cast(learning_rate, old.dtype) * (value - old))
        for slot, value in zip(self._slots, tf.nest.flatten(slots), strict=True):
            slot.assign(value)

    def get_config(self):
        rule = keras.saving.serialize_keras_object(self.rule)
        return super().get_config() | {"rule": rule}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        rule = keras.saving.deserialize_keras_object(config["rule"], custom_objects)
        return super().from_config(config | {"rule": rule}, custom_objects)
