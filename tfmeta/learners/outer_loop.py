"""The outer loop, written once on top of `adapt` and `predict_query`."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.learners import checks, resume
from tfmeta.learners.metrics import BeforeAdaptation, merge_tasks, task_loss
from tfmeta.learners.pure import task_scope
from tfmeta.ops import map_gradients, map_tasks
from tfmeta.ops.tasks import batching_mode, stack_of
from tfmeta.types import Episode


class TaskResult(NamedTuple):
    """What one task gives to the outer loop; a meta-batch of them has a leading axis `B`."""

    loss: Any  # query loss after adaptation, a scalar
    outputs: Any  # query outputs, [M, ...]
    inner_losses: Any = ()  # support loss before each inner step, [T]
    before_loss: Any = ()
    before_outputs: Any = ()
    updates: Any = ()  # {position in non_trainable_variables: new value}


class OuterLoop(keras.Model):
    """Keras's training loop over meta-batches of episodes. `MetaModel` says what a learner is."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._query_loss = None
        self._before = None

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """As `keras.Model.compile`. `loss` takes one Keras loss; metrics count real rows only.

        `jit_compile="auto"` means False: XLA has to be asked for.
        """
        self._query_loss = checks.as_loss(loss)
        self._before = BeforeAdaptation(metrics)
        weighted = kwargs.pop("weighted_metrics", None)
        if weighted is not None:  # a reloaded learner
            metrics, self._before = weighted, BeforeAdaptation(weighted)
        if kwargs.get("jit_compile", "auto") == "auto":
            kwargs["jit_compile"] = False
        # Keras gives sample weights, here the mask, to weighted metrics only.
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:  # so that the optimizer's saved state has a place to go
            self.optimizer.build(self.trainable_variables)

    def task_loss(self, examples, outputs):
        """The compiled loss of one task: the mean over real rows, a scalar."""
        return task_loss(self._query_loss, examples, outputs)

    def map_tasks(self, fn, elements):
        """Apply `fn` to each task of a nest of tensors `[B, ...]`, batched as suits the network."""
        return map_tasks(fn, elements, self._batching_mode())

    def _batching_mode(self):
        jit = bool(self.compiled and self.jit_compile)
        return batching_mode(self.inner_network(), self.own_weights, jit)

    def outer_gradients(self, episodes):
        """Results of every task, and the gradient of their mean query loss.

        Args:
            episodes: a meta-batch, `Episode` of tensors `[B, rows, ...]`.

        Returns:
            `(results, gradients)`: a `TaskResult` `[B, ...]`, one gradient a trainable variable.
        """

        def task(element):
            episode, seeds = element
            result = self._run_task(episode, seeds, training=True)
            return result.loss, result

        elements = (episodes, self._task_seeds(stack_of(episodes)))
        results, gradients = map_gradients(
            task, elements, self.trainable_variables, self._batching_mode()
        )
        if self.losses:  # weight regularisers
            with tf.GradientTape() as tape:
                regularisation = tf.add_n([tf.convert_to_tensor(loss) for loss in self.losses])
            extra = tape.gradient(
                regularisation,
                self.trainable_variables,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            gradients = [g + e for g, e in zip(gradients, extra, strict=True)]
            results = results._replace(loss=results.loss + regularisation)
        return results, gradients

    def train_step(self, episodes):
        episodes = Episode(*episodes)
        checks.assert_masks(self, episodes)
        results, gradients = self.outer_gradients(episodes)
        gradients = checks.assert_finite(self, results, gradients)
        # Keras sums gradients over replicas; the meta-batch is their mean.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            gradients = [g / replicas for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        for i, value in dict(results.updates).items():
            self.non_trainable_variables[int(i)].assign(tf.reduce_mean(value, axis=0))
        for state in self._seed_states():
            state.assign(state + tf.cast([0, 1], state.dtype))
        return self._update_metrics(episodes.query, results)

    def test_step(self, episodes):
        episodes = Episode(*episodes)
        checks.assert_masks(self, episodes)
        results = self.map_tasks(lambda e: self._run_task(e, (), training=False), episodes)
        checks.assert_finite(self, results, ())
        return self._update_metrics(episodes.query, results)

    def predict_step(self, episodes):
        episodes = Episode(*episodes)
        return self.map_tasks(
            lambda e: self.predict_query(self.adapt(e.support), e.query.x), episodes
        )

    def _run_task(self, episode, seeds, training):
        """Adapt, predict and score one task, as a pure function."""
        with task_scope(zip(self._seed_states(), seeds, strict=False)) as scope:
            adapted = self.adapt(episode.support, training=training)
            outputs = self.predict_query(adapted, episode.query.x, training=training)
            result = TaskResult(
                loss=self.task_loss(episode.query, outputs),
                outputs=outputs,
                inner_losses=getattr(adapted, "inner_losses", ()),
            )
        if training:
            seed_states = {id(v) for v in self._seed_states()}
            values = [
                None if id(v) in seed_states else scope.get_current_value(v)
                for v in self.non_trainable_variables
            ]
            result = result._replace(
                updates={str(i): v for i, v in enumerate(values) if v is not None}
            )
        with task_scope():
            start = self.unadapted(episode.support)
            if start is None:
                return result
            before = self.predict_query(start, episode.query.x)
            return result._replace(
                before_outputs=before, before_loss=self.task_loss(episode.query, before)
            )

    def _seed_states(self):
        return [v for v in self.non_trainable_variables if "seed_generator_state" in v.path]

    def _task_seeds(self, tasks):
        """Seeds `[B, 2]` for each source of randomness, so that each task drops other units."""
        return tuple(
            tf.cast(
                tf.random.stateless_uniform(
                    (tasks, 2), tf.cast(v.value, tf.int32), 0, 2**31 - 1, tf.int32
                ),
                v.dtype,
            )
            for v in self._seed_states()
        )

    def _update_metrics(self, query, results):
        y, outputs, mask = merge_tasks((query.y, results.outputs, query.mask))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(results.loss)
        if tf.is_tensor(results.before_outputs):
            before = merge_tasks(results.before_outputs)
            self._before.update(results.before_loss, y, before, mask)
        return self.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=mask)

    def get_metrics_result(self):
        before = self._before.result() if self._before is not None else {}
        return super().get_metrics_result() | before

    def reset_metrics(self):
        super().reset_metrics()
        if self._before is not None:
            self._before.reset()

    # Keras's entry points: check the episodes before the first step.

    def prepare(self, episodes):
        """Check a data set of episodes against this learner, and build what is not built yet.

        Args:
            episodes: a `tf.data.Dataset` of meta-batched `Episode`.

        Raises:
            ValueError: what was expected, what came, and what to change.
        """
        checks.prepare(self, episodes)

    def fit(self, x=None, *, epochs=1, steps_per_epoch=None, validation_data=None, **kwargs):
        """As `keras.Model.fit`, over a `tf.data.Dataset` of meta-batched `Episode`.

        With `keras.callbacks.BackupAndRestore`, a run that was stopped goes on with the episodes
        that it would have seen next.
        """
        checks.check_compiled(self, "fit")
        self.prepare(x)
        checks.check_finite_or_steps(x, steps_per_epoch, "steps_per_epoch")
        if validation_data is not None:
            self.prepare(validation_data)
            checks.check_finite_or_steps(
                validation_data, kwargs.get("validation_steps"), "validation_steps"
            )
        if not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        kwargs.setdefault("shuffle", False)  # Keras warns of True for a tf.data.Dataset
        x, callbacks = resume.after_restore(self, x, kwargs.pop("callbacks", None))
        with checks.readable_errors(self):
            return super().fit(
                x,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=validation_data,
                callbacks=callbacks,
                **kwargs,
            )

    def evaluate(self, x=None, *, steps=None, **kwargs):
        """As `keras.Model.evaluate`, over a `tf.data.Dataset` of meta-batched `Episode`."""
        checks.check_compiled(self, "evaluate")
        if not kwargs.get("_use_cached_eval_dataset"):
            self.prepare(x)
            checks.check_finite_or_steps(x, steps, "steps")
        with checks.readable_errors(self):
            return super().evaluate(x, steps=steps, **kwargs)

    def predict(self, x, *, steps=None, **kwargs):
        """Query outputs of every episode after adaptation, `[episodes, M, ...]`."""
        self.prepare(x)
        checks.check_finite_or_steps(x, steps, "steps")
        with checks.readable_errors(self):
            return super().predict(x, steps=steps, **kwargs)

    def _symbolic_build(self, iterator=None, data_batch=None):
        # Keras would call the network on an Episode; `prepare` has built everything already.
        pass
