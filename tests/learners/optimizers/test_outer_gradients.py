"""Outer gradients of truncated tasks, against one that is known."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from learners.optimizers.parabolas import SQUARES, STEPS, STRETCH, line, parabola

from tfmeta.inner import Rule
from tfmeta.learners import (
    EvolutionStrategies,
    LearnedOptimizer,
    PersistentES,
    ThroughUnroll,
)


@keras.saving.register_keras_serializable("tests")
class Shift(Rule):
    """Ignores the gradient: `w <- decay w + a`. Early shifts matter to all later losses."""

    def make(self, weights):
        self.shift = self.add_weight(shape=(), dtype=weights[0].dtype, initializer="zeros")

    def update(self, gradients, weights, slots, step):
        return [0.9 * w + self.shift for w in weights], slots


def known_gradient():
    """Of the mean loss over 8 steps, for the shift, at 0."""
    w, slope, total = 1.0, 0.0, 0.0
    for _ in range(STEPS):
        w, slope = 0.9 * w, 0.9 * slope + 1
        total += 2 * (w - 2) * slope
    return total / STEPS


def estimates(outer_gradient, places=64, outer_steps=24, unroll_length=STRETCH):
    """Gradients `[outer steps]` at a shift that stays 0, each a mean over the places.

    The first stretches are left out: until every place has begun a task of full length.
    """
    keras.utils.set_random_seed(0)
    learner = LearnedOptimizer(
        line(), rule=Shift(), inner_steps=STEPS, unroll_length=unroll_length,
        outer_gradient=outer_gradient,
    )  # fmt: skip
    learner.compile(keras.optimizers.SGD(0.0, momentum=0.0), SQUARES, jit_compile=False)
    seen = []

    class Watched(keras.optimizers.SGD):
        def apply(self, gradients, variables=None):
            seen_now.assign(gradients[0])
            return super().apply(gradients, variables)

    seen_now = tf.Variable(0.0, dtype=tf.float64)
    learner.compile(Watched(0.0), SQUARES, jit_compile=False)
    data = tasks.dataset(parabola(places))
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: seen.append(float(seen_now))
    )
    skipped = STEPS // STRETCH
    learner.fit(data, steps_per_epoch=skipped + outer_steps, callbacks=[note], verbose=0)
    return np.array(seen[skipped:])


def test_persistent_evolution_is_unbiased_where_truncation_is_not():
    known = known_gradient()
    whole = estimates(ThroughUnroll(), places=2, outer_steps=2, unroll_length=None)
    np.testing.assert_allclose(whole, known, rtol=1e-9)
    # At any time a fourth of the places is in each of the four stretches, more or less.
    found = {
        "truncated": estimates(ThroughUnroll()),
        "evolution": estimates(EvolutionStrategies(0.01, pairs=2)),
        "persistent": estimates(PersistentES(0.01, pairs=2)),
    }
    error = {name: 3 * g.std() / np.sqrt(len(g)) for name, g in found.items()}
    for name in ("truncated", "evolution"):  # late stretches do not know of early shifts
        assert abs(found[name].mean()) < 0.6 * abs(known), name
    assert abs(found["evolution"].mean() - found["truncated"].mean()) < error["evolution"] + 0.2
    assert abs(found["persistent"].mean() - known) < error["persistent"]
    # What it costs: a variance many times that of the stretches' own.
    assert found["persistent"].var() > 2 * found["evolution"].var()


@pytest.mark.slow
@pytest.mark.parametrize("persistent", [False, True])
def test_evolution_of_one_stretch_is_the_gradient_for_small_perturbations(persistent):
    """Losses are quadratic in the shift: opposite pairs have no error but that of the draw."""
    outer = (PersistentES if persistent else EvolutionStrategies)(0.001, pairs=64)
    found = estimates(outer, places=32, outer_steps=4, unroll_length=STEPS)
    # `e L'` of a mean over 4 * 32 * 64 squares of normal numbers.
    np.testing.assert_allclose(found.mean(), known_gradient(), rtol=0.05)
