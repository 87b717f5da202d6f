"""What a policy ascends: sums whose derivatives are those of an expected return."""

import tensorflow as tf

ESTIMATORS = ("lvc", "dice", "naive")


def surrogate(
    log_chances: tf.Tensor, sampled: tf.Tensor, advantages: tf.Tensor, estimator: str = "lvc"
) -> tf.Tensor:
    """Terms of each step whose sum has the gradient of the expected return.

    With `w_t = pi(a_t | s_t) / pi_sampled(a_t | s_t)`, the ratio to the policy that drew the
    actions, which is a constant:

        "lvc"     w_t A_t                                     low variance curvature
        "dice"    (w_0 ... w_t - w_0 ... w_{t-1}) A_t         infinitely differentiable
        "naive"   log pi(a_t | s_t) A_t

    All have the same gradient where the two policies are equal. Of their second derivatives,
    which a gradient through an inner step takes, those of "dice" are right on average, and vary
    the most; "lvc" leaves out how an action changes what later actions are worth, which varies
    the most, and is 0 at an optimum; "naive" leaves out the square of the gradient of `log pi`
    too, and points elsewhere however many trajectories there are.

    Args:
        log_chances: `log pi(a_t | s_t)`, `[T, ...]`.
        sampled: the same of the policy that drew the actions, a constant, `[T, ...]`.
        advantages: `A_t`, constants, `[T, ...]`; 0 after the end of an episode.
        estimator: one of the three.

    Returns:
        Tensor `[T, ...]`.

    Raises:
        ValueError: an unknown estimator.

    Reference:
        Rothfuss et al., "ProMP: Proximal meta-policy search", ICLR 2019, section 5,
        arXiv:1810.06784; Foerster et al., "DiCE: The infinitely differentiable Monte Carlo
        estimator", 2018, arXiv:1802.05098; Mao et al., "A baseline for any order gradient
        estimation in stochastic computation graphs", 2019.
    """
    check_estimator(estimator)
    if estimator == "naive":
        return log_chances * advantages
    change = log_chances - sampled
    if estimator == "lvc":
        return tf.exp(change) * advantages
    before = tf.cumsum(change, axis=0, exclusive=True)
    return (tf.exp(before + change) - tf.exp(before)) * advantages


def check_estimator(estimator):
    """The estimator; a ValueError unless it is one of `ESTIMATORS`."""
    if estimator not in ESTIMATORS:
        raise ValueError(f"Expected estimator in {ESTIMATORS}. Received: {estimator!r}.")
    return estimator


def clipped_surrogate(
    log_chances: tf.Tensor, sampled: tf.Tensor, advantages: tf.Tensor, clip: float
) -> tf.Tensor:
    """Proximal policy optimization's terms: no gain from ratios beyond `1 - clip .. 1 + clip`.

    Args:
        log_chances, sampled, advantages: as in `surrogate`.
        clip: how far from 1, a number > 0.

    Returns:
        Tensor `[T, ...]`, `min(w_t A_t, clip(w_t) A_t)`.

    Reference:
        Schulman et al., "Proximal policy optimization algorithms", 2017, equation 7.
        arXiv:1707.06347
    """
    ratio = tf.exp(log_chances - sampled)
    clipped = tf.clip_by_value(ratio, 1 - clip, 1 + clip)
    return tf.minimum(ratio * advantages, clipped * advantages)
