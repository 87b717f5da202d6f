"""Max pooling with a right second derivative."""

import itertools

import tensorflow as tf


def is_wrong_in_tensorflow(strides, padding, in_xla):
    """True where TensorFlow's second derivative of max pooling (`MaxPoolGradGrad`) is wrong.

    That is, without a word,

    - compiled by XLA: by 7 % alone, and by 1 to 8 % in MAML's outer gradient;
    - in any `tf.function` with stride 1 and "same" padding, where it is zero.

    `max_pool` is for there. Elsewhere TensorFlow's is right, and faster.
    """
    return in_xla or (padding.upper() == "SAME" and set(tf.nest.flatten(strides)) == {1})


def max_pool(input, ksize, strides, padding, data_format=None, name=None):
    """`tf.nn.max_pool` by slices: `out = input` at the first maximum of each window.

    Its derivatives are those of slicing and `tf.where`, which XLA fuses into one loop.

    Args:
        input: `[batch, ..., channels]` with one to three spatial axes of known size.
        ksize: size of the window, an int or one a spatial axis.
        strides: as `ksize`.
        padding: "VALID" or "SAME".
        data_format: None or channels last.
        name: name of the ops.

    Returns:
        `[batch, ..., channels]`.

    Raises:
        ValueError: a spatial axis of unknown size, or channels first.
    """
    sides = input.shape[1:-1].as_list()
    if None in sides or (data_format or "NHWC").startswith("NC"):
        raise ValueError(
            "Expected max pooling (under jit_compile=True, or with strides=1 and padding='same') "
            "to be over channels-last inputs with known height and width. Received: shape "
            f"{input.shape}, data_format={data_format!r}. Give the network a full input shape."
        )
    sizes, strides = (per_axis(v, len(sides)) for v in (ksize, strides))
    with tf.name_scope(name or "max_pool"):
        if padding == "SAME":
            input = _pad_same(input, sides, sizes, strides)
            sides = input.shape[1:-1].as_list()
        spans = [(n - k) // s * s + 1 for n, k, s in zip(sides, sizes, strides, strict=True)]

        def window(offsets):
            cuts = [slice(o, o + n, s) for o, n, s in zip(offsets, spans, strides, strict=True)]
            return input[tuple([slice(None), *cuts])]

        windows = [window(offsets) for offsets in itertools.product(*map(range, sizes))]
        chosen = _first_maximum(windows)
        zero = tf.zeros([], input.dtype)
        return tf.add_n([tf.where(chosen == i, w, zero) for i, w in enumerate(windows)])


def per_axis(value, axes):
    """A size or stride as a list, one number an axis, from an int or such a list."""
    return [value] * axes if isinstance(value, int) else list(value)


def _first_maximum(windows):
    """Which window has the largest value, the first of equals; NaN counts as the largest."""
    best, chosen = windows[0], tf.zeros(tf.shape(windows[0]), tf.int32)
    for i, window in enumerate(windows[1:], 1):
        better = (window > best) | tf.math.is_nan(window)
        best, chosen = tf.where(better, window, best), tf.where(better, i, chosen)
    return chosen


def _pad_same(x, sides, sizes, strides):
    """Pad as TensorFlow's "SAME" does, with a value that is never the maximum."""
    totals = [
        max(-(-n // s) * s - s + k - n, 0) for n, k, s in zip(sides, sizes, strides, strict=True)
    ]
    padding = [(0, 0), *((t // 2, t - t // 2) for t in totals), (0, 0)]
    return tf.pad(x, padding, constant_values=x.dtype.min)
