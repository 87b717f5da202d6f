"""Go on with the next episodes after a `BackupAndRestore`, tfmeta's or Keras's."""

from typing import NamedTuple

import keras
import tensorflow as tf

from tfmeta.engine import workers


class Restored(NamedTuple):
    """How far a run was that a callback restored, its attribute `restored`.

    Attributes:
        outer_steps: meta-batches that the run had seen, an int.
        batches: those of them that were of the epoch in which it goes on.
    """

    outer_steps: int
    batches: int


def after_restore(learner, episodes, callbacks, steps_per_epoch=None):
    """Make a stream of episodes start where a restored run was stopped.

    Keras restores weights, optimizer and epoch when training begins, but starts its data from
    the beginning. A callback of tfmeta says how many meta-batches the stopped run has seen, and
    how many of its epoch; of Keras's, `optimizer.iterations` says the former.

    Args:
        learner: the learner, with a built optimizer.
        episodes: a `tf.data.Dataset`.
        callbacks: the callbacks of `fit`, a list or a `CallbackList`.
        steps_per_epoch: that of `fit`.

    Returns:
        `(episodes, callbacks)` to train with.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return episodes, callbacks
    restoring = [c for c in callbacks if isinstance(c, keras.callbacks.BackupAndRestore)]
    if not restoring:
        return episodes, callbacks
    seen = tf.Variable(0, dtype=tf.int64, trainable=False, name="episodes_seen")
    length = int(episodes.cardinality())
    if length > 0 and steps_per_epoch and length % steps_per_epoch == 0:
        # What Keras does with data whose length it knows, which it does not know of a flat_map.
        episodes = episodes.repeat()
    # A flat_map reads the variable when Keras makes the iterator, after the restore.
    stream = tf.data.Dataset.range(1).flat_map(lambda _: episodes.skip(seen))
    each_epoch = length > 0 and not steps_per_epoch
    return stream, [*callbacks, _GoOn(learner, restoring, seen, length, each_epoch)]


class _GoOn(keras.callbacks.Callback):
    """Count, after every other callback has restored, what the stopped run has done.

    Args:
        learner: the learner.
        restoring: the callbacks that restore.
        seen: variable, the number of meta-batches that the next iterator leaves out.
        length: number of meta-batches of the data set; not positive if it has no end.
        each_epoch: True if the data set begins anew in each epoch.
    """

    def __init__(self, learner, restoring, seen, length, each_epoch):
        super().__init__()
        self._restoring, self._seen, self._length = restoring, seen, length
        self._each_epoch, self._batches, self._left_out = each_epoch, 0, 0
        self._read = False
        self._steps_at_start = int(tf.convert_to_tensor(learner.optimizer.iterations))

    def on_train_begin(self, logs=None):
        found = [getattr(callback, "restored", None) for callback in self._restoring]
        steps = int(tf.convert_to_tensor(self.model.optimizer.iterations)) - self._steps_at_start
        steps //= self.model.optimizer_steps
        steps, self._batches = next(filter(None, found), Restored(steps, 0))
        workers.check_restored(self.model, steps)
        if self._each_epoch and any(found):
            steps = self._batches  # all of them, if it was stopped at the end of an epoch
        elif self._length > 0:
            steps %= self._length
        self._seen.assign(steps)

    def on_epoch_begin(self, epoch, logs=None):
        self._left_out = self._batches
        if self._batches:
            self._pass_over(-(-self._batches // self.model.steps_per_execution))
            self._batches = 0

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._left_out:
            self._read = True

    def on_epoch_end(self, epoch, logs=None):
        # A finite data set begins anew in the next epoch. An endless one keeps its iterator, which
        # has not read the variable yet if all of this epoch was done before the restart.
        if self._read or self._each_epoch:
            self._seen.assign(0)

    def _pass_over(self, calls):
        """Let Keras count the first `calls` of the epoch, which were made before the restart."""
        function, logs = self.model.train_function, self.model.get_metrics_result()

        def counted(iterator):
            nonlocal calls
            calls -= 1
            if calls == 0:
                self.model.train_function = function
            return logs

        self.model.train_function = counted
