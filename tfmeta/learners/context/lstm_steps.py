"""All steps of an LSTM, with a gradient of their own."""

import os

import tensorflow as tf

# Sequences of a loop below which a step takes no less time.
_FEWEST = 8


def lstm_steps(projected, recurrent):
    """States of an LSTM after each step, from zeros.

        [i, f, g, o] = sigmoid or tanh of z_t,      z_t = projected_t + h_{t-1} U
        c_t = f c_{t-1} + i g,                      h_t = o tanh(c_t)

    TensorFlow's gradient of a loop adds up the gradient of `U` step by step, and keeps what every
    operation of a step has made. Here a step leaves `z_t`, `c_t` and `h_t`; what the way back
    multiplies by is computed of all steps at once, and so is the gradient of `U`.

    Args:
        projected: what the inputs contribute to `z`, `[T, B, 4 H]`.
        recurrent: `U`, `[H, 4 H]`.

    Returns:
        `(h, c)`, `[T, B, H]` each.
    """

    @tf.custom_gradient
    def run(projected, recurrent):
        z, h, c = _forward(projected, recurrent)

        def gradient(of_h, of_c):
            of_z = _backward(z, c, recurrent, of_h, of_c)
            before, by_row = (_rows(t) for t in (_one_later(h), of_z))
            return of_z, tf.matmul(before, by_row, transpose_a=True)

        return (h, c), gradient

    sizes = _sizes_of_parts(projected.shape[1])
    if len(sizes) == 1:
        return run(projected, recurrent)
    states = [run(part, recurrent) for part in tf.split(projected, sizes, axis=1)]
    return tuple(tf.concat(of_parts, axis=1) for of_parts in zip(*states, strict=True))


def _sizes_of_parts(batch):
    """How many sequences go into each of several loops, a list; one loop if nothing is gained.

    A step waits for the one before it, and its product is too small for several cores.
    """
    if tf.executing_eagerly() or not batch or tf.config.list_logical_devices("GPU"):
        return [batch]
    parts = max(1, min(os.cpu_count() or 1, batch // _FEWEST))
    return [batch // parts + (i < batch % parts) for i in range(parts)]


def _forward(projected, recurrent):
    """`z`, `h` and `c` of all steps."""
    steps, batch, units = tf.shape(projected)[0], tf.shape(projected)[1], recurrent.shape[0]
    x = tf.TensorArray(projected.dtype, steps).unstack(projected)
    zeros = tf.zeros([batch, units], projected.dtype)

    def one(t, h, c, *left):
        z = x.read(t) + tf.matmul(h, recurrent)
        i, f, g, o = tf.split(z, 4, axis=-1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return t + 1, h, c, *(a.write(t, v) for a, v in zip(left, (z, h, c), strict=True))

    left = [tf.TensorArray(projected.dtype, steps) for _ in range(3)]
    _, _, _, *left = tf.while_loop(
        lambda t, *_: t < steps, one, (0, zeros, zeros, *left), maximum_iterations=steps
    )
    shape = projected.shape[:2]
    return [_stacked(a, shape, width) for a, width in zip(left, (4 * units, units, units))]  # noqa: B905


def _backward(z, c, recurrent, of_h, of_c):
    """The gradient with respect to `z`, from those with respect to the states of all steps."""
    steps, units = tf.shape(z)[0], recurrent.shape[0]
    i, f, g, o = tf.split(z, 4, axis=-1)
    i, f, o = (tf.sigmoid(t) for t in (i, f, o))
    g, out = tf.tanh(g), tf.tanh(c)
    # By how much z moves c, and h by o; and c moves h.
    of_gates = [g * i * (1 - i), _one_later(c) * f * (1 - f), i * (1 - g * g), out * o * (1 - o)]
    factors = (tf.concat(of_gates, axis=-1), o * (1 - out * out), f, of_h, of_c)
    reads = [tf.TensorArray(t.dtype, steps).unstack(t) for t in factors]
    zeros, across = tf.zeros_like(c[0]), tf.transpose(recurrent)

    def one(t, h, c, left):
        by_gate, by_out, kept, now_h, now_c = (a.read(t) for a in reads)
        h += now_h
        c += now_c + h * by_out
        of_z = tf.concat([c, c, c, h], axis=-1) * by_gate
        return t - 1, tf.matmul(of_z, across), c * kept, left.write(t, of_z)

    left = tf.TensorArray(z.dtype, steps)
    *_, left = tf.while_loop(
        lambda t, *_: t >= 0, one, (steps - 1, zeros, zeros, left), maximum_iterations=steps
    )
    return _stacked(left, z.shape[:2], 4 * units)


def _one_later(states):
    """The states before each step."""
    return tf.concat([tf.zeros_like(states[:1]), states[:-1]], axis=0)


def _rows(t):
    return tf.reshape(t, [-1, t.shape[-1]])


def _stacked(array, shape, width):
    return tf.ensure_shape(array.stack(), tf.TensorShape(shape).concatenate([width]))
