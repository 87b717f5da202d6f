"""Private attributes of TensorFlow and Keras: two files know them, by reading the source."""

import ast
import collections
import importlib
import pathlib
import pkgutil

import keras
import pytest
import tensorflow as tf

import tfmeta
from tfmeta.backend import private

PACKAGE = pathlib.Path(tfmeta.__file__).parent
KNOWING = [PACKAGE / "backend" / name for name in ("private.py", "private_keras.py")]
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in KNOWING]
OF_NAMED_TUPLES = {"_asdict", "_fields", "_replace"}  # documented by Python
# What keras-tuner does not write down of a grid, and only this file gives back.
OF_KERAS_TUNER = {"_compare", "_ordered_ids", "_populate_next", "_retry_queue"}
ELSEWHERE = {"tuning/grid.py": OF_KERAS_TUNER}
# A method that a class overrides has no other place than the class.
OVERRIDES = {
    # Keras would call the network on an Episode, or take a mean over devices.
    "MetaModel": {"_symbolic_build", "_maybe_symbolic_build"},
    # A rule steps all variables at once; Keras's public `update_step` is given one at a time.
    "RuleOptimizer": {"_backend_update_step"},
}


def is_private(name):
    return isinstance(name, str) and name.startswith("_") and not name.endswith("__")


def is_own(node):
    """True for `self`, `cls` and `super()`."""
    name = node.func if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in ("self", "cls", "super")


def defined(tree):
    """Private names that a file defines: functions, classes, what is set on self, strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if is_own(node.value):
                yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "object.__setattr__":
            yield ast.literal_eval(node.args[1]) if isinstance(node.args[1], ast.Constant) else ""


def used(tree):
    """`(name, whether it is of self, line)` of private attributes that a file reads or sets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.ctx, ast.Store) and is_own(node.value)):
                yield node.attr, is_own(node.value), node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            *("getattr", "hasattr", "setattr", "delattr", "kwargs.get", "kwargs.pop"),
        ):
            found = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from ((name, False, node.lineno) for name in found if is_private(name))


def of_others():
    """Private names of what TensorFlow and Keras hand to tfmeta."""
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    optimizer = keras.optimizers.SGD()
    dataset = tf.data.Dataset.range(1)
    things = [model, model.output, model.weights[0], model.layers[1], keras.Sequential(), optimizer]
    things += [keras.optimizers.LossScaleOptimizer(optimizer), keras.losses.Huber()]
    things += [keras.metrics.Mean(), keras.callbacks.TensorBoard(), keras.callbacks.Callback()]
    things += [dataset, iter(dataset), tf.constant(1), private.FuncGraph("one"), private.PFor]
    return {name for thing in things for name in dir(thing) if is_private(name)}


def strangers(trees):
    """`file:line name` of private attributes that no file of tfmeta's same group defines."""
    names, others = collections.defaultdict(set), of_others()
    for path, tree in trees.items():
        names[path.parts[0]].update(defined(tree))
    for path, tree in trees.items():
        allowed = OF_NAMED_TUPLES | ELSEWHERE.get(path.as_posix(), set())
        for name, own, line in used(tree):
            # Of something else than self, a name that Keras has, too, is most likely Keras's.
            known = name in names[path.parts[0]] and (own or name not in others)
            if not known and name not in allowed:
                yield f"{path}:{line} {name}"


def test_only_two_files_know_private_attributes():
    trees = {p.relative_to(PACKAGE): ast.parse(p.read_text()) for p in SOURCES}
    assert list(strangers(trees)) == []


@pytest.mark.parametrize(
    "code",
    [
        "def f(x): return x._flatten_layers()",
        "def f(x): return getattr(x, '_fn_kwargs', {})",
        "def f(x): x._initial_epoch = 3",
        "def f(kwargs): return kwargs.get('_use_cached_eval_dataset')",
        "class A:\n def f(self): return self._compile_metrics",
        "class A:\n def _iterations(self): return self.optimizer._iterations",
    ],
)
def test_a_private_attribute_elsewhere_is_found(code):
    assert len(list(strangers({pathlib.Path("engine/new.py"): ast.parse(code)}))) == 1


def classes():
    for module in pkgutil.walk_packages([str(PACKAGE)], "tfmeta."):
        if module.name.startswith(("tfmeta.demo", "tfmeta.serving", "tfmeta.tuning")):
            continue  # optional packages; no class of these is a layer, model or optimizer
        found = vars(importlib.import_module(module.name)).values()
        yield from (x for x in found if isinstance(x, type) and x.__module__ == module.name)


def test_private_methods_of_keras_are_overridden_where_a_reason_is_given():
    found = {}
    for one in {c for c in classes() if issubclass(c, keras.Model | keras.Layer | keras.Optimizer)}:
        bases = [b for b in one.__mro__ if b.__module__.startswith("keras.")]
        names = {n for n in vars(one) if is_private(n) and any(n in vars(b) for b in bases)}
        if names:
            found[one.__name__] = names
    assert found == OVERRIDES
