"""Keras's training loop on several workers, `tf.distribute.MultiWorkerMirroredStrategy`.

Keras cannot do it by itself: its symbolic build meets a value of each worker, and so does its mean
over the logs, which are scalars (https://github.com/keras-team/keras/issues/20585). Its loop,
callbacks and history stay; what one step calls is written here.
"""

import contextlib
import re
import zlib

import numpy as np
import tensorflow as tf

from tfmeta.backend import workers

_STOPPED = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)


def several(learner):
    """True if a learner was made in the scope of a strategy with several workers."""
    return workers.several(learner.distribute_strategy)


def check(learner, episodes):
    """Raise a ValueError in all workers unless each has its own share of the same meta-batches.

    Args:
        learner: the learner.
        episodes: a `tf.data.Dataset`, this worker's share.
    """
    if learner.jit_compile:
        raise ValueError(
            "Expected jit_compile='auto' or False with several workers, whose communication XLA "
            "does not compile. Received: jit_compile=True."
        )
    first = [t.numpy() for t in tf.nest.flatten(next(iter(episodes)))]
    size = first[0].shape[0]
    shapes = zlib.crc32(repr([t.shape[1:] for t in first]).encode())
    content = zlib.crc32(b"".join(np.ascontiguousarray(t).tobytes() for t in first))
    found = workers.gathered(learner.distribute_strategy, [size, shapes, content])
    sizes = [int(row[0]) for row in found]
    advice = "Make them with **tfmeta.distribution.share(meta_batch_size) in all workers."
    if len(set(sizes)) > 1:
        raise ValueError(
            f"Expected one meta_batch_size in all workers. Received: {sizes}, by worker. {advice}"
        )
    if len({row[1] for row in found}) > 1:
        raise ValueError(
            "Expected episodes of the same ways, shots, queries and shapes in all workers. "
            f"Received: {[t.shape[1:] for t in first]} here, and others there. {advice}"
        )
    if len({row[2] for row in found}) < len(found):
        raise ValueError(
            "Expected each worker to have its own share of the episodes. Received: the same first "
            f"meta-batch in several of the {len(found)} workers. {advice}"
        )
    devices = len(learner.distribute_strategy.extended.worker_devices)
    if size % devices:
        raise ValueError(
            f"Expected a meta_batch_size that the {devices} devices of a worker divide. Received: "
            f"{size} episodes for each worker."
        )


def check_restored(learner, outer_steps):
    """Raise a ValueError in all workers unless they go on from the same outer step."""
    if not several(learner):
        return
    iterations = int(tf.convert_to_tensor(learner.optimizer.iterations))
    found = workers.gathered(learner.distribute_strategy, [outer_steps, iterations])
    if len({tuple(row) for row in found}) > 1:
        raise ValueError(
            "Expected all workers to go on from the same backup. Received: those of outer steps "
            f"{[int(row[0]) for row in found]}, by worker. Give a backup_dir on a file system that "
            "all workers see."
        )


def distributed(learner, episodes):
    """A worker's share of the episodes, for its devices, as Keras's loop takes it."""
    strategy = learner.distribute_strategy
    devices = len(strategy.extended.worker_devices)

    def share(context):
        del context
        if devices == 1:
            return episodes
        size = tf.nest.flatten(episodes.element_spec)[0].shape[0]
        return episodes.rebatch(size // devices, drop_remainder=True)

    return strategy.distribute_datasets_from_function(share)


def make_function(learner, step):
    """Keras's train or test function of an iterator, for a learner's `train_step` or `test_step`.

    The logs are means over all workers, so that callbacks decide the same in each.
    """
    strategy = learner.distribute_strategy

    def replica_step(episodes):
        logs = {name: tf.cast(value, tf.float32) for name, value in step(episodes).items()}
        context = tf.distribute.get_replica_context()
        means = context.all_reduce("MEAN", tf.stack(list(logs.values())))
        return dict(zip(logs, tf.unstack(means, len(logs)), strict=True))

    def one_step(iterator):
        logs = strategy.run(replica_step, args=(iterator.get_next(),))
        return {k: strategy.experimental_local_results(v)[0] for k, v in logs.items()}

    if not learner.run_eagerly:
        one_step = tf.function(one_step, autograph=False, reduce_retracing=True)

    def function(iterator):
        logs = None
        for _ in range(learner.steps_per_execution):
            try:
                logs = one_step(iterator)
            except tf.errors.OutOfRangeError:
                if logs is None:
                    raise
                break
        return logs

    return function


@contextlib.contextmanager
def readable_errors(learner):
    """Say in words that another worker stopped, in the place of TensorFlow's error."""
    try:
        yield
    except _STOPPED as error:
        if not several(learner):
            raise
        resolver = learner.distribute_strategy.cluster_resolver
        mine = (resolver.task_type, str(resolver.task_id))
        told = re.sub(r"\{\{.*?\}\}\s*", "", str(error))
        tasks = set(re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", told)) - {mine}
        others = " or ".join(" ".join(task) for task in sorted(tasks)) or "another worker"
        cause = next((line for line in told.splitlines() if "aborted" in line), told[:200])
        count = workers.place(learner.distribute_strategy)[0]
        raise ConnectionError(
            f"Expected all {count} workers to stay until the end. Received: {others} stopped or "
            f"cannot be reached ({cause.strip()}). This one, {' '.join(mine)}, stops, too. Start "
            "all workers again: with tfmeta.callbacks.BackupAndRestore they go on from the last "
            "backup."
        ) from error
