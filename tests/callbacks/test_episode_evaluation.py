"""Fixed episodes scored while a learner is trained."""

import keras
import numpy as np
import pytest
import tasks

from tfmeta.callbacks import EpisodeEvaluation
from tfmeta.evaluation import evaluate_episodes
from tfmeta.learners import MAML


def learner():
    keras.utils.set_random_seed(0)
    learner = MAML(tasks.dense(), inner_learning_rate=0.05)
    learner.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return learner


def test_scores_are_in_the_logs_for_the_callbacks_behind(tmp_path):
    maml, data = learner(), tasks.dataset(tasks.regression(), 2)
    held_out = tasks.dataset(tasks.regression(seed=1), 2)
    every_second = EpisodeEvaluation(held_out, count=5, every=2)
    each = EpisodeEvaluation(held_out, count=5, prefix="again", inner_steps=2)
    name = "episode_mean_squared_error"
    path = tmp_path / "best.keras"
    best = keras.callbacks.ModelCheckpoint(path, monitor=name, mode="min", save_best_only=True)
    history = maml.fit(data, epochs=5, callbacks=[each, every_second, best], verbose=0).history
    assert list(every_second.reports) == [1, 3]
    means = [every_second.reports[epoch].mean for epoch in (1, 1, 3, 3)]
    np.testing.assert_array_equal(history[name], means)  # none before the first evaluation
    assert len(history[f"{name}_interval"]) == 4
    assert len(history["again_mean_squared_error"]) == 5
    # The last evaluation is of the weights after the fourth epoch, which the file holds.
    saved = evaluate_episodes(keras.models.load_model(path), held_out, 5, verbose=0)
    np.testing.assert_allclose(saved.scores, every_second.reports[3].scores, rtol=1e-5)
    assert each.reports[4].mean != each.reports[0].mean


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": [1, 2]}, "Expected episodes to be a tf.data.Dataset"),
        ({"count": 0}, "Expected count to be an integer of at least 1"),
        ({"every": 0}, "Expected every to be an integer of at least 1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        EpisodeEvaluation(**{"episodes": tasks.dataset(tasks.regression(), 1), **options})
