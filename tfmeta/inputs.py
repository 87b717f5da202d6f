"""Pixels to floats, once, at the door of whatever takes pictures."""


def scale_images(x, dtype="float32"):
    """Images of uint8, `0..255`, as floats `0..1`; any other tensor as it is."""
    import tensorflow as tf

    return tf.cast(x, dtype) / 255.0 if x.dtype == tf.uint8 else x


def as_inputs(x):
    """Rows of a `ClassDataset`, a tensor, as networks take them: any floats as float32, too."""
    import tensorflow as tf

    x = scale_images(x)
    return tf.cast(x, tf.float32) if x.dtype.is_floating else x
