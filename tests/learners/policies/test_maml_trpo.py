"""MAMLTRPO: its Fisher product, and a trust region that is kept."""

import numpy as np
import pytest
import tensorflow as tf
from learners.policies.small_policies import PLANE, first, made

from tfmeta.learners import MAMLTRPO


def divergence(old, learner, of_task, elements):
    """Mean KL from an `Experience` of each task to what policies choose now, by NumPy."""
    found = [np.array(t, "float64") for t in learner.map_tasks(of_task, elements)]
    new, new_scale = found[0], found[1][:, None, None]
    old_scale = np.array(old.log_scale, "float64")[:, None, None]
    squares = np.exp(2 * old_scale) + (np.array(old.choices, "float64") - new) ** 2
    each = new_scale - old_scale + 0.5 * squares / np.exp(2 * new_scale) - 0.5
    mask = np.array(old.mask)
    return np.mean((mask * each.sum(-1)).sum((1, 2)) / mask.sum((1, 2)))


def test_a_trust_region_step_keeps_its_bound():
    learner = made(max_kl=0.02)
    episodes = first(PLANE.tasks(10, 3))

    @tf.function
    def run():
        _, supports, query = learner._live(episodes)
        start = learner.initial_weights()
        direction = [tf.random.stateless_normal(w.shape, (0, i)) for i, w in enumerate(start)]
        product = learner._fisher_product(start, supports, query, direction)
        with tf.GradientTape() as outer:
            outer.watch(start)
            with tf.GradientTape() as tape:
                tape.watch(start)
                _, kl = learner._loss_and_kl(start, supports, query)
            gradient = tape.gradient(kl, start)
        exact = outer.gradient(gradient, start, output_gradients=direction)
        return supports, query, direction, product, exact

    supports, query, direction, product, exact = run()
    # The product by the Jacobian is that with the Hessian, and the damping.
    for found, expected, d in zip(product, exact, direction, strict=True):
        np.testing.assert_allclose(found, expected + 1e-5 * d, rtol=1e-3, atol=1e-4)
    loss, kl = tf.function(lambda: learner.improve(supports, query))()
    assert loss < 0
    weights = learner.initial_weights()

    def adapted(element):
        path = learner.adapted_again(weights, element[0])
        return learner.run(path[-1], element[1].observations)

    # Of the policies that the support rows were lived through by, and of the adapted ones.
    before = divergence(
        supports[0], learner, lambda e: learner.run(weights, e.observations), supports[0]
    )
    after = divergence(query, learner, adapted, (supports, query))
    np.testing.assert_allclose(kl, (before + after) / 2, rtol=1e-3)
    assert 0.005 < (before + after) / 2 <= 0.02


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: MAMLTRPO(PLANE, max_kl=0), "Expected max_kl > 0"),
        (lambda: MAMLTRPO(PLANE, curvature_tasks=0), "Expected curvature_tasks"),
        (lambda: MAMLTRPO(PLANE).compile("adam"), "Expected no optimizer: MAMLTRPO"),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(ValueError, match=message):
        run()
