"""A memory of adapted parameters: start a new task from those of tasks like it."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.inner import MetaParameters
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
        network=None,
        *,
        memory_size=16,
        neighbours=1,
        temperature=1.0,
        write_rate=0.1,
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
        # First: the variables that are made in the base's __init__ depend on them.
        self.memory_size, self.neighbours = int(memory_size), int(neighbours)
        self.temperature, self.write_rate = float(temperature), float(write_rate)
        super().__init__(network, **kwargs)

    @classmethod
    def search_space(cls, hp):
        return super().search_space(hp) | {
            "memory_size": hp.Int("memory_size", 4, 128, sampling="log", default=16),
            "neighbours": hp.Int("neighbours", 1, 5, default=1),
            "write_rate": hp.Float("write_rate", 0.01, 1.0, sampling="log", default=0.1),
        }

    def make_meta_parameters(self):
        weights = self.network_weights()
        size, dtype = sum(int(np.prod(w.shape)) for w in weights), weights[0].dtype
        kept = np.zeros((self.memory_size, size), dtype)
        written = np.full(self.memory_size, -1, dtype)
        return MetaParameters({}, {"displacements": kept, "written_at": written}, name="memory")

    def fixed_arguments(self):
        return {"memory_size"}

    def start(self, weights, support_loss):
        """The network's weights, displaced by what is nearest in the memory."""
        sizes = [w.shape.num_elements() for w in weights]
        displacements = self.meta_parameters.variables[0]
        kept = tf.concat([tf.zeros((1, sum(sizes)), weights[0].dtype), displacements], 0)

        def displaced(flat):
            moves = tf.split(flat, sizes)
            return [w + tf.reshape(d, w.shape) for w, d in zip(weights, moves, strict=True)]

        losses = tf.stack([support_loss(displaced(flat)) for flat in tf.unstack(kept)])
        nearest, slots = tf.math.top_k(-losses, self.neighbours)
        shares = tf.nn.softmax(nearest / self.temperature)
        return displaced(tf.stop_gradient(tf.tensordot(shares, tf.gather(kept, slots), 1)))

    def score_task(self, episode, training):
        adapted, result = super().score_task(episode, training)
        if training:
            start = self.network_weights()
            moves = [tf.reshape(a - w, [-1]) for a, w in zip(adapted.weights, start, strict=True)]
            result = result._replace(updates={"moved": tf.stop_gradient(tf.concat(moves, 0))})
        return adapted, result

    def outer_gradients(self, episodes):
        results, gradients = super().outer_gradients(episodes)
        updates = dict(results.updates)
        moved = updates.pop("moved")
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync > 1:  # every replica writes the tasks of all
            moved = context.all_gather(moved, axis=0)
        state = [id(v) for v in self.non_trainable_variables]
        for variable, value in zip(
            self.meta_parameters.variables, self._written(moved), strict=True
        ):
            updates[str(state.index(id(variable)))] = value[None]
        return results._replace(updates=updates), gradients

    def _written(self, moved):
        """The memory after the tasks whose weights moved by `[B, P]`: `(displacements, times)`."""
        displacements, written_at = map(tf.convert_to_tensor, self.meta_parameters.variables)
        kept = tf.concat([tf.zeros_like(moved[:1]), displacements], 0)
        slots = tf.argmin(squared_euclidean(moved, kept), axis=1, output_type=tf.int32) - 1
        new = slots < 0
        oldest = tf.argsort(written_at, stable=True)
        order = (tf.cumsum(tf.cast(new, tf.int32)) - 1) % self.memory_size
        slots = tf.where(new, tf.gather(oldest, order), slots)
        old = tf.gather(displacements, slots)
        values = tf.where(new[:, None], moved, old + self.write_rate * (moved - old))
        values = tf.math.unsorted_segment_mean(values, slots, self.memory_size)
        hits = tf.math.unsorted_segment_sum(tf.ones_like(slots), slots, self.memory_size) > 0
        now = tf.cast(self.optimizer.iterations, written_at.dtype)
        displacements = tf.where(hits[:, None], values, displacements)
        return displacements, tf.where(hits, now, written_at)
