"""What learners with a gradient inner loop share."""

import keras

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.backend.network_facts import ends_linear, has_batch_norm
from tfmeta.engine import episode_checks, saving
from tfmeta.engine import learner_checks as checks
from tfmeta.inner import SGD
from tfmeta.learners.gradient.inner_loop import InnerLoop


class GradientLearner(InnerLoop):
    """Base of the learners whose `adapt` takes gradient steps on the support loss.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: step size of the inner loop, > 0.
        inner_steps: number of inner steps, >= 0.
        evaluation_steps: number of inner steps outside `fit`'s training steps (validation,
            `evaluate`, `predict`, `adapt`); None means `inner_steps`.
        first_order: True treats inner gradients as constants.
        transductive: what BatchNormalization does with query examples. False: they are normalised
            by the statistics of the support set, each on its own. True: by the statistics of
            the query batch itself, as in the MAML paper, so that an example's prediction depends on
            the others. The support set is always normalised by its own statistics; moving averages
            are neither used nor changed, but a frozen layer goes by its own.
        checkpoint_inner_steps: True keeps only the weights after each inner step of a training
            step, and computes the rest again for the outer gradient, which is the same: less
            memory for more time. Without effect with `first_order`, which keeps nothing anyway.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.
    """

    supports_masks = True

    def __init__(
        self,
        network=None,
        *,
        inner_learning_rate=0.01,
        inner_steps=1,
        evaluation_steps=None,
        first_order=False,
        transductive=False,
        checkpoint_inner_steps=False,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.inner_learning_rate = inner_learning_rate
        self.inner_steps = inner_steps
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.transductive = transductive
        self.checkpoint_inner_steps = checkpoint_inner_steps
        if self.most_steps is not None:
            checks.check_evaluation_steps(evaluation_steps, self.most_steps)
        self.meta_parameters = None
        if self.built:
            self._learn_parameters()

    def __setattr__(self, name, value):
        check = _CHECKS.get(name)
        if check is not None:
            value = check(name, value)
        made = "meta_parameters" in self.__dict__ and self.built
        if made and name in self.fixed_arguments() and value != getattr(self, name):
            raise ValueError(
                f"Expected {name} to stay {getattr(self, name)!r}: {type(self).__name__} has made "
                f"parameters for it. Received: {value!r}. Make another learner; for fewer inner "
                "steps on new tasks set evaluation_steps."
            )
        if name == "first_order" and value and not self.takes_first_order:
            raise ValueError(
                f"Expected no first_order: {type(self).__name__} takes no derivative through its "
                f"inner loop. Received: first_order={value}. Leave it out."
            )
        super().__setattr__(name, value)

    @classmethod
    def search_space(cls, hp):
        rate = saving.default_argument(cls, "inner_learning_rate")
        steps = saving.default_argument(cls, "inner_steps")
        space = {
            "inner_learning_rate": hp.Float(
                "inner_learning_rate", 1e-3, max(1.0, 10 * rate), sampling="log", default=rate
            ),
            "inner_steps": hp.Int("inner_steps", 1, max(5, 2 * steps), default=steps),
        }
        if cls.takes_first_order:
            space["first_order"] = hp.Boolean("first_order")
        return super().search_space(hp) | space

    def build(self, input_shape):
        super().build(input_shape)
        if self.meta_parameters is None:
            self._learn_parameters()

    def _learn_parameters(self):
        self.meta_parameters = self.make_meta_parameters()
        if self.meta_parameters is not None:
            made_for = tuple(self.weights_with_parameters())
            object.__setattr__(self, "_made_for", lambda: made_for)  # hidden from Keras

    def make_meta_parameters(self):
        """`MetaParameters` that are learned besides the network's weights, or None."""
        return None

    def weights_with_parameters(self):
        """Those of `network_weights()` that `make_meta_parameters` makes something for."""
        return self.network_weights()

    def fixed_arguments(self):
        """Names of the arguments that `make_meta_parameters` depends on, a set."""
        return {"inner_steps"} if self.most_steps is not None else set()

    def update_rule(self):
        """The rule of an inner step, an init/update pair of `tfmeta.inner`."""
        return SGD(self.inner_learning_rate)

    def network_weights(self):
        """The network's trainable variables, without what the learner learns besides."""
        parameters = self.meta_parameters
        own = {id(v) for v in parameters.variables} if parameters is not None else set()
        return [v for v in self.inner_network().trainable_variables if id(v) not in own]

    def own_layers(self):
        weights = self.network_weights()
        adapted = {id(weights[i]) for i in self.adapted_positions()}
        layers = self.inner_network()._flatten_layers()
        return [x for x in layers if any(id(v) in adapted for v in x.trainable_variables)]

    def adapted_model(self, support):
        batch_norm = has_batch_norm(self.inner_network())
        # A plain clone of the network is enough where a clone is the same, and where it normalises
        # query examples as this learner does.
        if not _can_be_cloned(self.network) or (self.transductive and batch_norm):
            return super().adapted_model(support)
        adapted, network = self.adapt(support), self.network
        model = keras.models.clone_model(network)
        pairs = zip(network.trainable_variables, adapted.weights, strict=True)
        values = {id(v): value for v, value in pairs}
        pairs = zip(network.non_trainable_variables, adapted.state, strict=True)
        values |= {id(v): value for v, value in pairs}
        # By place: what is frozen may not be in the clone.
        for old, new in zip(network.variables, model.variables, strict=True):
            new.assign(values[id(old)])
        return model

    def predicts_logits(self):
        return ends_linear(self.inner_network())

    def check_episodes(self, first):
        super().check_episodes(first)
        if self.integer_labels:
            # By a trace: subclassed networks have no compute_output_shape of their own.
            x = keras.KerasTensor((None, *first.query.x.shape[2:]), first.query.x.dtype)
            outputs = self.inner_network().compute_output_spec(x)
            episode_checks.check_ways(outputs.shape[-1], first)


def _can_be_cloned(network):
    """True for a Sequential or functional model with no `call` of its own."""
    return hasattr(network, "outputs") and type(network).call.__module__.startswith("keras.")


def _check_steps(name, value):
    if name == "evaluation_steps" and value is None:
        return None
    return check_integer(name, value, 0)


# Of arguments, when they are made and when they are changed.
_CHECKS = {
    "inner_learning_rate": check_number,
    "inner_steps": _check_steps,
    "evaluation_steps": _check_steps,
    "first_order": check_flag,
    "transductive": check_flag,
    "checkpoint_inner_steps": check_flag,
}
