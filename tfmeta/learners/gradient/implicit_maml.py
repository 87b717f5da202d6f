"""iMAML: the outer gradient from the end of the inner loop alone."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.outer_gradient import OfEachTask
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import computes_in_float16, is_seed_state
from tfmeta.inner import Rule
from tfmeta.learners.gradient import checks
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.learners.gradient.inner_loop import INNER_LOSS_SCALE, support_statistics
from tfmeta.ops.conjugate_gradient import conjugate_gradient


class ImplicitGradient(OfEachTask):
    """`(I + H / (s + d))^-1 grad L_query` at the adapted weights of a task."""

    def of_task(self, learner, episode, result):
        adapted, scale = result.adapted, INNER_LOSS_SCALE if computes_in_float16(learner) else 1.0
        weights = [tf.identity(w) for w in adapted.weights]
        gradient = _query_gradient(learner, episode, adapted, weights, scale)
        with tf.GradientTape(persistent=True) as second:
            second.watch(weights)
            with tf.GradientTape() as first:
                first.watch(weights)
                outputs, _ = learner.run_network(
                    weights, adapted.state, episode.support.x, False, True
                )
                loss = scale * learner.task_loss(episode.support, outputs)
            slope = first.gradient(loss, weights, unconnected_gradients="zero")

        def product(vectors):
            curved = second.gradient(slope, weights, vectors, unconnected_gradients="zero")
            pull = scale * (learner.regularization + learner.cg_damping)
            return [v + h / pull for v, h in zip(vectors, curved, strict=True)]

        return conjugate_gradient(product, gradient, learner.cg_steps)


def _query_gradient(learner, episode, adapted, weights, scale):
    support, query = episode
    with tf.GradientTape() as tape:
        tape.watch(weights)
        state = support_statistics(learner, weights, adapted.state, support, False)
        outputs = learner.predict_query(adapted._replace(weights=weights, state=state), query.x)
        loss = scale * learner.task_loss(query, outputs)
    gradient = tape.gradient(loss, weights, unconnected_gradients="zero")
    return [g / scale for g in gradient]


@keras.saving.register_keras_serializable("tfmeta")
class ImplicitMAML(GradientLearner):
    """Learn an initialisation that each task's solution is held near to.

    Inner loop, for each task, from `w_0 = w`, towards the minimum of
    `L_support(v) + s/2 |v - w|^2`:

        w_{t+1} = w_t - a_t * (grad L_support(w_t) + s * (w_t - w)),    t = 0..T-1

    with `a_t = a`, or less where the loss is too curved for `a` (`ProximalSGD` below): the
    outer gradient does not see the steps, and would let the curvature grow until they diverge.

    Outer loop: at the minimum `v` the derivative of the solution is known, however it was found,

        d L_query(v) / dw = (I + H / (s + d))^-1 grad L_query(v),    d = 0,

    H the Hessian of L_support at v, and the compiled optimizer descends its mean over tasks. The
    system is solved by conjugate gradients, one product with `H` each; nothing of the inner loop
    is kept for it. The damping d > 0 is for networks: where H / s has eigenvalues below -1, which
    ReLUs and an inner loop that stops early give, the exact formula is no direction of descent.

    Meta-learned: all trainable weights of the network. Adapted: the same.

    Differs from the paper: the inner loop is gradient descent, at a rate that is bounded by the
    curvature, where the paper leaves the solver open; damping is in the authors' code (which
    doubles `I`, too, and pulls towards `w` once, after the last step); dropout drops the same
    units in all inner steps of a task, and none in `H` and the outer gradient; normalisation as in
    `MAML`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        regularization: `s`, > 0. The paper: 2.0 on Omniglot, 0.5 on miniImageNet.
        inner_learning_rate: `a`, the largest rate.
        inner_steps: `T` in training. The paper: 16 on Omniglot 5-way.
        cg_steps: steps of conjugate gradients. The paper: 5.
        cg_damping: `d`, >= 0. The authors' code: 10.0; 0 is the paper's equation.
        **kwargs: `evaluation_steps`, `transductive`, `task_batching`, `name` and `dtype`, as in
            `MAML`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Rajeswaran, Finn, Kakade and Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019,
        arXiv:1909.04630, equations 3, 5 and 6, algorithms 1 and 2.
    """

    rolled_steps = True
    takes_first_order = False
    outer_gradient = ImplicitGradient()

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        regularization: float = 2.0,
        inner_learning_rate: float = 0.05,
        inner_steps: int = 16,
        cg_steps: int = 5,
        cg_damping: float = 10.0,
        **kwargs,
    ):
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            **kwargs,
        )
        self.regularization = check_number("regularization", regularization)
        self.cg_steps = check_integer("cg_steps", cg_steps, 1)
        self.cg_damping = check_number("cg_damping", cg_damping, zero=True)

    @classmethod
    def search_space(cls, hp):
        return super().search_space(hp) | {
            "regularization": hp.Float(
                "regularization",
                0.1,
                10.0,
                sampling="log",
                default=default_argument(cls, "regularization"),
            ),
            "cg_steps": hp.Int("cg_steps", 1, 10, default=default_argument(cls, "cg_steps")),
        }

    def adapted_constraints(self):
        return []  # the implicit gradient is that of a minimum among all weights

    def make_rule(self):
        checks.warn_of_constraints(self, self.network_weights())
        return ProximalSGD(self.inner_learning_rate, self.regularization)

    def run_network(self, weights, state, x, training, batch_statistics):
        """As ever, but the next call of dropout drops the same units: a task has one minimum."""
        outputs, new = super().run_network(weights, state, x, training, batch_statistics)
        seeds = map(is_seed_state, self.inner_network().non_trainable_variables)
        return outputs, [s if seed else n for s, n, seed in zip(state, new, seeds, strict=True)]


class ProximalSGD(Rule):
    """Descent to the minimum of `loss(w) + strength / 2 |w - w_0|^2`, at a rate that it bears.

    With `d` the gradient of the sum at `w`, and `w'`, `d'` those of the step before:

        w <- w - rate * d,    rate = min(learning_rate, |w - w'| / |d - d'|)

    The fraction is one over the curvature met on the way, after Malitsky and Mishchenko, "Adaptive
    Gradient Descent without Descent", ICML 2020 (who take half of it, and bound its growth). A step
    more than twice as long climbs, if the loss is a parabola: the next one starts where it began.
    On a loss less curved than `1 / learning_rate` this is gradient descent.

    Args:
        learning_rate: a float, the largest rate.
        strength: a float, of the pull towards the first weights.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, learning_rate, strength, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate = learning_rate
        self.strength = strength

    def init(self, weights):
        zeros = [tf.zeros_like(w) for w in weights]
        return list(weights), list(weights), zeros, tf.zeros([], weights[0].dtype)

    def update(self, gradients, weights, slots, step):
        start, before, slopes_before, rate = slots
        slopes = [
            g + self.strength * (w - s) for g, w, s in zip(gradients, weights, start, strict=True)
        ]
        moved, bent = _distance(weights, before), _distance(slopes, slopes_before)
        measured = (rate > 0) & (bent > 0)
        bearable = tf.math.divide_no_nan(moved, bent)
        too_long = measured & (rate > 2 * bearable)
        rate = tf.where(measured, tf.minimum(bearable, self.learning_rate), self.learning_rate)
        weights = [tf.where(too_long, b, w) for w, b in zip(weights, before, strict=True)]
        slopes = [tf.where(too_long, b, d) for d, b in zip(slopes, slopes_before, strict=True)]
        new = [w - rate * d for w, d in zip(weights, slopes, strict=True)]
        return new, (start, weights, slopes, rate)


def _distance(a, b):
    return tf.sqrt(tf.add_n([tf.reduce_sum((s - t) ** 2) for s, t in zip(a, b, strict=True)]))
