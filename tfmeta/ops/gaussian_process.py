"""Gaussian processes: covariances, and the posterior in closed form."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfmeta.ops.cholesky import cholesky

#: Added to the diagonal, as a share of the variance: what a float64 Cholesky needs without noise.
JITTER = 1e-8


def covariance(
    kernel: str, a: tf.Tensor, b: tf.Tensor, length: Any = 1.0, scale: Any = 1.0, period: Any = 1.0
) -> tf.Tensor:
    """The covariances of a function's values at inputs `a` with those at inputs `b`.

    With `r = |a_i - b_j|`, length `l`, scale `s` and period `p`:

        "rbf":       s^2 exp(-r^2 / (2 l^2))
        "matern52":  s^2 (1 + q + q^2 / 3) exp(-q),  q = sqrt(5) r / l
        "periodic":  s^2 exp(-2 sum_d sin^2(pi (a_id - b_jd) / p) / l^2)

    Args:
        kernel: "rbf", "matern52" or "periodic".
        a: `[..., A, D]`.
        b: `[..., B, D]`.
        length, scale, period: numbers, or tensors that broadcast to `[..., A, B]`.

    Returns:
        `[..., A, B]`.

    Raises:
        ValueError: there is no kernel of that name.

    Reference:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), section 4.2.
    """
    check_kernel(kernel)
    differences = a[..., :, None, :] - b[..., None, :, :]
    return scale**2 * KERNELS[kernel](differences, length, period)


def check_kernel(kernel):
    """A kernel's name; a ValueError unless there is one of that name."""
    if not isinstance(kernel, str) or kernel not in KERNELS:
        raise ValueError(f"Expected kernel in {sorted(KERNELS)}. Received: kernel={kernel!r}.")
    return kernel


def _rbf(differences, length, period):
    return tf.exp(-0.5 * tf.reduce_sum(differences**2, axis=-1) / length**2)


def _matern52(differences, length, period):
    squares = tf.reduce_sum(differences**2, axis=-1)
    # Never the square root of 0, whose derivative is infinite.
    q = math.sqrt(5.0) * tf.sqrt(tf.maximum(squares, 1e-20)) / length
    return (1.0 + q + q**2 / 3.0) * tf.exp(-q)


def _periodic(differences, length, period):
    period = tf.convert_to_tensor(period, differences.dtype)
    # The period of each task is that of all of its pairs: one axis more for the inputs' columns.
    period = period[..., None] if period.shape.rank else period
    sines = tf.sin(math.pi * differences / period)
    return tf.exp(-2.0 * tf.reduce_sum(sines**2, axis=-1) / length**2)


KERNELS = {"rbf": _rbf, "matern52": _matern52, "periodic": _periodic}


def gaussian_posterior(
    covariance: Callable,
    x: tf.Tensor,
    y: tf.Tensor,
    mask: tf.Tensor,
    query_x: tf.Tensor,
    noise: Any,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of a function's values, given noisy ones at other inputs.

    With `K = k(x, x) + noise^2 I` over the real rows, and `k = k(x, query_x)`:

        mean = k^T K^-1 y,    variance = k(query_x, query_x) - diag(k^T K^-1 k)

    Args:
        covariance: function of inputs `[A, D]` and `[B, D]` to `[A, B]`, such as
            `functools.partial(tfmeta.ops.covariance, "rbf", length=0.4)`.
        x: `[S, D]`, where values are known.
        y: `[S, d]`, the values.
        mask: `[S]`, 0 for rows that do not count.
        query_x: `[M, D]`.
        noise: the standard deviation of the known values' noise.

    Returns:
        `(mean [M, d], variance [M])`, of the function: for another noisy value add noise^2.

    Reference:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), section 2.2.
    """
    weights, whitening = conditioned(covariance, x, y, mask, noise)
    return posterior_at(covariance, x, weights, whitening, query_x)


def conditioned(covariance, x, y, mask, noise):
    """What a posterior is made of, whatever it is asked for: arguments as of `gaussian_posterior`.

    Returns:
        `(weights [S, d], whitening [S, S])`: `K^-1 y`, and the inverse of `K`'s Cholesky factor,
        both 0 for rows that do not count.
    """
    real = tf.cast(mask, x.dtype)
    factor = _factor(covariance, x, real, noise)
    whitening = tf.linalg.triangular_solve(factor, tf.linalg.diag(real))
    return tf.linalg.cholesky_solve(factor, y * real[:, None]), whitening


def posterior_at(covariance, x, weights, whitening, query_x):
    """Mean `[M, d]` and variance `[M]` at inputs `[M, D]`, of what `conditioned` gave."""
    between = covariance(x, query_x)
    mean = tf.matmul(between, weights, transpose_a=True)
    half = tf.matmul(whitening, between)
    prior = covariance(query_x[:, None], query_x[:, None])[:, 0, 0]
    return mean, prior - tf.reduce_sum(half**2, axis=0)


def marginal_likelihood(
    covariance: Callable, x: tf.Tensor, y: tf.Tensor, mask: tf.Tensor, noise: Any
) -> tf.Tensor:
    """The logarithm of the density of noisy values, all of them together.

    With `K = k(x, x) + noise^2 I` over the `n` real rows, and each column `y` of the values:

        -1/2 y^T K^-1 y - 1/2 log |K| - n/2 log(2 pi)

    Args:
        covariance: as in `gaussian_posterior`.
        x: `[S, D]`, where values are known.
        y: `[S, d]`, the values, of which columns are independent.
        mask: `[S]`, 0 for rows that do not count.
        noise: the standard deviation of the values' noise.

    Returns:
        `[d]`, one number a column.

    Reference:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), equation 2.30.
    """
    real = tf.cast(mask, x.dtype)
    factor = _factor(covariance, x, real, noise)
    half = tf.linalg.triangular_solve(factor, y * real[:, None])
    # Rows that do not count have 1 on the diagonal of the factor.
    volume = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))
    constant = 0.5 * math.log(2 * math.pi) * tf.reduce_sum(real)
    return -0.5 * tf.reduce_sum(half**2, axis=0) - volume - constant


def _factor(covariance, x, real, noise):
    """The Cholesky factor of the noisy values' covariances, `[S, S]`."""
    # A row that does not count has variance 1 and no covariance: it says nothing.
    known = covariance(x, x) * real[:, None] * real[None, :]
    diagonal = tf.linalg.diag_part(known)
    diagonal = diagonal * (1 + JITTER) + noise**2 * real + (1 - real)
    return cholesky(tf.linalg.set_diag(known, diagonal))
