"""One task of a meta-batch: adapt, predict, score."""

import contextlib
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.backend.batching import batching_mode
from tfmeta.backend.map_tasks import map_tasks, number_of_tasks
from tfmeta.backend.private_keras import layers_of
from tfmeta.backend.task_layers import adopted, kernel_layers, recurrent_layers, task_mode
from tfmeta.backend.workers import place
from tfmeta.engine.checks import labels
from tfmeta.engine.purity import task_scope


class TaskResult(NamedTuple):
    """What `score_task` says of one task; a meta-batch of them has a leading axis `B`.

    Attributes:
        loss: the query loss after adaptation, a scalar.
        y: targets of what was scored, `[M, ...]`; None for the query's.
        outputs: outputs that the metrics compare with them, `[M, ...]`.
        mask: `[M]`, 0 for rows that do not count; None for the query's.
        objective: what the outer loop descends, a scalar; None for `loss`.
        inner_losses: support loss before each inner step, `[T]`, if there are such steps.
        updates: a sequence of `StateUpdate`: state that goes from one outer step to the next.
        adapted: what `adapt` returned, where the outer gradient wants it.
        scale: standard deviations of `outputs`, `[M, ...]`, where a learner predicts them.
    """

    loss: Any
    y: Any = None
    outputs: Any = None
    mask: Any = None
    objective: Any = None
    inner_losses: Any = ()
    updates: Any = ()
    adapted: Any = ()
    scale: Any = ()


def mean_over_tasks(values):
    """The mean of `[B, ...]` over the tasks of all replicas, the new value of one variable."""
    return [mean_over_replicas(tf.reduce_mean(values, axis=0))]


def mean_over_replicas(value):
    """The mean of a value that each replica has."""
    context = tf.distribute.get_replica_context()
    return value if context.num_replicas_in_sync == 1 else context.all_reduce("MEAN", value)


class StateUpdate(NamedTuple):
    """How one outer step changes variables that no gradient reaches.

    Attributes:
        variables: the variables, a sequence.
        value: what one task has to say, a tensor `[...]`.
        merge: function of the values of all tasks, `[B, ...]`, to one new value a variable; the
            default makes one variable their mean, over the tasks of all replicas.
    """

    variables: Any
    value: Any
    merge: Any = mean_over_tasks


class BeforeResult(NamedTuple):
    """What one task gives without adaptation."""

    loss: Any  # query loss, a scalar
    outputs: Any  # query outputs, [M, ...]
    measured: Any  # 1, or 0 in the place of a task that was not measured


def score_task(learner, episode, training):
    """Adapt, predict, score: `TaskResult`. What a learner does that has no loss of its own."""
    adapted = learner.adapt(episode.support, training=training)
    query = episode.query
    outputs = learner.predict_query(adapted, query.x, mask=query.mask, training=training)
    loss = learner.task_loss(query, outputs)
    losses = adapted.inner_losses if learner.takes_inner_steps else ()
    return TaskResult(loss, query.y, outputs, query.mask, inner_losses=losses, adapted=adapted)


def run_task(learner, episode, seeds, training, merges=None):
    """`learner.score_task` as a pure function.

    Args:
        learner: the learner.
        episode: `Episode` of one task.
        seeds: of the task's randomness, from `with_seeds`, or ().
        training: True inside a step of `fit`.
        merges: a dict, which is filled with a `StateUpdate` for each key of the result's `updates`.

    Returns:
        `TaskResult`, whose `updates` are a dict from a key to the value of this task.
    """
    states, episode = seed_states(learner), labels.of_one_task(learner, episode)
    with task_layers(learner), task_scope(learner, zip(states, seeds, strict=False)) as scope:
        result = learner.score_task(episode, training)
    query = episode.query
    result = result._replace(
        y=query.y if result.y is None else result.y,
        mask=query.mask if result.mask is None else result.mask,
        objective=result.loss if result.objective is None else result.objective,
    )
    if merges is None:
        return result._replace(updates=())
    # What the task assigned, running statistics, becomes the mean of all tasks.
    drawn = {id(v) for v in states}
    changed = [(v, scope.get_current_value(v)) for v in learner.non_trainable_variables]
    merges |= {
        f"{i:06}": StateUpdate([variable], value)
        for i, (variable, value) in enumerate(changed)
        if value is not None and id(variable) not in drawn
    }
    merges |= {f"own_{i:06}": update for i, update in enumerate(result.updates)}
    return result._replace(updates={key: update.value for key, update in merges.items()})


def run_before(learner, episode):
    """Predict and score one task without adaptation: `BeforeResult`, or () if it cannot."""
    episode = labels.of_one_task(learner, episode)
    with task_scope(learner), task_layers(learner):
        start = learner.unadapted(episode.support)
        if start is None:
            return ()
        outputs = learner.predict_query(start, episode.query.x, mask=episode.query.mask)
        loss = learner.task_loss(episode.query, outputs)
        return BeforeResult(loss, outputs, tf.ones_like(loss))


@contextlib.contextmanager
def task_layers(learner):
    """Keras's layers made right and fast for the inside of a compiled step."""
    in_xla = compiles_in_xla(learner)
    # XLA fuses by itself.
    fuses = kernel_layers(layers_of(learner)) and not in_xla and not tf.executing_eagerly()
    with adopted(learner.inner_network()), task_mode(in_xla=in_xla, fused=bool(fuses)):
        yield


def map_over_tasks(learner, function, elements):
    """Apply `function` to each task of a nest of tensors `[B, ...]`."""
    return map_tasks(function, elements, mode_for(learner, elements))


def mode_for(learner, elements):
    """How a step of the learner batches the tasks of `elements`."""
    in_xla = compiles_in_xla(learner)
    if in_xla and not learner.vectorizes_in_xla:
        return "loop"
    layers = layers_of(learner)
    if recurrent_layers(layers):  # no gradient of them in one kernel
        return "loop"
    return batching_mode(learner.own_layers(), layers, learner.task_batching, elements, in_xla)


def compiles_in_xla(learner):
    """True if the learner's steps are compiled by XLA."""
    return bool(learner.compiled and learner.jit_compile)


def computes_in_float16(learner):
    """True if a layer of the network computes in float16, whose gradients need a scale."""
    return any(layer.compute_dtype == "float16" for layer in layers_of(learner.inner_network()))


def with_seeds(learner, episodes):
    """What `run_task` takes of each task: the meta-batch, and seeds for its randomness.

    Seeds `[B, 2]` for each source of randomness, so that each task drops other units. Drawn from
    the source's own seed and the number of the outer step, for all replicas together: a run that
    was stopped, or that is spread over devices, drops the same units.
    """
    tasks = number_of_tasks(episodes)
    context = tf.distribute.get_replica_context()
    replicas, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
    # Of W workers, the one of number w has the tasks w, w + W, ..., its devices neighbouring ones.
    workers, worker = place(tf.distribute.get_strategy())
    device = replica - worker * (replicas // workers)
    step = tf.cast(learner.optimizer.iterations, tf.int32)

    def draw(state):
        key = tf.stack([tf.cast(state.value[0], tf.int32), step])
        seeds = tf.random.stateless_uniform((replicas * tasks, 2), key, 0, 2**31 - 1, tf.int32)
        seeds = seeds[worker::workers][device * tasks : (device + 1) * tasks]
        return tf.cast(seeds, state.dtype)

    return episodes, tuple(map(draw, seed_states(learner)))


def seed_states(learner):
    """The states of the learner's random numbers."""
    return [v for v in learner.non_trainable_variables if is_seed_state(v)]


def is_seed_state(variable):
    """True for the state of a `keras.random.SeedGenerator`, such as dropout's."""
    return variable.name == "seed_generator_state"  # as Keras names it, and nothing else
