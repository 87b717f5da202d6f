"""Go on with the next episodes after `keras.callbacks.BackupAndRestore`."""

import keras
import tensorflow as tf


def after_restore(learner, episodes, callbacks):
    """Make a stream of episodes start where a restored run was stopped.

    Keras restores weights, optimizer and epoch when training begins, but starts its data from
    the beginning. The number of outer steps, `optimizer.iterations`, says how many meta-batches
    the stopped run has seen: these are skipped.

    Args:
        learner: the learner, with a built optimizer.
        episodes: a `tf.data.Dataset`.
        callbacks: the callbacks of `fit`, a list or a `CallbackList`.

    Returns:
        `(episodes, callbacks)` to train with.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList) or not any(
        isinstance(c, keras.callbacks.BackupAndRestore) for c in callbacks
    ):
        return episodes, callbacks
    seen = tf.Variable(0, dtype=tf.int64, trainable=False, name="episodes_seen")
    # A flat_map reads the variable when Keras makes the iterator, after the restore.
    stream = tf.data.Dataset.range(1).flat_map(lambda _: episodes.skip(seen))
    return stream, [*callbacks, _SkipSeen(learner, episodes, seen)]


class _SkipSeen(keras.callbacks.Callback):
    """Count, after every other callback has restored, the meta-batches to skip."""

    def __init__(self, learner, episodes, seen):
        super().__init__()
        self._seen = seen
        self._length = int(episodes.cardinality())
        self._steps_at_start = int(tf.convert_to_tensor(learner.optimizer.iterations))

    def on_train_begin(self, logs=None):
        steps = int(tf.convert_to_tensor(self.model.optimizer.iterations)) - self._steps_at_start
        self._seen.assign(steps % self._length if self._length > 0 else steps)

    def on_epoch_end(self, epoch, logs=None):
        # A finite data set begins anew in the next epoch; an endless one keeps its iterator.
        self._seen.assign(0)
