"""What Keras asks of a learner when it writes and reads a file: functions of the learner."""

import zipfile

import keras

from tfmeta.backend.private_keras import writes_hdf5
from tfmeta.engine import building, saving


def check_path(learner, filepath):
    """Raise a ValueError for a HDF5 file, before Keras empties what is there."""
    if str(filepath).endswith((".h5", ".hdf5")):
        raise no_hdf5(learner)


def load_weights(keras_load, filepath, *args, **kwargs):
    """`MetaModel.load_weights`."""
    try:
        return keras_load(filepath, *args, **kwargs)
    except (OSError, zipfile.BadZipFile) as error:
        if getattr(error, "errno", None) is not None:  # not there, say: that names the file
            raise
        raise ValueError(
            f"Expected a whole weights file. Received: {filepath}, which is cut short or damaged "
            f"({error}). Copy or save it anew."
        ) from error


def config(learner):
    """`MetaModel.get_config`."""
    if writes_hdf5():
        raise no_hdf5(learner)
    learner.build_on_network()  # or the file would not have the weights that it names
    return saving.learner_config(learner, learner._recorded_arguments())


def build_config(learner, keras_config):
    """`MetaModel.get_build_config`."""
    found, episode = keras_config() or {}, vars(learner).get("_built_on")
    return found if episode is None else {"episode": building.episode_to_config(episode)}


def build_from_config(learner, keras_build, config):
    """`MetaModel.build_from_config`."""
    if "episode" in config:
        building.build_on(learner, building.episode_from_config(config["episode"]))
    else:
        keras_build(config)


def compile_from_config(learner, config):
    """`MetaModel.compile_from_config`."""
    learner.compile(**keras.saving.deserialize_keras_object(config))
    if learner.built:  # so that the optimizer's saved state has a place to go
        learner.optimizer.build(learner.trainable_variables)


def no_hdf5(model):
    """The error for a file that Keras would write, and could not load."""
    return ValueError(
        f"Expected a .keras file. Received: a .h5 file for {type(model).__name__}, which Keras "
        'could not load again. Call save("learner.keras"), or save_weights("learner.weights.h5").'
    )
