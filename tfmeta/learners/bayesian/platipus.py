"""PLATIPUS: sample the weights that a task starts from."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.learners.bayesian.particles import ParticleLearner, Particles
from tfmeta.learners.gaussian import kl_divergence, rows_of_targets
from tfmeta.learners.gradient import inner_loop
from tfmeta.ops.noise import standard_normal


@keras.saving.register_keras_serializable("tfmeta")
class PLATIPUS(ParticleLearner):
    """Learn a distribution of starts; a few steps from samples of it are samples of the solution.

    With the means `w` and standard deviations `s` of the weights, learned rates `b` and `c`:

        p(v | support) = N(w - b grad L_support(w), s^2)
        q(v | query)   = N(w - c grad L_query(w), r^2)              in training alone

    A start `v` is drawn from `q` in training and from `p` outside, then goes as in MAML,
    `v <- v - a grad L_support(v)`, T times. Outer loop: the compiled optimizer descends

        L_query(v_T) + kl_weight KL(q || p)

    with one start a task and step. Outside training, `particles` of them are drawn, with the same
    numbers for every task and call, so that predictions are the same, too.

    Meta-learned: `w`, all trainable weights of the network; `s` and `r`, as many numbers each; `b`
    and `c`; the noise of targets. Adapted: the particles. With deviations and rates of 0 it is
    `MAML`.

    Differs from the paper: losses are means over rows, and the noise of targets `e` is learned, so
    that the weight of the divergence is that of the bound: `2 e^2 / M` for squared errors of M
    numbers in the query set, `1 / M` for classes. With less, `q` knows in training what `p` cannot,
    and predictions are too sure of themselves.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        particles: how many starts are drawn outside training.
        deviation: where `s` and `r` start, > 0.
        kl_weight: >= 0; None for the bound's.
        noise: where the standard deviation of targets starts, > 0; not used of classes.
        seed: int, of the draws in training.
        inner_learning_rate: `a`, and where `b` and `c` start.
        inner_steps: `T` in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Finn, Xu and Levine, "Probabilistic Model-Agnostic Meta-Learning", NeurIPS 2018,
        arXiv:1806.02817, algorithms 1 and 2.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        particles: int = 10,
        deviation: float = 0.1,
        kl_weight: float | None = None,
        noise: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        particles = check_integer("particles", particles, 1)
        super().__init__(network, **kwargs)
        self.particles, self.deviation = particles, check_number("deviation", deviation)
        self.kl_weight = (
            None if kl_weight is None else check_number("kl_weight", kl_weight, zero=True)
        )
        self.noise = check_number("noise", noise)
        self.seed = check_integer("seed", seed, 0)
        self.seeds = keras.random.SeedGenerator(self.seed)
        self.adapted_part = SampledStarts(self.noise, particles, self.deviation)

    def fixed_arguments(self):
        return {"deviation", "noise", "particles"}

    @classmethod
    def search_space(cls, hp):
        return super().search_space(hp) | {
            "deviation": hp.Float(
                "deviation", 1e-3, 1.0, sampling="log", default=default_argument(cls, "deviation")
            ),
        }

    def score_task(self, episode, training):
        if not training:
            return super().score_task(episode, training)
        part = self.adapted_part
        support_loss, query_loss = (
            inner_loop.loss_at_start(self, examples, training) for examples in episode
        )
        weights = [tf.convert_to_tensor(w) for w in self.network_weights()]
        prior = part.prior(self, weights, support_loss)
        posterior = part.posterior(self, weights, query_loss)
        noise = standard_normal((1, sum(part.sizes(weights))), self.seeds.next())
        start = part.drawn(posterior, noise)
        adapted = inner_loop.adaptation_path(self, episode.support, None, True, True, start)[-1]
        result = self.scored(episode, adapted, training)
        divergence = tf.add_n([kl_divergence(*q, *p) for q, p in _pairs(posterior, prior)])
        weight = self._weight(episode.query, divergence.dtype)
        return result._replace(objective=result.objective + weight * divergence)

    def _weight(self, query, dtype):
        """That of the divergence beside the mean loss of the query set."""
        if self.kl_weight is not None:
            return self.kl_weight
        weight = 1.0 / tf.maximum(tf.cast(tf.reduce_sum(query.mask), dtype), 1.0)
        if self.predicts_distributions:
            numbers = rows_of_targets(query.y, dtype).shape[1]
            weight *= 2.0 * self.adapted_part.noise(dtype) ** 2 / numbers
        return weight

    def outer_loss(self, episode, adapted, outputs):
        return tf.reduce_mean(self.particle_losses(episode.query, outputs))


class SampledStarts(Particles):
    """The distributions that starts are drawn from.

    Args:
        noise, most: as in `Particles`.
        deviation: as in `PLATIPUS`.
    """

    def __init__(self, noise, most, deviation, **kwargs):
        super().__init__(noise, most, **kwargs)
        self.deviation = deviation

    def make(self, learner):
        super().make(learner)
        weights = learner.network_weights()
        first = keras.initializers.Constant(np.log(self.deviation))
        rate = keras.initializers.Constant(learner.inner_learning_rate)
        self.log_deviations, self.log_query_deviations = (
            [
                self.add_weight(w.shape, first, w.dtype, name=f"{name}_{i}")
                for i, w in enumerate(weights)
            ]
            for name in ("log_deviation", "log_query_deviation")
        )
        self.rate, self.query_rate = (
            self.add_weight((), rate, weights[0].dtype, name=name)
            for name in ("rate", "query_rate")
        )

    def sizes(self, weights):
        """The number of numbers in each weight."""
        return [w.shape.num_elements() for w in weights]

    def prior(self, learner, weights, support_loss):
        """`p`: means and standard deviations, two lists."""
        return self._distribution(learner, weights, support_loss, self.rate, self.log_deviations)

    def posterior(self, learner, weights, query_loss):
        """`q`, likewise."""
        return self._distribution(
            learner, weights, query_loss, self.query_rate, self.log_query_deviations
        )

    def _distribution(self, learner, weights, loss, rate, logarithms):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            value = loss(weights)
        gradients = tape.gradient(value, weights)
        gradients = [tf.convert_to_tensor(g) for g in gradients]  # those of embeddings are sparse
        if learner.is_first_order():
            gradients = [tf.stop_gradient(g) for g in gradients]
        rate = tf.cast(rate, weights[0].dtype)
        means = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
        return means, [tf.exp(tf.cast(v, weights[0].dtype)) for v in logarithms]

    def drawn(self, distribution, noise):
        """Samples of a distribution, for standard normal `noise` `[draws, P]`: one list."""
        means, deviations = distribution
        starts = []
        for row in tf.unstack(tf.cast(noise, means[0].dtype)):
            parts = tf.split(row, self.sizes(means))
            for mean, deviation, part in zip(means, deviations, parts, strict=True):
                starts.append(mean + deviation * tf.reshape(part, mean.shape))
        return starts

    def start(self, learner, weights, support_loss, support, training):
        noise = standard_normal((learner.particles, sum(self.sizes(weights))), (0, 0))
        return self.drawn(self.prior(learner, weights, support_loss), noise)


def _pairs(posterior, prior):
    """Of each weight `(mean, deviation)` of both."""
    return zip(zip(*posterior, strict=True), zip(*prior, strict=True), strict=True)
