"""Keras's entry points for episodes: everything is checked before the first step."""

import keras
import tensorflow as tf

from tfmeta.backend.batching import kernel_layers
from tfmeta.engine import episode_checks, finite, losses, resume
from tfmeta.engine import learner_checks as checks
from tfmeta.engine.metrics import BeforeAdaptation, are_built, build_metrics
from tfmeta.engine.outer_loop import OuterLoop


class EntryPoints(OuterLoop):
    """`compile`, `fit`, `evaluate` and `predict` of a learner."""

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """As `keras.Model.compile`. `loss` takes one Keras loss; metrics count real rows only.

        `jit_compile="auto"` asks XLA to compile the steps of dense networks, which makes them
        1.4 to 2.9 times as fast, and not those of convolutional or recurrent ones, which it makes
        slower on a CPU. Under XLA padded rows that come after the first meta-batch are not told
        from real ones if the learner cannot leave them out ("auto" then does without XLA).
        """
        weighted = kwargs.pop("weighted_metrics", None)
        if weighted is not None and metrics is not None:
            raise ValueError(
                "Expected `metrics` alone: the mask weighs them already. Received: metrics and "
                "weighted_metrics. Put all of them into metrics."
            )
        metrics = metrics if weighted is None else weighted  # a reloaded learner has the latter
        self.query_loss = losses.as_loss(loss)
        self._before = BeforeAdaptation(metrics)
        if kwargs.get("jit_compile", "auto") == "auto":
            kwargs["jit_compile"] = self._suits_xla(kwargs.get("run_eagerly"))
        if self._computes_in_float16() and kwargs.get("auto_scale_loss", True):
            # Keras does it if the policy is the learner's own, not only its network's.
            optimizer = _with_loss_scale(keras.optimizers.get(optimizer))
        # Keras gives sample weights, here the mask, to weighted metrics only.
        super().compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics, **kwargs)
        self.first_bad_loss = finite.FirstBadLoss() if self.jit_compile else None

    def _suits_xla(self, run_eagerly):
        layers = self.inner_network()._flatten_layers()
        return (
            not (run_eagerly or tf.config.functions_run_eagerly())
            and self.supports_masks
            and self.distribute_strategy.num_replicas_in_sync == 1
            and all(layer.supports_jit for layer in layers)
            and not kernel_layers(self.inner_network()._flatten_layers())
        )

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:  # so that the optimizer's saved state has a place to go
            self.optimizer.build(self.trainable_variables)

    def prepare(self, episodes):
        """Check a data set of episodes against this learner, and build what is not built yet.

        Args:
            episodes: a `tf.data.Dataset` of meta-batched `Episode`.

        Raises:
            ValueError: what was expected, what came, and what to change.
        """
        episode_checks.prepare(self, episodes)

    def fit(
        self, x=None, y=None, *, epochs=1, steps_per_epoch=None, validation_data=None, **kwargs
    ):
        """As `keras.Model.fit`, over a `tf.data.Dataset` of meta-batched `Episode`.

        With `keras.callbacks.BackupAndRestore`, a run that was stopped goes on with the episodes
        that it would have seen next.
        """
        episode_checks.check_no_targets(y, "fit")
        self._check(x, steps_per_epoch, "fit", "steps_per_epoch")
        if validation_data is not None:
            steps = kwargs.get("validation_steps")
            self._check(validation_data, steps, "fit", "validation_steps")
        self._build_optimizer()
        kwargs.setdefault("shuffle", False)  # Keras warns of True for a tf.data.Dataset
        x, callbacks = resume.after_restore(self, x, _as_list(kwargs.pop("callbacks", None)))
        with finite.readable_errors():
            return super().fit(
                x,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=validation_data,
                callbacks=finite.callbacks_with_stop(self, callbacks),
                **kwargs,
            )

    def evaluate(self, x=None, y=None, *, steps=None, **kwargs):
        """As `keras.Model.evaluate`, over a `tf.data.Dataset` of meta-batched `Episode`."""
        episode_checks.check_no_targets(y, "evaluate")
        if not kwargs.get("_use_cached_eval_dataset"):  # inside `fit`, which has checked
            self._check(x, steps, "evaluate", "steps")
        callbacks = finite.callbacks_with_stop(self, _as_list(kwargs.pop("callbacks", None)))
        with finite.readable_errors():
            return super().evaluate(x, steps=steps, callbacks=callbacks, **kwargs)

    def predict(self, x, *, steps=None, **kwargs):
        """Query outputs of every episode after adaptation, `[episodes, M, ...]`.

        To predict with one adapted task: `learner.adapted_model(support).predict(x)`.
        """
        self.prepare(x)
        episode_checks.check_finite_or_steps(x, steps, "steps")
        with finite.readable_errors():
            return super().predict(x, steps=steps, **kwargs)

    def train_on_batch(self, x, **kwargs):
        """One outer step on one meta-batch, an `Episode` of arrays `[B, rows, ...]`."""
        checks.check_compiled(self, "train_on_batch")
        episodes = self._meta_batch(x)
        self._build_optimizer()
        with finite.stops_at_nan(self):
            return super().train_on_batch(*episodes, **kwargs)

    def test_on_batch(self, x, **kwargs):
        """Loss and metrics on one meta-batch, an `Episode` of arrays `[B, rows, ...]`."""
        checks.check_compiled(self, "test_on_batch")
        episodes = self._meta_batch(x)
        with finite.stops_at_nan(self):
            return super().test_on_batch(*episodes, **kwargs)

    def predict_on_batch(self, x):
        """Query outputs of one meta-batch, an `Episode` of arrays `[B, rows, ...]`."""
        episodes = episode_checks.as_meta_batch(self, x)
        return self.predict(tf.data.Dataset.from_tensors(episodes), verbose=0)

    def _meta_batch(self, x):
        episodes = episode_checks.as_meta_batch(self, x)
        self._build_metrics(tf.nest.map_structure(tf.TensorSpec.from_tensor, episodes))
        return episodes

    def _check(self, episodes, steps, method, argument):
        checks.check_compiled(self, method)
        self.prepare(episodes)
        episode_checks.check_finite_or_steps(episodes, steps, argument)
        self._build_metrics(episodes.element_spec)

    def _build_metrics(self, spec):
        """Make the metrics now where a step cannot: on several devices, or under XLA."""
        step_can = not self.jit_compile and self.distribute_strategy.num_replicas_in_sync == 1
        if step_can or (are_built(self) and self._before.built):
            return

        def outputs(episode):
            return self.predict_query(self.adapt(episode.support), episode.query.x)

        one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), spec)
        traced = tf.function(outputs, autograph=False).get_concrete_function(one)
        y, outputs = (
            tf.zeros([size or 1 for size in s.shape], s.dtype)
            for s in (one.query.y, traced.structured_outputs)
        )
        with self.distribute_strategy.scope():
            build_metrics(self, y, outputs)
            self._before.build(y, outputs)

    def _build_optimizer(self):
        if not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _symbolic_build(self, iterator=None, data_batch=None):
        # Keras would call the network on an Episode; `prepare` has built everything already.
        pass


def _with_loss_scale(optimizer):
    kind = keras.optimizers.LossScaleOptimizer
    return optimizer if isinstance(optimizer, kind) else kind(optimizer)


def _as_list(callbacks):
    """What Keras takes for callbacks (None, one, several) as a list; a `CallbackList` as it is."""
    if callbacks is None:
        return []
    # A CallbackList is a Callback itself: in a list, `fit` would run it inside of a second one.
    one = isinstance(callbacks, keras.callbacks.Callback)
    one = one and not isinstance(callbacks, keras.callbacks.CallbackList)
    return [callbacks] if one else callbacks
