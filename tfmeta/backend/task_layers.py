"""What Keras's layers do inside a task: one registry from layer class to implementation.

Inside a task a network runs on weights of the task's own, and is differentiated twice. Some layers
need another implementation there. It is found by the layer's class, and chosen at the layer: a
layer that a learner has seen looks, whenever it is called, whether this thread is inside a task.
Everywhere else, in every other thread at the same time, too, it does what Keras wrote.
"""

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from tfmeta.backend.private_keras import layers_of

_task = contextvars.ContextVar("task", default=None)
_implementations: dict = {}
_adopting = threading.Lock()
_users: dict = {}  # of a layer, by its id: how many scopes it is adopted in


class TaskMode(NamedTuple):
    """How layers run inside a task.

    Attributes:
        batch_statistics: what BatchNormalization goes by, whatever `training` says for dropout:
            True for the statistics of the batch, which then are its new state, False for those in
            its state, None for what Keras does.
        fused: True if BatchNormalization and the max pooling after it are to be one operation.
        in_xla: True if the step is compiled by XLA.
    """

    batch_statistics: Any = None
    fused: bool = False
    in_xla: bool = False


def in_task(layer_class: type) -> Callable:
    """Register what layers of a class, and of classes derived from it, do inside a task.

    ```python
    @tfmeta.inner.in_task(MyNormalization)
    def normalize(layer, call, mode, inputs, **kwargs):
        mean, variance = tfmeta.ops.moments(inputs, [0])
        return (inputs - mean) * tf.math.rsqrt(variance + layer.epsilon)
    ```

    Args:
        layer_class: a `keras.layers.Layer` class.

    Returns:
        A decorator of a function `(layer, call, mode, *args, **kwargs) -> outputs`, where `call` is
        the layer's own `call`, `mode` a `TaskMode`, and the rest what the layer was called with.
    """

    def register(function):
        _implementations[layer_class] = function
        return function

    return register


@contextlib.contextmanager
def task_mode(**changes):
    """A scope, in this thread alone, in which layers run as in a task.

    Args:
        **changes: fields of `TaskMode`; the others stay as they are.
    """
    token = _task.set((_task.get() or TaskMode())._replace(**changes))
    try:
        yield
    finally:
        _task.reset(token)


@contextlib.contextmanager
def adopted(network):
    """A scope in which the registered layers of a network look whether they are inside a task.

    Several threads may be in it at a time: a layer looks from when the first comes to when the last
    has gone, and nothing is left on it then.

    Args:
        network: a `keras.Model`.
    """
    layers = [(x, found) for x in layers_of(network) if (found := _implementation(x))]
    with _adopting:
        ours = [(x, found) for x, found in layers if id(x) in _users or "call" not in vars(x)]
        for layer, implementation in ours:
            _users[id(layer)] = _users.get(id(layer), 0) + 1
            if _users[id(layer)] == 1:
                call = _aware(layer, layer.call, implementation)
                # Past Keras, which would track the function as a part of the layer.
                object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        with _adopting:
            for layer, _ in ours:
                _users[id(layer)] -= 1
                if not _users[id(layer)]:
                    del _users[id(layer)]
                    object.__delattr__(layer, "call")


def _implementation(layer):
    """What is registered for the layer's class, or the nearest that it is derived from."""
    found = [_implementations[c] for c in type(layer).__mro__ if c in _implementations]
    return found[0] if found else None


def _aware(layer, call, implementation):
    @functools.wraps(call)
    def aware(*args, **kwargs):
        mode = _task.get()
        if mode is None:
            return call(*args, **kwargs)
        return implementation(layer, call, mode, *args, **kwargs)

    return aware


def calls_as_keras(layer, layer_class):
    """True if a layer's `call` is that of a class of Keras's, not a subclass's own."""
    return type(layer).call is layer_class.call


def is_in_xla():
    """True inside of a task, in this thread, whose step XLA compiles."""
    return (_task.get() or TaskMode()).in_xla


def kernel_layers(layers):
    """The convolutional and recurrent ones of some layers."""
    return [layer for layer in layers if isinstance(layer, _KERNEL_LAYERS)]


def recurrent_layers(layers):
    """The recurrent ones of some layers."""
    return [layer for layer in layers if isinstance(layer, _RECURRENT_LAYERS)]


_RECURRENT_LAYERS = (keras.layers.RNN, keras.layers.Bidirectional)
_KERNEL_LAYERS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
    *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *_RECURRENT_LAYERS,
    *(keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell),
)
