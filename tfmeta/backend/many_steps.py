"""`steps_per_execution` under XLA: the loop over the steps inside the compiled program.

Keras fetches a batch, calls the compiled step, and so on, inside one graph; entering and leaving
XLA is then paid at each step. Here the batches come stacked and one program runs all steps: 0.40 ms
a step in the place of 0.60 (sinusoid, 25 tasks, 1 inner step, Adam and metrics included, 50 steps
per execution, 2-core CPU), 1.21 in the place of 1.45 with 5 inner steps.
"""

import tensorflow as tf

from tfmeta.backend import private


def in_one_program(learner, step, one_by_one):
    """Keras's train or test function, with its loop inside XLA where that is possible.

    Args:
        learner: a compiled `keras.Model`.
        step: its `train_step` or `test_step`.
        one_by_one: what Keras made of `step`, a function of an iterator. It stays for data whose
            shapes are not all known, for several devices, and without XLA.

    Returns:
        A function of an iterator that runs up to `steps_per_execution` steps, returns the logs of
        the last one, and raises StopIteration at the end of the data.
    """
    many = learner.jit_compile and learner.steps_per_execution > 1
    if not many or learner.run_eagerly or learner.distribute_strategy.num_replicas_in_sync > 1:
        return one_by_one
    run = tf.function(_run, autograph=False, jit_compile=True)
    traced = tf.function(step, autograph=False)
    current = [None, None]

    def function(iterator):
        if iterator is not current[0]:
            current[:] = iterator, _in_chunks(iterator, learner.steps_per_execution)
        if current[1] is None:
            return one_by_one(iterator)
        return run(traced, *_filled(next(current[1]), learner.steps_per_execution))

    return function


def _in_chunks(iterator, steps):
    """An iterator over `steps` elements at a time, stacked; None where shapes do not allow it.

    `tf.data` stacks them while the steps before run: 4 us a step, 50 by a loop in the graph. One
    thread of its own does that; in TensorFlow's pool it took the cores from XLA's, and half of the
    runs were twice as slow.
    """
    dataset = private.dataset_of(iterator)
    if dataset is None or not isinstance(iterator, tf.data.Iterator):
        return None
    specs = tf.nest.flatten(iterator.element_spec)
    if not all(isinstance(s, tf.TensorSpec) and s.shape.is_fully_defined() for s in specs):
        return None
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    return iter(dataset.batch(steps).prefetch(1).with_options(options))


def _filled(batches, steps):
    """Tensors `[steps, ...]`, zeros at the end where the data ended, and how many are real."""
    count = tf.nest.flatten(batches)[0].shape[0]
    if count < steps:  # the same shapes, so that XLA does not compile again

        def fill(t):
            return tf.pad(t, [[0, steps - count], *([[0, 0]] * (t.shape.rank - 1))])

        batches = tf.nest.map_structure(fill, batches)
    return batches, tf.constant(count)


def _run(step, batches, count):
    """Run the traced `step` on the first `count` batches; the logs of the last one."""
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), batches)
    logs = step.get_concrete_function(one).structured_outputs
    empty = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), logs)

    def body(i, logs):
        del logs
        return i + 1, step(tf.nest.map_structure(lambda t: t[i], batches))

    return tf.while_loop(lambda i, _: i < count, body, [tf.constant(0), empty])[1]
