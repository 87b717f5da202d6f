"""Which of several workers this process is, for TensorFlow's `MultiWorkerMirroredStrategy`."""

import tensorflow as tf


def place(strategy):
    """How many workers a strategy trains on, and which of them this process is.

    Args:
        strategy: a `tf.distribute.Strategy`.

    Returns:
        `(workers, worker)`: `(1, 0)` unless there are several.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1, 0
    resolver = strategy.cluster_resolver
    spec = resolver.cluster_spec() if resolver is not None else None
    sizes = {job: spec.num_tasks(job) for job in ("chief", "worker") if spec and job in spec.jobs}
    if not sizes:
        return 1, 0
    before = sizes.get("chief", 0) if resolver.task_type == "worker" else 0
    return sum(sizes.values()), before + resolver.task_id


def several(strategy):
    """True if a strategy trains on several workers."""
    return place(strategy)[0] > 1


def gathered(strategy, values):
    """Numbers of every worker, which all workers must ask for.

    Args:
        strategy: a `MultiWorkerMirroredStrategy`.
        values: a list of numbers, of one length in all workers.

    Returns:
        float64 NumPy array `[workers, values]`.
    """

    def gather():
        mine = tf.constant([values], tf.float64)
        return tf.distribute.get_replica_context().all_gather(mine, axis=0)

    found = tf.function(lambda: strategy.run(gather), autograph=False)()
    found = strategy.experimental_local_results(found)[0].numpy()
    return found[:: len(found) // place(strategy)[0]]
