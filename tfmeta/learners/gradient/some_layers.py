"""What the learners share that adapt some of a network's layers."""

from tfmeta.backend.network_facts import held_weights, layers_with_weights
from tfmeta.learners.gradient.base import GradientLearner


class SubsetLearner(GradientLearner):
    """Base of the learners whose inner loop changes the weights of some layers alone.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        adapted_layers: names of the layers that the inner loop changes, or of models that hold
            them; None for the learner's default.
        **kwargs: as in `GradientLearner`.

    Raises:
        ValueError: a name is not one of the network's layers with weights.
    """

    def __init__(self, network=None, *, adapted_layers=None, **kwargs):
        super().__init__(network, **kwargs)
        if not isinstance(adapted_layers, list | tuple | None):
            raise ValueError(
                f"Expected adapted_layers to be a list of names. Received: {adapted_layers!r}, "
                f"no list. Give [{adapted_layers!r}]."
            )
        self.adapted_layers = None if adapted_layers is None else list(adapted_layers)
        if self.built:
            self.adapted_positions()

    def default_layers(self, layers):
        """Those of the layers with weights, first to last, that are adapted by default."""
        raise NotImplementedError

    def adapted_positions(self):
        variables, network = self.network_weights(), self.inner_network()
        weights = {id(v): i for i, v in enumerate(variables)}
        if self.adapted_layers is None:
            layers = self.default_layers(layers_with_weights(network, variables))
            changed = [v for layer in layers for v in held_weights(layer)]
        else:
            layers = [
                layer
                for layer in network._flatten_layers(include_self=False)
                if any(id(v) in weights for v in layer.trainable_variables)
            ]
            names = [layer.name for layer in layers]
            unknown = [name for name in self.adapted_layers if name not in names]
            if unknown or not self.adapted_layers:
                raise ValueError(
                    f"Expected adapted_layers to name some of the network's layers with weights, "
                    f"{names}. Received: {self.adapted_layers}."
                )
            layers = [layer for layer in layers if layer.name in self.adapted_layers]
            changed = [v for layer in layers for v in layer.trainable_variables]
        return sorted({weights[id(v)] for v in changed if id(v) in weights})
