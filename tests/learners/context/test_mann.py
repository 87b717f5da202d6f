"""MANN: each step against a slow NumPy one, its memory, its arguments."""

import keras
import numpy as np
import pytest
import tasks

from tfmeta.learners import MANN

ROWS, WIDTH, HEADS, UNITS, DECAY = 5, 3, 2, 4, 0.9


def made(**options):
    keras.utils.set_random_seed(0)
    learner = MANN(
        units=UNITS, memory_rows=ROWS, memory_width=WIDTH, heads=HEADS, usage_decay=DECAY, **options
    )
    learner.prepare(tasks.dataset(tasks.regression(rows=9), 1))
    for weight in learner.recurrence.weights:
        weight.assign(weight + 0.3 * np.random.default_rng(0).normal(size=weight.shape))
    return learner, tasks.one(tasks.regression(rows=9).support)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class InNumPy:
    """The memory and its controller, one number after another."""

    def __init__(self, cell, write_keys):
        self.weights = {w.name: np.array(w, "float64") for w in cell.weights}
        self.write_keys = write_keys
        self.h = self.c = np.zeros(UNITS)
        self.reads = np.zeros(HEADS * WIDTH)
        self.memory = np.full((ROWS, WIDTH), 1e-6)
        self.usage = np.eye(ROWS)[0]
        self.w_read = [np.eye(ROWS)[0] for _ in range(HEADS)]

    def control(self, x):
        w = self.weights
        back = np.concatenate([self.h, self.reads]) @ w["recurrent"]
        i, f, g, o = np.split(x @ w["kernel"] + w["bias"] + back, 4)
        self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
        self.h = sigmoid(o) * np.tanh(self.c)
        parameters = self.h @ w["heads_kernel"] + w["heads_bias"]
        for of_head in np.split(parameters, HEADS):
            key = np.tanh(of_head[:WIDTH])
            add = key if self.write_keys else np.tanh(of_head[WIDTH : 2 * WIDTH])
            yield key, add, sigmoid(of_head[-1])

    def step(self, x):
        before = self.memory.copy()
        least = sorted(range(ROWS), key=lambda i: self.usage[i])[:HEADS]
        self.memory[least[0]] = 0
        usage, reads = DECAY * self.usage, []
        for head, (key, add, gate) in enumerate(self.control(x)):
            written = gate * self.w_read[head]
            for i in least:
                written[i] += 1 - gate
            cosine = np.array([_cosine(key, before[i]) for i in range(ROWS)])
            self.w_read[head] = np.exp(cosine) / np.exp(cosine).sum()
            usage = usage + self.w_read[head] + written
            for i in range(ROWS):
                self.memory[i] += written[i] * add
        for w in self.w_read:
            reads.append(sum(w[i] * self.memory[i] for i in range(ROWS)))
        self.usage, self.reads = usage, np.concatenate(reads)
        return np.concatenate([self.h, self.reads])


def _cosine(a, b):
    return a @ b / max(np.sqrt(a @ a * (b @ b)), 1e-300)


@pytest.mark.parametrize("write_keys", [False, True])
def test_steps_are_those_of_numpy(write_keys):
    learner, sequence = made(write_keys=write_keys)
    slow, head, late = InNumPy(learner.recurrence, write_keys), learner.head.dense, np.zeros(1)
    expected = []
    for x, y in zip(sequence.x, sequence.y, strict=True):
        found = slow.step(np.concatenate([x, late]))
        expected.append(found @ np.array(head.kernel) + np.array(head.bias))
        late = y
    np.testing.assert_allclose(learner.predict_sequence(sequence), expected, atol=1e-5)
    h, c, reads, memory, w_read, usage = learner.adapt(sequence).state
    for a, b in (
        (h, slow.h),
        (c, slow.c),
        (reads, slow.reads),
        (memory, slow.memory),
        (w_read, slow.w_read),
        (usage, slow.usage),
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_all_rows_are_written_before_one_is_written_over():
    learner, sequence = made()
    kernel, bias = learner.recurrence.heads_kernel, learner.recurrence.heads_bias
    gate = np.array(bias).reshape(HEADS, -1)
    gate[:, -1] = -30  # write to the least used rows alone
    bias.assign(gate.ravel())
    kernel.assign(np.array(kernel) * (np.array(kernel) * 0 + (gate.ravel() > -30)))
    cell, state = learner.recurrence, learner.recurrence.start(1, "float32")
    written = []
    for x in sequence.x[:2]:
        before = np.array(state[3])
        projected = cell.project(np.concatenate([x, [0]])[None].astype("float32"))
        _, state = cell.step(projected, state)
        written.append(set(np.argwhere(np.abs(state[3] - before).max(-1) > 1e-3)[:, 1]))
    assert [len(rows) for rows in written] == [HEADS, HEADS]
    assert not written[0] & written[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "Expected units to be an integer of at least 1"),
        ({"memory_rows": 0}, "Expected memory_rows to be an integer of at least 1"),
        ({"memory_width": 1.5}, "Expected memory_width to be an integer"),
        ({"heads": 9, "memory_rows": 8}, "Expected heads <= memory_rows, 8. Received: heads=9"),
        ({"usage_decay": 1.0}, r"Expected usage_decay < 1. Received: 1.0"),
        ({"usage_decay": 0.0}, "Expected usage_decay > 0"),
        ({"write_keys": 1}, "Expected write_keys to be True or False"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MANN(**arguments)
