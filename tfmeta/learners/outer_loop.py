"""The outer loop, written once on top of `adapt` and `predict_query`."""

import contextlib
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.inner import fused_batch_norm
from tfmeta.learners import checks, episode_checks, finite, losses, many_steps
from tfmeta.learners.metrics import merge_tasks
from tfmeta.learners.pure import task_scope
from tfmeta.ops import map_gradients, map_tasks
from tfmeta.ops.batching import batching_mode, kernel_layers
from tfmeta.ops.pooling import exact_max_pool
from tfmeta.ops.tasks import number_of_tasks
from tfmeta.types import Episode


class TaskResult(NamedTuple):
    """What one task gives to the outer loop; a meta-batch of them has a leading axis `B`."""

    loss: Any  # query loss after adaptation, a scalar
    objective: Any  # what the outer loop descends, a scalar: mostly the loss
    outputs: Any  # query outputs, [M, ...]
    inner_losses: Any = ()  # support loss before each inner step, [T]
    updates: Any = ()  # {position in non_trainable_variables: new value}


class BeforeResult(NamedTuple):
    """What one task gives without adaptation."""

    loss: Any  # query loss, a scalar
    outputs: Any  # query outputs, [M, ...]
    measured: Any  # 1, or 0 in the place of a task that was not measured


def mean_over_tasks(value):
    """The mean of `[B, ...]` over the tasks of all replicas."""
    value = tf.reduce_mean(value, axis=0)
    context = tf.distribute.get_replica_context()
    return value if context.num_replicas_in_sync == 1 else context.all_reduce("MEAN", value)


class OuterLoop(keras.Model):
    """The steps of Keras's training loop, over meta-batches of episodes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.query_loss = None
        self.first_bad_loss = None
        self._before = None

    def task_loss(self, examples, outputs):
        """The compiled loss of one task: the mean over real rows, a scalar."""
        if self.integer_labels and tf.executing_eagerly() and outputs.shape.rank:
            checks.check_labels(examples.y.numpy(), outputs.shape[-1], "y")
        return losses.task_loss(self.query_loss, examples, outputs)

    def map_tasks(self, fn, elements):
        """Apply `fn` to each task of a nest of tensors `[B, ...]`, batched as suits the network."""
        return map_tasks(fn, elements, self._batching_mode(elements))

    def _batching_mode(self, elements):
        return batching_mode(self.own_layers(), self.task_batching, elements, self._in_xla())

    def _in_xla(self):
        return bool(self.compiled and self.jit_compile)

    def _computes_in_float16(self):
        layers = self.inner_network()._flatten_layers()
        return any(layer.compute_dtype == "float16" for layer in layers)

    @contextlib.contextmanager
    def _layers_of_a_task(self):
        """Keras's layers made right and fast for the inside of a compiled step."""
        # XLA fuses by itself.
        fuses = (
            kernel_layers(self.own_layers()) and not self._in_xla() and not tf.executing_eagerly()
        )
        with exact_max_pool(self._in_xla()), fused_batch_norm(fuses):
            yield

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

    def with_seeds(self, episodes):
        """What `run_task` takes of each task: the meta-batch, and seeds for its randomness."""
        return episodes, self._task_seeds(number_of_tasks(episodes))

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

    def run_task(self, episode, seeds, training):
        """Adapt, predict and score one task, as a pure function: `(TaskResult, adapted)`."""
        with (
            self._layers_of_a_task(),
            task_scope(zip(self._seed_states(), seeds, strict=False)) as scope,
        ):
            adapted, result = self.score_task(episode, training)
        if training:
            seed_states = {id(v) for v in self._seed_states()}
            values = [
                None if id(v) in seed_states else scope.get_current_value(v)
                for v in self.non_trainable_variables
            ]
            changed = {str(i): v for i, v in enumerate(values) if v is not None}
            result = result._replace(updates=dict(result.updates) | changed)
        return result, adapted

    def score_task(self, episode, training):
        """Adapt, predict and score inside of `run_task`: `(adapted, TaskResult)`."""
        adapted = self.adapt(episode.support, training=training)
        outputs = self.predict_query(adapted, episode.query.x, training=training)
        loss = self.task_loss(episode.query, outputs)
        inner_losses = getattr(adapted, "inner_losses", ())
        return adapted, TaskResult(loss, loss, outputs, inner_losses)

    def _run_before(self, episode):
        """Predict and score one task without adaptation: `BeforeResult`, or () for None."""
        with task_scope(), self._layers_of_a_task():
            start = self.unadapted(episode.support)
            if start is None:
                return ()
            outputs = self.predict_query(start, episode.query.x)
            loss = self.task_loss(episode.query, outputs)
            return BeforeResult(loss, outputs, tf.ones_like(loss))

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

    def _seed_states(self):
        return [v for v in self.non_trainable_variables if "seed_generator_state" in v.path]

    def _task_seeds(self, tasks):
        """Seeds `[B, 2]` for each source of randomness, so that each task drops other units.

        Drawn from the source's own seed and the number of the outer step, for all replicas
        together: a run that was stopped, or that is spread over devices, drops the same units.
        """
        context = tf.distribute.get_replica_context()
        replicas, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
        step = tf.cast(self.optimizer.iterations, tf.int32)

        def draw(state):
            key = tf.stack([tf.cast(state.value[0], tf.int32), step])
            seeds = tf.random.stateless_uniform((replicas * tasks, 2), key, 0, 2**31 - 1, tf.int32)
            return tf.cast(seeds[replica * tasks : (replica + 1) * tasks], state.dtype)

        return tuple(map(draw, self._seed_states()))

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
