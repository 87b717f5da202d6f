"""Many threads: what a task does to layers and converters happens in its own thread alone."""

import contextlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import assert_equal_weights, small_convolutional, weights

from tfmeta.learners import MAML, ProtoNet

THREADS = 8
EPISODES = tasks.images(tasks=THREADS, size=4)


def compiled(learner, **kwargs):
    learner.compile(keras.optimizers.SGD(0.05), tasks.CROSSENTROPY, **kwargs)
    return learner


def maml(**kwargs):
    keras.utils.set_random_seed(0)
    return compiled(MAML(small_convolutional(), inner_learning_rate=0.1, inner_steps=2, **kwargs))


def protonet(**kwargs):
    keras.utils.set_random_seed(1)
    return compiled(ProtoNet(small_convolutional(), **kwargs))


def fit(learner, steps=4):
    return learner.fit(tasks.dataset(EPISODES, steps), verbose=0).history["loss"]


def at_once(*functions):
    """What functions return, each called in a thread of its own; errors are raised here."""
    start = threading.Barrier(len(functions))

    def call(function):
        start.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(call, f) for f in functions]]


@contextlib.contextmanager
def meanwhile(function):
    """The function is called again and again in a thread, from before the block to its end."""
    under_way, done = threading.Event(), threading.Event()

    def call():
        try:
            while not done.is_set():
                function()
                under_way.set()
        finally:
            under_way.set()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        under_way.wait()
        try:
            yield
        finally:
            done.set()
        future.result()


def serve(learner, task):
    """All that a learner says of one task, `[3, M, ways]`."""
    support, x = tasks.one(EPISODES.support, task), EPISODES.query.x[task].numpy()
    first = learner.predict_query(learner.adapt(support), x)
    model = learner.adapted_model(support)
    return np.stack([first, model(x), learner.predict_query(learner.adapt(support), x)])


def serve_in_threads(learner):
    return at_once(*(lambda task=task: serve(learner, task) for task in range(THREADS)))


@pytest.mark.parametrize(
    "make", [maml, lambda: maml(transductive=True), protonet], ids=["maml", "transductive", "proto"]
)
def test_a_learner_serves_many_threads_with_the_numbers_of_one(make):
    expected = [serve(make(), task) for task in range(THREADS)]
    learner, other = make(), maml()
    before = weights(learner)
    with meanwhile(lambda: fit(other)):
        found = serve_in_threads(learner)  # that this learner's layers have not been in a task yet
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert_equal_weights(learner, before)


@pytest.mark.parametrize("make", [maml, protonet])
def test_a_learner_serves_while_it_trains(make):
    learner = make()
    before = weights(learner)
    with meanwhile(lambda: fit(learner)):
        found = serve_in_threads(learner)
    assert np.isfinite(found).all()
    assert all(np.isfinite(w).all() for w in weights(learner))
    assert not np.array_equal(learner.trainable_variables[0], before[0])


def test_two_learners_that_train_at_once_end_where_they_would_alone():
    makers = [lambda: maml(task_batching="vectorize"), protonet]
    alone, together = [[make() for make in makers] for _ in range(2)]
    for learner in alone:
        fit(learner, 6)
    at_once(*(lambda learner=learner: fit(learner, 6) for learner in together))
    for a, b in zip(alone, together, strict=True):
        assert_equal_weights(a, b, rtol=1e-4, atol=1e-5)


def plain():
    """What a Keras model that no learner has says, and a map that is not of tasks, a list."""
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(3, 3, kernel_initializer=keras.initializers.Ones()),
        layers.BatchNormalization(momentum=0.8), layers.ReLU(), layers.MaxPooling2D(),
        layers.LayerNormalization(), layers.GroupNormalization(3),
    ])  # fmt: skip
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 8, 8, 1)), tf.float32)
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = tf.reduce_sum(outputs**3)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    in_graph = tf.function(lambda x: model(x, training=False))
    kernels = tf.reshape(tf.range(36.0), (2, 3, 3, 1, 2))
    mapped = tf.vectorized_map(lambda k: tf.nn.conv2d(x, k, 1, "SAME"), kernels)
    kept = [np.array(v) for v in model.non_trainable_variables]
    return [outputs.numpy(), model(x).numpy(), in_graph(x).numpy(), mapped, *kept, *gradients]


def test_a_plain_model_is_what_it_always_is():
    expected, learner = plain(), maml(transductive=True)
    with meanwhile(lambda: fit(learner)):
        for found in (plain(), *at_once(plain, plain)):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_learners_own_network_is_a_plain_model_outside_of_tasks():
    learner, x = maml(), EPISODES.query.x[0]
    network = keras.models.clone_model(learner.network)
    network.set_weights(learner.network.get_weights())
    with meanwhile(lambda: learner.adapt(tasks.one(EPISODES.support))):
        for training in (False, True, True, False):
            pair = [one(x, training=training) for one in (network, learner.network)]
            np.testing.assert_allclose(*pair, atol=1e-6)
    assert_equal_weights(network, learner.network)


PROCESS = """
import tempfile, threading
from concurrent.futures import ThreadPoolExecutor
import keras, numpy as np, tensorflow as tf
random = np.random.default_rng(0)
x, k = (tf.constant(random.normal(size=s), tf.float32) for s in ((2, 3, 6, 6, 2), (2, 3, 3, 2, 4)))

def task(xk):
    z = tf.nn.conv2d(*xk, 1, "SAME")
    mean, variance = tf.nn.moments(z, [0, 1, 2])
    return tf.nn.max_pool(tf.nn.relu((z - mean) * tf.math.rsqrt(variance)), 2, 2, "VALID")

def mapped():
    run = tf.function(lambda *xk: tf.vectorized_map(task, xk), autograph=False)
    graph = run.get_concrete_function(x, k).graph
    return run(x, k).numpy(), sorted(op.type for op in graph.get_operations())

def things():
    layer = keras.layers.BatchNormalization
    return [tf.nn.moments, tf.nn.relu, tf.nn.max_pool, tf.vectorized_map, tf.nn.batch_normalization,
            layer.call, layer.__call__, keras.layers.MaxPooling2D.call, keras.ops.moments]

(values, ops), before = mapped(), things()
import tasks, tfmeta
from conformance.catalogue import small_convolutional
assert mapped()[1] == ops

def momenta(learner):
    return [layer.momentum for layer in learner.network.layers if hasattr(layer, "momentum")]

def run(learner):
    start.wait()
    learner.fit(tasks.dataset(tasks.images(size=4), 2), verbose=0)
    learner.adapted_model(tasks.one(tasks.images(size=4).support))
    learner.save(f"{folder}/{learner.name}.keras")

learners = []
for batching in ("vectorize", "loop"):
    learner = tfmeta.learners.MAML(
        small_convolutional(), task_batching=batching, name=batching, transductive=True
    )
    learner.compile("sgd", tasks.CROSSENTROPY)
    learners.append(learner)
start = threading.Barrier(2)
with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
    for future in [pool.submit(run, learner) for learner in learners]:
        future.result()  # raises what the thread has raised
    files = [keras.models.load_model(f"{folder}/{learner.name}.keras") for learner in learners]
for learner in (*learners, *files):
    assert momenta(learner) == [0.5]
    assert not any("call" in vars(layer) for layer in learner.network.layers)
after, after_ops = mapped()
np.testing.assert_array_equal(after, values)
assert after_ops == ops, set(after_ops) ^ set(ops)
assert all(a is b for a, b in zip(things(), before))
from tfmeta.backend import conversion, task_layers
assert conversion._mode.get() is None and task_layers._task.get() is None
"""


def test_the_process_is_afterwards_as_it_was():
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{PROCESS}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
