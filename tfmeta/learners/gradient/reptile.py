"""Reptile: move the initialisation towards what each task's weights become."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.outer_gradient import Displacement
from tfmeta.inner import SGD, Rule
from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class Reptile(GradientLearner):
    """Learn an initialisation by moving it towards the tasks' solutions; no second derivatives.

    Inner loop, for each task, on minibatches of all its examples, support and query:

        w_0 = w,    w_{t+1} = w_t - a * grad L_minibatch_t(w_t),    t = 0..T-1

    Outer loop: the compiled optimizer takes the mean over tasks of `w - w_T` for the gradient.
    With `SGD(e)` that is the paper's `w <- w + e * mean(w_T - w)`; a meta-batch of one task is
    serial Reptile, of more is batched.

    Meta-learned: all trainable weights of the network. Adapted: the same. A new task is learned
    from its support set, in `evaluation_steps` steps of the same kind.

    With `inner_beta_2`, b, a step is one of Adam without momentum, as in the paper's image runs:

        v_t = b v_{t-1} + (1 - b) g_t^2,    w_t = w_{t-1} - a * g_t / (sqrt(v_t / (1 - b^t)) + 1e-8)

    `loss` in training is of query examples that the inner loop has seen; `val_loss` is not.

    Differs from the paper: the inner loop is plain gradient descent unless `inner_beta_2` is given,
    and then `v` is 0 at the start of each task, where the authors' code keeps it from one task to
    the next; minibatches go through the rows in a fixed order, every m-th row in one.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: `a`. The authors' sinusoid: 0.02.
        inner_steps: `T` in training. The authors' sinusoid: 5. One step is joint training.
        inner_batch_size: rows of a minibatch, None for all. The authors' sinusoid: 10 of 50.
        inner_beta_2: `b`, above 0 and below 1; None for plain gradient descent. The authors' image
            runs: 0.999, with rates of 0.0002 to 0.0015.
        **kwargs: `evaluation_steps` (the authors' sinusoid: 32), `transductive` (the paper gives
            results of both kinds; transductive ones are higher), `task_batching`, `name` and
            `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range, or there are minibatches of episodes whose
            number of rows varies.

    Reference:
        Nichol, Achiam and Schulman, "On First-Order Meta-Learning Algorithms", 2018,
        arXiv:1803.02999, algorithms 1 and 2.
    """

    takes_first_order = False
    outer_gradient = Displacement()

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.02,
        inner_steps: int = 5,
        inner_batch_size: int | None = None,
        inner_beta_2: float | None = None,
        **kwargs,
    ):
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            **kwargs,
        )
        if inner_batch_size is not None:
            check_integer("inner_batch_size", inner_batch_size, 1)
        self.inner_batch_size = inner_batch_size
        if inner_beta_2 is not None and check_number("inner_beta_2", inner_beta_2) >= 1:
            raise ValueError(
                f"Expected inner_beta_2 above 0 and below 1. Received: {inner_beta_2}."
            )
        self.inner_beta_2 = inner_beta_2

    def make_rule(self):
        if self.inner_beta_2 is None:
            return SGD(self.inner_learning_rate)
        return AdamWithoutMomentum(self.inner_learning_rate, self.inner_beta_2)

    def minibatch(self, examples, step):
        rows = examples.y.shape[0]
        if self.inner_batch_size is None:
            return examples
        if rows is None:
            raise ValueError(
                "Expected the same number of rows in each meta-batch, for minibatches of "
                f"inner_batch_size={self.inner_batch_size}. Received: ways or shots that vary. "
                "Leave inner_batch_size out, or fix ways and shots."
            )
        if self.inner_batch_size >= rows:
            return examples
        batches = -(-rows // self.inner_batch_size)
        return tf.nest.map_structure(lambda t: t[step % batches :: batches], examples)

    def steps_are_alike(self):
        return self.inner_batch_size is None

    def score_task(self, episode, training):
        if training:  # all examples of the task are there to learn from
            pairs = zip(*map(tf.nest.flatten, episode), strict=True)
            everything = [tf.concat(pair, axis=0) for pair in pairs]
            support = tf.nest.pack_sequence_as(episode.support, everything)
            episode = episode._replace(support=support)
        return super().score_task(episode, training)


class AdamWithoutMomentum(Rule):
    """Adam with beta_1 = 0: descent along the gradient over the root of its mean square.

    Args:
        learning_rate: a number.
        beta_2: how much of the mean square stays from one step to the next.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, learning_rate, beta_2, **kwargs):
        super().__init__(**kwargs)
        self.learning_rate, self.beta_2 = learning_rate, beta_2

    def init(self, weights):
        return [tf.zeros_like(w) for w in weights]

    def update(self, gradients, weights, slots, step):
        keep, new, squares = self.beta_2, [], []
        for w, g, v in zip(weights, gradients, slots, strict=True):
            squares.append(keep * v + (1 - keep) * g * g)
            seen = 1 - keep ** tf.cast(step + 1, w.dtype)
            new.append(w - self.learning_rate * g / (tf.sqrt(squares[-1] / seen) + 1e-8))
        return new, squares
