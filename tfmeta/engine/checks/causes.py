"""Why a loss is not finite: looked for once one is, so that no step pays for it."""

import numpy as np
import tensorflow as tf

#: Where the first value was that is not finite: the number of an inner step, or one of these.
NONE, QUERY, GRADIENT = -1, 1 << 30, 1 << 31

_PARTS = ("support.x", "support.y", "query.x", "query.y")
_HUGE = 1e4  # of a weight: no initialiser comes near it, and no task is learned from there


def bad_data(*parts):
    """Which of some tensors or nests hold NaN or infinity: an int64 scalar, a bit for each."""
    bits = tf.zeros([], tf.int64)
    for i, part in enumerate(parts):
        floats = [t for t in tf.nest.flatten(part) if t.dtype.is_floating]
        for tensor in floats:
            finite = tf.reduce_all(tf.math.is_finite(tensor))
            bits = tf.bitwise.bitwise_or(bits, tf.where(finite, tf.zeros_like(bits), 1 << i))
    return bits


def bad_parts(episodes):
    """`bad_data` of an `Episode`, in the order that `explain` knows."""
    support, query = episodes
    return bad_data(support.x, support.y, query.x, query.y)


def explain(learner, where, bits, received="NaN or infinity"):
    """The error for a value that is not finite: what, where, why, and what to change.

    Args:
        learner: the learner, with the weights that the step began with.
        where: the number of an inner step, `QUERY` or `GRADIENT`.
        bits: of the episodes, from `bad_parts`.
        received: the value.
    """
    wanted, place = {
        QUERY: ("a finite query loss", "after the adaptation of"),
        GRADIENT: ("finite outer gradients", "from finite losses of"),
    }.get(where, ("a finite inner loss", f"at inner step {where} of"))
    advice = cause(learner, bits) or _advice(learner, where)
    return FloatingPointError(
        f"Expected {wanted}. Received: {received} {place} {describe(learner)}. {advice}"
    )


def describe(learner):
    """The learner and the arguments of its inner loop, for messages."""
    names = ("inner_learning_rate", "inner_steps")
    arguments = [f"{n}={getattr(learner, n)}" for n in names if getattr(learner, n) is not None]
    return f"{type(learner).__name__}({', '.join(arguments)})"


def cause(learner, bits):
    """What is known to be wrong, as a sentence: the data or the weights; "" if it is neither."""
    bad = [name for i, name in enumerate(_PARTS) if int(bits) >> i & 1]
    if bad:
        return f"There is NaN or infinity in {' and '.join(bad)} of the episodes: mend the data."
    size = _largest_weight(learner)
    if size < _HUGE:
        return ""
    grown = f"have grown to {size:.0e}" if np.isfinite(size) else "are not finite themselves"
    return (
        f"The weights that tasks start from {grown}: the outer loop has diverged. Lower the "
        "optimizer's learning rate, or compile with an optimizer that clips (global_clipnorm=10.0)."
    )


def _largest_weight(learner):
    """The largest absolute value of what is trained; infinite if one is not finite."""
    variables = learner.trainable_variables
    sizes = [np.abs(np.asarray(v, np.float64)).max(initial=0) for v in variables]
    largest = max(sizes, default=0)  # not a number compares with nothing
    return float(largest) if np.isfinite(sizes).all() else np.inf


def _advice(learner, where):
    if where == GRADIENT:
        return (
            "Lower inner_learning_rate, or compile with an optimizer that clips "
            "(global_clipnorm=10.0)."
        )
    if where == 0 or (where == QUERY and not learner.inner_learning_rate):
        before = "No inner step was taken before it, and data" if where == 0 else "Data"
        return (
            f"{before} and weights are finite: scale the inputs, or look for a logarithm, a root "
            "or a division by zero in the network and the loss."
        )
    return "Lower inner_learning_rate, or scale the inputs."
