"""Training steps that change at certain outer steps: traced when they begin, one at a time."""

import contextlib
import contextvars

import tensorflow as tf

_start = contextvars.ContextVar("start", default=None)
_OF_FIT = "_phase_of_fit"


@contextlib.contextmanager
def in_phase(start):
    """A scope, in this thread alone, in which the phase that begins at outer step `start` runs."""
    token = _start.set(start)
    try:
        yield
    finally:
        _start.reset(token)


def phase_start():
    """The outer step at which the phase began that is traced or run here; 0 outside of training."""
    return _start.get() or 0


def current(learner):
    """The outer step at which the learner's phase began, from its number of outer steps."""
    step = int(tf.convert_to_tensor(learner.optimizer.iterations))
    return max([0, *(end for end in learner.phase_ends() if end <= step)])


def run(learner, step):
    """Call `step()` in its phase: that of the scope around it, else that of the iterations.

    `fit` opens the scope. A `train_step` that somebody calls in a graph of their own has none: the
    graph then holds all phases, and takes the right one.
    """
    ends = sorted(set(learner.phase_ends()) - {0})
    if not ends or _start.get() is not None:
        return step()
    if _OF_FIT in vars(learner):  # a replica of `fit`, in a thread where the scope is another
        with in_phase(vars(learner)[_OF_FIT]):
            return step()
    if tf.executing_eagerly():
        with in_phase(current(learner)):
            return step()

    def phase(start):
        def run_it():
            with in_phase(start):
                return step()

        return run_it

    past = [tf.cast(learner.optimizer.iterations >= end, tf.int32) for end in ends]
    return tf.switch_case(tf.add_n(past), [phase(start) for start in (0, *ends)])


def by_phase(learner, make):
    """A function that makes, when a phase begins, the function that it calls.

    Args:
        learner: a compiled learner.
        make: function without arguments that makes Keras's training function.

    Returns:
        A function as `make` makes them.
    """
    made = {}

    def function(iterator):
        start = current(learner)
        if start not in made:
            made.clear()  # phases only go forwards
            made[start] = make()
        vars(learner)[_OF_FIT] = start
        try:
            with in_phase(start):
                return made[start](iterator)
        finally:
            del vars(learner)[_OF_FIT]

    return function
