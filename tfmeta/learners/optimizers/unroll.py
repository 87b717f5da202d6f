"""One stretch of the training of one task: some steps of the rule, from where it stands."""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.backend.calls import of_each_task, traced_once
from tfmeta.engine.task import StateUpdate, TaskResult
from tfmeta.inner.gradient_steps import UnreachedWeights, loss_and_gradients
from tfmeta.learners.gradient import checks
from tfmeta.learners.gradient.inner_loop import FastWeights
from tfmeta.ops import standard_normal


class Unroll(NamedTuple):
    """Where the training of one task stands.

    Attributes:
        support, query: `Examples`: the task.
        weights: tensors in the place of the network's trainable weights.
        slots: those of the rule.
        state: tensors in the place of the network's `non_trainable_variables`.
        step: how many steps were taken.
        begin, end: the steps between which it counts for the outer loop.
        noise: the sum of the perturbations of the rule's weights so far, tensors like these; () for
            outer gradients that need none.
    """

    support: Any
    query: Any
    weights: Any
    slots: Any
    state: Any
    step: Any
    begin: Any
    end: Any
    noise: Any


class UnrolledEpisode(NamedTuple):
    """An `Episode` that is taken if the task before has ended.

    Attributes:
        support, query: `Examples`.
        unroll: `Unroll` to go on with; () if every stretch begins a task.
        particle: `(sign, number)` of the perturbation of the rule, scalars; () for none.
    """

    support: Any
    query: Any
    unroll: Any = ()
    particle: Any = ()


def score_stretch(learner, episode):
    """Take `unroll_length` steps: a `TaskResult` whose update is the `Unroll` after them.

    Args:
        learner: a `LearnedOptimizer`.
        episode: `UnrolledEpisode`.

    Returns:
        `TaskResult`. `loss` is that of the query set at the end, `objective` the mean of the losses
        after each step, `inner_losses` those before; `adapted` is the noise of the particle.
    """
    clock, new = _clock(learner, episode.unroll)
    kept = episode.unroll
    counts = tf.cast(clock["step"] >= clock["begin"], learner.rule.variables[0].dtype)
    parameters, noise = _perturbed(learner, episode, counts, new)
    fresh = Unroll(
        episode.support, episode.query, *begun(learner, episode.support, parameters),
        noise=(), **clock,
    )  # fmt: skip
    now = fresh if kept == () else _chosen(new, fresh, kept._replace(noise=(), **clock))
    now, losses = _steps(learner, now, parameters, bool(episode.particle))
    outputs, loss = _query(learner, now)
    objective = tf.reduce_mean(tf.concat([losses[1:], [loss]], axis=0)) * tf.cast(
        counts, loss.dtype
    )
    keeps_noise = kept != () and kept.noise != ()
    value = () if kept == () else now._replace(noise=noise if keeps_noise else ())
    query = now.query
    return TaskResult(
        loss, query.y, outputs, query.mask, objective, losses, adapted=noise,
        updates=[StateUpdate(*learner.unrolls.update(value))],
    )  # fmt: skip


def begun(learner, support, parameters):
    """Weights, slots and state before the first step of a task."""
    network = learner.inner_network()
    weights = [tf.convert_to_tensor(v) for v in learner.network_weights()]
    weights = learner.adapted_part.start(learner, weights, None, support, True)
    state = [tf.convert_to_tensor(v) for v in network.non_trainable_variables]
    with reading(learner, parameters):
        slots = learner.rule.init(weights)
    return of_each_task((list(weights), slots, state), like=tf.nest.flatten(support.x)[0])


def reading(learner, parameters):
    """A scope in which the rule reads its learned weights from tensors."""
    pairs = zip(learner.rule.trainable_variables, parameters, strict=True)
    return keras.StatelessScope(list(pairs))


def _clock(learner, kept):
    """Step, begin and end, as a dict; and whether a new task begins, a bool scalar."""
    stretch, draws = learner.stretch(), _uniform(learner, 3)
    most, fewest = learner.inner_steps // stretch, (learner.fewest_steps or 0) // stretch
    count = tf.constant(float(most))
    if fewest:  # log-uniform
        low, high = math.log(fewest), math.log(most + 1)
        count = tf.clip_by_value(tf.floor(tf.exp(low + draws[0] * (high - low))), fewest, most)
    if learner.unroll_length is not None:
        # The tasks of the first meta-batch end one after another, not all at one time.
        first = tf.convert_to_tensor(learner.unrolls.outer_steps) == 0
        count = tf.where(first, 1.0 + tf.floor(draws[1] * count), count)
    warm = tf.floor(draws[2] * (learner.warm_start // stretch + 1))
    begin = tf.cast(warm, tf.int32) * stretch
    fresh = {"step": tf.zeros_like(begin), "begin": begin}
    fresh["end"] = begin + tf.cast(count, tf.int32) * stretch
    if kept == ():
        return fresh, True
    new = kept.step >= kept.end
    return {name: tf.where(new, value, getattr(kept, name)) for name, value in fresh.items()}, new


def _uniform(learner, count):
    """Numbers in 0..1, `[count]`, of the task's randomness, the same in XLA and outside."""
    bits = _bits(learner.seeds.next(), [count])
    return (tf.cast(tf.math.floordiv(bits, 2**9), tf.float32) + 2.0**22) * 2.0**-23


def _bits(seed, shape):
    return tf.random.stateless_uniform(shape, tf.cast(seed, tf.int32), None, None, tf.int32)


def _perturbed(learner, episode, counts, new):
    """The rule's learned weights as this particle has them, and the sum of its perturbations."""
    values = [tf.convert_to_tensor(v) for v in learner.rule.trainable_variables]
    if episode.particle == ():
        return values, ()
    sign, number = episode.particle
    seed = tf.cast(learner.seeds.next(), tf.int32) + tf.stack([0, number])
    scale = learner.outer_gradient.standard_deviation * tf.cast(sign, counts.dtype) * counts
    sizes = [math.prod(v.shape) for v in values]
    drawn = tf.split(standard_normal([sum(sizes)], seed, counts.dtype), sizes)
    steps = [scale * tf.reshape(d, v.shape) for d, v in zip(drawn, values, strict=True)]
    noise = steps
    if episode.unroll != () and episode.unroll.noise != ():
        before = [tf.where(new, tf.zeros_like(n), n) for n in episode.unroll.noise]
        noise = [n + s for n, s in zip(before, steps, strict=True)]
    return [v + s for v, s in zip(values, steps, strict=True)], noise


def _chosen(new, fresh, kept):
    """`fresh` where a task begins, else `kept`."""
    return tf.nest.map_structure(lambda f, k: tf.where(new, f, k), fresh, kept)


def _steps(learner, now, parameters, rolled):
    """The `Unroll` after a stretch, and the support loss before each of its steps, `[K]`."""
    rows = _rows(learner, now.support)

    def step(t, weights, slots, state, parameters, begun):
        def loss_of(weights, state, t):
            some = now.support if rows is None else rows(t)
            outputs, state = learner.run_network(weights, state, some.x, True, True)
            return learner.task_loss(some, outputs), state

        loss, gradients, state = loss_and_gradients(loss_of, weights, state, t)
        if learner.first_order or rolled:
            gradients = [tf.stop_gradient(g) for g in gradients]
        with reading(learner, parameters):
            weights, slots = learner.rule.update(gradients, weights, slots, begun + t)
        return _constrained(learner, weights), slots, state, loss

    carried = list(now.weights), now.slots, now.state
    try:
        run = _in_one_loop if rolled else _one_by_one
        *carried, losses = run(step, carried, (parameters, now.step), learner.stretch())
    except UnreachedWeights as error:
        names = [v.path for v in learner.network_weights()]
        raise checks.unreached(names, error.positions) from None
    weights, slots, state = carried
    step = now.step + learner.stretch()
    return now._replace(weights=weights, slots=slots, state=state, step=step), losses


def _one_by_one(step, carried, fixed, count):
    """The steps one after another, traced once: what a gradient goes back through."""
    one = traced_once(step, tf.constant(0), *carried, *fixed) if count > 1 else step
    losses = []
    for t in range(count):
        *carried, loss = one(tf.constant(t), *carried, *fixed)
        losses.append(loss)
    return *carried, tf.stack(losses)


def _in_one_loop(step, carried, fixed, count):
    """The steps as one loop, whose graph and memory do not grow with their number."""

    def body(t, losses, *carried):
        *carried, loss = step(t, *carried, *fixed)
        return t + 1, tf.where(tf.range(count) == t, loss, losses), *carried

    zeros = of_each_task(tf.zeros([count], carried[0][0].dtype), like=fixed[1])
    _, losses, *carried = tf.while_loop(
        lambda t, *_: t < count, body, (tf.constant(0), zeros, *carried), maximum_iterations=count
    )
    return *carried, losses


def _rows(learner, support):
    """A function of a step to the rows that it sees; None for all of them."""
    size, count = learner.inner_batch_size, tf.shape(support.y)[0]
    if size is None:
        return None
    seed = tf.cast(learner.seeds.next(), tf.int32)

    def rows(t):
        chosen = tf.math.floormod(_bits(seed + tf.stack([0, t]), [size]), count)
        return tf.nest.map_structure(lambda part: tf.gather(part, chosen), support)

    return rows


def _constrained(learner, weights):
    """What Keras's optimizers do after a step, for layers with a `kernel_constraint`."""
    pairs = zip(weights, learner.adapted_constraints(), strict=True)
    return [w if constraint is None else constraint(w) for w, constraint in pairs]


def _query(learner, now):
    """Outputs for the query set of the task, and their loss."""
    state = learner.query_state(now.weights, now.state, learner.stretch(), now.support, True)
    adapted = FastWeights(now.weights, state, ())
    outputs = learner.predict_query(adapted, now.query.x, training=True)
    return outputs, learner.task_loss(now.query, outputs)
