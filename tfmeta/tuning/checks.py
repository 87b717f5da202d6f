"""What a `MetaHyperModel` is given: checked when it is made, and networks when they are."""

import inspect
import weakref

import keras

from tfmeta.learners import MetaModel


def check_arguments(learner, network, compile, fixed):
    """Raise a ValueError if an argument of `MetaHyperModel` is not what is expected."""
    check_learner(learner)
    check_network(learner, network)
    if not callable(compile) and not (isinstance(compile, dict) and "loss" in compile):
        raise ValueError(
            "Expected compile to be a dict of arguments of learner.compile with a 'loss', or "
            f'a function that returns one. Received: {compile!r}. Pass {{"loss": "mse"}}, say.'
        )
    if not isinstance(fixed or {}, dict):
        raise ValueError(f"Expected fixed to be a dict of arguments. Received: {fixed!r}.")


def check_learner(learner):
    """Raise a ValueError unless `learner` is a class that is trained on episodes."""
    if not (isinstance(learner, type) and issubclass(learner, MetaModel)):
        raise ValueError(
            "Expected a class of learners, such as tfmeta.learners.MAML. Received: "
            f"{learner!r}. Pass the class itself; it is made anew in each trial."
        )
    if learner.needs_pretraining:
        raise ValueError(
            f"Expected a learner that is trained on episodes. Received: {learner.__name__}, whose "
            "network learns class labels. Write a keras_tuner.HyperModel: its build(hp) makes the "
            "learner, and its fit(...) pretrains it, centres SimpleShot (`center_on`), and returns "
            "the scores of the validation episodes."
        )


def check_network(learner, network):
    """Raise a ValueError unless there is a function that makes networks, or no need of one."""
    if network is not None and (isinstance(network, keras.Model) or not callable(network)):
        raise ValueError(
            "Expected network to be a function that makes a new network for each trial. "
            f"Received: {network!r}. Pass lambda: tfmeta.networks.mlp((1,), 1), say."
        )
    # A constructor that takes none makes its layers itself.
    takes = "network" in inspect.signature(learner.__init__).parameters
    if network is None and takes and learner.call is MetaModel.call:
        raise ValueError(
            f"Expected network, a function that makes a new network for each trial: "
            f"{learner.__name__} has no layers of its own. Received: None. Pass "
            "network=lambda: tfmeta.networks.mlp((1,), 1), say."
        )


def check_made(*networks):
    """Raise a ValueError unless a function of networks has returned one."""
    if not all(isinstance(network, keras.Model) for network in networks):
        raise ValueError(
            f"Expected `network` to return a keras.Model. Received: {networks[0]!r}. Return it, "
            "network=lambda: tfmeta.networks.mlp((1,), 1), say."
        )


class NewNetworks:
    """Tells if two trials would train the same weights: the second starts where the first ended."""

    def __init__(self):
        self._last = []

    def check(self, learner):
        """Raise a ValueError if a learner shares its network with the learner before.

        Args:
            learner: a learner of a trial, new.
        """
        # Weights, too: a new network around a shared one is no new one. Frozen ones may be shared.
        parts = [learner.network, *learner.trainable_variables]
        before = [reference() for reference in self._last]
        if any(part is other for part in parts for other in before if part is not None):
            raise ValueError(
                "Expected a new network with new weights for each trial. Received: those of the "
                "trial before, whose training would go on. Make all layers inside of the function, "
                "network=lambda: tfmeta.networks.mlp((1,), 1), say; pretrained weights that are to "
                "stay as they are may be shared if trainable=False."
            )
        self._last = [weakref.ref(part) for part in parts if part is not None]
