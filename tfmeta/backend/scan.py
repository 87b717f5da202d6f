"""A loop over time, as one loop of the graph."""

import tensorflow as tf


def scan(step, inputs, mask, state):
    """Outputs of all steps of a recurrence, and its last state.

    Args:
        step: function of `(inputs [B, F], state)` to `(outputs [B, H], new state)`.
        inputs: `[B, T, F]`.
        mask: `[B, T]`, 0 at steps that leave the state as it is.
        state: the first state, a nest of tensors `[B, ...]`.

    Returns:
        `(outputs [B, T, H], state)`.
    """
    steps = tf.shape(inputs)[1]
    # Read by step: the gradient of a slice would be as large as all of the inputs.
    x = tf.TensorArray(inputs.dtype, steps).unstack(tf.transpose(inputs, [1, 0, 2]))
    real = tf.TensorArray(tf.bool, steps).unstack(tf.transpose(mask > 0))
    first, _ = tf.nest.flatten(state), state
    outputs = tf.TensorArray(inputs.dtype, steps)

    def one(t, leaves, outputs):
        old = tf.nest.pack_sequence_as(state, leaves)
        output, new = step(x.read(t), old)
        keep = real.read(t)
        leaves = [
            tf.where(tf.reshape(keep, [-1] + [1] * (len(n.shape) - 1)), n, o)
            for n, o in zip(tf.nest.flatten(new), leaves, strict=True)
        ]
        return t + 1, leaves, outputs.write(t, output)

    _, last, outputs = tf.while_loop(
        lambda t, *_: t < steps, one, (0, first, outputs), maximum_iterations=steps
    )
    stacked = tf.transpose(outputs.stack(), [1, 0, 2])
    stacked.set_shape(tf.TensorShape(inputs.shape[:2]).concatenate(stacked.shape[2:]))
    return stacked, tf.nest.pack_sequence_as(state, last)
