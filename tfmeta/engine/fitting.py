"""Keras's entry points for episodes: everything is checked before the first step."""

import keras
import tensorflow as tf

from tfmeta.backend import many_steps
from tfmeta.backend.private_keras import is_inside_fit, layers_of
from tfmeta.backend.task_layers import kernel_layers
from tfmeta.engine import kept, losses, phases, resume, workers
from tfmeta.engine.checks import doubts, episode_checks, finite, labels
from tfmeta.engine.checks import learner_checks as checks
from tfmeta.engine.metrics import BeforeAdaptation, are_built, build_metrics, check_metrics
from tfmeta.engine.task import computes_in_float16, run_task

# XLA compiles each inner step for itself: 40 of them took ten times as long to a first step.
_MOST_STEPS_IN_XLA = 20


def compile(learner, keras_compile, optimizer, loss, metrics, kwargs):
    """`MetaModel.compile`; the first is the learner, the second Keras's own method."""
    weighted = kwargs.pop("weighted_metrics", None)
    if weighted is not None and metrics is not None:
        raise ValueError(
            "Expected `metrics` alone: the mask weighs them already. Received: metrics and "
            "weighted_metrics. Put all of them into metrics."
        )
    if kwargs.get("loss_weights") is not None:
        raise ValueError(
            "Expected no loss_weights: there is one loss, and a factor of it belongs into the "
            f"learning rates. Received: loss_weights={kwargs['loss_weights']}. Leave it out."
        )
    metrics = metrics if weighted is None else weighted  # a reloaded learner has the latter
    check_metrics(metrics)
    learner.query_loss = losses.as_loss(loss)
    learner.before_adaptation = BeforeAdaptation(metrics)
    if kwargs.get("jit_compile", "auto") == "auto":
        kwargs["jit_compile"] = _suits_xla(learner, kwargs.get("run_eagerly"))
    if computes_in_float16(learner) and kwargs.get("auto_scale_loss", True):
        # Keras does it if the policy is the learner's own, not only its network's.
        optimizer = _with_loss_scale(keras.optimizers.get(optimizer))
    # Keras gives sample weights, here the mask, to weighted metrics only.
    keras_compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics, **kwargs)
    learner.first_bad_loss = finite.FirstBadLoss() if learner.jit_compile else None
    kept.forget(learner)


def _suits_xla(learner, run_eagerly):
    layers = layers_of(learner)  # the learner itself among them
    return (
        not (run_eagerly or tf.config.functions_run_eagerly())
        and learner.supports_masks
        and _gains_in_xla(learner, layers)
        and learner.distribute_strategy.num_replicas_in_sync == 1
        and all(layer.supports_jit for layer in layers)
        and _steps_in_a_row(learner) <= _MOST_STEPS_IN_XLA
    )


def _gains_in_xla(learner, layers):
    gains = learner.gains_in_xla  # what it says of itself holds for the cells that it has, too
    return not kernel_layers(layers) if gains is None else gains


def _steps_in_a_row(learner):
    """The number of inner steps that a compiled step holds one after another."""
    if not learner.takes_inner_steps or learner.rolled_steps:
        return 0
    return max(learner.inner_steps or 0, learner.evaluation_steps or 0)


def _with_loss_scale(optimizer):
    kind = keras.optimizers.LossScaleOptimizer
    return optimizer if isinstance(optimizer, kind) else kind(optimizer)


def fit(learner, keras_fit, x, y, steps_per_epoch, kwargs):
    """`MetaModel.fit`."""
    episode_checks.check_no_targets(y, "fit")
    checks.check_keras_arguments("fit", kwargs)
    _check(learner, x, steps_per_epoch, "fit", "steps_per_epoch")
    vars(learner)["_first_of_fit"] = vars(learner).get("_first")  # before that of validation
    validation_data = kwargs["validation_data"]
    if validation_data is not None:
        _check(learner, validation_data, kwargs.get("validation_steps"), "fit", "validation_steps")
        doubts.check_classes(learner, x, validation_data)
    _build_optimizer(learner)
    kwargs.setdefault("shuffle", False)  # Keras warns of True for a tf.data.Dataset
    callbacks = _as_list(kwargs.pop("callbacks", None))
    x, callbacks = resume.after_restore(learner, x, callbacks, steps_per_epoch)
    callbacks = finite.callbacks_with_stop(learner, callbacks)
    callbacks = doubts.callbacks_with_doubts(learner, callbacks)
    if workers.several(learner):
        with workers.readable_errors(learner):
            workers.check(learner, x)
        x = workers.distributed(learner, x)
        if validation_data is not None:
            kwargs["validation_data"] = workers.distributed(learner, validation_data)
    with workers.readable_errors(learner), finite.readable_errors(learner):
        return keras_fit(x, steps_per_epoch=steps_per_epoch, callbacks=callbacks, **kwargs)


def evaluate(learner, keras_evaluate, x, y, steps, kwargs):
    """`MetaModel.evaluate`."""
    episode_checks.check_no_targets(y, "evaluate")
    if not is_inside_fit(kwargs):  # which has checked
        checks.check_keras_arguments("evaluate", kwargs)
        _check(learner, x, steps, "evaluate", "steps")
        x = workers.distributed(learner, x) if workers.several(learner) else x
    callbacks = finite.callbacks_with_stop(learner, _as_list(kwargs.pop("callbacks", None)))
    with workers.readable_errors(learner), finite.readable_errors(learner):
        return keras_evaluate(x, steps=steps, callbacks=callbacks, **kwargs)


def predict(learner, keras_predict, x, steps, kwargs):
    """`MetaModel.predict`."""
    checks.check_keras_arguments("predict", kwargs)
    if workers.several(learner):
        raise ValueError(
            "Expected one worker to predict on. Received: a learner of several. Save it, and load "
            "it in a process of its own."
        )
    learner.prepare(x)
    episode_checks.check_finite_or_steps(x, steps, "steps")
    with finite.readable_errors(learner):
        return keras_predict(x, steps=steps, **kwargs)


def on_batch(learner, keras_method, name, x, kwargs):
    """`MetaModel.train_on_batch` and `test_on_batch`, by `name`."""
    checks.check_compiled(learner, name)
    checks.check_keras_arguments(name, kwargs)
    episodes = episode_checks.as_meta_batch(learner, x)
    _build_metrics(learner, tf.nest.map_structure(tf.TensorSpec.from_tensor, episodes))
    if name == "train_on_batch":
        _build_optimizer(learner)
    with finite.stops_at_nan(learner):
        return keras_method(*episodes, **kwargs)


def make_train_function(learner, keras_make, force):
    """`MetaModel.make_train_function`: traced by phase, many steps in one program under XLA."""
    if learner.train_function is not None and not force:
        return learner.train_function

    def one_phase():
        if workers.several(learner):
            return workers.make_function(learner, learner.train_step)
        current = learner.train_function
        keras_make(force=True)
        made = many_steps.in_one_program(learner, learner.train_step, learner.train_function)
        learner.train_function = current  # Keras has put its own there
        return made

    by_phase = bool(learner.phase_ends())
    learner.train_function = phases.by_phase(learner, one_phase) if by_phase else one_phase()
    return learner.train_function


def make_test_function(learner, keras_make, force):
    """`MetaModel.make_test_function`: many steps in one program under XLA."""
    if workers.several(learner):
        learner.test_function = workers.make_function(learner, learner.test_step)
    elif learner.test_function is None or force:
        keras_make(force)
        made = many_steps.in_one_program(learner, learner.test_step, learner.test_function)
        learner.test_function = made
    return learner.test_function


def _check(learner, episodes, steps, method, argument):
    checks.check_compiled(learner, method)
    learner.prepare(episodes)
    episode_checks.check_finite_or_steps(episodes, steps, argument)
    _build_metrics(learner, episodes.element_spec)


def _build_metrics(learner, spec):
    """Make the metrics' variables: a step that makes them is traced a second time by TensorFlow."""
    if are_built(learner) and learner.before_adaptation.built:
        return
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), spec)
    specs = learner.scored_specs(one)
    if learner.query_loss is not None and not learner.has_own_loss:
        labels.check_targets(learner.query_loss, *specs)
    y, outputs = (tf.zeros([size or 1 for size in s.shape], s.dtype) for s in specs)
    with learner.distribute_strategy.scope():
        build_metrics(learner, y, outputs)
        learner.before_adaptation.build(y, outputs)


def traced_specs(learner, episode):
    """What a task scores, `(y, outputs)`, by tracing it for specs of its `Episode`."""

    def scored(episode):
        result = run_task(learner, episode, (), training=False)
        return result.y, result.outputs

    return tf.function(scored, autograph=False).get_concrete_function(episode).structured_outputs


def _build_optimizer(learner):
    if not learner.optimizer.built:
        with learner.distribute_strategy.scope():
            learner.optimizer.build(learner.trainable_variables)


def _as_list(callbacks):
    """What Keras takes for callbacks (None, one, several) as a list; a `CallbackList` as it is."""
    if callbacks is None:
        return []
    # A CallbackList is a Callback itself: in a list, `fit` would run it inside of a second one.
    one = isinstance(callbacks, keras.callbacks.Callback)
    one = one and not isinstance(callbacks, keras.callbacks.CallbackList)
    return [callbacks] if one else callbacks
