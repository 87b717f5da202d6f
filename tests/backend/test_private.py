"""A TensorFlow without its private names: learners train all the same, by the loop."""

import ast
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance.catalogue import small_convolutional

import tfmeta
from tfmeta.backend import batching, map_tasks, private
from tfmeta.learners import MAML

PACKAGE = pathlib.Path(tfmeta.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
NAMES = ["vectorize", "converters", "stop_recording"]


@pytest.fixture(autouse=True)
def nothing_said():
    batching._say_once.cache_clear()
    yield
    batching._say_once.cache_clear()


def dense():
    return MAML(tasks.dense(), inner_steps=2), tasks.regression(), "mse"


def convolutional():
    keras.utils.set_random_seed(0)
    return MAML(small_convolutional(), inner_steps=2), tasks.images(size=4), tasks.CROSSENTROPY


def losses(make):
    """Losses of three epochs of a new learner, and the warnings of tfmeta on the way."""
    learner, episodes, loss = make()
    learner.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = learner.fit(tasks.dataset(episodes, 2), epochs=3, verbose=0).history["loss"]
        learner.evaluate(tasks.dataset(episodes, 1), verbose=0)
    return found, [str(w.message) for w in caught if "tfmeta" in str(w.message)]


@pytest.mark.parametrize("make", [pytest.param(dense, marks=pytest.mark.slow), convolutional])
def test_without_a_private_name_losses_are_the_same_and_one_warning_says_so(make, monkeypatch):
    expected, said = losses(make)
    assert said == []
    for name in NAMES:
        batching._say_once.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(private, name, None)
            assert private.missing() == [name]
            found, said = losses(make)
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)
        assert len(said) == 1, said
        assert f"lacks {name}," in said[0]
        assert "one after another, with the same results" in said[0]


PROCESS = """
import sys, tensorflow as tf
sys.modules |= {"tensorflow.python.ops.parallel_for." + name: None
                for name in ("pfor", "control_flow_ops")}
sys.modules["tensorflow.python.eager.record"] = None
from tfmeta.backend import private
from backend.test_private import NAMES, convolutional, losses
assert private.missing() == NAMES
found, said = losses(convolutional)
assert len(said) == 1 and ", ".join(NAMES) in said[0], said
print(found)
"""


@pytest.mark.parametrize(
    ("owner", "name"),
    [("PFor", name) for name in private.METHODS_OF_PFOR]
    + [("FuncGraph", name) for name in private.METHODS_OF_GRAPHS],
)
def test_without_a_private_method_tasks_run_by_the_loop(owner, name, monkeypatch):
    learner, episodes, _ = convolutional()
    whole = getattr(private, owner)
    others = (*private.METHODS_OF_PFOR, *private.METHODS_OF_GRAPHS)
    rest = {n: getattr(whole, n) for n in others if n != name and hasattr(whole, n)}
    monkeypatch.setattr(private, owner, type(owner, (), rest))
    assert private.missing() == [name]
    arguments = [*[learner.own_layers()] * 2, "auto", (episodes.support.x,), False]
    with pytest.warns(UserWarning, match=f"lacks {name},"):
        assert batching.batching_mode(*arguments) == "loop"
    function = tf.function(lambda x: map_tasks.map_tasks(lambda t: 2 * t, x, "vectorize"))
    np.testing.assert_equal(function(tf.ones([3, 2])).numpy(), 2 * np.ones([3, 2]))
    operations = function.get_concrete_function(tf.ones([3, 2])).graph.get_operations()
    assert any("While" in op.type for op in operations)


def test_a_tensorflow_that_lacks_them_from_the_start_trains_too():
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{PROCESS}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    found = ast.literal_eval(result.stdout.splitlines()[-1])
    np.testing.assert_allclose(found, losses(convolutional)[0], rtol=1e-4)


def test_without_a_private_name_tasks_run_by_the_loop(monkeypatch):
    learner, episodes, _ = dense()
    support, layers = (episodes.support.x,), learner.own_layers()
    assert batching.batching_mode(layers, layers, "vectorize", support, False) == "vectorize"
    for name in NAMES:
        with monkeypatch.context() as patch:
            patch.setattr(private, name, None)
            with pytest.warns(UserWarning, match=name):
                mode = batching.batching_mode(
                    *[learner.own_layers()] * 2, "vectorize", support, False
                )
        assert mode == "loop"


def imported(path):
    """The modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_one_file_knows_private_names_and_none_replaces_a_name_of_others(path):
    assert "mock" not in path.read_text()
    if path.name not in ("private.py", "private_keras.py"):
        private_modules = ("tensorflow.python", "keras.src")
        assert [name for name in imported(path) if name.startswith(private_modules)] == []
        assert "tensorflow.python" not in path.read_text()
