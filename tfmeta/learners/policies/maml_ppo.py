"""MAML of policies, with proximal steps."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.backend.calls import traced_once
from tfmeta.environments import Environment
from tfmeta.learners.policies.gradient_policy import GradientPolicy, mean_over_steps
from tfmeta.ops.policy_gradients import clipped_surrogate


@keras.saving.register_keras_serializable("tfmeta")
class MAMLPPO(GradientPolicy):
    """MAML of policies, the outer step of proximal policy optimization: no second-order search.

    An outer step is `updates` steps of the compiled optimizer on the same trajectories, along

        mean of min(w_t A_t, clip(w_t, 1 - clip, 1 + clip) A_t)  over tasks, rows and steps

    of the query trajectories of the adapted policies, with `w_t` the ratio of chances to the policy
    that lived through them; the inner steps are taken anew from the weights of the moment, on the
    support trajectories that are there, by the ratio to the policy that those are of.

    Meta-learned: the network's weights, and a standard deviation for each number of an action.
    Adapted: the same.

    Args:
        environment: a `tfmeta.environments.Environment`.
        network: as in `GradientPolicy`.
        inner_learning_rate, inner_steps, estimator, first_order, discount, decay, deviation: as
            there.
        clip: > 0. ProMP's code: 0.3.
        updates: steps of the optimizer in an outer step, at least 1. ProMP's code: 5, Adam(1e-3).
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or the network does not fit the environment.

    Reference:
        Schulman et al., "Proximal policy optimization algorithms", 2017, arXiv:1707.06347; Rothfuss
        et al., "ProMP: Proximal meta-policy search", ICLR 2019, arXiv:1810.06784, section 6.
    """

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        clip: float = 0.3,
        updates: int = 5,
        **kwargs,
    ):
        super().__init__(environment, network, **kwargs)
        self.clip = check_number("clip", clip)
        self.updates = check_integer("updates", updates, 1)

    @property
    def optimizer_steps(self):  # type: ignore[override]
        return self.updates

    def improve(self, supports, query):
        replicas = self.distribute_strategy.num_replicas_in_sync

        def descend():
            start = self.initial_weights()
            with tf.GradientTape() as tape:
                tape.watch(start)
                loss, kl = self._loss_and_kl(start, supports, query)
                share = loss / replicas  # Keras sums over replicas
            return tape.gradient(share, start), loss, kl

        descend = traced_once(descend)
        for _ in range(self.updates):
            gradients, loss, kl = descend()
            gradients = self.if_finite(loss, gradients)
            self.optimizer.apply(gradients, self.policy_variables())
        return loss, kl

    def _loss_and_kl(self, weights, supports, query):
        """What is descended, and the KL of adapted policies from before, means over the tasks."""

        def task(element):
            supports, query = element
            path = self.adapted_again(weights, supports)
            choices, log_scale = self.run(path[-1], query.observations)
            logs = self.distribution.log_chance(choices, log_scale, query.actions)
            gain = clipped_surrogate(logs, query.log_chances, query.advantages, self.clip)
            loss = self.penalty(path, supports) - mean_over_steps(gain, query.mask)
            return loss, self.divergence(choices, log_scale, query)

        return [tf.reduce_mean(found) for found in self.map_tasks(task, (supports, query))]

    def divergence(self, choices, log_scale, experience):
        """Mean KL to a policy from the one that an `Experience` of one task is of."""
        old = experience.choices, experience.log_scale
        kl = self.distribution.divergence(old, (choices, log_scale))
        return mean_over_steps(kl, experience.mask)

    def penalty(self, path, supports):
        """What is descended besides, of one task: nothing.

        Args:
            path: the weights before the first inner step and after each.
            supports: `Experience` of each inner step.
        """
        return 0.0
