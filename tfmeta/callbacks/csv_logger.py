"""A training run as a table of comma-separated values."""

import keras

from tfmeta.callbacks.watch import Watch


class CSVLogger(keras.callbacks.CSVLogger):
    """Keras's `CSVLogger` with the columns that `tfmeta.callbacks.TensorBoard` draws.

        learner.fit(train, callbacks=[tfmeta.callbacks.CSVLogger("run.csv")])

    Args:
        filename: the file to write.
        episodes, every: as in `TensorBoard`; in the epochs between, a row repeats the last values.
        **kwargs: `separator` and `append`, as in `keras.callbacks.CSVLogger`.

    Raises:
        ValueError: an argument is out of its range; in `fit`, the model is no learner.
    """

    def __init__(self, filename, *, episodes=None, every=1, **kwargs):
        super().__init__(filename, **kwargs)
        self._watch = Watch(episodes, every)

    def on_train_begin(self, logs=None):
        self._watch.begin(self.model, "CSVLogger")
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._watch.epoch_begin()

    def on_train_batch_end(self, batch, logs=None):
        self._watch.batch_end(batch)

    def on_epoch_end(self, epoch, logs=None):
        logs, numbers = logs or {}, self._watch.epoch_end(epoch)
        if self.keys is None:
            # Keras adds columns for a validation that may come in a later epoch; of the logs alone.
            later = [f"val_{k}" for k in logs if not any(k.startswith("val_") for k in logs)]
            self.keys = [*sorted(logs), *later, *numbers]
        super().on_epoch_end(epoch, logs | numbers)
