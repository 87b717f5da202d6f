"""SNAIL and the in-context transformer: their parts against slow NumPy ones, their arguments."""

import keras
import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.learners import SNAIL, InContextTransformer
from tfmeta.learners.context.causal_attention import attend, seen_before
from tfmeta.learners.context.snail import Attention, Convolution

RANDOM = np.random.default_rng(0)


def test_each_row_attends_to_those_before_it_and_to_itself():
    queries, keys = RANDOM.normal(size=(2, 4, 2, 3))  # four rows, two heads
    values = RANDOM.normal(size=(4, 2, 5))
    read_keys, read_values = RANDOM.normal(size=(6, 2, 3)), RANDOM.normal(size=(6, 2, 5))
    places = np.array([0, 2, 6, 3])
    seen = seen_before(places, 6)
    found = attend(queries, keys, values, (read_keys, read_values), seen)
    for row, place in enumerate(places):
        for head in range(2):
            all_keys = [*read_keys[:place, head], keys[row, head]]
            weights = np.exp([queries[row, head] @ key / np.sqrt(3) for key in all_keys])
            all_values = np.array([*read_values[:place, head], values[row, head]])
            expected = weights @ all_values / weights.sum()
            np.testing.assert_allclose(found[row, head], expected, rtol=1e-6)


def test_a_convolution_is_of_two_rows_at_a_distance():
    keras.utils.set_random_seed(0)
    block, rows = Convolution(4, 2), RANDOM.normal(size=(5, 3)).astype("float32")
    found, memory = block(rows, None, np.arange(5))
    now, bias, before = (np.array(w) for w in (*block.now.weights, *block.before.weights))
    for t in range(5):
        earlier = rows[t - 2] if t >= 2 else np.zeros(3)
        a, b = np.split(rows[t] @ now + bias + earlier @ before, 2)
        np.testing.assert_allclose(found[t, :3], rows[t])
        expected = np.tanh(a) / (1 + np.exp(-b))
        np.testing.assert_allclose(found[t, 3:], expected, rtol=1e-5, atol=1e-6)
    # A row by itself, at a place of its own.
    alone, own = block(rows[3:4], memory, np.array([3]))
    np.testing.assert_allclose(alone, found[3:4], rtol=1e-6)
    np.testing.assert_allclose(own, memory[3:4], rtol=1e-6)


def test_blocks_of_snail_are_those_of_the_paper():
    blocks = SNAIL(length=26).blocks
    kinds = "".join({Attention: "A", Convolution: "C"}[type(block)] for block in blocks)
    assert kinds == "ACCCCCACCCCCA"
    assert [b.distance for b in blocks[1:6]] == [1, 2, 4, 8, 16]
    widths = [block.widths for block in blocks[::6]]
    assert widths == [[64, 64, 32], [256, 256, 128], [512, 512, 256]]


def test_a_longer_sequence_than_snails_length_works():
    keras.utils.set_random_seed(0)
    learner = SNAIL(length=2, filters=4, attention=((3, 2), (3, 2)))
    episodes = tasks.regression(rows=9)
    learner.prepare(tasks.dataset(episodes, 1))
    sequence = tasks.one(episodes.support)
    first = np.array(learner.predict_sequence(sequence))
    sequence.y[0] += 1  # nine rows away from the last
    assert abs(learner.predict_sequence(sequence)[-1] - first[-1]) > 1e-6


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


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (SNAIL, {"length": 1}, "Expected length to be an integer of at least 2"),
        (SNAIL, {"filters": 0}, "Expected filters to be an integer of at least 1"),
        (SNAIL, {"attention": ()}, r"Expected attention to be pairs \(K, V\)"),
        (SNAIL, {"attention": (64, 32)}, r"Expected attention to be pairs .* Received: 64"),
        (SNAIL, {"attention": ((4, 0),)}, "Expected each width in attention to be an integer"),
        (InContextTransformer, {"width": 0}, "Expected width to be an integer of at least 1"),
        (InContextTransformer, {"depth": 0}, "Expected depth to be an integer of at least 1"),
        (
            InContextTransformer,
            {"width": 64, "heads": 3},
            "Expected heads to divide the width, 64. Received: heads=3",
        ),
        (InContextTransformer, {"most_rows": 1}, "Expected most_rows to be an integer of at least"),
    ],
)
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


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
