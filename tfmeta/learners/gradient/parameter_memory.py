"""A memory of adapted parameters: start a new task from those of tasks like it."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import StateUpdate
from tfmeta.inner.rule import Learned
from tfmeta.learners.gradient.adapted_part import AllWeights
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.ops import squared_euclidean


@keras.saving.register_keras_serializable("tfmeta")
class ParameterMemory(GradientLearner):
    """MAML that keeps what tasks' parameters became, and starts a new task from the nearest ones.

    The memory holds M displacements `d_m` from the meta-learned `w`; `d_0 = 0` is `w` itself.

    Read, for each task, by the losses on the support set before any step:

        l_m = L_support(w + d_m),    m = 0..M
        w_0 = w + sum_m p_m d_m,     p = softmax(-l_m / temperature) over the `neighbours` lowest

    Inner loop: as in MAML, `w_{t+1} = w_t - a * grad L_support(w_t)`, t = 0..T-1.

    Write, in training, after each outer step, by the distance `|w_T - w - d_m|` of parameters: a
    task whose nearest is `d_0` takes the slot that was left alone for longest; any other moves the
    nearest, and several tasks that move one slot move it to the mean,

        d_m <- d_m + write_rate * (w_T - w - d_m).

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)` along `w`,
    with `p` and `d` as constants.

    Meta-learned: all trainable weights of the network, and the memory, which is saved with them.
    Adapted: the weights. The memory's size is fixed: M + 1 forward passes of the support set more
    a task, and M times the weights.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        memory_size: `M`, > 0.
        neighbours: how many of the lowest are mixed; 1 takes the lowest alone.
        temperature: of the mixture, > 0, in the unit of the loss.
        write_rate: 0..1, how far the nearest moves towards a task's parameters.
        inner_learning_rate: `a`.
        inner_steps: `T` in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        No paper of its own: memory-based starts as surveys of meta-learning describe them, on top
        of Finn et al., 2017, arXiv:1703.03400.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        memory_size: int = 16,
        neighbours: int = 1,
        temperature: float = 1.0,
        write_rate: float = 0.1,
        **kwargs,
    ):
        check_integer("memory_size", memory_size, 1)
        check_integer("neighbours", neighbours, 1)
        if neighbours > memory_size + 1:
            raise ValueError(
                "Expected neighbours <= memory_size + 1, the memory and the network's own weights. "
                f"Received: neighbours={neighbours}, memory_size={memory_size}."
            )
        check_number("temperature", temperature)
        if check_number("write_rate", write_rate, zero=True) > 1:
            raise ValueError(f"Expected write_rate in 0..1. Received: {write_rate}.")
        super().__init__(network, **kwargs)
        self.memory_size, self.neighbours = int(memory_size), int(neighbours)
        self.temperature, self.write_rate = float(temperature), float(write_rate)
        self.adapted_part = Memory(self.memory_size)

    @classmethod
    def search_space(cls, hp):
        return super().search_space(hp) | {
            "memory_size": hp.Int(
                "memory_size", 4, 128, sampling="log", default=default_argument(cls, "memory_size")
            ),
            "neighbours": hp.Int("neighbours", 1, 5, default=default_argument(cls, "neighbours")),
            "write_rate": hp.Float(
                "write_rate", 0.01, 1.0, sampling="log", default=default_argument(cls, "write_rate")
            ),
        }

    def fixed_arguments(self):
        return {"memory_size"}

    def score_task(self, episode, training):
        result = super().score_task(episode, training)
        if not training:
            return result
        pairs = zip(result.adapted.weights, self.network_weights(), strict=True)
        moves = [tf.reshape(adapted - w, [-1]) for adapted, w in pairs]
        return result._replace(updates=self.adapted_part.write(self, tf.concat(moves, 0)))


class Memory(Learned, AllWeights):
    """Displacements `d_m` from the network's weights, and the outer steps that wrote them.

    Args:
        size: `M`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, size, name="memory", **kwargs):
        super().__init__(name=name, **kwargs)
        self.size = size
        self.built = True

    def make(self, learner):
        """Make the memory, `[M, P]` for P numbers of weights, empty."""
        weights = learner.network_weights()
        numbers, dtype = sum(math.prod(w.shape) for w in weights), weights[0].dtype
        self.displacements = self.add_weight(
            shape=(self.size, numbers), dtype=dtype, initializer="zeros", trainable=False,
            name="displacements",
        )  # fmt: skip
        self.written_at = self.add_weight(
            shape=(self.size,), dtype=dtype, initializer=keras.initializers.Constant(-1),
            trainable=False, name="written_at",
        )  # fmt: skip

    def start(self, learner, weights, support_loss, support, training):
        """The network's weights, displaced by what is nearest in the memory."""
        sizes = [w.shape.num_elements() for w in weights]
        nothing = tf.zeros((1, sum(sizes)), weights[0].dtype)
        kept = tf.concat([nothing, self.displacements], 0)

        def displaced(flat):
            moves = tf.split(flat, sizes)
            return [w + tf.reshape(d, w.shape) for w, d in zip(weights, moves, strict=True)]

        losses = tf.stack([support_loss(displaced(flat)) for flat in tf.unstack(kept)])
        nearest, slots = tf.math.top_k(-losses, learner.neighbours)
        shares = tf.nn.softmax(nearest / learner.temperature)
        return displaced(tf.stop_gradient(tf.tensordot(shares, tf.gather(kept, slots), 1)))

    has_slots = True

    def slots_used(self, since):
        """How many slots tasks were written to at outer step `since` or later."""
        return int(np.sum(np.asarray(self.written_at) >= since))

    def write(self, learner, moved):
        """The update by which the memory takes in a task whose weights moved by `[P]`."""

        def merge(moved):
            context = tf.distribute.get_replica_context()
            if context.num_replicas_in_sync > 1:  # every replica writes the tasks of all
                moved = context.all_gather(moved, axis=0)
            return self.written(moved, learner.write_rate, learner.optimizer.iterations)

        variables = [self.displacements, self.written_at]
        return [StateUpdate(variables, tf.stop_gradient(moved), merge)]

    def written(self, moved, write_rate, now):
        """The memory after the tasks whose weights moved by `[B, P]`: `(displacements, times)`."""
        displacements = tf.convert_to_tensor(self.displacements)
        written_at = tf.convert_to_tensor(self.written_at)
        kept = tf.concat([tf.zeros_like(moved[:1]), displacements], 0)
        slots = tf.argmin(squared_euclidean(moved, kept), axis=1, output_type=tf.int32) - 1
        new = slots < 0
        oldest = tf.argsort(written_at, stable=True)
        order = (tf.cumsum(tf.cast(new, tf.int32)) - 1) % self.size
        slots = tf.where(new, tf.gather(oldest, order), slots)
        old = tf.gather(displacements, slots)
        values = tf.where(new[:, None], moved, old + write_rate * (moved - old))
        values = tf.math.unsorted_segment_mean(values, slots, self.size)
        hits = tf.math.unsorted_segment_sum(tf.ones_like(slots), slots, self.size) > 0
        displacements = tf.where(hits[:, None], values, displacements)
        return displacements, tf.where(hits, tf.cast(now, written_at.dtype), written_at)
