"""The outer loop, written once on top of `adapt` and `predict_query`."""

import tensorflow as tf

from tfmeta.backend import many_steps
from tfmeta.engine import episode_checks, finite
from tfmeta.engine.metrics import merge_tasks
from tfmeta.engine.task import BeforeResult, TaskRunner
from tfmeta.ops import map_gradients
from tfmeta.types import Episode


def mean_over_tasks(value):
    """The mean of `[B, ...]` over the tasks of all replicas."""
    value = tf.reduce_mean(value, axis=0)
    context = tf.distribute.get_replica_context()
    return value if context.num_replicas_in_sync == 1 else context.all_reduce("MEAN", value)


class OuterLoop(TaskRunner):
    """The steps of Keras's training loop, over meta-batches of episodes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first_bad_loss = None
        self._before = None

    def outer_gradients(self, episodes):
        """Results of every task, and the gradient of their mean query loss.

        Args:
            episodes: a meta-batch, `Episode` of tensors `[B, rows, ...]`.

        Returns:
            `(results, gradients)`: a `TaskResult` `[B, ...]`, one gradient a trainable variable.
        """

        scale = self.optimizer.scale_loss(1.0) if self._computes_in_float16() else None

        def task(element):
            episode, seeds = element
            result, _ = self.run_task(episode, seeds, training=True)
            objective = result.objective
            return objective if scale is None else objective * scale, result

        elements = self.with_seeds(episodes)
        results, gradients = map_gradients(
            task, elements, self.trainable_variables, self._batching_mode(elements)
        )
        if scale is not None:
            gradients = [g / scale for g in gradients]
        return self.with_penalty(results, gradients)

    def with_penalty(self, results, gradients):
        """Results and outer gradients, the network's weight regularisers added."""
        if not self.losses:
            return results, gradients
        with tf.GradientTape() as tape:
            penalty = tf.add_n([tf.convert_to_tensor(loss) for loss in self.losses])
        extra = tape.gradient(penalty, self.trainable_variables)
        gradients = [g if e is None else g + e for g, e in zip(gradients, extra, strict=True)]
        return results._replace(loss=results.loss + penalty), gradients

    def train_step(self, episodes):
        episodes = Episode(*episodes[:2])
        episode_checks.assert_masks(self, episodes)
        results, gradients = self.outer_gradients(episodes)
        before = self._before_results(episodes, results)
        # Keras sums gradients over replicas; the meta-batch is their mean.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            gradients = [g / replicas for g in gradients]
        # The optimizer undoes it: by `LossScaleOptimizer`, or its own `loss_scale_factor`.
        gradients = [self.optimizer.scale_loss(g) for g in gradients]
        # In float16 infinite gradients are expected: `LossScaleOptimizer` leaves them out.
        checked = () if self._computes_in_float16() else gradients
        with finite.only_if_finite(self, results, checked):
            self.optimizer.apply(gradients, self.trainable_variables)
            for i, value in dict(results.updates).items():
                self.non_trainable_variables[int(i)].assign(mean_over_tasks(value))
        return self._update_metrics(episodes.query, results, before)

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            super().make_train_function(force)
            self.train_function = many_steps.in_one_program(
                self, self.train_step, self.train_function
            )
        return self.train_function

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            super().make_test_function(force)
            self.test_function = many_steps.in_one_program(self, self.test_step, self.test_function)
        return self.test_function

    def test_step(self, episodes):
        episodes = Episode(*episodes[:2])
        episode_checks.assert_masks(self, episodes)
        results, before = self.map_tasks(
            lambda e: (self.run_task(e, (), training=False)[0], self._run_before(e)), episodes
        )
        with tf.control_dependencies(finite.assertions(self, results)):
            return self._update_metrics(episodes.query, results, before)

    def predict_step(self, episodes):
        episodes = Episode(*episodes[:2])
        return self.map_tasks(
            lambda e: self.predict_query(self.adapt(e.support), e.query.x), episodes
        )

    def _before_results(self, episodes, results):
        """`_run_before` of a meta-batch at the training steps that measure it, else zeros."""
        due = self._before.due(self.optimizer.iterations)

        def measure(episodes):
            return self.map_tasks(self._run_before, episodes)

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

    def _update_metrics(self, query, results, before):
        y, outputs, mask = merge_tasks((query.y, results.outputs, query.mask))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(results.loss)
        if before != ():
            self._before.update(before, query)
        return self.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=mask)

    def get_metrics_result(self):
        before = self._before.result() if self._before is not None else {}
        return super().get_metrics_result() | before

    def reset_metrics(self):
        super().reset_metrics()
        if self._before is not None:
            self._before.reset()
