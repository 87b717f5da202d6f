"""Trade time for memory: compute a function again in the place of keeping what is inside it."""

import functools

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla


def recomputed(fn, in_xla=False):
    """`fn`, of which a gradient keeps only the arguments, and computes the rest again.

    Args:
        fn: function of a nest of tensors to a nest of tensors. Gradients flow to its arguments
            alone: what it takes from around it counts as a constant.
        in_xla: True if the ops are compiled by XLA.

    Returns:
        A function with the same values and the same gradients.
    """

    @functools.wraps(fn)
    def wrapped(*args):
        structure = []

        @tf.custom_gradient
        def forward(*flat):
            results = fn(*tf.nest.pack_sequence_as(args, flat))
            structure.append(results)
            return tf.nest.flatten(results), functools.partial(backward, flat)

        def backward(flat, *upstream):
            again = _after(upstream, flat, in_xla)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([t for t in again if t.dtype.is_floating])
                results = fn(*tf.nest.pack_sequence_as(args, again))
            pairs = zip(tf.nest.flatten(results), upstream, strict=True)
            outputs, upstream = zip(*[p for p in pairs if p[0].dtype.is_floating], strict=True)
            return tape.gradient(list(outputs), list(again), output_gradients=list(upstream))

        outputs = forward(*tf.nest.flatten(args))
        return tf.nest.pack_sequence_as(structure[0], outputs)

    return wrapped


def _after(upstream, tensors, in_xla):
    """The tensors, but not before `upstream` is known: nothing is computed twice at one time.

    Without it the compiler would find the first computation again, and keep all of it.
    """
    if in_xla:
        together = xla.optimization_barrier([*upstream, *tensors])
        return together[len(upstream) :]
    with tf.control_dependencies([u for u in upstream if u is not None]):
        return [tf.identity(t) for t in tensors]
