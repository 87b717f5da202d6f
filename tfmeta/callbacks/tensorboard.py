"""A training run in TensorBoard."""

import importlib

import keras
import tensorflow as tf

from tfmeta.backend.private_keras import train_writer
from tfmeta.callbacks.watch import Watch, configuration
from tfmeta.evaluation.pictures.images import as_picture, holds_pictures
from tfmeta.hints import Path


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras's `TensorBoard`, which also shows how a learner adapts.

    ```python
    board = tfmeta.callbacks.TensorBoard("logs")
    learner.fit(episodes, epochs=20, steps_per_epoch=200, callbacks=[board])
    ```

    and then `tensorboard --logdir logs`. What Keras writes, loss and metrics after adaptation and
    `_before` it, is there as usual. At the end of an epoch one episode is looked at, outside of
    the training step, always the same, so that its curves are of one task:

    - `query_loss/before` and `query_loss/adapted`, `support_loss/step_0`, ... before each inner
      step and `support_loss/adapted`, `support_query_gap`: query minus support, after adaptation;
    - `outer_gradient_norm`, of this episode alone, by layer, too;
    - `inner_gradient_norm/step_0`, ... and `inner_step_norm/step_0`, ..., by layer, too;
    - a picture of it, if its examples are pictures: its support set on the left, the query set on
      the right, framed blue where the prediction is right and orange where it is wrong.

    Beside them: `inner_learning_rate`, learned rates by step and layer; `episodes_per_second` of
    the epoch, the first call of it left out; `time_to_first_step` in seconds, tracing included; and
    the configuration as text. A learner has those that it can have: a policy, of which no single
    episode is adapted to, its logs, the speed and the configuration.

    Args:
        log_dir: folder for this run alone.
        episodes: a `tf.data.Dataset` of meta-batched `Episode` whose first one is looked at, such
            as those of validation; None for the first one that `fit` trains on.
        every: epochs from one look at the episode to the next. A look takes as long as training on
            about five episodes, and the first of them the time to trace it.
        write_graph: as in Keras, but False: the graph of an outer step has thousands of nodes.
        **kwargs: `update_freq`, `profile_batch`, `histogram_freq` and all else of
            `keras.callbacks.TensorBoard`.

    Raises:
        ImportError: `tensorboard` is not installed.
        ValueError: an argument is out of its range; in `fit`, the model is no learner.
    """

    def __init__(
        self,
        log_dir: Path = "logs",
        *,
        episodes: tf.data.Dataset | None = None,
        every: int = 1,
        write_graph: bool = False,
        **kwargs,
    ):
        try:
            importlib.import_module("tensorboard")
        except ImportError as error:
            raise ImportError(
                "Expected tensorboard, to write what it shows: pip install tfmeta[watch]. "
                "tfmeta.callbacks.CSVLogger does without."
            ) from error
        super().__init__(log_dir, write_graph=write_graph, **kwargs)
        self._watch = Watch(episodes, every)

    def on_train_begin(self, logs=None):
        self._watch.begin(self.model, "TensorBoard")
        super().on_train_begin(logs)
        episode = self._watch.episode
        self._draws = episode is not None and holds_pictures(episode)
        with train_writer(self).as_default():
            tf.summary.text("configuration", configuration(self.model), step=0)

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._watch.epoch_begin()

    def on_train_batch_end(self, batch, logs=None):
        self._watch.batch_end(batch)
        # Without logs: for each of them Keras would look for a writer that "epoch" does not open.
        super().on_train_batch_end(batch, None if self.update_freq == "epoch" else logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        numbers = self._watch.epoch_end(epoch)
        with train_writer(self).as_default():
            for name, value in numbers.items():
                tf.summary.scalar(name, value, step=epoch)
            if self._draws and self._watch.outputs is not None and epoch % self._watch.every == 0:
                picture = as_picture(self._watch.episode, self._watch.outputs[None])
                tf.summary.image("episode", picture[None], step=epoch)
