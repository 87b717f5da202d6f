"""What the inner loop changes: a value that a gradient learner names, `adapted_part`."""

from tfmeta.backend.network_facts import held_weights, layers_with_weights
from tfmeta.backend.private_keras import layers_in


class AllWeights:
    """Every trainable weight of the network."""

    #: True if it is a memory of `size` slots, of which `slots_used` tells how many tasks were in.
    has_slots = False

    def positions(self, learner):
        """Which of `learner.network_weights()` the inner loop changes, a list of positions."""
        return list(range(len(learner.network_weights())))

    def own_positions(self, learner):
        """Which of them each task has values of its own for, ascending."""
        return self.positions(learner)

    def names(self, learner):
        """Names for what `start` returns, for messages."""
        weights = learner.network_weights()
        return [weights[i].path for i in self.positions(learner)]

    def start(self, learner, weights, support_loss, support, training):
        """What the inner loop changes, before its first step: here some of `weights`.

        Args:
            learner: the learner.
            weights: tensors in the place of `network_weights()`.
            support_loss: function of tensors such as this returns to their support loss.
            support: `Examples` of the task.
            training: True inside a step of `fit`.

        Returns:
            A list of tensors.
        """
        return [weights[i] for i in self.positions(learner)]

    def place(self, learner, weights, fast, step):
        """The network's weights, given what became of `start` in some steps.

        Args:
            learner: the learner.
            weights: tensors in the place of `network_weights()`.
            fast: tensors like those of `start`.
            step: the number of inner steps taken, an int or an int32 scalar.

        Returns:
            Tensors in the place of `network_weights()`.
        """
        return replaced(weights, self.positions(learner), fast)


class SomeLayers(AllWeights):
    """The weights of some layers alone.

    Args:
        names: names of layers, or of models that hold them; None for the default.
        default: function of the layers with weights, first to last, to those that are adapted.

    Raises:
        ValueError: `names` is no list.
    """

    def __init__(self, names, default):
        if not isinstance(names, list | tuple | None):
            raise ValueError(
                f"Expected adapted_layers to be a list of names. Received: {names!r}, "
                f"no list. Give [{names!r}]."
            )
        self.layer_names = None if names is None else list(names)
        self.default = default

    def positions(self, learner):
        variables, network = learner.network_weights(), learner.inner_network()
        positions = {id(v): i for i, v in enumerate(variables)}
        if self.layer_names is None:
            layers = self.default(layers_with_weights(network, variables))
            changed = [v for layer in layers for v in held_weights(layer)]
        else:
            changed = [v for x in self._named(network, positions) for v in x.trainable_variables]
        return sorted({positions[id(v)] for v in changed if id(v) in positions})

    def _named(self, network, positions):
        layers = [
            layer
            for layer in layers_in(network)
            if any(id(v) in positions for v in layer.trainable_variables)
        ]
        names = [layer.name for layer in layers]
        unknown = [name for name in self.layer_names if name not in names]
        if unknown or not self.layer_names:
            raise ValueError(
                f"Expected adapted_layers to name some of the network's layers with weights, "
                f"{names}. Received: {self.layer_names}."
            )
        return [layer for layer in layers if layer.name in self.layer_names]


def replaced(weights, positions, values):
    """`weights`, with `values` at the positions."""
    new = dict(zip(positions, values, strict=True))
    return [new.get(i, weight) for i, weight in enumerate(weights)]
