"""Elementwise formulas as one pass over memory each."""

import functools

import tensorflow as tf

from tfmeta.backend import private

_kernels: dict = {}


def kernel(fn):
    """Compile a formula of tensors by XLA, once for each set of shapes.

    TensorFlow runs `a * u + b * v + c` as four ops, each of which reads and writes all of memory.
    Not for sums over rows: TensorFlow's are up to 5 times as fast as XLA's on a CPU.

    Args:
        fn: function of tensors, without variables. It is not differentiable as a kernel.

    Returns:
        The compiled function; it calls `fn` itself where TensorFlow cannot hide it from a tape.
    """

    @functools.wraps(fn)
    def call(*tensors):
        if private.stop_recording is None:
            return fn(*tensors)
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
        concrete = _compiled(fn, *specs)
        _kernels[concrete.name.decode()] = call
        with private.stop_recording():
            return concrete(*tensors)

    return call


def kernel_of(name):
    """The kernel that a graph's call of the function `name` comes from, or None."""
    return _kernels.get(name)


@functools.cache
def _compiled(fn, *specs):
    # Traced outside of the caller's graph: the next caller has another.
    with tf.init_scope():
        return tf.function(fn, autograph=False, jit_compile=True).get_concrete_function(*specs)
