"""Fixed episodes, scored while a learner is trained."""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.evaluation import evaluate_episodes


class EpisodeEvaluation(keras.callbacks.Callback):
    """Score the same episodes after each few epochs, with the interval in the logs.

    The logs get `episode_accuracy` (or the name of another score, with `_` for spaces) and
    `episode_accuracy_interval`, half the width of the 95 % interval. Callbacks behind this one can
    watch them, and the history keeps them:

    ```python
    learner.fit(
        episodes,
        epochs=100,
        steps_per_epoch=200,
        callbacks=[
            tfmeta.callbacks.EpisodeEvaluation(validation_episodes, count=200, every=5),
            keras.callbacks.ModelCheckpoint(
                "best.keras", monitor="episode_accuracy", mode="max", save_best_only=True
            ),
        ],
    )
    ```

    In the epochs between, the logs repeat the last values, so that every column of the history is
    as long as the others; before the first evaluation there are none.

    Args:
        episodes: a `tf.data.Dataset` of meta-batched `Episode`, with `count` episodes at least.
            Take validation classes, and a seed of its own.
        count: number of episodes, the first of the dataset.
        every: epochs from one evaluation to the next.
        score: as in `tfmeta.evaluation.evaluate_episodes`.
        inner_steps: as there.
        prefix: what the names in the logs begin with; two of these callbacks need two.

    Attributes:
        reports: dict from the number of an epoch, from 0, to its `EvaluationReport`.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        episodes: tf.data.Dataset,
        count: int = 600,
        *,
        every: int = 1,
        score: Callable | None = None,
        inner_steps: int | None = None,
        prefix: str = "episode",
    ):
        super().__init__()
        if not isinstance(episodes, tf.data.Dataset):
            raise ValueError(
                "Expected episodes to be a tf.data.Dataset, such as tfmeta.episodes.classification "
                f"makes. Received: {type(episodes).__name__}."
            )
        self.episodes = episodes
        self.count = check_integer("count", count, 1)
        self.every = check_integer("every", every, 1)
        self.options = {"score": score, "inner_steps": inner_steps, "verbose": 0}
        self.prefix = prefix
        self.reports: dict = {}

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            report = evaluate_episodes(self.model, self.episodes, self.count, **self.options)
            self.reports[epoch] = report
        if logs is None or not self.reports:
            return
        report = self.reports[max(self.reports)]
        name = f"{self.prefix}_{report.score_name.replace(' ', '_')}"
        logs |= {name: report.mean, f"{name}_interval": report.interval}
