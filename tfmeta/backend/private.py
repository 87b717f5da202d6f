"""Every private name of TensorFlow that tfmeta uses, each with its reason.

Those of Keras are in `tfmeta.backend.private_keras`.

A TensorFlow that lacks one of them is no error: tasks then run one after another
(`tfmeta.backend.batching`), and formulas as TensorFlow's own operations. `missing()` says what.
"""

try:
    # A graph that a task is traced in, and that nobody runs.
    from tensorflow.python.framework.func_graph import FuncGraph

    # `tf.vectorized_map` opens a function of its own under XLA, whose shapes must be known to XLA:
    # it then takes the weights for constants, and compiles again whenever they change. This is the
    # same conversion in the caller's graph.
    from tensorflow.python.ops.parallel_for.control_flow_ops import _pfor_impl as vectorize

    # How one operation of a task becomes one of all tasks: the registry of converters, what they
    # return, the class that converts a function's operations, and a copy of an operation.
    from tensorflow.python.ops.parallel_for.pfor import (
        ConversionNotImplementedError,
        PFor,
        WrappedTensor,
        wrap,
    )
    from tensorflow.python.ops.parallel_for.pfor import _create_op as create_op
    from tensorflow.python.ops.parallel_for.pfor import _pfor_converter_registry as converters
except ImportError:
    vectorize = ConversionNotImplementedError = wrap = create_op = converters = None
    FuncGraph, PFor, WrappedTensor = object, object, tuple

try:
    # A formula that XLA compiles is not for a tape to look into: `tf.custom_gradient` around it has
    # its derivative.
    from tensorflow.python.eager.record import stop_recording
except ImportError:
    stop_recording = None


#: Methods of the class that converts which `Converter` calls or overrides.
METHODS_OF_PFOR = ("_add_conversion", "_convert_helper", "_was_converted")
#: And of a graph.
METHODS_OF_GRAPHS = ("_get_function",)


class Converter(PFor):  # type: ignore[misc, valid-type]
    """TensorFlow's conversion of the operations of one task to all, by names of tfmeta's own."""

    def note(self, of_one, of_all):
        """Take a value for what a tensor of one task is for all tasks."""
        self._add_conversion(of_one, of_all)

    def of_all(self, of_one):
        """The value of a tensor of one task for all tasks, converted if it is not yet."""
        return self._convert_helper(of_one)

    def noted(self, of_one, of_all):
        """Called with each new value, which TensorFlow makes, too."""

    def surely_differs(self, of_one):
        """True if a tensor has a value that needs no look, which might make it."""
        return False

    def _add_conversion(self, old_output, new_output):
        self.noted(old_output, new_output)
        super()._add_conversion(old_output, new_output)

    def _was_converted(self, t):
        return self.surely_differs(t) or super()._was_converted(t)


def function_of_graph(graph, name):
    """A function of a graph by the name under which its operations call it, or None."""
    return graph._get_function(name)


def dataset_of(iterator):
    """The `tf.data.Dataset` that an iterator goes over, or None."""
    return getattr(iterator, "_dataset", None)


def sources(dataset):
    """A `tf.data.Dataset` and all that it was made of by `map`, `prefetch` and the like, a list."""
    inputs = getattr(dataset, "_inputs", list)()
    return [dataset, *(found for part in inputs for found in sources(part))]


def read_saved_model(content):
    """The bytes of a `saved_model.pb` as the message that it is: a look without loading it."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return SavedModel.FromString(content)


def missing():
    """Names that tasks are batched with and that this TensorFlow lacks, a list."""
    names = {"vectorize": vectorize, "converters": converters, "stop_recording": stop_recording}
    found = [name for name, value in names.items() if value is None]
    if vectorize is not None:
        found += [name for name in METHODS_OF_PFOR if not hasattr(PFor, name)]
        found += [name for name in METHODS_OF_GRAPHS if not hasattr(FuncGraph, name)]
    return found
