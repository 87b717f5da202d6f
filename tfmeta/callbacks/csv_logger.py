"""A training run as a table of comma-separated values."""

import keras
import tensorflow as tf

from tfmeta.callbacks.watch import Watch
from tfmeta.hints import Path


class CSVLogger(keras.callbacks.CSVLogger):
    """Keras's `CSVLogger` with the columns that `tfmeta.callbacks.TensorBoard` draws.

    ```python
    log = tfmeta.callbacks.CSVLogger("run.csv")
    learner.fit(episodes, epochs=20, steps_per_epoch=200, callbacks=[log])
    ```

    Args:
        filename: the file to write.
        episodes, every: as in `TensorBoard`; in the epochs between, a row repeats the last values.
        **kwargs: `separator` and `append`, as in `keras.callbacks.CSVLogger`.

    Raises:
        ValueError: an argument is out of its range; in `fit`, the model is no learner.
    """

    def __init__(
        self, filename: Path, *, episodes: tf.data.Dataset | None = None, every: int = 1, **kwargs
    ):
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
