"""LEO: adapt a code of each class, which a decoder makes the weights of a classifier."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.checks import learner_checks
from tfmeta.engine.inputs import network_dtype
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.inner import SGD, gradient_steps
from tfmeta.learners.context.latent_np import kl_divergence
from tfmeta.learners.embedding.base import EmbeddingLearner, hide_absent
from tfmeta.learners.gaussian import full_precision
from tfmeta.ops import class_means
from tfmeta.ops.noise import standard_normal
from tfmeta.types import Examples


class ClassCodes(NamedTuple):
    """What `LEO.adapt` returns; N classes, codes of L numbers, features of D.

    Attributes:
        head: the classifier after all steps, `[N, D]`.
        present: `[N]`, 0 for a class without a support example.
        mean, scale: of `q(z)`, `[N, L]` each.
        drawn: the code before the first step, `[N, L]`.
        stepped: the code after the last one.
    """

    head: Any
    present: Any
    mean: Any
    scale: Any
    drawn: Any
    stepped: Any


@keras.saving.register_keras_serializable("tfmeta")
class LEO(EmbeddingLearner):
    """Step on a low-dimensional code of each class, from which a decoder makes a classifier.

    On features `f(x)` `[D]` of a pretrained network that stays as it is, of length 1, for class k:

        (m_k, u_k) = mean over i in S_k, all j of relation([e(f(x_i)), e(f(x_j))])
        z_k ~ q = N(m_k, exp(u_k)^2),     w_k ~ N(n_k, s_k^2), (n_k, v_k) = decoder(z_k),
                                          s_k = max(exp(v_k) - 1 + s_0, 0)
        z <- z - a * grad_z L_support(w(z))          `latent_steps` times
        w <- w - b * grad_w L_support(w)             `head_steps` times
        outputs_k = w_k . f(x)                       (logits)

    Outer loop: the compiled optimizer descends the mean over tasks of

        L_query(w) + kl_weight KL(q || N(0, 1)) + encoder_weight |stop(z_last) - z_first|^2
                   + orthogonality_weight |C - 1|^2

    means of these squares and of KL, C the correlations of the decoder's rows. `e` and the decoder
    are linear, `relation` has three layers. One draw of `z` and of the noise in `w` serves a task
    in training; outside, `z_k = m_k` and `w_k = n_k`.

    Meta-learned: `e`, `relation`, the decoder, and the rates `a`, one for each number of a code,
    and `b`, one for each feature. Adapted: the codes, then the classifier. Ways and shots are free.
    Pretrain the network, with `classifier` or in any way, then set `network.trainable = False`; or
    give it features for inputs and a network without weights, such as one `Flatten`.

    Differs from the paper: the noise in `w` is drawn once for a task, in the authors' code at each
    step; dropout is on what `e` reads alone, in that code on what the classifier reads, too; KL is
    exact; no L2 penalty, which is the optimizer's `weight_decay`. That code brings features to
    length 1, too, but divides its logits by D. It clips the outer gradient to a norm of 0.1,
    `Adam(global_clipnorm=0.1)`, and steps along its L2 penalty alone where the loss is NaN.

    Args:
        network: a built `keras.Model` that does not train, from inputs to features `[rows, D]`
            (more axes are flattened).
        latent_size: `L`. The authors' code: 64.
        latent_steps: number of steps on codes. The paper: 5.
        head_steps: number of steps on the classifier, 0 for none. The paper: 5.
        latent_learning_rate: where `a` starts. The authors' code: 1.0.
        head_learning_rate: where `b` starts. The authors' code: 0.001.
        noise: what the standard deviations of the draws in training are multiplied by; 0 for none.
        dropout: share of the features that `e` does not see in training, 0..1.
        kl_weight: the authors' code: 0.001.
        encoder_weight: the authors' code: 1e-9.
        orthogonality_weight: the authors' code: 0.001.
        seed: int, of the draws in training.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, no network, or one that trains.

    Reference:
        Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero and Hadsell, "Meta-Learning with Latent
        Embedding Optimization", ICLR 2019, arXiv:1807.05960, section 2 and algorithm 1; `model.py`
        of the authors' code.
    """

    needs_pretraining = True

    def __init__(
        self,
        network: keras.Model,
        *,
        latent_size: int = 64,
        latent_steps: int = 5,
        head_steps: int = 5,
        latent_learning_rate: float = 1.0,
        head_learning_rate: float = 1e-3,
        noise: float = 1.0,
        dropout: float = 0.3,
        kl_weight: float = 1e-3,
        encoder_weight: float = 1e-9,
        orthogonality_weight: float = 1e-3,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        if network is None or not network.built:
            raise ValueError("Expected a built network. Received: none, or one without weights.")
        self.latent_size = check_integer("latent_size", latent_size, 1)
        self.latent_steps = check_integer("latent_steps", latent_steps, 0)
        self.head_steps = check_integer("head_steps", head_steps, 0)
        self.latent_learning_rate = check_number("latent_learning_rate", latent_learning_rate)
        self.head_learning_rate = check_number("head_learning_rate", head_learning_rate)
        self.noise = check_number("noise", noise, zero=True)
        if check_number("dropout", dropout, zero=True) >= 1:
            raise ValueError(f"Expected dropout in 0..1, below 1. Received: {dropout!r}.")
        self.dropout = dropout
        self.kl_weight = check_number("kl_weight", kl_weight, zero=True)
        self.encoder_weight = check_number("encoder_weight", encoder_weight, zero=True)
        self.orthogonality_weight = check_number(
            "orthogonality_weight", orthogonality_weight, zero=True
        )
        self.seed = check_integer("seed", seed, 0)
        self.seeds = keras.random.SeedGenerator(self.seed)

    def fixed_arguments(self):
        return {"dropout", "head_learning_rate", "latent_learning_rate", "latent_size", "seed"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "latent_size": hp.Int(
                "latent_size", 8, 128, sampling="log", default=default_argument(cls, "latent_size")
            ),
            "latent_learning_rate": hp.Float(
                "latent_learning_rate",
                0.1,
                10.0,
                sampling="log",
                default=default_argument(cls, "latent_learning_rate"),
            ),
            "head_learning_rate": hp.Float(
                "head_learning_rate",
                1e-4,
                1.0,
                sampling="log",
                default=default_argument(cls, "head_learning_rate"),
            ),
            "dropout": hp.Float("dropout", 0.0, 0.6, default=default_argument(cls, "dropout")),
            "kl_weight": hp.Float(
                "kl_weight", 1e-4, 1.0, sampling="log", default=default_argument(cls, "kl_weight")
            ),
        }

    def check_episodes(self, first):
        super().check_episodes(first)
        learner_checks.check_frozen(self.network)

    def make_weights(self, shape):
        width, size = int(np.prod(shape)), self.latent_size
        self.drop = keras.layers.Dropout(self.dropout, seed=self.seed)
        self.drop.build((None, width))
        self.encoder = self._linear("encoder", (size,), width)
        self.relation = self._linear("relation", (2 * size,) * 3, 2 * size)
        self.decoder = self._linear("decoder", (2 * width,), size)
        for name, numbers in (("latent", size), ("head", width)):
            rates = self.add_weight((numbers,), "zeros", network_dtype(self), name=f"{name}_rates")
            rates.assign(np.full(numbers, getattr(self, f"{name}_learning_rate")))
            setattr(self, f"{name}_rates", rates)

    def _linear(self, name, widths, inputs):
        """Dense layers without bias, ReLU between them."""
        layers = [keras.Input((inputs,), dtype=self.compute_dtype)]
        for i, width in enumerate(widths, 1):
            activation = "relu" if i < len(widths) else None
            layers.append(
                keras.layers.Dense(width, activation, use_bias=False, dtype=self.dtype_policy)
            )
        return keras.Sequential(layers, name=name)

    def embed(self, x, training=False):
        features = super().embed(x, training=False)  # the network is frozen
        return tf.math.l2_normalize(features, axis=1)

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        rows, ways = self.embed(support.x), self.most_ways(support)
        mean, scale, present = self.encode(rows, support, ways, training)
        noise = [0.0, 0.0]
        if training and self.noise:
            shapes = (tf.shape(mean), [tf.shape(mean)[0], rows.shape[1]])
            noise = [self.noise * standard_normal(s, self.seeds.next(), mean.dtype) for s in shapes]
        drawn = mean + scale * noise[0]

        def support_loss(head):
            logits = hide_absent(self.head_logits(head, rows), present)
            return self.task_loss(support, logits)

        def steps(loss, start, rates, number):
            if not number:
                return start
            rule = SGD(tf.cast(rates, start.dtype))
            path = gradient_steps(lambda v, s, t: (loss(*v), s), [start], (), rule, number, False)
            return path[0][-1][0]

        def of_code(code):
            return support_loss(self.decode(code, noise[1], ways))

        stepped = steps(of_code, drawn, self.latent_rates, self.latent_steps)
        head = self.decode(stepped, noise[1], ways)
        head = steps(support_loss, head, self.head_rates, self.head_steps)
        return ClassCodes(head, present, mean, scale, drawn, stepped)

    def encode(self, rows, support, ways, training=False):
        """Of `q`: `(mean [N, L], scale [N, L], present [N])`, for features `[S, D]`."""
        codes = full_precision(self.encoder(self.drop(rows, training=training)))
        number, size = tf.shape(codes)[0], self.latent_size
        left = tf.tile(codes[:, None], [1, number, 1])
        right = tf.tile(codes[None], [number, 1, 1])
        pairs = tf.reshape(tf.concat([left, right], -1), (-1, 2 * size))
        pairs = full_precision(self.relation(pairs))
        pairs = tf.reshape(pairs, tf.stack([number, number, 2 * size]))
        mask = tf.cast(support.mask, pairs.dtype)
        related = tf.reduce_sum(pairs * mask[:, None], axis=1) / tf.reduce_sum(mask)
        means, present = class_means(related, support.y, support.mask, ways)
        mean, raw = tf.split(means, 2, axis=-1)
        return mean, tf.exp(raw), present

    def decode(self, codes, noise, ways):
        """The classifier `[N, D]` for codes `[N, L]` and standard normal noise."""
        mean, raw = tf.split(full_precision(self.decoder(codes)), 2, axis=-1)
        first = tf.sqrt(2.0 / tf.cast(mean.shape[-1] + ways, mean.dtype))
        return mean + tf.maximum(tf.exp(raw) - 1.0 + first, 0.0) * noise

    def head_logits(self, head, rows):
        return tf.matmul(rows, tf.cast(head, rows.dtype), transpose_b=True)

    def logits(self, adapted, embeddings):
        return self.head_logits(adapted.head, embeddings)

    def score_task(self, episode, training):
        adapted, query = self.adapt(episode.support, training=training), episode.query
        outputs = self.predict_query(adapted, query.x, training=training)
        loss = self.task_loss(query, outputs)
        objective = loss + self.penalty(adapted) if training else None
        return TaskResult(loss, query.y, outputs, query.mask, objective, adapted=adapted)

    def penalty(self, adapted):
        """What the outer loop descends besides the query loss, a scalar."""
        present = adapted.present[:, None]
        numbers = tf.reduce_sum(present) * self.latent_size
        zeros = tf.zeros_like(adapted.mean)
        divergence = kl_divergence(
            present * adapted.mean, tf.where(present > 0, adapted.scale, 1.0), zeros, zeros + 1.0
        )
        moved = present * (tf.stop_gradient(adapted.stepped) - adapted.drawn)
        kernel = tf.cast(self.decoder.trainable_variables[0], adapted.mean.dtype)
        kernel = tf.math.l2_normalize(kernel, axis=1)
        correlated = tf.matmul(kernel, kernel, transpose_b=True) - tf.eye(
            self.latent_size, dtype=kernel.dtype
        )
        return (
            self.kl_weight * divergence / numbers
            + self.encoder_weight * tf.reduce_sum(moved**2) / numbers
            + self.orthogonality_weight * tf.reduce_mean(correlated**2)
        )
