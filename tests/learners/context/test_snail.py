"""SNAIL: its convolutions against slow NumPy ones, its blocks, its arguments."""

import keras
import numpy as np
import pytest
import tasks

from tfmeta.learners import SNAIL
from tfmeta.learners.context.snail import Attention, Convolution

RANDOM = np.random.default_rng(0)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "Expected length to be an integer of at least 2"),
        ({"filters": 0}, "Expected filters to be an integer of at least 1"),
        ({"attention": ()}, r"Expected attention to be pairs \(K, V\)"),
        ({"attention": (64, 32)}, r"Expected attention to be pairs .* Received: 64"),
        ({"attention": ((4, 0),)}, "Expected each width in attention to be an integer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SNAIL(**arguments)
