"""MAML of policies, with trust region steps."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.environments import Environment
from tfmeta.learners.policies.experience import of_each_step
from tfmeta.learners.policies.gradient_policy import GradientPolicy, mean_over_steps
from tfmeta.ops.conjugate_gradient import conjugate_gradient
from tfmeta.ops.policy_gradients import surrogate

_BACKTRACKING, _TRIES = 0.8, 15


@keras.saving.register_keras_serializable("tfmeta")
class MAMLTRPO(GradientPolicy):
    """MAML of policies: weights from which a gradient step on a few trajectories is worth most.

    An inner step is one of REINFORCE with a linear baseline; the outer one is of trust region
    policy optimization, on the query trajectories of the adapted policies `theta'(theta)`:

        maximise  mean of w_t A_t  over tasks, rows and steps
        with      mean KL(pi before || pi) <= max_kl

    of the adapted policies on the query rows, and of those on the way on the support rows that
    they lived through, with `w_t` the ratio of chances to the policy before the step. Its direction
    solves `F x = g` by conjugate gradients, `F` the Hessian of the mean KL in the initial weights,
    and its length is the longest of a line search that keeps the bound and gains.

    Meta-learned: the network's weights, and a standard deviation for each number of an action.
    Adapted: the same.

    Differs from the paper's code: the gradient through an inner step is the one of low variance
    curvature, where the code differentiates `log pi A` twice, which is not the derivative that it
    stands for (`estimator="naive"` does so), and the KL of the policies before adaptation, which
    drifted away without it, is bounded too (`bound_sampling=False` does not).

    There is no optimizer to compile: `learner.compile()`.

    Args:
        environment: a `tfmeta.environments.Environment`.
        network: as in `GradientPolicy`.
        inner_learning_rate, inner_steps, estimator, first_order, discount, decay, deviation: as
            there.
        max_kl: the bound, > 0.
        conjugate_gradient_steps: at least 1.
        damping: what is added to the diagonal of `F`, at least 0.
        curvature_tasks: tasks of the meta-batch, the first of them, that `F` is measured on; None
            for all. It takes most of the time; gradient and bound are of all tasks.
        bound_sampling: False bounds the KL of the adapted policies alone.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or the network does not fit the environment.

    Reference:
        Finn, Abbeel and Levine, "Model-agnostic meta-learning for fast adaptation of deep
        networks", 2017, arXiv:1703.03400, algorithm 3; Schulman et al., "Trust region policy
        optimization", 2015, arXiv:1502.05477, appendix C.
    """

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        max_kl: float = 0.01,
        conjugate_gradient_steps: int = 10,
        damping: float = 1e-5,
        curvature_tasks: int | None = None,
        bound_sampling: bool = True,
        **kwargs,
    ):
        super().__init__(environment, network, **kwargs)
        self.max_kl = check_number("max_kl", max_kl)
        steps = conjugate_gradient_steps
        self.conjugate_gradient_steps = check_integer("conjugate_gradient_steps", steps, 1)
        self.damping = check_number("damping", damping, zero=True)
        if curvature_tasks is not None:
            check_integer("curvature_tasks", curvature_tasks, 1)
        self.curvature_tasks = curvature_tasks
        self.bound_sampling = check_flag("bound_sampling", bound_sampling)

    def compile(self, optimizer=None, loss=None, metrics=None, **kwargs):
        """As in `MetaModel`, without an optimizer: the search says how long a step is."""
        if optimizer is not None and not _adds(optimizer):
            raise ValueError(
                f"Expected no optimizer: {type(self).__name__} finds its steps by a line search "
                f"within max_kl. Received: {optimizer!r}. Call learner.compile()."
            )
        # It only adds the step, and counts.
        super().compile(keras.optimizers.SGD(1.0), loss, metrics, **kwargs)

    def improve(self, supports, query):
        if self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError("Expected one device for MAMLTRPO. Received: a strategy of several.")
        start = self.initial_weights()
        with tf.GradientTape() as tape:
            tape.watch(start)
            loss, _ = self._loss_and_kl(start, supports, query)
        gradient = [tf.convert_to_tensor(g) for g in tape.gradient(loss, start)]
        gradient = self.if_finite(tf.linalg.global_norm(gradient), gradient)
        few = tf.nest.map_structure(lambda t: t[: self.curvature_tasks], (supports, query))

        def product(direction):
            return self._fisher_product(start, *few, direction)

        direction = conjugate_gradient(product, gradient, self.conjugate_gradient_steps)
        square = _dot(direction, product(direction))
        length = tf.sqrt(2 * self.max_kl / tf.maximum(square, 1e-12))
        step = [-length * d for d in direction]
        scale, loss, kl = self._search(start, step, loss, supports, query)
        # An optimizer descends.
        self.optimizer.apply([-scale * s for s in step], self.policy_variables())
        return loss, kl

    def _policies(self, weights, supports, query):
        """What the policies of one task choose that start from other weights.

        Returns:
            `(choices, log_scale)` of those that are bounded, a list, on what `_bounded` gives.
        """
        *before, adapted = self.adapted_again(weights, supports)
        found = zip([*before, adapted], [*supports, query], strict=True)
        found = [self.run(weights, experience.observations) for weights, experience in found]
        return found if self.bound_sampling else found[-1:]

    def _bounded(self, supports, query):
        return [*supports, query] if self.bound_sampling else [query]

    def _loss_and_kl(self, weights, supports, query):
        """Minus the surrogate of the return, and the KL from before, means over the tasks."""

        def task(element):
            supports, query = element
            policies = self._policies(weights, supports, query)
            logs = self.distribution.log_chance(*policies[-1], query.actions)
            gain = surrogate(logs, query.log_chances, query.advantages)
            kls = [
                mean_over_steps(self.distribution.divergence((e.choices, e.log_scale), new), e.mask)
                for e, new in zip(self._bounded(supports, query), policies, strict=True)
            ]
            return -mean_over_steps(gain, query.mask), tf.add_n(kls) / len(kls)

        return [tf.reduce_mean(found) for found in self.map_tasks(task, (supports, query))]

    def _fisher_product(self, weights, supports, query, direction):
        """`F` times a direction, by the Jacobian of what the policies choose.

        At the weights that the trajectories are of, the Hessian of the KL is `J^T H J`: `J` from
        the initial weights to choices and log_scale, `H` in these.
        """
        weights = [tf.identity(w) for w in weights]
        is_scaled = self.log_scale is not None

        def outputs(element):
            found = self._policies(weights, *element)
            return found if is_scaled else [choices for choices, _ in found]

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(weights)
            found = tf.nest.flatten(self.map_tasks(outputs, (supports, query)))
        with tf.GradientTape(watch_accessed_variables=False) as by_dummy:
            # J^T u is linear in u, and J v its derivative.
            dummy = [tf.zeros_like(t) for t in found]
            by_dummy.watch(dummy)
            back = tape.gradient(found, weights, output_gradients=dummy)
        forward = by_dummy.gradient(back, dummy, output_gradients=direction)
        image = self._hessian_of_kl(self._bounded(supports, query), found, forward)
        product = tape.gradient(found, weights, output_gradients=image)
        del tape
        return [p + self.damping * d for p, d in zip(product, direction, strict=True)]

    def _hessian_of_kl(self, experiences, outputs, direction):
        """Times a direction: of the mean KL of a meta-batch, in choices and log_scale."""
        outputs = [tf.stop_gradient(t) for t in outputs]
        parts = 1 if self.log_scale is None else 2

        def mean_kl():
            found = []
            for i, e in enumerate(experiences):
                choices, *scale = outputs[parts * i : parts * (i + 1)]
                new = choices, of_each_step(scale[0] if scale else ())
                kl = self.distribution.divergence((e.choices, of_each_step(e.log_scale)), new)
                steps = tf.maximum(tf.reduce_sum(e.mask, axis=(1, 2)), 1.0)
                found.append(tf.reduce_sum(e.mask * kl, axis=(1, 2)) / steps)
            return tf.reduce_mean(tf.stack(found))

        with tf.GradientTape() as outer:
            outer.watch(outputs)
            with tf.GradientTape() as tape:
                tape.watch(outputs)
                kl = mean_kl()
            gradients = tape.gradient(kl, outputs)
        return outer.gradient(gradients, outputs, output_gradients=direction)

    def _search(self, start, step, before, supports, query):
        """The first of shorter and shorter steps that gains within the bound: `scale, loss, kl`.

        A scale of 0 if there is none.
        """

        def is_worse(i, loss, kl):
            return tf.logical_not((loss < before) & (kl <= self.max_kl))

        def shorter(i, *_):
            scale = _BACKTRACKING ** tf.cast(i, tf.float32)
            weights = [w + scale * s for w, s in zip(start, step, strict=True)]
            return i + 1, *self._loss_and_kl(weights, supports, query)

        first = tf.constant(0), before, tf.constant(float("inf"))
        tries, loss, kl = tf.while_loop(is_worse, shorter, first, maximum_iterations=_TRIES)
        good = (loss < before) & (kl <= self.max_kl)
        scale = tf.where(good, _BACKTRACKING ** tf.cast(tries - 1, tf.float32), 0.0)
        return scale, tf.where(good, loss, before), tf.where(good, kl, 0.0)


def _adds(optimizer):
    """True if an optimizer adds minus the gradient, and nothing else."""
    plain = isinstance(optimizer, keras.optimizers.SGD) and not optimizer.momentum
    return plain and float(optimizer.learning_rate) == 1.0


def _dot(a, b):
    return tf.add_n([tf.reduce_sum(s * t) for s, t in zip(a, b, strict=True)])
