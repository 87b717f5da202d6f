"""The network of a policy: what goes in, and what has to come out."""

import keras

from tfmeta.engine import building
from tfmeta.environments import Discrete


def default_policy(inputs, outputs):
    """Two hidden layers of 100, ReLU, as the paper has for navigation."""
    dense = keras.layers.Dense
    layers = [dense(100, "relu"), dense(100, "relu"), dense(outputs)]
    return keras.Sequential([keras.Input((inputs,)), *layers], name="policy")


def build_policy(network, environment, choices):
    """Make the weights of the network; a ValueError unless it fits the environment."""
    size = environment.observation_size
    inputs = keras.KerasTensor((None, size))
    given = getattr(network, "input_shape", (None, size))
    kind = "logits, one an action" if isinstance(environment.actions, Discrete) else "means"
    if tuple(given[1:]) != (size,):
        raise ValueError(
            f"Expected a network of observations [rows, {size}] of {environment!r}. Received: one "
            f"of inputs {given}."
        )
    building.build_network(network, inputs)
    outputs = network.compute_output_spec(inputs)
    if tuple(getattr(outputs, "shape", ())) != (None, choices):
        raise ValueError(
            f"Expected a network with {choices} outputs ({kind}) for the actions "
            f"{environment.actions} of {environment!r}. Received: outputs of shape "
            f"{getattr(outputs, 'shape', outputs)}."
        )
