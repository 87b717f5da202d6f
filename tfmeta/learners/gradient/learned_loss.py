"""MeTAL: learn the loss that the inner loop descends."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine import building
from tfmeta.engine.losses import one_output
from tfmeta.inner.rule import Learned
from tfmeta.learners.gaussian import full_precision
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.ops import row


@keras.saving.register_keras_serializable("tfmeta")
class LearnedLoss(GradientLearner):
    """Learn an initialisation, and a loss for the inner loop that goes by the state of the task.

    Inner loop, for each task, from the meta-learned `w`:

        w_{t+1} = w_t - a * grad (L_support(w_t) + mean_i l_t(z_i)),    t = 0..T-1

        s = norm([L_support(w_t), mean of each weight of w_t])      the state of the task, `[N + 1]`
        z_i = norm over all rows of [s, f(x_i; w_t), y_i]           of support row i, labels one-hot
        l_t(z) = relu(z K_1 + b_1) K_2 + b_2
        each v of K_1, b_1, K_2, b_2  <-  (1 + m_v u_v) v + o_v q_v,    (u, q) = g_t(s)

    `norm` takes off the mean and divides by the standard deviation; `g_t` has two dense layers.
    Each step has an `l_t` and a `g_t` of its own. The loss is not that of Keras's metrics:
    `inner_losses` are those of the line above.

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)`, of the
    compiled loss alone, along `w`, `l` and `g`.

    Meta-learned: all trainable weights of the network, `l`, `g`, and the numbers `m` and `o`.
    Adapted: the weights.

    Differs from the paper: inductive, for `adapt` sees no query set: the second learned loss of the
    paper, which is that of query examples without their labels, is left out. `K_2`, `b_2`, `m` and
    `o` start at zero, so that training starts from MAML; in the authors' code `K_2` is drawn at
    random. That code, too, adds the learned loss to the compiled one. Normalisation as in `MAML`.

    Args:
        network: a `keras.Model` with outputs `[rows, D]`, or None for a subclass with `call`.
        inner_learning_rate: `a`. The paper: 0.01.
        inner_steps: `T` in training, and the most that there are. The paper: 5.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range, more steps are asked for than `inner_steps`, or
            outputs or targets are not `[rows, D]`.

    Reference:
        Baik, Choi, Kim, Cho, Min and Lee, "Meta-Learning with Task-Adaptive Loss Function for
        Few-Shot Learning", ICCV 2021, arXiv:2110.03909, section 3.2 and algorithm 1.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.01,
        inner_steps: int = 5,
        **kwargs,
    ):
        check_integer("inner_steps", inner_steps, 1)
        super().__init__(
            network, inner_learning_rate=inner_learning_rate, inner_steps=inner_steps, **kwargs
        )
        self.learned_loss = StateLoss(self.inner_steps)

    @property
    def most_steps(self):
        return self.inner_steps

    def learned_parts(self):
        return [*super().learned_parts(), self.learned_loss]

    def build(self, input_shape):
        self.__dict__["_input_shape"] = input_shape
        super().build(input_shape)

    def make_parameters(self):
        if self.rule is None:
            network = self.inner_network()
            shape = self.__dict__.get("_input_shape") or building.network_input_shape(network)
            inputs = building.network_inputs(shape, self.input_dtype)
            outputs = one_output(network.compute_output_spec(inputs))
            if len(outputs.shape) != 2:
                raise ValueError(
                    "Expected a network with outputs [rows, D], which the learned loss reads. "
                    f"Received: outputs {outputs.shape}. Flatten them, or take MAML."
                )
            self.learned_loss.make(self.network_weights(), outputs.shape[1])
        super().make_parameters()

    def inner_loss(self, examples, outputs, weights, step):
        loss = self.task_loss(examples, outputs)
        outputs = tf.cast(full_precision(outputs), loss.dtype)
        y = examples.y
        if self.integer_labels:
            y = tf.one_hot(tf.reshape(y, [-1]), outputs.shape[1], dtype=loss.dtype)
        elif y.shape.rank > 2 or (y.shape[1] if y.shape.rank == 2 else 1) != outputs.shape[1]:
            raise ValueError(
                f"Expected targets like the outputs, [rows, {outputs.shape[1]}], which the learned "
                f"loss reads row by row. Received: y of shape {y.shape}."
            )
        y = tf.reshape(tf.cast(y, loss.dtype), tf.shape(outputs))
        means = [tf.cast(tf.reduce_mean(w), loss.dtype) for w in weights]
        mask = tf.cast(examples.mask, loss.dtype)
        rows = tf.concat([outputs, y], axis=1)
        return loss + self.learned_loss.of(tf.stack([loss, *means]), rows, mask, step)


class StateLoss(Learned):
    """`l_t` and `g_t` for each step, whose weights have a leading axis of steps.

    Args:
        steps: `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, steps, name="learned_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.steps = steps
        self.built = True

    def make(self, weights, outputs):
        """Make what is learned, for a network's weights and its number of outputs."""
        dtype = weights[0].dtype
        state = 1 + len(weights)
        width = state + 2 * outputs

        def add(name, *shape, initializer="zeros"):
            shape = (self.steps, *shape)
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        def drawn(name, *shape):
            return add(name, *shape, initializer=_each(keras.initializers.GlorotUniform()))

        self.loss = [
            *(drawn("loss_kernel_1", width, width), add("loss_bias_1", width)),
            *(add("loss_kernel_2", width, 1), add("loss_bias_2", 1)),
        ]
        self.generator = [
            *(drawn("state_kernel_1", state, state), add("state_bias_1", state)),
            *(drawn("state_kernel_2", state, 8), add("state_bias_2", 8)),
        ]
        self.scales = add("scales", 8)  # m and o

    def of(self, state, rows, mask, step):
        """The learned loss, a scalar.

        Args:
            state: `[N + 1]`.
            rows: outputs and targets, `[S, 2 D]`.
            mask: `[S]`.
            step: the number of the step.
        """
        state = _normalised(state, tf.ones_like(state))
        of_rows = tf.tile(state[None], [tf.shape(rows)[0], 1])
        rows = tf.concat([of_rows, rows], axis=1)
        inputs = _normalised(rows, mask[:, None] * tf.ones_like(rows))
        weights = [row(v, step) for v in self.generator]
        changes = _two_layers(state[None], weights)[0] * row(self.scales, step)
        factors, offsets = tf.split(changes, 2)
        weights = [(1.0 + factors[i]) * row(v, step) + offsets[i] for i, v in enumerate(self.loss)]
        values = _two_layers(inputs, weights)[:, 0]
        return tf.math.divide_no_nan(tf.reduce_sum(values * mask), tf.reduce_sum(mask))


def _each(initializer):
    """An initializer of matrices for several of them, `[T, in, out]`."""

    def initialize(shape, dtype=None):
        return tf.stack([initializer(shape[1:], dtype) for _ in range(shape[0])])

    return initialize


def _two_layers(inputs, weights):
    kernel_1, bias_1, kernel_2, bias_2 = weights
    return tf.matmul(tf.nn.relu(tf.matmul(inputs, kernel_1) + bias_1), kernel_2) + bias_2


def _normalised(values, mask, epsilon=1e-12):
    """`values` less their mean, over their standard deviation; those that count are masked 1."""
    count = tf.reduce_sum(mask)
    centred = values - tf.math.divide_no_nan(tf.reduce_sum(values * mask), count)
    variance = tf.math.divide_no_nan(tf.reduce_sum(centred**2 * mask), count)
    return centred / tf.sqrt(variance + epsilon)
