"""What the rows of a task look like to a learner: specs of support and query, for any number."""

import tensorflow as tf

from tfmeta.engine import building, losses
from tfmeta.engine.inputs import as_targets, map_nest, network_dtype
from tfmeta.types import Episode, Examples


def specs_of(learner, like):
    """Specs of rows like these: `(support, query_x)`, `Examples` and a nest.

    Pictures of uint8 stay bytes, floats become those of the network.

    Args:
        learner: a built learner.
        like: an `Episode` of one task, or `Examples`, its support set; arrays or tensors.

    Raises:
        ValueError: `like` is neither.
    """
    if not isinstance(like, Episode | Examples):
        raise ValueError(
            "Expected tfmeta.Examples, a support set like those to come, or a tfmeta.Episode of "
            f"one task. Received: {type(like).__name__}."
        )
    support, query = like if isinstance(like, Episode) else (like, like)

    def spec(leaf):
        leaf = tf.convert_to_tensor(leaf)
        dtype = network_dtype(learner) if leaf.dtype.is_floating else leaf.dtype
        return tf.TensorSpec([None, *leaf.shape[1:]], dtype)

    support_x, query_x = (map_nest(spec, part.x) for part in (support, query))
    return Examples(support_x, _any_rows(as_targets(learner, support.y))), query_x


def specs_for(learner):
    """Specs of the rows that a learner was made for, or saw last: `(support, query_x)`.

    Raises:
        ValueError: nothing says what targets look like.
    """
    seen = _seen(learner)
    if seen is not None:
        support_x, query_x = (map_nest(_any_rows, part.x) for part in seen)
        return Examples(support_x, _any_rows(seen.support.y)), query_x
    x = _network_inputs(learner)
    return Examples(x, _targets(learner, x)), x


def _seen(learner):
    """Specs of one task's `Episode`, or None."""
    config = learner.get_build_config()
    built_on = building.episode_from_config(config["episode"]) if "episode" in config else None
    return vars(learner).get("_last_prepared", built_on)


def _targets(learner, x):
    if learner.integer_labels:
        return tf.TensorSpec([None], "int32")
    if not learner.takes_inner_steps:
        raise ValueError(
            "Expected to know what targets look like. Received: "
            f"{type(learner).__name__} that has seen no episode since it was made or loaded. Pass "
            "like=support, a support set, tfmeta.Examples, like those to come."
        )
    network = learner.inner_network()  # a loss compares its outputs with the targets
    outputs = losses.one_output(network.compute_output_spec(building.symbolic_rows(x, 1)))
    return tf.TensorSpec([None, *outputs.shape[1:]], network_dtype(learner))


def _network_inputs(learner):
    network = learner.inner_network()
    inputs = getattr(network, "input", None) if getattr(network, "inputs", None) else None
    if inputs is None:
        shape = building.network_input_shape(network)
        inputs = building.network_inputs(shape, network_dtype(learner))
    return map_nest(_any_rows, tuple(inputs) if isinstance(inputs, list) else inputs)


def _any_rows(value):
    """The spec of a tensor or spec with any number of rows; of integers as int32, but for bytes."""
    dtype = tf.as_dtype(value.dtype)
    wide = dtype.is_integer and dtype != tf.uint8
    return tf.TensorSpec([None, *value.shape[1:]], tf.int32 if wide else dtype)
