"""How much the layers of a network say the same before and after adaptation."""

import keras
import tensorflow as tf

from tfmeta.backend.network_facts import held_weights, layers_with_weights
from tfmeta.inner import call_network


def linear_cka(first, second):
    """Linear centered kernel alignment of two representations of the same examples.

    1 if they are the same up to rotation, scale and offset; near 0 if they have nothing in common.

    Args:
        first, second: `[rows, ...]`, of any widths.

    Returns:
        A scalar; 1 if the two are constant.

    Reference:
        Kornblith, Norouzi, Lee and Hinton, "Similarity of Neural Network Representations
        Revisited", ICML 2019, arXiv:1905.00414, equation 6.
    """
    first, second = _gram(first), _gram(second)
    together = tf.reduce_sum(first * second)
    sizes = tf.norm(first) * tf.norm(second)
    same = tf.cast(tf.reduce_all(first == second), sizes.dtype)
    return tf.where(sizes > 0, together / tf.where(sizes > 0, sizes, 1.0), same)


def _gram(x):
    """The products of all rows, their mean taken off: `[rows, rows]`, of length about 1."""
    x = tf.cast(tf.reshape(x, [tf.shape(x)[0], -1]), tf.float32)
    x -= tf.reduce_mean(x, axis=0)
    products = tf.matmul(x, x, transpose_b=True)
    return products / tf.maximum(tf.norm(products), 1e-30)


class LayerOutputs:
    """The outputs of those layers of a network that hold weights, on weights that are given.

    Args:
        network: a functional or sequential `keras.Model`.
    """

    def __init__(self, network):
        # A model in it has an output of its own, which is not the network's.
        layers = [x for x in network.layers if not isinstance(x, keras.Model)]
        self.layers = [x for x in layers if x.trainable_variables]
        self._network = network
        sequential = isinstance(network, keras.Sequential)
        inputs = network.inputs[0] if sequential else network.input
        self._model = keras.Model(inputs, [layer.output for layer in self.layers])

    @classmethod
    def of(cls, network):
        """Those of a network, or None if it is not one whose layers can be asked."""
        if not getattr(network, "inputs", None):
            return None  # a subclass
        try:
            found = cls(network)
        except (AttributeError, ValueError):  # a layer that is called twice has no one output
            return None
        return found if found.layers else None

    def __call__(self, learner, adapted, x):
        """A list of outputs, one a layer, of a gradient learner on adapted weights."""
        place = {id(v): i for i, v in enumerate(self._network.non_trainable_variables)}
        state = [adapted.state[place[id(v)]] for v in self._model.non_trainable_variables]
        outputs, _ = call_network(
            self._model, adapted.weights, state, x, training=False,
            batch_statistics=learner.transductive, variables=learner.network_weights(),
        )  # fmt: skip
        return outputs if isinstance(outputs, list | tuple) else [outputs]

    def names(self):
        """The names of the layers, a list."""
        return [layer.name for layer in self.layers]


def head_positions(learner):
    """Places, among what the inner loop of a learner changes, of the last layer's weights.

    Returns:
        A list; None if the inner loop changes something else than weights of the network.
    """
    weights, positions = learner.network_weights(), learner.adapted_positions()
    changed = [weights[i] for i in positions]
    if learner.adapted_part.names(learner) != [v.path for v in changed]:
        return None
    last = {id(v) for v in held_weights(layers_with_weights(learner.inner_network(), weights)[-1])}
    return [place for place, v in enumerate(changed) if id(v) in last]
