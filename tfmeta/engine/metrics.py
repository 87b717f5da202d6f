"""The metrics that `fit` reports."""

import contextlib
import contextvars
import inspect
import warnings

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import compiled_metrics
from tfmeta.engine import losses

_scale = contextvars.ContextVar("scale", default=())


@contextlib.contextmanager
def beside_outputs(scale):
    """A scope in which metrics are told the standard deviations of outputs; () for none."""
    token = _scale.set(scale)
    try:
        yield
    finally:
        _scale.reset(token)


def scale_of_outputs():
    """The standard deviations of the outputs that are counted here, like them, or None."""
    return None if isinstance(_scale.get(), tuple) else _scale.get()


def merge_tasks(nest):
    """`[B, rows, ...]` to `[B * rows, ...]` in every tensor of a nest."""
    return tf.nest.map_structure(
        lambda t: (
            tf.reshape(t, tf.concat([[-1], tf.shape(t)[2:]], axis=0))
            if None in t.shape[2:]
            else tf.reshape(t, (-1, *t.shape[2:]))
        ),
        nest,
    )


def are_built(model):
    """True if no variables of a model's compiled metrics are left to make."""
    metrics = compiled_metrics(model)
    return metrics is None or metrics.built


def build_metrics(model, y, outputs):
    """Make the variables of a model's compiled metrics, for targets and outputs like these."""
    if not are_built(model):
        compiled_metrics(model).build(y, outputs)


def check_metrics(metrics):
    """A ValueError for a metric that cannot leave out padded rows.

    Args:
        metrics: what `compile` was given.
    """
    for metric in keras.tree.flatten(metrics):
        if isinstance(metric, keras.metrics.Metric):
            takes = inspect.signature(metric.update_state).parameters.values()
            if not any(p.name == "sample_weight" or p.kind == p.VAR_KEYWORD for p in takes):
                raise ValueError(
                    "Expected metrics that take weights, the masks of episodes. Received: "
                    f"{type(metric).__name__}.update_state without sample_weight. Write "
                    "update_state(self, y_true, y_pred, sample_weight=None)."
                )


def copy_of(metric):
    """A new metric like one, or None if its class does not say what it was made with.

    That is a class with arguments of its own and without a `get_config` that has them.
    """
    classes = type(metric).__mro__
    made, config = (
        next(i for i, c in enumerate(classes) if name in vars(c))
        for name in ("__init__", "get_config")
    )
    taken = inspect.signature(type(metric).__init__).parameters.values()
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = {p.name for p in taken if p.kind not in many} - {"self", "name", "dtype"}
    if made < config and own:
        return None
    try:
        return type(metric).from_config(metric.get_config())
    except TypeError:  # a constructor that takes no name
        return None


def _copies(metrics):
    """A nest of metrics of which those are left out, with a warning, that cannot be copied."""
    if isinstance(metrics, dict):
        pairs = ((name, _copies(part)) for name, part in metrics.items())
        return {name: part for name, part in pairs if part is not None}
    if isinstance(metrics, list | tuple):
        return [part for part in map(_copies, metrics) if part is not None]
    if not isinstance(metrics, keras.metrics.Metric):
        return metrics
    if getattr(metrics, "of_distributions", False):
        return None  # there is no distribution before adaptation
    copy = copy_of(metrics)
    if copy is None:
        warnings.warn(
            f"The metric {metrics.name!r} is measured after adaptation alone, not before it: "
            f"{type(metrics).__name__} has no get_config that its copy could be made from.",
            stacklevel=2,
        )
    return copy


class Gain(keras.metrics.Metric):
    """By how much adaptation lowers the loss of tasks: what is needed for a paired interval."""

    def __init__(self, name="gain", dtype=None):
        super().__init__(name=name, dtype=dtype)
        # Their number, the sums of the loss before, of its difference, and of the square of that.
        self.sums = self.add_weight(shape=(4,), initializer="zeros", name="sums")

    def update_state(self, before, after, measured):
        """Count tasks, by their loss before and after adaptation, all `[B]`."""
        before, after, measured = (tf.cast(t, self.dtype) for t in (before, after, measured))
        gains = before - after
        values = tf.stack([tf.ones_like(gains), before, gains, tf.square(gains)])
        self.sums.assign_add(tf.reduce_sum(values * measured, axis=1))

    def result(self):
        return tf.convert_to_tensor(self.sums)


class BeforeAdaptation:
    """Loss and metrics of the query set before adaptation, beside those after it.

    A `keras.Model` of its own holds the copies of the compiled metrics, because only
    `compile` knows what a name such as "accuracy" means for given outputs.
    """

    def __init__(self, metrics=None):
        self.used = False
        self._loss = keras.metrics.Mean(name="loss_before")
        #: What adaptation gains, of the same tasks.
        self.gain = Gain(name="gain")
        self._holder = keras.Model()
        self._holder.compile(weighted_metrics=_copies(metrics))

    @property
    def built(self):
        """True if `build` has nothing left to do."""
        return are_built(self._holder)

    @property
    def variables(self):
        """What is counted so far, a list of Keras variables."""
        mine = [*self._loss.variables, *self.gain.variables]
        return [*mine, *self._holder.metrics_variables]

    def build(self, y, outputs):
        """Make the variables, see `build_metrics`."""
        build_metrics(self._holder, y, outputs)

    def due(self, step):
        """True if training step number `step` is one of those that are measured.

        The first one after a reset, and one in ten: it takes 13 % of the time of a step of Conv4.
        """
        return tf.logical_or(self._loss.count == 0.0, step % 10 == 0)

    def update(self, before, after, query, loss):
        """Count one meta-batch.

        Args:
            before: loss `[B]`, outputs `[B, M, ...]`, measured `[B]` (0: do not count).
            after: the loss after adaptation, `[B]`.
            query: `Examples` `[B, M, ...]`.
            loss: the compiled `keras.losses.Loss`, which says what does not count.
        """
        self.used = True
        self._loss.update_state(before.loss, sample_weight=before.measured)
        self.gain.update_state(before.loss, after, before.measured)
        mask = query.mask * tf.cast(before.measured, query.mask.dtype)[:, None]
        y, outputs, mask = merge_tasks((query.y, before.outputs, mask))
        mask = losses.counted_rows(loss, y, mask)
        self._holder.compute_metrics(x=None, y=y, y_pred=outputs, sample_weight=mask)

    def result(self):
        """`{"loss_before": ..., "<metric>_before": ...}`, empty if nothing was ever counted."""
        if not self.used:
            return {}
        compiled = self._holder.get_metrics_result()
        compiled.pop("loss", None)
        return {"loss_before": self._loss.result()} | {
            f"{k}_before": v for k, v in compiled.items()
        }

    def reset(self):
        """Start again, at the beginning of an epoch."""
        self._loss.reset_state()
        self.gain.reset_state()
        self._holder.reset_metrics()
