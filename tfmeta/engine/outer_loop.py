"""The steps of Keras's training loop, over meta-batches of episodes."""

import tensorflow as tf

from tfmeta.engine import losses, phases
from tfmeta.engine.checks import episode_checks, finite
from tfmeta.engine.metrics import beside_outputs, merge_tasks
from tfmeta.engine.task import (
    BeforeResult,
    computes_in_float16,
    map_over_tasks,
    run_before,
    run_task,
    with_seeds,
)
from tfmeta.types import Episode


def outer_gradients(learner, episodes):
    """Results of every task, the gradient of their mean objective, and updates of state.

    Args:
        learner: a compiled learner.
        episodes: a meta-batch, `Episode` of tensors `[B, rows, ...]`.

    Returns:
        `(results, gradients, merges)`: a `TaskResult` `[B, ...]`, one gradient a trainable
        variable, and a `StateUpdate` for each key of `results.updates`.
    """
    merges = {}

    def run(element):
        episode, seeds = element
        return run_task(learner, episode, seeds, True, merges)

    elements = with_seeds(learner, episodes)
    results, gradients = learner.outer_gradient.over_tasks(learner, run, elements)
    return *_with_penalty(learner, results, gradients), merges


def results_and_gradients(learner, episodes):
    """The first two of `outer_gradients`, in the phase of training that the learner is in."""
    return phases.run(learner, lambda: outer_gradients(learner, episodes)[:2])


def _with_penalty(learner, results, gradients):
    """Results and outer gradients, the network's weight regularisers added."""
    if not learner.losses:
        return results, gradients
    with tf.GradientTape() as tape:
        penalty = tf.add_n([tf.convert_to_tensor(loss) for loss in learner.losses])
    extra = tape.gradient(penalty, learner.trainable_variables)
    gradients = [g if e is None else g + e for g, e in zip(gradients, extra, strict=True)]
    return results._replace(loss=results.loss + penalty), gradients


def train_step(learner, episodes):
    """One outer step on a meta-batch; the logs, a dict."""
    episodes = Episode(*episodes[:2])
    episode_checks.assert_masks(learner, episodes)
    scored, before = phases.run(learner, lambda: _descend(learner, episodes))
    return _update_metrics(learner, scored, episodes.query, before)


def _descend(learner, episodes):
    """Gradients, the optimizer's step, new state: what was scored, after and before adaptation."""
    results, gradients, merges = outer_gradients(learner, episodes)
    before = _before_results(learner, episodes, results)
    # Keras sums gradients over replicas; the meta-batch is their mean.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        gradients = [g / replicas for g in gradients]
    # The optimizer undoes it: by `LossScaleOptimizer`, or its own `loss_scale_factor`.
    gradients = [learner.optimizer.scale_loss(g) for g in gradients]
    # Before the optimizer counts on: what a task wrote belongs to this outer step.
    state = [
        (merges[key].variables, merges[key].merge(values))
        for key, values in results.updates.items()
    ]
    # In float16 infinite gradients are expected: `LossScaleOptimizer` leaves them out.
    checked = () if computes_in_float16(learner) else gradients
    with finite.only_if_finite(learner, episodes, results, checked):
        learner.optimizer.apply(gradients, learner.trainable_variables)
        for variables, values in state:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
    results = results._replace(objective=(), inner_losses=(), updates=(), adapted=())
    return results, before


def test_step(learner, episodes):
    """Loss and metrics of a meta-batch; the logs, a dict."""
    episodes = Episode(*episodes[:2])
    episode_checks.assert_masks(learner, episodes)

    def task(episode):
        result = run_task(learner, episode, (), training=False)
        return result._replace(adapted=()), run_before(learner, episode)

    results, before = map_over_tasks(learner, task, episodes)
    with tf.control_dependencies(finite.assertions(learner, episodes, results)):
        return _update_metrics(learner, results, episodes.query, before)


def predict_step(learner, episodes):
    """Query outputs of a meta-batch after adaptation, `[B, M, ...]`."""
    episodes = Episode(*episodes[:2])

    def task(episode):
        query = episode.query
        return learner.predict_query(learner.adapt(episode.support), query.x, mask=query.mask)

    return map_over_tasks(learner, task, episodes)


def _before_results(learner, episodes, results):
    """`run_before` of a meta-batch at the training steps that measure it, else zeros."""
    due = learner.before_adaptation.due(learner.optimizer.iterations)

    def measure(episodes):
        return map_over_tasks(learner, lambda episode: run_before(learner, episode), episodes)

    if tf.executing_eagerly():
        return measure(episodes) if due else ()
    # A function of its own is traced once, and tells whether there is anything to measure.
    measure = tf.function(measure, autograph=False)
    specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, episodes)
    if measure.get_concrete_function(specs).structured_outputs == ():
        return ()
    loss, outputs = tf.zeros_like(results.loss), tf.zeros_like(results.outputs)
    zeros = BeforeResult(loss, outputs, measured=loss)
    return tf.cond(due, lambda: measure(episodes), lambda: zeros)


def _update_metrics(learner, results, query, before):
    y, outputs, mask, scale = merge_tasks((results.y, results.outputs, results.mask, results.scale))
    mask = losses.counted_rows(learner.query_loss, y, mask)
    for metric in learner.metrics:
        if metric.name == "loss":
            metric.update_state(results.loss)
    if before != ():
        learner.before_adaptation.update(before, results.loss, query, learner.query_loss)
    with beside_outputs(scale):
        return learner.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=mask)
