"""Random numbers that depend on (seed, episode number, place) and on nothing else.

`tf.random.stateless_*` takes one key a call, so that a vectorised draw for many episodes
would tie an episode to its neighbours in the call. Here each episode has its own key, and
any set of episode numbers is drawn in a handful of integer ops. Integers only: the same on
every machine, device and version of TensorFlow.

Draws come first and episodes last in every shape, so that one draw of all episodes is
contiguous; it makes `distinct` a third faster than the other way round.

Reference:
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014):
    SplitMix64, which passes BigCrush.
"""

import tensorflow as tf

_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def _uint64(value):
    return tf.constant(value % 2**64, tf.uint64)


def _mix(z):
    """SplitMix64's output function: a bijection of uint64 that scatters its input."""
    for shift, factor in _MIX:
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _uint64(shift))) * _uint64(factor)
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _uint64(31)))


def random_bits(seed, numbers, draws):
    """The first `draws` random numbers of each episode.

    Args:
        seed: Python int.
        numbers: int64 `[E]`, episode numbers.
        draws: int, how many random numbers each episode needs.

    Returns:
        uint64 `[draws, E]`, values `0..2**32 - 1`. The first numbers of an episode are the
        same whatever `draws` is.
    """
    gamma = _uint64(_GAMMA)
    # The seed is mixed first, or neighbouring seeds would give shifted copies of one stream.
    keys = _mix(_mix(_uint64(seed)) + gamma * tf.cast(numbers, tf.uint64))
    places = gamma * tf.cast(tf.range(1, draws + 1), tf.uint64)
    return tf.bitwise.right_shift(_mix(places[:, tf.newaxis] + keys), _uint64(32))


def uniform(bits, low, high):
    """Random numbers in `low..high`, float32 in the shape of `bits`."""
    # 24 bits, all that a float32 holds: the conversion is exact.
    unit = tf.cast(tf.bitwise.right_shift(bits, _uint64(8)), tf.float32) * 2.0**-24
    return low + (high - low) * unit


def normal(bits):
    """Standard normal random numbers, float32 in the shape of `bits`; none is beyond 5.3."""
    return tf.math.ndtri(uniform(bits, 2.0**-24, 1 - 2.0**-24))


def integers(bits, bound):
    """Random integers in `0..bound-1`.

    Args:
        bits: uint64, from `random_bits`.
        bound: int32 tensor that broadcasts to `bits`. Values differ in probability by at
            most one part in `2**32 / bound`.

    Returns:
        int32 in the shape of `bits`.
    """
    return tf.cast(tf.bitwise.right_shift(bits * tf.cast(bound, tf.uint64), _uint64(32)), tf.int32)


def distinct(bits, bound):
    """Random distinct integers in `0..bound-1`, in random order.

    Reads the numbers as a Lehmer code: the j-th says which of the `bound - j` values still
    left is taken. Every ordered choice is equally likely, and the cost does not depend on
    `bound`, where sorting random keys costs one key for every value that could be taken.

    Args:
        bits: uint64 `[picks, ...]`, from `random_bits`.
        bound: int32 tensor that broadcasts to `[...]`, at least `picks`.

    Returns:
        int32 `[picks, ...]`.
    """
    picks = bits.shape[0]
    taken = tf.reshape(tf.range(picks), [picks] + [1] * (bits.shape.rank - 1))
    *heads, tail = tf.split(integers(bits, bound - taken), picks)
    for head in reversed(heads):
        tail = tf.concat([head, tail + tf.cast(tail >= head, tf.int32)], axis=0)
    return tail
