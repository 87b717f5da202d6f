"""What learners that act have in common."""

from typing import Any

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.backend.private_keras import loss_tracker
from tfmeta.engine.checks.finite import MARK
from tfmeta.engine.meta_model import MetaModel
from tfmeta.environments import Environment
from tfmeta.learners.policies.distributions import distribution_of


class PolicyLearner(MetaModel):
    """Base of the policies: `fit` on the `tasks` of an environment, no loss is compiled.

    ```python
    environment = tfmeta.environments.bandits(arms=5, pulls=10)
    learner = tfmeta.learners.RL2(environment)
    learner.compile(keras.optimizers.Adam(1e-3))
    learner.fit(environment.tasks(meta_batch_size=500), epochs=10, steps_per_epoch=100)
    ```

    The data that a policy learns from is what it lives through: a support set and a query set are
    tasks and numbers for randomness (`Environment.tasks`). The logs have `return`, the mean sum of
    the rewards of a trial of the query rows, not discounted, and `entropy`, of the choices.

    A subclass defines `live`, `objective`, `adapt` and `predict_query`.

    Args:
        environment: a `tfmeta.environments.Environment`.
        network: a `keras.Model` from observations to features, or None.
        discount: of rewards, > 0 and at most 1.
        **kwargs: `name` and `dtype`, as in `MetaModel`.
    """

    has_own_loss = True
    supports_masks = True
    gains_in_xla = False

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        discount: float = 0.99,
        **kwargs,
    ):
        if not isinstance(environment, Environment):
            raise ValueError(
                "Expected an environment, such as tfmeta.environments.bandits(). Received: "
                f"{type(environment).__name__}."
            )
        check_integer("horizon of the environment", environment.horizon, 1)
        super().__init__(network, **kwargs)
        self.environment = environment
        self.distribution, self.log_scale = distribution_of(environment.actions), None
        self.discount = check_number("discount", discount)
        if self.discount > 1:
            raise ValueError(f"Expected discount <= 1. Received: {discount!r}.")
        self.return_tracker = keras.metrics.Mean(name="return")
        self.entropy_tracker = keras.metrics.Mean(name="entropy")

    @property
    def choices(self):
        """Width of what says how to choose: a logit an action, or a mean for each number of one."""
        return self.distribution.width

    @property
    def episodes(self):
        """Episodes that the policy lives through in one task."""
        return self.environment.episodes

    def trial(self, episodes, training=False, inner_steps=None):
        """What the query rows of a meta-batch live through: `Trajectories` of `B * R` rows.

        Args:
            episodes: `Episode` of a meta-batch, of `environment.tasks`.
            training: True inside a step of `fit`.
            inner_steps: number of inner steps on the support rows before, for learners that take
                them; None for their own.
        """
        if inner_steps is not None:
            raise ValueError(
                f"Expected no inner_steps: {type(self).__name__} takes none. Received: "
                f"inner_steps={inner_steps}."
            )
        return self.live(episodes[1], training)

    def live(self, part, training):
        """What the rows of an `Examples` of a meta-batch, `[B, R, ...]`, live through.

        Returns:
            `Trajectories` of `B * R` rows.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `live`.")

    def objective(self, lived):
        """Of `Trajectories`: what the optimizer descends, and the mean entropy of the choices."""
        raise NotImplementedError(f"{type(self).__name__} does not define `objective`.")

    def compile(self, *arguments, **kwargs):
        if kwargs.get("jit_compile") is True and not self.environment.in_graph:
            raise ValueError(
                f"Expected no jit_compile: {self.environment!r} runs on the host. "
                "Received: jit_compile=True. Leave it out."
            )
        super().compile(*arguments, **kwargs)

    def fit(self, x: Any = None, y: None = None, **kwargs) -> keras.callbacks.History:
        with self.environment.readable_errors():
            return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: None = None, **kwargs) -> Any:
        with self.environment.readable_errors():
            return super().evaluate(x, y, **kwargs)

    def train_step(self, episodes):
        with tf.GradientTape() as tape:
            lived = self.live(episodes[1], True)
            objective, entropy = self.objective(lived)
            # Keras sums gradients over replicas, and the meta-batch is their mean.
            share = objective / self.distribute_strategy.num_replicas_in_sync
        gradients = tape.gradient(share, self.trainable_variables)
        gradients = self.if_finite(objective, gradients)
        self.optimizer.apply(gradients, self.trainable_variables)
        return self._logs(lived, objective, entropy)

    def if_finite(self, objective, gradients):
        """The gradients, for which a step has to wait: it stops if the objective is not finite."""
        check = tf.debugging.Assert(
            tf.math.is_finite(objective),
            [
                f"{MARK}: Expected finite observations and rewards of {self.environment!r}. "
                f"Received: an objective of {type(self).__name__} that is NaN or infinite. If they "
                "are finite, lower the learning rate."
            ],
        )
        with tf.control_dependencies([] if check is None else [check]):  # None where it has run
            return [g if g is None else tf.identity(g) for g in gradients]

    def test_step(self, episodes):
        lived = self.live(episodes[1], False)
        return self._logs(lived, *self.objective(lived))

    def predict_step(self, episodes):
        raise NotImplementedError("A policy acts: see `tfmeta.environments.rollout`.")

    def adapted_model(self, support):
        raise ValueError(
            f"Expected a policy without a memory. Received: {type(self).__name__}, which changes "
            "with every step that it lives, as no Keras model does: let it act by "
            "tfmeta.environments.rollout, or ask predict_query(adapt(support), observations)."
        )

    def export(self, filepath, format="tf_saved_model", *, like=None):
        raise ValueError(
            "Expected a learner that learns from examples. Received: "
            f"{type(self).__name__}, a policy, which learns in its environment. Save it with "
            'save("policy.keras"), or export the adapted_model of one without a memory.'
        )

    def scored_specs(self, episode):
        return episode.query.y, episode.query.y

    def check_episodes(self, first):
        x = first.query.x
        tasks = tf.nest.flatten(self.environment.parameters([0]))
        given = tf.nest.flatten(x["task"]) if _has_tasks(x) else []
        if [tuple(t.shape[1:]) for t in tasks] != [t.shape[2:] for t in given]:
            raise ValueError(
                f"Expected tasks of {self.environment!r}, `learner.environment.tasks(...)`. "
                "Received: episodes of something else."
            )

    def choose(self, choices, bits):
        """Draw actions: `(action, log probability)`, from `choices` `[N, ...]` and random bits."""
        action = self.distribution.draw(choices, self.log_scale, bits)
        return action, self.distribution.log_chance(choices, self.log_scale, action)

    def entropy(self, choices):
        """Of the distribution of actions, `[N]`."""
        return self.distribution.entropy(choices, self.log_scale)

    def _logs(self, lived, objective, entropy):
        loss_tracker(self).update_state(objective)
        self.return_tracker.update_state(tf.reduce_sum(lived.rewards, axis=0))
        self.entropy_tracker.update_state(entropy)
        return self.get_metrics_result()


def _has_tasks(x):
    return isinstance(x, dict) and set(x) == {"task", "row"}


def flat_rows(part):
    """Tasks and numbers of the rows of a meta-batch, `[B, R, ...]` to `[B * R, ...]`."""
    x = tf.nest.map_structure(
        lambda t: tf.reshape(t, tf.concat([[-1], tf.shape(t)[2:]], 0)), part.x
    )
    return x["task"], x["row"]
