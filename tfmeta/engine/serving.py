"""`adapt` and `predict_query` called by hand, again and again: traced once, as `fit` traces them.

Operation by operation Python holds its lock all the time: several threads are slower than one. A
learner that is compiled, and not with `run_eagerly=True`, is served by a graph for each kind of
task: its dtypes, the shape of a row and the number of classes. The second number of rows that comes
makes one for any number.
"""

import contextlib
import contextvars

import tensorflow as tf

from tfmeta.engine.kept import kept

_ways = contextvars.ContextVar("ways", default=None)


def known_ways():
    """The number of classes of the one task that is traced, None if it is not known.

    An integer, or a scalar tensor in a graph for any number of them.
    """
    return _ways.get()


@contextlib.contextmanager
def counted_ways(labels, has_labels=True):
    """A scope of one task whose number of classes is counted in the graph.

    Args:
        labels: tensor of its class labels `[rows]`, 0 for padding.
        has_labels: False if they are none, and nothing is counted.
    """
    token = _ways.set(tf.reduce_max(labels) + 1 if has_labels else None)
    try:
        yield
    finally:
        _ways.reset(token)


def serve(learner, method, arguments, ways):
    """What `method(learner, **arguments)` returns: by a graph if there can be one.

    What a graph cannot do, a method in NumPy say, is called as it is, from then on.

    Args:
        learner: a learner.
        method: function of the learner and the arguments to a nest of tensors, pure.
        arguments: a dict of nests of tensors, and of values that are traced as they are.
        ways: the number of classes if a graph is for one number of them, else None.
    """
    graph = _graph(learner, method, arguments, ways) if _is_served(learner) else None
    if graph is None or graph.gave_up:
        return method(learner, **arguments)
    try:
        return graph(arguments)
    except Exception:
        # The plain call has the last word: what is wrong, it says in better ones.
        result = method(learner, **arguments)
        graph.gave_up = True
        return result


def _is_served(learner):
    # As Keras's own steps are: a learner that is not compiled may not be one for graphs.
    compiled = learner.compiled and not learner.run_eagerly
    eagerly = tf.executing_eagerly() and not tf.config.functions_run_eagerly()
    return compiled and eagerly


def _graph(learner, method, arguments, ways):
    """The learner's graph for arguments like these, None if they are no key to one."""
    leaves = tf.nest.flatten(arguments)
    fixed = tuple(None if isinstance(x, tf.Tensor) else (type(x), x) for x in leaves)
    kinds = tuple(
        (x.dtype, x.shape.rank, tuple(x.shape[1:])) for x in leaves if isinstance(x, tf.Tensor)
    )
    key = method, tuple(arguments), fixed, kinds, ways
    try:
        hash(key)
    except TypeError:
        return None
    return kept(learner, key, lambda: _Graph(learner, method, arguments, ways))


class _Graph:
    """A method as a function of the tensors among its arguments."""

    def __init__(self, learner, method, arguments, ways):
        self.structure, self.gave_up = None, False
        fixed = tf.nest.map_structure(lambda x: None if isinstance(x, tf.Tensor) else x, arguments)
        is_tensor = [isinstance(x, tf.Tensor) for x in tf.nest.flatten(arguments)]

        def function(*tensors):
            given, leaves = iter(tensors), tf.nest.flatten(fixed)
            leaves = [next(given) if t else x for x, t in zip(leaves, is_tensor, strict=True)]
            token = _ways.set(ways)
            try:
                result = method(learner, **tf.nest.pack_sequence_as(fixed, leaves))
            finally:
                _ways.reset(token)
            flat = tf.nest.flatten(result)
            if not all(isinstance(x, tf.Tensor) for x in flat):
                raise TypeError("Expected tensors alone from a method that is traced.")
            self.structure = tf.nest.map_structure(lambda _: 0, result)
            return flat

        self.traced = tf.function(function, autograph=False, reduce_retracing=True)

    def __call__(self, arguments):
        tensors = [x for x in tf.nest.flatten(arguments) if isinstance(x, tf.Tensor)]
        # The concrete function, found again by the tensors: TensorFlow takes the first calls of
        # several learners for one function that is traced too often, and warns.
        outputs = self.traced.get_concrete_function(*tensors)(*tensors)
        return tf.nest.pack_sequence_as(self.structure, outputs)
