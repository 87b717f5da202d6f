"""The loss of one task, and the metrics that `fit` reports."""

import keras
import tensorflow as tf


class FunctionLoss(keras.losses.Loss):
    """A Keras loss from a plain function `(y_true, y_pred) -> values`."""

    def __init__(self, fn):
        super().__init__(name=getattr(fn, "__name__", "loss"))
        self.fn = fn

    def call(self, y_true, y_pred):
        return self.fn(y_true, y_pred)


def task_loss(loss, examples, outputs):
    """The mean of a loss over the real rows of one task (their sum with `reduction="sum"`).

    Keras's own reduction is passed by: it divides by the padded rows as well, and by the
    number of replicas, which would change the inner learning rate with the hardware.

    Args:
        loss: a `keras.losses.Loss`.
        examples: `Examples` of one task; y `[rows, ...]`, mask `[rows]`.
        outputs: `[rows, ...]`.

    Returns:
        A scalar tensor of the dtype of `outputs`.
    """
    y = examples.y
    if outputs.dtype.is_floating and y.dtype.is_floating:
        y = tf.cast(y, outputs.dtype)
    values = tf.convert_to_tensor(loss.call(y, outputs))
    if values.shape.rank is not None and values.shape.rank > 1:
        values = tf.reduce_mean(values, axis=list(range(1, values.shape.rank)))
    mask = tf.cast(examples.mask, values.dtype)
    total = tf.reduce_sum(values * mask)
    return total if loss.reduction == "sum" else total / tf.reduce_sum(mask)


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


class BeforeAdaptation:
    """Loss and metrics of the query set before adaptation, beside those after it.

    A `keras.Model` of its own holds the copies of the compiled metrics, because only
    `compile` knows what a name such as "accuracy" means for given outputs.
    """

    def __init__(self, metrics=None):
        def copy(metric):
            return (
                type(metric).from_config(metric.get_config())
                if isinstance(metric, keras.metrics.Metric)
                else metric
            )

        self.used = False
        self._loss = keras.metrics.Mean(name="loss_before")
        self._holder = keras.Model()
        self._holder.compile(weighted_metrics=keras.tree.map_structure(copy, metrics))

    def update(self, loss, y, outputs, mask):
        """Count one meta-batch: loss `[B]`, y, outputs and mask `[B * M, ...]`."""
        self.used = True
        self._loss.update_state(loss)
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
        self._holder.reset_metrics()
