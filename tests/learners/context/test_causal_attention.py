"""Attention to the rows before, against a slow NumPy one."""

import numpy as np

from tfmeta.learners.context.causal_attention import attend, seen_before

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
