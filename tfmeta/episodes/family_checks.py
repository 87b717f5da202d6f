"""What a family of functions is given and gives, checked before the first episode."""

import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_number, is_number

_LARGEST = float(np.finfo("float32").max)


def check_range(name, given, otherwise=""):
    """`(low, high)` as floats; a ValueError unless float32 holds both and their distance.

    Args:
        name: of the argument.
        given: its value.
        otherwise: what else the argument may be, for the message; "" for nothing else.
    """
    pair = given.tolist() if isinstance(given, np.ndarray) else given
    if not _is_range(pair):
        more = f", or {otherwise}" if otherwise else ""
        raise ValueError(
            f"Expected {name} to be (low, high), finite numbers with low <= high{more}. "
            f"Received: {name}={given!r}."
        )
    return float(pair[0]), float(pair[1])


def _is_range(pair):
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(map(is_number, pair))):
        return False
    low, high = pair
    return low <= high and max(-low, high, high - low) <= _LARGEST


def check_names(family, given, parameters):
    """A ValueError unless ranges are given for parameters that a family has."""
    if {*given} - {*parameters}:
        has = f"{family} takes ranges for {sorted(parameters)}" if parameters else "it takes none"
        raise ValueError(
            f"Expected ranges for the parameters of {family}: {has}. Received: {sorted(given)}."
        )


def check_noise(noise):
    """A standard deviation as a float, or a function; a ValueError unless it is one."""
    if callable(noise):
        return noise
    if not is_number(noise):
        raise ValueError(
            "Expected noise to be a number, or a function of the parameters. Received: "
            f"noise={noise!r}."
        )
    return check_number("noise", noise, zero=True)


def check_families(families):
    """The names of a mixture's families; a ValueError unless they can be told apart."""
    names = [getattr(f, "__name__", repr(f)) for f in families]
    if (
        len(families) < 2
        or len({*names}) < len(names)
        or not all(hasattr(f, "from_bits") for f in families)
    ):
        raise ValueError(
            "Expected at least two different functions made by tfmeta.episodes.family. Received: "
            f"{names}."
        )
    if "family" in names:
        raise ValueError(
            'Expected families of other names than "family", which is the number of a task\'s '
            f"family among the parameters. Received: {names}. Rename the function."
        )
    return names


def in_shape_of(x, y, name):
    """`y`, that a user's function returned for `x`, as float32 in the shape of `x`.

    One number for all rows, or for all tasks, is repeated. Anything else would be broadcast in
    the loss, silently, to a number for each pair of rows.

    Args:
        x: tensor `[E, rows, 1]`, or of any shape.
        y: what was returned: a number, or a tensor of the rank of `x`.
        name: of the function, for the message.
    """
    x, y = tf.convert_to_tensor(x), tf.cast(y, tf.float32)
    if y.shape == x.shape:
        return y
    lengths = [] if y.shape.rank is None else list(y.shape)  # what is unknown shows when it runs
    if len(lengths) not in (0, x.shape.rank) or not all(
        own in (1, None, wanted) for own, wanted in zip(lengths, x.shape, strict=False)
    ):
        raise ValueError(
            f"Expected {name} to return a tensor of the shape of x, {tuple(x.shape)}, with 1 in "
            "the place of any length, or a number. Received: a tensor of shape "
            f"{tuple(y.shape)}."
        )
    return tf.broadcast_to(y, tf.shape(x))
