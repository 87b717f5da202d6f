"""What Keras asks of a learner when it writes and reads a file."""

import keras

from tfmeta.backend.private_keras import writes_hdf5
from tfmeta.engine import building, saving
from tfmeta.engine.export import files
from tfmeta.hints import Path
from tfmeta.types import Episode, Examples


class SavedInKeras:
    """The part of `MetaModel` that files are written and read by; stands before `keras.Model`."""

    def save(self, filepath, *args, **kwargs):
        """As `keras.Model.save`, to a `.keras` file."""
        if str(filepath).endswith((".h5", ".hdf5")):  # before Keras empties what is there
            raise no_hdf5(self)
        return super().save(filepath, *args, **kwargs)

    def export(
        self,
        filepath: Path,
        format: str = "tf_saved_model",
        *,
        like: Examples | Episode | None = None,
    ) -> None:
        """Write the learner for programs that learn new tasks without tfmeta.

        There are two signatures, for any number of rows: `adapt`, from `x`, `y` and, where the
        learner leaves padding out, `mask` to tensors whose names begin with "adapted", and
        `predict_query`, from these and `x` to `outputs`. What is there already is replaced when
        the new one is whole.

        Args:
            filepath: a folder, or a `.tflite` file.
            format: "tf_saved_model", for TensorFlow and TensorFlow Serving, with a note of shapes,
                preprocessing and versions in `assets/tfmeta.json`; or "litert", for LiteRT, of
                its own operations alone, which no learner of gradient steps does with.
            like: `Examples`, a support set like those to come, or an `Episode` of one task. None
                for rows as the learner saw them last; it is wanted where nothing says what
                targets look like, and for pictures of uint8, which the graph then scales.

        Raises:
            ValueError: the learner is not built, LiteRT lacks an operation, nothing says what
                targets look like, or something else than an export is at `filepath`.
        """
        files.export(self, filepath, format, like)

    def get_config(self):
        if writes_hdf5():
            raise no_hdf5(self)
        self.build_on_network()  # or the file would not have the weights that it names
        return saving.learner_config(self, self._recorded_arguments())

    @classmethod
    def from_config(cls, config):
        return cls(**saving.constructor_arguments(config))

    def get_build_config(self):
        config, episode = super().get_build_config() or {}, self.__dict__.get("_built_on")
        return config if episode is None else {"episode": building.episode_to_config(episode)}

    def build_from_config(self, config):
        if "episode" in config:
            building.build_on(self, building.episode_from_config(config["episode"]))
        else:
            super().build_from_config(config)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:  # so that the optimizer's saved state has a place to go
            self.optimizer.build(self.trainable_variables)


def no_hdf5(model):
    """The error for a file that Keras would write, and could not load."""
    return ValueError(
        f"Expected a .keras file. Received: a .h5 file for {type(model).__name__}, which Keras "
        'could not load again. Call save("learner.keras"), or save_weights("learner.weights.h5").'
    )
