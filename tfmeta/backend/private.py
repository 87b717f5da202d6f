"""Every private name of TensorFlow and Keras that tfmeta uses, each with its reason.

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


try:
    # Keras writes an HDF5 file of a learner that it cannot load, and says nothing: this is how it
    # tells models what they are asked for.
    from keras.src.backend.common.global_state import get_global_attribute as keras_state
except ImportError:
    keras_state = None


def writes_hdf5():
    """True while Keras writes or reads a model as an HDF5 file."""
    return keras_state is not None and bool(keras_state("use_legacy_config"))


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
    return [name for name, value in names.items() if value is None]
