"""Trade time for memory: compute a function again in the place of keeping what is inside it."""

import functools

import tensorflow as tf


def recomputed(fn):
    """`fn`, of which a gradient keeps only the arguments, and computes the rest again.

    Args:
        fn: function of a nest of tensors to a nest of tensors. Gradients flow to its arguments
            alone: what it takes from around it counts as a constant.

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
            again = _after([u for u in upstream if u is not None], flat)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([t for t in again if t.dtype.is_floating])
                results = fn(*tf.nest.pack_sequence_as(args, again))
            pairs = zip(tf.nest.flatten(results), upstream, strict=True)
            outputs, upstream = zip(*[p for p in pairs if p[0].dtype.is_floating], strict=True)
            return tape.gradient(outputs, again, output_gradients=list(upstream))

        outputs = forward(*tf.nest.flatten(args))
        return tf.nest.pack_sequence_as(structure[0], outputs)

    return wrapped


def _after(upstream, tensors):
    """The tensors, but not before `upstream` is known: nothing is computed twice at one time.

    Without it the compiler would find the first computation again, and keep all of it. TensorFlow
    heeds control dependencies; XLA does not, but it does not know either that `0 * u` is zero.
    """
    with tf.control_dependencies(upstream):
        zero = 0 * next(tf.reshape(u, [-1])[0] for u in upstream if u.dtype.is_floating)
        return [
            t + tf.cast(zero, t.dtype) if t.dtype.is_floating else tf.identity(t) for t in tensors
        ]
