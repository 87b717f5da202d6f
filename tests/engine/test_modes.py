"""The ways in which a compiled step runs have the same results, to the last weight."""

import functools

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoNet

NETWORKS = {
    "dense": (tasks.dense, tasks.regression, "mse"),
    "convolutional": (tasks.convolutional, tasks.images, tasks.CROSSENTROPY),
}
SLOW_IN_XLA = ["dense", pytest.param("convolutional", marks=pytest.mark.slow)]


def trained(kind, dtype="float64", learner=MAML, compile_with=None, **arguments):
    """Weights and first outer gradient of a learner after three steps."""
    network, episodes, loss = NETWORKS[kind]
    if learner is MAML:
        arguments = {"inner_steps": 2, "inner_learning_rate": 0.05} | arguments
    meta = learner(network(dtype=dtype), **arguments)
    meta.compile(keras.optimizers.SGD(0.05), loss, **compile_with or {})
    data = episodes(dtype=dtype)
    meta.prepare(tasks.dataset(data, 1))
    gradients = tf.function(lambda e: meta.outer_gradients(e)[1], autograph=False)(data)
    meta.fit(tasks.dataset(data, 3), verbose=0)
    return [g.numpy() for g in gradients], [v.numpy() for v in meta.trainable_variables]


@functools.cache
def in_mode(kind, mode, dtype="float64", first_order=False):
    """What MAML comes to in one way to batch tasks, compiled; several tests compare with it."""
    return trained(kind, dtype, first_order=first_order, task_batching=mode)


@functools.cache
def in_xla(kind):
    return trained(kind, task_batching="vectorize", compile_with={"jit_compile": True})


def assert_equal(a, b, dtype):
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    a, b = tf.nest.flatten(a), tf.nest.flatten(b)
    # One scale for all: a bias before a normalisation has a gradient that is nothing but rounding.
    scale = max(np.abs(y).max() for y in b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("dtype", "first_order"),
    [
        ("float64", False),
        pytest.param("float64", True, marks=pytest.mark.slow),
        pytest.param("float32", False, marks=pytest.mark.slow),
    ],
)
def test_batching_modes(kind, dtype, first_order):
    eager = trained(kind, dtype, first_order=first_order, compile_with={"run_eagerly": True})
    for mode in ("loop", "vectorize"):
        assert_equal(in_mode(kind, mode, dtype, first_order), eager, dtype)


@pytest.mark.slow  # it takes one of the two; the quick tests of learners run so
@pytest.mark.parametrize("kind", NETWORKS)
def test_auto_is_one_of_them(kind):
    assert_equal(in_mode(kind, "auto"), in_mode(kind, "loop"), "float64")


@pytest.mark.parametrize("kind", SLOW_IN_XLA)
def test_all_tasks_in_one_kernel_under_xla(kind):
    assert_equal(in_xla(kind), in_mode(kind, "vectorize"), "float64")


def test_batching_modes_of_shared_weights():
    with_modes = [
        trained("convolutional", "float32", ProtoNet, task_batching=mode)
        for mode in ("loop", "vectorize")
    ]
    assert_equal(*with_modes, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["vectorize", "loop"])
def test_one_loop_of_many_inner_steps_under_xla(mode):
    """The loop of learners that need its end alone; XLA refused it inside `vectorize` once."""
    losses = []
    for jit_compile in (True, False):
        learner = tfmeta.learners.ImplicitMAML(
            tasks.dense(), inner_learning_rate=0.1, inner_steps=40, task_batching=mode
        )
        learner.compile("sgd", "mse", jit_compile=jit_compile)
        learner.fit(tasks.dataset(tasks.regression(), 3), verbose=0)
        losses.append(learner.evaluate(tasks.dataset(tasks.regression(), 1), verbose=0)[0])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"Expected task_batching in .* Received: 'parallel'"):
        MAML(tasks.dense(), task_batching="parallel")


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("mode", ["loop", "vectorize"])
def test_checkpointed_inner_steps_have_the_same_gradient(kind, mode):
    found = trained(kind, task_batching=mode, checkpoint_inner_steps=True)
    assert_equal(found, in_mode(kind, mode), "float64")


@pytest.mark.parametrize("kind", SLOW_IN_XLA)
def test_checkpointed_inner_steps_under_xla(kind):
    arguments = {"task_batching": "vectorize", "compile_with": {"jit_compile": True}}
    found = trained(kind, checkpoint_inner_steps=True, **arguments)
    assert_equal(found, in_xla(kind), "float64")


def test_checkpointed_dropout_drops_the_same_units():
    def gradients(checkpoint):
        learner = MAML(
            tasks.convolutional(dropout=0.5),
            inner_steps=2,
            inner_learning_rate=0.5,
            checkpoint_inner_steps=checkpoint,
        )
        learner.compile("sgd", tasks.CROSSENTROPY)
        learner.prepare(tasks.dataset(tasks.images(), 1))
        return tf.function(learner.outer_gradients, autograph=False)(tasks.images())[1]

    assert_equal(gradients(True), gradients(False), "float32")


def _products(graph):
    """Matrix products that running a graph takes, those of the functions that it calls, too."""
    called = [op.get_attr("f").name for op in graph.get_operations() if "Call" in op.type]
    own = sum(op.type == "MatMul" for op in graph.get_operations())
    return own + sum(_products(graph._get_function(name).graph) for name in called)


def test_first_order_builds_no_second_order_graph():
    def products(steps, first_order):
        """How many matrix products the outer gradient of one task takes."""
        learner = MAML(tasks.dense(), inner_steps=steps, first_order=first_order)
        learner.compile("sgd", "mse")

        @tf.function(autograph=False)
        def gradient(episode):
            with tf.GradientTape() as tape:
                outputs = learner.predict_query(learner.adapt(episode.support), episode.query.x)
                loss = learner.task_loss(episode.query, outputs)
            return tape.gradient(loss, learner.trainable_variables)

        one = tfmeta.Episode(*(tasks.one(e) for e in tasks.regression()))
        return _products(gradient.get_concrete_function(one).graph)

    # Of three layers: forward, a gradient to each kernel, one to each input but the first.
    once = 3 + 3 + 2
    for steps in range(3):
        assert products(steps, first_order=True) == once * (1 + steps)
    assert products(1, first_order=False) > 3 * once


def test_accumulated_meta_batches_equal_a_large_one():
    """Keras's own `gradient_accumulation_steps`, for a meta-batch that does not fit memory."""
    large = tasks.regression(tasks=6)
    small = tf.data.Dataset.from_tensors(large).unbatch().batch(2, drop_remainder=True)
    weights = []
    for data, steps in ((tasks.dataset(large, 1), None), (small, 3)):
        learner = MAML(tasks.dense(), inner_steps=2, inner_learning_rate=0.05)
        optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=steps)
        learner.compile(optimizer, "mse")
        learner.fit(data.repeat(4), verbose=0)
        weights.append([v.numpy() for v in learner.trainable_variables])
    assert_equal(*weights, "float32")


@pytest.fixture
def policy():
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize(
    "name", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_mixed_precision_has_nearly_the_same_gradient(name, policy):
    def gradient():
        keras.utils.set_random_seed(0)
        layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, strides=2)]
        layers += [keras.layers.BatchNormalization(), keras.layers.Activation("tanh")]
        network = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)])
        # The network's policy counts, not the learner's.
        policy("float32")
        learner = MAML(network, inner_learning_rate=0.01, inner_steps=2)
        optimizer = keras.optimizers.Adam(1e-9)
        learner.compile(optimizer, tasks.CROSSENTROPY)
        data = tasks.images()
        learner.prepare(tasks.dataset(data, 1))
        found = tf.function(learner.outer_gradients, autograph=False)(data)[1]
        learner.fit(tasks.dataset(data, 1), verbose=0)
        moments = [m * 10 for m in optimizer._momentums]  # Adam's first is 0.1 of the gradient
        found, moments = (np.concatenate([tf.reshape(g, -1) for g in m]) for m in (found, moments))
        return learner, found, moments

    _, expected, _ = gradient()
    policy(name)
    learner, found, moments = gradient()
    assert all(v.dtype == "float32" for v in learner.trainable_variables)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    # No scale is left in what reaches the optimizer.
    np.testing.assert_allclose(moments, found, rtol=1e-3, atol=1e-4)
    scaled = isinstance(learner.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (name == "mixed_float16")


def test_the_optimizers_own_loss_scale_factor():
    weights = []
    for factor in (None, 64.0):
        learner = MAML(tasks.dense(), inner_learning_rate=0.05)
        learner.compile(keras.optimizers.SGD(0.1, loss_scale_factor=factor), "mse")
        learner.fit(tasks.dataset(tasks.regression(), 3), verbose=0)
        weights.append([v.numpy() for v in learner.trainable_variables])
    assert_equal(*weights, "float32")
