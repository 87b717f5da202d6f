"""One task of a meta-batch: adapt, predict, score. `OuterLoop` runs many of them."""

import contextlib
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.backend.batching import batching_mode, kernel_layers
from tfmeta.backend.map_tasks import number_of_tasks
from tfmeta.backend.pooling import exact_max_pool
from tfmeta.backend.task_layers import fused_batch_norm
from tfmeta.engine import learner_checks as checks
from tfmeta.engine import losses
from tfmeta.engine.purity import task_scope
from tfmeta.ops import map_tasks


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


class TaskRunner(keras.Model):
    """What is done with each task, as pure functions, and how tasks are batched."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.query_loss = None

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

    def with_seeds(self, episodes):
        """What `run_task` takes of each task: the meta-batch, and seeds for its randomness."""
        return episodes, self._task_seeds(number_of_tasks(episodes))

    def _seed_states(self):
        return [v for v in self.non_trainable_variables if is_seed_state(v)]

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


def is_seed_state(variable):
    """True for the state of a layer's random numbers, such as dropout's."""
    return "seed_generator_state" in variable.path
