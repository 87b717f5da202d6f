"""What gradient learners share that adapt several sets of weights to a task: particles."""

import math

import keras
import tensorflow as tf

from tfmeta.arguments import check_number
from tfmeta.backend.map_tasks import map_tasks
from tfmeta.backend.private_keras import layers_of
from tfmeta.backend.task_layers import kernel_layers
from tfmeta.engine import losses
from tfmeta.engine.adapted_model import AdaptedModel
from tfmeta.engine.inputs import as_targets, as_tensor
from tfmeta.engine.task import StateUpdate, TaskResult, mean_over_tasks
from tfmeta.hints import Nest
from tfmeta.inner.rule import Learned
from tfmeta.learners.gaussian import (
    log_likelihood,
    mixture_log_likelihood,
    mixture_moments,
    rows_of_targets,
)
from tfmeta.learners.gradient import inner_loop
from tfmeta.learners.gradient.adapted_part import AllWeights
from tfmeta.learners.gradient.base import GradientLearner

#: Share of an outer step in the noise of targets, which is a mean over some hundred steps.
NOISE_RATE = 0.01


class ParticleLearner(GradientLearner):
    """Base of the gradient learners that keep several sets of a network's weights for a task.

    Each particle predicts for itself, `predict_particles`. Outputs are the mean of what they
    predict: of numbers, or of the probabilities of classes, whose logarithm it is where outputs are
    logits. For targets that are numbers, particles and a noise of targets, one learned number, are
    a mixture of Gaussians, which `predict_distribution` gives by mean and standard deviation. The
    noise follows the errors of the query sets, by online expectation maximisation: a gradient step
    at the rate of the weights would be hundreds of steps behind them.

    A subclass has an `adapted_part` of the class `Particles`.
    """

    @property
    def predicts_distributions(self):
        """False where a loss of classes is compiled."""
        loss = self.query_loss
        return not (losses.takes_logits(loss) or losses.expects_probabilities(loss))

    # Several sets of weights, where the base has one.

    def run_network(self, weights, state, x, training, batch_statistics):
        """Call the network on the weights of each particle: `(outputs [K, ...], new_state)`.

        The particles share a state, or there is a list of states.
        """
        if len(weights) > 1 and self._runs_at_once():

            def one(own):
                return super(ParticleLearner, self).run_network(
                    own, [], x, training, batch_statistics
                )[0]

            stacked = [tf.stack(values) for values in zip(*weights, strict=True)]
            return map_tasks(one, stacked, "vectorize"), state
        shared = not (state and isinstance(state[0], list | tuple))
        outputs = []
        for i, own in enumerate(weights):
            before = state if shared else state[i]
            run = super().run_network(own, before, x, training, batch_statistics)
            outputs.append(run[0])
            state = run[1] if shared else state
        return tf.stack(outputs), state

    def _runs_at_once(self):
        """True if all particles are one kernel: that is traced and converted once, not K times."""
        network = self.inner_network()
        plain = not (network.non_trainable_variables or kernel_layers(layers_of(network)))
        return plain and not tf.executing_eagerly()

    def inner_loss(self, examples, outputs, weights, step):
        # The sum: each particle then has the gradient of its own loss.
        return tf.reduce_sum(self.particle_losses(examples, outputs))

    def query_state(self, weights, state, step, support, training):
        return [
            inner_loop.support_statistics(self, [own], state, support, training) for own in weights
        ]

    # What they predict together.

    def predict_particles(self, adapted, x, training=False):
        """Outputs of each particle for query inputs `[M, ...]`: `[K, M, ...]`."""
        return self.run_network(
            adapted.weights, adapted.state, as_tensor(self, x), training, self.transductive
        )[0]

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        return self.mean_of(self.predict_particles(adapted, x, training))

    def mean_of(self, outputs):
        """The prediction `[M, ...]` that the particles' outputs `[K, M, ...]` make together."""
        if outputs.shape[0] == 1:
            return outputs[0]
        fn = getattr(self.query_loss, "fn", None)
        if fn in CLASSES and losses.takes_logits(self.query_loss):
            logarithms = tf.nn.log_softmax(outputs)
            return tf.reduce_logsumexp(logarithms, axis=0) - math.log(outputs.shape[0])
        return tf.reduce_mean(outputs, axis=0)

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation of targets `[M, d]`, noise included."""
        return mixture_moments(*self._gaussians(self.predict_particles(adapted, x, training)))

    def query_log_likelihood(self, adapted, x, y):
        """The logarithm of the density of targets `[M, d]` under the mixture, `[M]`."""
        mean, scale = self._gaussians(self.predict_particles(adapted, x))
        y = rows_of_targets(as_targets(self, y), mean.dtype)
        return mixture_log_likelihood(y, mean, scale)

    def _gaussians(self, outputs):
        """Of outputs `[K, M, d]` the mean and the standard deviation of each, alike."""
        outputs = outputs[..., None] if outputs.shape.rank == 2 else outputs
        return outputs, tf.zeros_like(outputs) + self.adapted_part.noise(outputs.dtype)

    # The outer loss.

    def score_task(self, episode, training):
        adapted = self.adapt(episode.support, training=training)
        return self.scored(episode, adapted, training)

    def scored(self, episode, adapted, training):
        """The `TaskResult` of a task that particles have adapted to."""
        query = episode.query
        outputs = self.predict_particles(adapted, query.x, training)
        mean = self.mean_of(outputs)
        result = TaskResult(
            self.task_loss(query, mean), query.y, mean, query.mask,
            inner_losses=adapted.inner_losses, adapted=adapted,
        )  # fmt: skip
        if self.predicts_distributions:
            result = result._replace(scale=self._scale_like(outputs, mean))
        if not training:
            return result
        updates = [self._noise_update(query, outputs)] if self.predicts_distributions else []
        return result._replace(
            objective=self.outer_loss(episode, adapted, outputs), updates=updates
        )

    def outer_loss(self, episode, adapted, outputs):
        """What the outer loop descends in a training step, a scalar."""
        raise NotImplementedError(f"{type(self).__name__} does not define `outer_loss`.")

    def particle_losses(self, examples, outputs):
        """The loss of examples for each particle, `[K]`."""
        return tf.stack([self.task_loss(examples, o) for o in tf.unstack(outputs)])

    def _scale_like(self, outputs, mean):
        return tf.reshape(mixture_moments(*self._gaussians(outputs))[1], tf.shape(mean))

    def _noise_update(self, query, outputs):
        """How far targets of a task are from the particles that are likely to have made them."""
        mean, scale = self._gaussians(tf.stop_gradient(outputs))
        y = rows_of_targets(query.y, mean.dtype)
        shares = tf.nn.softmax(log_likelihood(y, mean, scale), axis=0)  # [K, M]
        squares = tf.reduce_sum(shares * tf.reduce_mean((y - mean) ** 2, axis=-1), axis=0)
        real = tf.cast(query.mask, squares.dtype)
        sums = tf.stack([tf.reduce_sum(squares * real), tf.reduce_sum(real)])
        part = self.adapted_part
        return StateUpdate([part.log_noise], sums, part.noise_after)

    def adapted_model(self, support):
        return AdaptedModel.of(self, support)  # no copy of the network has several sets of weights


class Particles(Learned, AllWeights):
    """What the inner loop changes: several sets of the network's weights, one after another.

    Args:
        noise: where the noise of targets starts, > 0.
        most: the largest number of particles.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, noise, most, name="particles", **kwargs):
        super().__init__(name=name, **kwargs)
        self.first_noise, self.most = check_number("noise", noise), most
        self.built = True

    def make(self, learner):
        """Make the noise of targets."""
        first = keras.initializers.Constant(math.log(self.first_noise))
        dtype = learner.network_weights()[0].dtype
        self.log_noise = self.add_weight((), first, dtype, trainable=False, name="log_noise")

    def noise(self, dtype):
        """The standard deviation of targets, a scalar."""
        return tf.exp(tf.cast(self.log_noise, dtype))

    def noise_after(self, sums):
        """`log_noise` after an outer step: squared errors and rows of each task `[B, 2]`."""
        (of_all,) = mean_over_tasks(sums)
        before = self.noise(sums.dtype) ** 2
        # No rows, no change.
        mean = tf.where(of_all[1] > 0, tf.math.divide_no_nan(of_all[0], of_all[1]), before)
        after = before + NOISE_RATE * (mean - before)
        return [tf.cast(0.5 * tf.math.log(tf.maximum(after, 1e-12)), self.log_noise.dtype)]

    def names(self, learner):
        return super().names(learner) * self.most

    def place(self, learner, weights, fast, step):
        """The weights of each particle, a list of lists."""
        each = len(weights)
        return [list(fast[i : i + each]) for i in range(0, len(fast), each)]


CLASSES = (keras.losses.sparse_categorical_crossentropy, keras.losses.categorical_crossentropy)
