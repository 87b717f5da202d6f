"""Max pooling by slices against TensorFlow's own, and under XLA."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

from tfmeta import learners
from tfmeta.backend.pooling import max_pool

SHAPES = [
    ((2, 6, 6, 3), 2, 2, "VALID"),
    ((2, 7, 5, 3), 2, 2, "VALID"),
    ((2, 7, 6, 2), (3, 2), (2, 1), "SAME"),
    ((1, 5, 5, 2), 3, 1, "SAME"),
    ((2, 9, 2), 3, 2, "SAME"),
    ((1, 4, 5, 4, 2), 2, 2, "VALID"),
]


def derivatives(pool, x, *, jit_compile):
    """Outputs, gradient, and a product with the second derivative, of a smooth function of them."""

    @tf.function(jit_compile=jit_compile)
    def run(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = pool(x)
                value = tf.reduce_sum(y**3)
            gradient = inner.gradient(value, x)
            along = tf.reduce_sum(gradient**2)
        return y, gradient, outer.gradient(along, x)

    return [t.numpy() for t in run(x)]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("shape", "size", "strides", "padding"), SHAPES)
def test_equals_tensorflow_up_to_the_second_derivative(shape, size, strides, padding, jit_compile):
    x = np.random.default_rng(0).normal(size=shape)
    if strides == size:  # equal values: the first is taken, as in TensorFlow where windows
        x[:, :3] = 0.5  # do not overlap; where they do, its second derivative takes another
    single = len(shape) == 5  # TensorFlow has no max pooling of volumes in float64
    x = tf.constant(x, "float32" if single else "float64")
    # Eagerly, since in a graph TensorFlow is wrong with stride 1, "SAME"; for volumes it has no
    # second derivative outside a graph.
    tf.config.run_functions_eagerly(not single)
    try:
        expected = derivatives(
            lambda x: tf.nn.max_pool(x, size, strides, padding), x, jit_compile=False
        )
    finally:
        tf.config.run_functions_eagerly(False)
    found = derivatives(lambda x: max_pool(x, size, strides, padding), x, jit_compile=jit_compile)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=1e-4 if single else 1e-10, atol=1e-5 if single else 1e-12
        )


def test_nan_stays_nan():
    x = np.ones((1, 2, 4, 1), "float32")
    x[0, 0, 0] = np.nan
    assert np.isnan(max_pool(tf.constant(x), 2, 2, "VALID").numpy().ravel()).tolist() == [1, 0]


def test_unknown_size():
    with pytest.raises(ValueError, match="Expected max pooling"):
        tf.function(lambda x: max_pool(x, 2, 2, "VALID")).get_concrete_function(
            tf.TensorSpec((1, None, 4, 1))
        )


@pytest.mark.parametrize(
    ("pool", "jit_compile"),
    [
        ((2, None, "valid"), False),
        ((3, 2, "same"), False),
        ((3, 1, "same"), False),
        ((2, None, "valid"), True),
        pytest.param((3, 2, "same"), True, marks=pytest.mark.slow),
        pytest.param((3, 1, "same"), True, marks=pytest.mark.slow),
    ],
)
def test_outer_gradient(pool, jit_compile):
    def gradient(jit_compile):
        keras.utils.set_random_seed(0)
        network = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(4, 3, padding="same"),
                keras.layers.BatchNormalization(),
                keras.layers.Activation("tanh"),
                keras.layers.MaxPooling2D(*pool),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
        learner = learners.MAML(network, inner_learning_rate=0.4, inner_steps=2, transductive=True)
        learner.compile(loss=tasks.CROSSENTROPY, jit_compile=jit_compile)
        run = learner.outer_gradients
        run = run if jit_compile is None else tf.function(run, jit_compile=jit_compile)
        return np.concatenate([g.numpy().ravel() for g in run(tasks.images())[1]])

    eager, found = gradient(None), gradient(jit_compile)
    assert np.linalg.norm(found - eager) < 1e-4 * np.linalg.norm(eager)
