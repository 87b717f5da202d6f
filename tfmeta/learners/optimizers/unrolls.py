"""The tasks whose training goes on from one outer step to the next, as variables."""

import tensorflow as tf

from tfmeta.engine.purity import task_scope
from tfmeta.engine.task import task_layers
from tfmeta.inner.rule import Learned
from tfmeta.learners.optimizers.unroll import Unroll, begun


class Unrolls(Learned):
    """An `Unroll` for each place of the meta-batch, and counts; in files, as weights are.

    Attributes:
        outer_steps: how many outer steps were taken.
        restarts: how many stretches met a value that was not finite.
        kept: a variable for each tensor of an `Unroll`, `[B, ...]` or, of P particles,
            `[B, P, ...]`. Made when episodes are first seen, or a file is loaded.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # nothing else of it is made on inputs
        self.outer_steps = self._add((), "int64", "outer_steps")
        self.restarts = self._add((), "int64", "restarts")
        self.kept = []
        object.__setattr__(self, "structure", lambda: None)  # hidden from Keras

    def _add(self, shape, dtype, name):
        return self.add_weight(
            shape=shape, dtype=dtype, initializer="zeros", trainable=False, name=name
        )

    def make(self, learner, spec, particles):
        """Make what is kept of meta-batches like these, or check that it is there.

        Args:
            learner: a `LearnedOptimizer`.
            spec: `Episode` of specs `[B, ...]`.
            particles: P, or None.
        """
        one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), spec)
        structure = _specs(learner, one, particles is not None)
        object.__setattr__(self, "structure", lambda: structure)
        tasks = tf.nest.flatten(spec)[0].shape[0]
        leading = (tasks,) if particles is None else (tasks, particles)
        leaves = [(*leading, *leaf.shape) for leaf in tf.nest.flatten(structure)]
        if any(size is None for shape in leaves for size in shape):
            raise ValueError(
                "Expected episodes of known shapes, whose training goes on in the next outer step. "
                f"Received: {tf.nest.map_structure(lambda t: t.shape, spec)}. Make them with "
                "count=None or a multiple of meta_batch_size, or leave unroll_length out."
            )
        if not self.kept:
            dtypes = [leaf.dtype.name for leaf in tf.nest.flatten(structure)]
            pairs = enumerate(zip(leaves, dtypes, strict=True))
            self.kept = [self._add(shape, dtype, f"unroll_{i}") for i, (shape, dtype) in pairs]
        made = [tuple(v.shape) for v in self.kept]
        if made != leaves:
            raise ValueError(
                "Expected meta-batches and a way to take the outer gradient like those before, "
                f"whose tasks go on: shapes {made}. Received: {leaves}. Make the episodes with the "
                "same meta_batch_size and rows, or make another learner."
            )

    def read(self, tasks):
        """The `Unroll` of each task of this replica, `[tasks, ...]`."""
        replicas, replica = _replicas()
        if self.structure() is None or self.kept[0].shape[0] != replicas * tasks:
            places = self.kept[0].shape[0] if self.kept else 0
            raise ValueError(
                f"Expected a meta-batch of {places} tasks, as many as have begun. Received: "
                f"{replicas * tasks}. Call fit or train_on_batch, or learner.prepare_unrolls("
                "episodes) before a training loop of your own."
            )
        mine = [tf.convert_to_tensor(v)[replica * tasks :][:tasks] for v in self.kept]
        return tf.nest.pack_sequence_as(self.structure(), mine)

    def update(self, value):
        """What a `StateUpdate` is made with: variables, a value, and how it is merged.

        Args:
            value: `Unroll` of one task after a stretch, or ().
        """
        kept = [] if value == () else self.kept
        # Found broken when the gradient is known.
        value = {"unroll": value, "broken": tf.constant(0.0)}
        return [self.outer_steps, self.restarts, *kept], value, self._merged

    def _merged(self, values):
        broken = _sum(tf.reduce_sum(values["broken"]))
        counts = [self.outer_steps + 1, self.restarts + tf.cast(broken, tf.int64)]
        return [*counts, *map(_of_all_replicas, tf.nest.flatten(values["unroll"]))]

    def load_own_variables(self, store):
        for i in range(len(self.weights), len(store.keys())):
            value = store[str(i)]
            self.kept.append(self._add(value.shape, str(value.dtype), f"unroll_{i - 2}"))
        super().load_own_variables(store)


def _specs(learner, episode, keeps_noise):
    """Specs of the `Unroll` of a task like this, an `Episode` of specs."""

    def of(episode):
        with task_layers(learner), task_scope(learner):
            parameters = [tf.convert_to_tensor(v) for v in learner.rule.trainable_variables]
            first = begun(learner, episode.support, parameters)
        noise = parameters if keeps_noise else ()
        return Unroll(*episode, *first, *[tf.constant(0)] * 3, noise)

    return tf.function(of, autograph=False).get_concrete_function(episode).structured_outputs


def _replicas():
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync, context.replica_id_in_sync_group


def _sum(value):
    replicas, _ = _replicas()
    context = tf.distribute.get_replica_context()
    return value if replicas == 1 else context.all_reduce("SUM", value)


def _of_all_replicas(mine):
    """`[tasks, ...]` of each replica, one below another."""
    replicas, replica = _replicas()
    if replicas == 1:
        return mine
    rows = [tf.where(replica == i, mine, tf.zeros_like(mine)) for i in range(replicas)]
    return _sum(tf.concat(rows, axis=0))
