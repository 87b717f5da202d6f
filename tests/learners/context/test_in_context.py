"""InContextTransformer: its tokens, its places, its arguments."""

import keras
import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.learners import InContextTransformer


def test_tokens_of_the_transformer_are_examples_and_targets_in_turn():
    keras.utils.set_random_seed(0)
    learner = InContextTransformer(width=4, depth=1)
    episodes = tasks.regression(rows=3)
    learner.prepare(tasks.dataset(episodes, 1))
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    table = np.array(learner.places.table)
    tokens = [np.array(learner.of_x(query.x[:1]))[0] + table[6]]
    for t in (2, 1, 0):
        tokens.insert(0, np.array(learner.of_y(support.y[t : t + 1]))[0] + table[2 * t + 1])
        tokens.insert(0, np.array(learner.of_x(support.x[t : t + 1]))[0] + table[2 * t])
    outputs, _ = learner.blocks[0](np.array(tokens, "float32"), None, np.arange(7, dtype="int32"))
    expected = learner.head(learner.last(outputs[-1:]))
    found = learner.predict_query(learner.adapt(support), query.x[:1])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_more_rows_than_the_transformer_has_places_for():
    learner = InContextTransformer(width=4, depth=1, most_rows=10)
    learner.compile("sgd", "mse")
    episodes = tfmeta.episodes.linear_regression(length=12, count=4)
    with pytest.raises(ValueError, match=r"at most 10 rows.*Received: 11.*with most_rows=12"):
        learner.fit(episodes, verbose=0)
    learner.prepare(tfmeta.episodes.linear_regression(length=10, count=4))
    support = tasks.one(next(iter(episodes)).support)
    ten = tfmeta.Examples(*(t[:10] for t in support))
    assert learner.predict_sequence(ten).shape == (10, 1)
    with pytest.raises(ValueError, match=r"at most 9 support rows.*Received: 10.*most_rows=11"):
        learner.predict_query(learner.adapt(ten), support.x[10:])
    with pytest.raises(ValueError, match=r"at most 10 rows.*Received: 11"):
        learner.predict_sequence(support)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "Expected width to be an integer of at least 1"),
        ({"depth": 0}, "Expected depth to be an integer of at least 1"),
        (
            {"width": 64, "heads": 3},
            "Expected heads to divide the width, 64. Received: heads=3",
        ),
        ({"most_rows": 1}, "Expected most_rows to be an integer of at least"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        InContextTransformer(**arguments)
