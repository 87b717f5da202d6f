"""How the outer gradient of a learned optimizer is taken: through an unroll, or by evolution."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.backend.map_tasks import number_of_tasks
from tfmeta.engine.purity import task_scope
from tfmeta.engine.task import map_over_tasks, task_layers
from tfmeta.learners.optimizers.unroll import UnrolledEpisode


class _OuterGradient:
    """Base: a value with a config, which is compared by it."""

    #: Number of particles of a task whose training each goes on by itself; None for one task.
    kept_particles = None
    #: True if there is nothing to carry over without `unroll_length`.
    needs_unroll_length = False

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), *self.get_config().items()))

    def __repr__(self):
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@keras.saving.register_keras_serializable("tfmeta")
class ThroughUnroll(_OuterGradient):
    """The gradient through the steps of one outer step, of all that went before not.

    It is exact if these are all of the task's steps, and biased if `unroll_length` truncates them:
    what a step does to the losses after the stretch has no part in it.
    """

    def over_tasks(self, learner, run, elements):
        """As `tfmeta.engine.outer_gradient.ThroughAdaptation.over_tasks`."""
        variables = learner.trainable_variables

        def task(element):
            with tf.GradientTape() as tape:
                result = run(element)
            # A task at a time: one that is not finite must not reach the others.
            with task_scope(learner), task_layers(learner):
                gradients = tape.gradient(result.objective, variables, unconnected_gradients="zero")
            gradients = [tf.convert_to_tensor(g) for g in gradients]
            ok = _is_finite((result.inner_losses, result.loss, gradients))
            gradients = [tf.where(ok, g, tf.zeros_like(g)) for g in gradients]
            return _left_out_unless(ok, result)._replace(adapted=()), gradients

        results, gradients = map_over_tasks(learner, task, _unrolled(learner, elements))
        return results, [tf.reduce_mean(g, axis=0) for g in gradients]


class _Evolution(_OuterGradient):
    """Base of the estimates from losses of perturbed rules: no derivative at all.

    Args:
        standard_deviation: of the perturbation of each learned number, > 0.
        pairs: pairs of perturbations `e` and `-e` that a task is run with.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, standard_deviation=0.01, pairs=1):
        self.standard_deviation = check_number("standard_deviation", standard_deviation)
        self.pairs = check_integer("pairs", pairs, 1)

    def get_config(self):
        return {"standard_deviation": self.standard_deviation, "pairs": self.pairs}

    def particles(self):
        """Signs, and numbers of the perturbations, lists."""
        return [1.0, -1.0] * self.pairs, [i // 2 for i in range(2 * self.pairs)]

    def over_tasks(self, learner, run, elements):
        """As `tfmeta.engine.outer_gradient.ThroughAdaptation.over_tasks`."""
        tasks = number_of_tasks(elements)
        signs, numbers = self.particles()
        count = len(signs)

        def task(element):
            result = run(element)
            ok = _is_finite((result.inner_losses, result.loss))
            return _left_out_unless(ok, result)

        def apart(t):
            return tf.reshape(t, [tasks, count, *t.shape[1:]])

        elements = _for_particles(_unrolled(learner, elements), tasks, signs, numbers)
        results = tf.nest.map_structure(apart, map_over_tasks(learner, task, elements))
        # A task counts if all of its particles do.
        broken = tf.reduce_max(_own_update(results)["broken"], axis=1)
        used = [i for i, sign in enumerate(signs) if sign]
        objective = results.objective
        losses = tf.where(broken[:, None] > 0, tf.zeros_like(objective), objective)
        gradients = [self._estimate(noise, losses, used) for noise in results.adapted]
        return self._merged(results, broken), gradients

    def _estimate(self, noise, losses, used):
        """The mean of `noise * loss / variance`, of `[B, P, ...]` and `[B, P]`: `[...]`."""
        noise, losses = tf.gather(noise, used, axis=1), tf.gather(losses, used, axis=1)
        losses = tf.reshape(losses, [*losses.shape, *[1] * (len(noise.shape) - 2)])
        products = noise * tf.cast(losses, noise.dtype)
        return tf.reduce_mean(products, axis=[0, 1]) / self.standard_deviation**2

    def _merged(self, results, broken):
        """Results of tasks, `[B, ...]`, from those of particles, `[B, P, ...]`."""
        update = _own_update(results)
        first = tf.nest.map_structure(lambda t: t[:, 0], results._replace(adapted=(), updates=()))
        unroll = self._kept(update["unroll"])
        if unroll != ():
            ends = unroll.end
            lost = tf.reshape(broken, [-1] + [1] * (len(ends.shape) - 1)) > 0
            unroll = unroll._replace(step=tf.where(lost, ends, unroll.step))
        key = next(iter(results.updates))
        return first._replace(updates={key: {"unroll": unroll, "broken": broken}})


@keras.saving.register_keras_serializable("tfmeta")
class EvolutionStrategies(_Evolution):
    """The gradient of the loss after some steps, smoothed, from losses of perturbed rules.

    With learned weights `w`, losses `L`, and `e` of `pairs` normal perturbations:

        g = mean of e (L(w + e) - L(w - e)) / (2 standard_deviation^2)

    Where `unroll_length` truncates a task, each stretch begins where the rule itself, unperturbed,
    has come to (it is run as well): biased as the gradient through the stretch is, but smooth where
    losses of many steps are not.

    Args:
        standard_deviation: of `e`, > 0.
        pairs: perturbations per task and outer step.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Metz, Maheswaranathan, Nixon, Freeman and Sohl-Dickstein, "Understanding and correcting
        pathologies in the training of learned optimizers", ICML 2019, arXiv:1810.10180.
    """

    def particles(self):
        signs, numbers = super().particles()
        return [0.0, *signs], [0, *numbers]

    def _kept(self, unroll):
        return tf.nest.map_structure(lambda t: t[:, 0], unroll)


@keras.saving.register_keras_serializable("tfmeta")
class PersistentES(_Evolution):
    """Persistent evolution strategies: the sum of a particle's perturbations meets its loss.

    Each particle trains a network of its own, from the first step of the task to the last, and is
    perturbed anew in each stretch; with `x` the sum of its perturbations since the task began:

        g = mean over particles of x L / standard_deviation^2

    What a perturbation does to all later losses is in it: an unbiased estimate of the gradient of
    the smoothed loss of the whole task, at the price of a variance that grows with its stretches.

    Args:
        standard_deviation: of a perturbation, > 0.
        pairs: pairs of opposite particles per task.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Vicol, Metz and Sohl-Dickstein, "Unbiased gradient estimation in unrolled computation graphs
        with persistent evolution strategies", ICML 2021, arXiv:2112.13835, algorithm 2.
    """

    needs_unroll_length = True

    @property
    def kept_particles(self):
        return 2 * self.pairs

    def _kept(self, unroll):
        return unroll


def _unrolled(learner, elements):
    """Elements of a meta-batch with the `Unroll` that each goes on with."""
    episodes, seeds = elements
    kept = () if learner.unroll_length is None else learner.unrolls.read(number_of_tasks(elements))
    return UnrolledEpisode(*episodes, unroll=kept), seeds


def _for_particles(elements, tasks, signs, numbers):
    """Elements `[B * P, ...]`: those of a task are the same, but for sign and number."""
    count = len(signs)
    (episode, seeds), kept = elements, elements[0].unroll
    episode, seeds = tf.nest.map_structure(
        lambda t: tf.repeat(t, count, axis=0), (episode._replace(unroll=()), seeds)
    )
    if kept != () and kept.noise != ():  # each particle has its own
        kept = tf.nest.map_structure(lambda t: tf.reshape(t, [tasks * count, *t.shape[2:]]), kept)
    else:
        kept = tf.nest.map_structure(lambda t: tf.repeat(t, count, axis=0), kept)
    particle = tf.tile(tf.constant(signs), [tasks]), tf.tile(tf.constant(numbers), [tasks])
    return episode._replace(unroll=kept, particle=particle), seeds


def _is_finite(values):
    """True if all of a nest of tensors is finite, a bool scalar."""
    found = [tf.reduce_all(tf.math.is_finite(t)) for t in tf.nest.flatten(values)]
    return tf.reduce_all(tf.stack(found))


def _own_update(result):
    """What the learner itself writes: no layer of the network writes into variables."""
    (value,) = result.updates.values()
    return value


def _left_out_unless(ok, result):
    """The result of a task; of one that is not `ok`, with its task ended and counted.

    Its loss is then that of the stretch's beginning, which is finite unless the data are not.
    """
    (key,), update = result.updates, _own_update(result)
    unroll = update["unroll"]
    if unroll != ():
        # What is drawn anew is chosen by the step: no value that is not finite is kept.
        kept = tf.nest.map_structure(
            lambda t: tf.where(ok, t, tf.zeros_like(t)), unroll._replace(end=(), begin=())
        )
        kept = kept._replace(begin=unroll.begin, end=unroll.end)
        unroll = kept._replace(step=tf.where(ok, kept.step, unroll.end))
    first = result.inner_losses[0]
    return result._replace(
        loss=tf.where(ok, result.loss, tf.cast(first, result.loss.dtype)),
        objective=tf.where(ok, result.objective, tf.zeros_like(result.objective)),
        outputs=tf.where(ok, result.outputs, tf.zeros_like(result.outputs)),
        mask=tf.where(ok, result.mask, tf.zeros_like(result.mask)),
        inner_losses=(),
        updates={key: {"unroll": unroll, "broken": tf.cast(~ok, tf.float32)}},
    )
