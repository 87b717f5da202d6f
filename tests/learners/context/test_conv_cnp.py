"""Convolutional neural processes: smoothing, shifts, masks, the gradient, bad input."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from meta_gradients import relative_error_along

import tfmeta
from tfmeta.learners import ConvCNP

SMALL = {"points_per_unit": 4, "reach": 5.0, "filters": 4, "kernel_size": 3, "blocks": 1}


def made(episodes=None, **kwargs):
    """A compiled learner with weights, and a meta-batch for it, whose targets have two columns."""
    if episodes is None:
        episodes = tasks.regression()
        parts = (e._replace(y=tf.concat([e.y, -2 * e.y], -1)) for e in episodes)
        episodes = tfmeta.Episode(*parts)
    keras.utils.set_random_seed(0)
    learner = ConvCNP(**(SMALL | kwargs))
    learner.compile(keras.optimizers.SGD(0.05))
    learner.prepare(tasks.dataset(episodes, 1))
    return learner, episodes


@pytest.fixture(scope="module")
def learner():
    return made()[0]


def predict(learner, support, x):
    mean, scale = learner.predict_distribution(learner.adapt(support), x)
    return np.concatenate([mean, scale], axis=1)


def weights(to, x, length):
    return np.exp(-((to[:, None] - x[None]) ** 2) / (2 * length**2))


def test_outputs_are_those_of_numpy(learner):
    support, query = (tasks.one(part) for part in made()[1])
    x = support.x[:, 0].astype("float64")
    grid = (x.min() + x.max()) / 2 + np.arange(-20, 21) / 4
    smooth = weights(grid, x, np.exp(float(learner.onto_grid.log_length)))
    density = smooth.sum(axis=1, keepdims=True)
    on_grid = np.c_[density, smooth @ support.y / (density + 1e-8)]
    values = np.array(learner.convolve(on_grid[None].astype("float32"))[0])
    adapted = learner.adapt(support)
    np.testing.assert_allclose(adapted.grid[:, 0], grid, atol=1e-5)
    np.testing.assert_allclose(adapted.values, values, rtol=1e-3, atol=1e-4)
    off = weights(query.x[:, 0], grid, np.exp(float(learner.off_grid.log_length)))
    raw = np.array(learner.decode.network(off @ values))
    mean, scale = learner.predict_distribution(adapted, query.x)
    np.testing.assert_allclose(mean, raw[:, :2], rtol=1e-3, atol=1e-4)
    expected = 0.01 + 0.99 * np.log1p(np.exp(raw[:, 2:]))
    np.testing.assert_allclose(scale, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shift", [0.3, -1.7, 50.0])
def test_predictions_move_with_the_points(learner, shift):
    support, query = (tasks.one(part) for part in made()[1])
    expected = predict(learner, support, query.x)
    moved = support._replace(x=support.x + np.float32(shift))
    np.testing.assert_allclose(
        predict(learner, moved, query.x + np.float32(shift)), expected, atol=2e-4
    )
    assert not np.allclose(predict(learner, moved, query.x), expected, atol=1e-2)


def test_order_and_padding_of_the_support_rows_change_nothing(learner):
    support, query = (tasks.one(part) for part in made()[1])
    expected = predict(learner, support, query.x)
    shuffled = tfmeta.Examples(*(t[[2, 0, 3, 1]] for t in support))
    np.testing.assert_allclose(predict(learner, shuffled, query.x), expected, atol=1e-5)
    padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t)]) for t in support))
    padded.mask[4:] = 0
    np.testing.assert_allclose(predict(learner, padded, query.x), expected, atol=1e-5)
    np.testing.assert_allclose(predict(learner, support, query.x[1:2]), expected[1:2], atol=1e-5)


@pytest.mark.parametrize(("blocks", "sees"), [(0, 1), (1, 2), (3, 8)])
def test_the_convolutions_see_as_far_as_they_are_said_to(blocks, sees):
    layer = ConvCNP(**(SMALL | {"blocks": blocks})).convolve
    layer.build((1, 41, 2))
    weights = [w + 1.0 for w in layer.get_weights()]  # no ReLU is shut
    layer.set_weights(weights)
    inputs = np.zeros((2, 41, 2), "float32")
    inputs[1, 20] = 1.0
    without, with_point = layer(inputs).numpy()
    seen = np.flatnonzero((without != with_point).any(axis=-1))
    assert (seen.min(), seen.max()) == (20 - sees, 20 + sees)


def test_outer_gradient_against_central_differences():
    learner, episodes = made(tasks.regression(dtype="float64"), dtype="float64")
    assert {v.dtype for v in learner.trainable_variables} == {"float64"}
    assert relative_error_along(learner, episodes, step=1e-7) < 1e-6


def test_other_convolutions_and_a_file(tmp_path):
    layers = [keras.layers.Conv1D(6, 5, padding="same", activation="relu") for _ in range(2)]
    learner, episodes = made(convolutions=keras.Sequential(layers))
    losses = learner.fit(tasks.dataset(episodes, 10), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    support, query = (tasks.one(part) for part in episodes)
    expected = predict(learner, support, query.x)
    np.testing.assert_allclose(predict(loaded, support, query.x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points_per_unit": 0}, "Expected points_per_unit to be an integer of at least 1"),
        ({"reach": 0.0}, "Expected reach > 0"),
        ({"filters": 0}, "Expected filters to be an integer of at least 1"),
        ({"kernel_size": 2.5}, "Expected kernel_size to be an integer"),
        ({"blocks": -1}, "Expected blocks to be an integer of at least 0"),
        ({"minimum_scale": 0.0}, "Expected minimum_scale > 0"),
        ({"convolutions": "unet"}, "Expected convolutions to be a Keras model or layer"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvCNP(**arguments)


def test_inputs_that_do_not_fit():
    far = tasks.regression()
    far = far._replace(query=far.query._replace(x=far.query.x + 20.0))
    learner = ConvCNP(**SMALL)
    with pytest.raises(ValueError, match=r"Expected query inputs within reach=5.0 .* larger reach"):
        learner.prepare(tasks.dataset(far, 1))
    with pytest.raises(ValueError, match=r"Expected inputs of one column.* Received: 2 columns"):
        ConvCNP(**SMALL).prepare(tasks.dataset(tasks.regression(width=2), 1))
