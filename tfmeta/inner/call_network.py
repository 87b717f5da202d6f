"""Run any Keras network on given weights."""

from collections.abc import Sequence

import keras

from tfmeta.backend.moments import telling_of_moments
from tfmeta.backend.network_facts import check_no_added_losses
from tfmeta.backend.task_layers import adopted, task_mode
from tfmeta.hints import Nest


def call_network(
    network: keras.Model,
    weights: Sequence,
    state: Nest,
    x: Nest,
    *,
    training: bool,
    batch_statistics: bool,
    variables: Sequence | None = None,
) -> tuple[Nest, list]:
    """Call a network with tensors in the place of its variables. Changes no variable.

    Args:
        network: a built `keras.Model`.
        weights: tensors in the place of `variables`.
        state: tensors in the place of `network.non_trainable_variables` (statistics of
            normalisation layers, states of random seeds).
        x: inputs, `[rows, ...]`, or a nest of such.
        training: True turns dropout on.
        batch_statistics: True normalises by the statistics of `x` and puts them, without a
            moving average, into the returned state; False normalises by those in `state`.
        variables: some of the network's variables; None for `network.trainable_variables`.

    Returns:
        `(outputs, new_state)`.

    Raises:
        ValueError: a layer called `add_loss`.
    """
    variables = network.trainable_variables if variables is None else variables
    mapping = [
        *zip(variables, weights, strict=True),
        *zip(network.non_trainable_variables, state, strict=True),
    ]
    with (
        adopted(network),
        keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope,
        task_mode(batch_statistics=batch_statistics),
        telling_of_moments(),
    ):
        outputs = network(x, training=training)
    check_no_added_losses(scope, network)
    new_state = [scope.get_current_value(v) for v in network.non_trainable_variables]
    return outputs, new_state
