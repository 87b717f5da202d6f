"""Bayesian MAML: particles that gradients of the support loss move, and that repel each other."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.inner.rule import Rule
from tfmeta.learners.bayesian.particles import ParticleLearner, Particles
from tfmeta.learners.gradient import inner_loop
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class BayesianMAML(ParticleLearner):
    """Learn where several sets of weights start; adapt them by Stein variational gradient descent.

    Inner loop, for each task, from the meta-learned particles `w^1 .. w^K`:

        w^k <- w^k - (a / K) sum_j [ k(w^j, w^k) grad L_support(w^j) - u grad_{w^j} k(w^j, w^k) ]

    with `k(w, v) = exp(-|w - v|^2 log(K + 1) / m)` and `m` the mean of the squared distances of two
    particles. The second term drives them apart, so that they spread over what the support set
    leaves open: samples of a posterior with the density `exp(-L_support / u)`.

    Outer loop: the compiled optimizer descends, through the inner loop,

        - log of the mean over k of exp(-L_query(w^k))              leader_steps=0
        sum over k of |w^k - v^k|^2                                 leader_steps > 0

    where the leader `v` takes so many steps more, on support and query set together, and is held
    constant (the paper's chaser loss). The reported loss is that of the mean prediction.

    Meta-learned: all trainable weights of the network, as many more for each other particle, and
    the noise of targets. Adapted: the particles. One particle is `MAML`.

    Differs from the paper: losses are the compiled one, a mean over rows, in the place of
    log-likelihoods with learned precisions, so that there is no prior in the inner loop; the
    kernel's width goes by the mean of squared distances, not by their median.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        particles: `K`. The paper: 5 to 10.
        repulsion: `u`, >= 0, in the unit of the loss.
        leader_steps: of the leader; 0 for the loss of the query set.
        spread: 0..1, how far the other particles start from the network's weights: kernels start as
            `sqrt(1 - spread^2)` of the network's and `spread` of new ones of the same size.
        noise: where the standard deviation of targets starts, > 0; not used of classes.
        seed: int, of the first weights of the other particles.
        inner_learning_rate: `a`.
        inner_steps: their number in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Yoon, Kim, Dia, Kim, Bengio and Ahn, "Bayesian Model-Agnostic Meta-Learning", NeurIPS 2018,
        arXiv:1806.03836, algorithms 1 and 3, equation 5.
    """

    # Steps of several particles take 20 s more to compile, and are a sixth faster then.
    gains_in_xla = False

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        particles: int = 5,
        repulsion: float = 0.01,
        leader_steps: int = 0,
        spread: float = 1.0,
        noise: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        particles = check_integer("particles", particles, 1)
        if check_number("spread", spread, zero=True) > 1:
            raise ValueError(f"Expected spread in 0..1. Received: {spread!r}.")
        super().__init__(network, **kwargs)
        self.particles = particles
        self.repulsion = check_number("repulsion", repulsion, zero=True)
        self.leader_steps = check_integer("leader_steps", leader_steps, 0)
        self.spread, self.noise = float(spread), check_number("noise", noise)
        self.seed = check_integer("seed", seed, 0)
        self.adapted_part = SeveralStarts(self.noise, particles, self.spread, self.seed)

    @classmethod
    def search_space(cls, hp):
        return super().search_space(hp) | {
            "particles": hp.Int("particles", 2, 10, default=default_argument(cls, "particles")),
            "repulsion": hp.Float(
                "repulsion", 1e-4, 1.0, sampling="log", default=default_argument(cls, "repulsion")
            ),
        }

    def fixed_arguments(self):
        return {"noise", "particles", "spread"}

    def make_rule(self):
        return SteinSGD(self.inner_learning_rate, self.particles, self.repulsion)

    def outer_loss(self, episode, adapted, outputs):
        if self.leader_steps:
            return self._distance_to_leader(episode, adapted)
        values = -self.particle_losses(episode.query, outputs)
        return math.log(self.particles) - tf.reduce_logsumexp(values)

    def _distance_to_leader(self, episode, adapted):
        support, query = episode
        both = Examples(*(_rows_of_both(pair) for pair in zip(support, query, strict=True)))
        chaser = [w for own in adapted.weights for w in own]
        start = [tf.stop_gradient(w) for w in chaser]
        leader = inner_loop.adaptation_path(self, both, self.leader_steps, True, True, start)[-1]
        pairs = zip(chaser, (w for own in leader.weights for w in own), strict=True)
        return tf.add_n([tf.reduce_sum((w - tf.stop_gradient(v)) ** 2) for w, v in pairs])


class SeveralStarts(Particles):
    """The particles' first weights: the network's own, and those of the others besides.

    Args:
        noise: as in `Particles`.
        number: of particles.
        spread, seed: as in `BayesianMAML`.
    """

    def __init__(self, noise, number, spread, seed, **kwargs):
        super().__init__(noise, number, **kwargs)
        self.spread, self.seed = spread, seed

    def make(self, learner):
        super().make(learner)
        random = np.random.default_rng(self.seed)
        self.others = []
        for particle in range(1, self.most):
            for i, weight in enumerate(learner.network_weights()):
                value = np.array(weight)
                if value.ndim > 1:  # offsets and scales have a meaning of their own
                    drawn = np.sqrt(np.mean(value**2)) * random.normal(size=value.shape)
                    value = np.sqrt(1 - self.spread**2) * value + self.spread * drawn
                name = f"particle_{particle}_weight_{i}"
                other = self.add_weight(value.shape, "zeros", weight.dtype, name=name)
                other.assign(value)
                self.others.append(other)

    def start(self, learner, weights, support_loss, support, training):
        return [*weights, *(tf.convert_to_tensor(w) for w in self.others)]


@keras.saving.register_keras_serializable("tfmeta")
class SteinSGD(Rule):
    """A step of Stein variational gradient descent, of particles one after another.

    Gradients are those of the sum of the particles' losses.

    Args:
        learning_rate: `a`.
        particles: their number.
        repulsion: `u`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, learning_rate, particles, repulsion, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate, self.particles, self.repulsion = learning_rate, particles, repulsion

    def update(self, gradients, weights, slots, step):
        points, own = (_flat(t, self.particles) for t in (weights, gradients))
        directions = stein_direction(points, own, self.repulsion)
        each = len(weights) // self.particles
        sizes = [w.shape.num_elements() for w in weights[:each]]
        moves = [m for row in tf.unstack(directions) for m in tf.split(row, sizes)]
        pairs = zip(weights, moves, strict=True)
        return [w - self.learning_rate * tf.reshape(m, w.shape) for w, m in pairs], slots

    def get_config(self):
        names = ("learning_rate", "particles", "repulsion")
        return super().get_config() | {name: getattr(self, name) for name in names}


def stein_direction(points, gradients, repulsion):
    """What Stein variational gradient descent descends along, of the density `exp(-L / u)`.

    Args:
        points: particles `[K, P]`.
        gradients: of the loss at each of them, `[K, P]`.
        repulsion: `u`.

    Returns:
        `[K, P]`.

    Reference:
        Liu and Wang, "Stein Variational Gradient Descent", NeurIPS 2016, arXiv:1608.04471.
    """
    number = points.shape[0]
    if number == 1:
        return gradients
    # From their middle, so that products in the place of differences `[K, K, P]` lose no digits.
    points -= tf.reduce_mean(points, axis=0)
    products = tf.matmul(points, points, transpose_b=True)
    norms = tf.linalg.diag_part(products)
    squares = tf.maximum(norms[:, None] + norms[None] - 2.0 * products, 0.0)
    mean = tf.reduce_sum(squares) / (number * (number - 1))
    width = tf.maximum(mean, 1e-12) / math.log(number + 1)
    kernel = tf.exp(-squares / width)
    # The gradient of k(w^j, w^k) for w^j is -2 k (w^j - w^k) / width.
    sums = tf.reduce_sum(kernel, axis=1, keepdims=True)
    pushes = 2.0 / width * (tf.matmul(kernel, points) - sums * points)
    return (tf.matmul(kernel, gradients) + repulsion * pushes) / number


def _flat(tensors, number):
    each = len(tensors) // number
    rows = [tensors[i : i + each] for i in range(0, len(tensors), each)]
    return tf.stack([tf.concat([tf.reshape(t, [-1]) for t in row], 0) for row in rows])


def _rows_of_both(pair):
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *pair)
