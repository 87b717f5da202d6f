"""One adapted task as a Keras model."""

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import writes_hdf5
from tfmeta.backend.solve import elementary_operations
from tfmeta.engine import building
from tfmeta.engine.export.files import missing_operations
from tfmeta.engine.input_ranges import scaled
from tfmeta.engine.inputs import as_examples
from tfmeta.engine.saved_in_keras import no_hdf5
from tfmeta.types import Episode


@keras.saving.register_keras_serializable("tfmeta")
class AdaptedModel(keras.Model):
    """A learner that has adapted to one task: maps query inputs `[M, ...]` to outputs.

    Made by `learner.adapted_model(support)`. What `adapt` returned is kept as weights that do
    not train, so the model can be saved, loaded and exported like any other.

    Args:
        learner: a built learner.
        support_spec: shapes and dtypes of the support set, from `episode_to_config`.
        adapted_spec: `[(shape, dtype)]` of each tensor of what `adapt` returned.
    """

    def __init__(self, learner, support_spec, adapted_spec, **kwargs):
        super().__init__(**kwargs)
        self.learner = learner
        self.support_spec = support_spec
        self.adapted_spec = [tuple(spec) for spec in adapted_spec]
        # The structure of the value, a nest of any kind, comes from tracing `adapt`.
        support = building.episode_from_config(support_spec).support
        adapt = tf.function(learner.adapt, autograph=False)
        self._structure = adapt.get_concrete_function(support)
        self.adapted = [
            self.add_weight(
                shape=tuple(shape),
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                name=f"adapted_{i}",
            )
            for i, (shape, dtype) in enumerate(self.adapted_spec)
        ]

    @classmethod
    def of(cls, learner, support):
        """Adapt a learner to a support set, and keep the result."""
        support = as_examples(learner, support)
        values = tf.nest.flatten(learner.adapt(support))
        model = cls(learner, building.episode_to_config(Episode(support, support)), _spec(values))
        for weight, value in zip(model.adapted, values, strict=True):
            weight.assign(value)
        model(support.x)  # `export` wants to know the inputs
        return model

    def build(self, input_shape):
        """Nothing to make: Keras keeps the shape, for `export`."""

    def call(self, x):
        structure = self._structure.structured_outputs
        values = [tf.convert_to_tensor(weight) for weight in self.adapted]
        return self.learner.predict_query(tf.nest.pack_sequence_as(structure, values), x)

    def export(self, filepath, format="tf_saved_model", **kwargs):
        """As `keras.Model.export`; a LiteRT file is made of LiteRT's own operations.

        Raises:
            ValueError: LiteRT lacks an operation.
        """
        if format != "litert":
            return super().export(filepath, format=format, **kwargs)
        # Keras's converter would write Flex operations, which a plain interpreter does not run.
        target = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        kwargs["target_spec"] = target | kwargs.get("target_spec", {})
        try:
            with elementary_operations():
                return super().export(filepath, format=format, **kwargs)
        except Exception as error:  # of a class that TensorFlow does not name in public
            operations = missing_operations(error)
            if not operations:  # a wrong path, say: Keras has its own words
                raise
            raise ValueError(
                "Expected a task of a learner of LiteRT's own operations. Received: one of "
                f"{type(self.learner).__name__}, which takes {operations}. Call export(path), "
                "which writes a SavedModel."
            ) from error

    def get_config(self):
        if writes_hdf5():
            raise no_hdf5(self)
        return {
            "name": self.name,
            "learner": keras.saving.serialize_keras_object(self.learner),
            "support_spec": self.support_spec,
            "adapted_spec": self.adapted_spec,
        }

    @classmethod
    def from_config(cls, config):
        learner = keras.saving.deserialize_keras_object(config["learner"])
        return cls(**(config | {"learner": learner}))


@keras.saving.register_keras_serializable("tfmeta")
class AdaptedNetwork(keras.Model):
    """A network on an adapted task's weights, which train on as any others.

    Made by `learner.adapted_model(support)`, too, where a plain copy of the network does what the
    learner does, but for pictures of uint8, which this scales to 0..1 as the learner does.

    Args:
        network: a built `keras.Model`.
    """

    def __init__(self, network, **kwargs):
        super().__init__(**{"autocast": False} | kwargs)  # the network casts for itself
        self.network = network

    def build(self, input_shape):
        """Nothing to make: Keras keeps the shape, for `export`."""

    @property
    def input_shape(self):
        """Of the network."""
        return self.network.input_shape

    @property
    def output_shape(self):
        """Of the network."""
        return self.network.output_shape

    def call(self, x, training=None):
        x = scaled(self.network, x, self.network.variable_dtype)
        return self.network(x, training=training)

    def get_config(self):
        if writes_hdf5():
            raise no_hdf5(self)
        return {"name": self.name, "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**(config | {"network": network}))


def _spec(tensors):
    return [(t.shape.as_list(), t.dtype.name) for t in tf.nest.flatten(tensors)]
