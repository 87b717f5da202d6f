"""ProMP: proximal meta-policy search."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.environments import Environment
from tfmeta.learners.policies.maml_ppo import MAMLPPO


@keras.saving.register_keras_serializable("tfmeta")
class ProMP(MAMLPPO):
    """`MAMLPPO` whose policies stay near those that the support trajectories are of, too.

    Several steps on the same trajectories change the policy before adaptation as well, and with it
    the chances of what it is adapted by. Descended is, with `eta = kl_weight`,

        - mean of min(w_t A_t, clip(w_t) A_t)  +  eta * mean KL(pi that lived || pi now)

    the second over the support trajectories of every inner step. The gradient through the inner
    steps is that of low variance curvature.

    Meta-learned: the network's weights, and a standard deviation for each number of an action.
    Adapted: the same.

    Args:
        environment: a `tfmeta.environments.Environment`.
        network: as in `GradientPolicy`.
        inner_learning_rate, inner_steps, estimator, first_order: as in `MAMLPPO`.
        discount, decay, deviation, clip, updates: as in `MAMLPPO`.
        kl_weight: `eta`, at least 0. The paper: 0.0005.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or the network does not fit the environment.

    Reference:
        Rothfuss et al., "ProMP: Proximal meta-policy search", ICLR 2019, arXiv:1810.06784,
        equations 12 to 14.
    """

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        kl_weight: float = 5e-4,
        **kwargs,
    ):
        super().__init__(environment, network, **kwargs)
        self.kl_weight = check_number("kl_weight", kl_weight, zero=True)

    def penalty(self, path, supports):
        kls = [
            self.divergence(*self.run(weights, experience.observations), experience)
            for weights, experience in zip(path, supports, strict=False)
        ]
        return self.kl_weight * tf.reduce_mean(tf.stack(kls)) if kls else 0.0
