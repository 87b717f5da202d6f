"""Pixels to floats, once, at the door of whatever takes pictures."""


def scale_images(x, dtype="float32"):
    """Images of uint8, `0..255`, as floats `0..1`; any other tensor as it is."""
    import tensorflow as tf

    return tf.cast(x, dtype) / 255.0 if x.dtype == tf.uint8 else x


def as_inputs(x):
    """Rows of a `ClassDataset`, a tensor or a nest, as networks take them: floats as float32."""
    import tensorflow as tf

    def as_input(part):
        part = scale_images(part)
        return tf.cast(part, tf.float32) if part.dtype.is_floating else part

    return tf.nest.map_structure(as_input, x)
