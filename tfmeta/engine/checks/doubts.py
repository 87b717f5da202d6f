"""What looks wrong in a training run that goes on all the same: warnings in words, each once."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from tfmeta.backend import private
from tfmeta.engine import workers
from tfmeta.rows import map_parts

WINDOW = 100  # outer steps that are looked at together
_LEAST_GAIN = 0.01  # of the loss before adaptation
_COLLAPSED = 0.01  # of where a learned rate started
_LOOKED_AT = 20  # classes that are compared by an example, where names say nothing


def doubt(learner, kind, words):
    """Warn, but only once of each kind for one learner."""
    told = vars(learner).setdefault("_doubts", set())
    if kind not in told:
        told.add(kind)
        warnings.warn(words, stacklevel=2)


class Doubts(keras.callbacks.Callback):
    """Each `WINDOW` outer steps: does adaptation help, does its memory live? Its rates: each epoch.

    `fit` adds it. It reads a few numbers a window, and costs the other steps a comparison.
    """

    def on_train_begin(self, logs=None):
        self._windows, self._begin = 0, _outer_steps(self.model)
        self._sums = self._read = np.zeros(4)

    def on_epoch_begin(self, epoch, logs=None):
        self._read, self._is_over = np.zeros(4), False  # Keras has set the sums to 0
        self._next = WINDOW - (_outer_steps(self.model) - self._begin)

    # Not at the end of a step: for that one Keras would wait for the logs of every step.
    def on_train_batch_begin(self, batch, logs=None):
        if batch >= self._next:
            self._look()
            self._next = batch + WINDOW

    def on_test_begin(self, logs=None):
        self._end_epoch()  # before a validation sets the sums to 0

    def on_epoch_end(self, epoch, logs=None):
        self._end_epoch()
        check_rates(self.model)

    def _end_epoch(self):
        if not self._is_over:
            self._is_over = True
            self._look()

    def _look(self):
        read = np.asarray(self.model.before_adaptation.gain.result())
        # Fewer tasks than before: an `evaluate` within the epoch has set them to 0.
        self._sums = self._sums + read - (self._read if read[0] >= self._read[0] else 0)
        self._read = read
        steps = _outer_steps(self.model) - self._begin
        if steps >= WINDOW:
            self.on_window(self._sums, steps)
            self._sums, self._begin = np.zeros(4), self._begin + steps

    def on_window(self, sums, steps):
        """Look at `steps` outer steps; `sums` are those of `check_gain`."""
        if self._windows:  # in the first one a learner may not have begun to learn
            check_gain(self.model, sums, steps)
        check_memory(self.model, self._begin, steps)
        self._windows += 1


def callbacks_with_doubts(learner, callbacks):
    """The callbacks of `fit`, with `Doubts` behind them."""
    alone = isinstance(callbacks, keras.callbacks.CallbackList) or workers.several(learner)
    return callbacks if alone else [*callbacks, Doubts()]


def check_gain(learner, sums, steps):
    """Whether the loss is lower after adaptation than before it.

    Args:
        learner: the learner.
        sums: of the tasks that were measured their number, and the sums of the loss before, of what
            adaptation lowered it by, and of the square of that.
        steps: outer steps that they are of.
    """
    number, before, gain, squares = sums
    takes_none = learner.takes_inner_steps and learner.steps_of(True) == 0
    if number < 2 or takes_none:
        return
    before, gain = before / number, gain / number
    interval = 1.96 * np.sqrt(max(squares / number - gain**2, 0) / (number - 1))
    if not gain + interval <= _LEAST_GAIN * abs(before):  # nor if they are not finite
        return
    harms = gain + interval < 0
    does, mend = ("raises", "Lower") if harms else ("does not lower", "Raise")
    doubt(
        learner,
        "gain",
        f"Adaptation {does} the query loss: over the last {steps} outer steps it was {before:.4g} "
        f"before and {before - gain:.4g} after it (difference {-gain:+.2g} ± {interval:.2g}). "
        f"{mend} inner_learning_rate; tfmeta.evaluation.score_curve shows step by step what it "
        "does, and tfmeta.evaluation.diagnose what the learner relies on.",
    )


def check_rates(learner):
    """Whether a step of the inner loop has learned to do nothing."""
    rates = None if learner.rule is None else learner.rule.learned_rates()
    if rates is None:
        return
    start = learner.rule.learning_rate
    start = learner.inner_learning_rate if start is None else start
    if not start:
        return
    largest = np.abs(np.asarray(rates)).max(axis=1)
    dead = np.flatnonzero(largest < _COLLAPSED * start)
    if len(dead):
        which = "" if len(largest) == 1 else f" of inner step {', '.join(map(str, dead))}"
        doubt(
            learner,
            "rates",
            f"The learned inner learning rates{which} have collapsed: they started at {start:.2g}, "
            f"and the largest is {largest[dead].max():.2g}. Such a step adapts nothing. Lower the "
            "optimizer's learning rate, or start inner_learning_rate lower.",
        )


def check_memory(learner, since, steps):
    """Whether tasks are written to more than one slot of a memory that has more."""
    part = learner.adapted_part
    if part is None or not part.has_slots or part.size < 2:
        return
    if part.slots_used(since) == 1:
        doubt(
            learner,
            "memory",
            f"One slot of the memory of {part.size} is used: all tasks of the last {steps} outer "
            "steps were written to it. The memory tells no kinds of tasks apart. Raise "
            "inner_learning_rate or inner_steps, so that tasks move further, or take MAML.",
        )


def check_leak(learner, first):
    """Whether query examples are among the support examples, in the first meta-batch.

    Class labels alone: a target set of numbers may hold its context set, and often does.
    """
    if not all(np.issubdtype(part.y.dtype, np.integer) for part in first):
        return
    if [t.shape[2:] for t in tf.nest.flatten(first.support[:2])] != [
        t.shape[2:] for t in tf.nest.flatten(first.query[:2])
    ]:
        return  # descriptions of classes, say
    tasks = range(len(first.query.mask))
    support = [set(_rows(first.support, task)) for task in tasks]
    rows = [_rows(first.query, task) for task in tasks]
    same = sum(row in known for known, row_s in zip(support, rows, strict=True) for row in row_s)
    if same:
        doubt(
            learner,
            "leak",
            f"{same} of {sum(map(len, rows))} query examples of the first meta-batch equal a "
            "support example of their task, label and all: a score of them says nothing. Draw the "
            "two without a common example, or remove doubles from the data.",
        )


def check_classes(learner, training, validation):
    """Whether episodes to validate on are of classes that are trained on."""
    trained, validated = (classes_of(episodes) for episodes in (training, validation))
    if trained is None or validated is None:
        return
    shared = sorted(set(trained.class_names) & set(validated.class_names))
    if trained is not validated and all(name.isdigit() for name in shared):
        # Numbers of labels: those of another data set mean other classes.
        shared = [n for n in shared[:_LOOKED_AT] if _example(trained, n) == _example(validated, n)]
    if shared:
        more = "" if len(shared) <= 5 else f" and {len(shared) - 5} more"
        doubt(
            learner,
            "classes",
            f"Training and validation share classes: {', '.join(shared[:5])}{more}. A score of "
            "them does not tell how new classes are learned. Split the classes, with "
            "tfmeta.datasets.class_split, and tfmeta.datasets.check_disjoint.",
        )


def classes_of(episodes):
    """The `ClassDataset` that a pipeline of episodes draws from, or None if none is known."""
    if not isinstance(episodes, tf.data.Dataset):
        return None
    found = (getattr(source, "tfmeta_classes", None) for source in private.sources(episodes))
    return next((classes.dataset for classes in found if classes is not None), None)


def _outer_steps(learner):
    return int(tf.convert_to_tensor(learner.optimizer.iterations)) // learner.optimizer_steps


def _rows(part, task):
    """The real rows of one task, each as bytes."""
    arrays = [np.ascontiguousarray(t[task]) for t in tf.nest.flatten((part.x, part.y))]
    real = np.flatnonzero(part.mask[task] > 0)
    return [b"".join(a[row].tobytes() for a in arrays) for row in real]


def _example(dataset, name):
    """The first example of a class, as bytes."""
    row = int(dataset.starts[dataset.class_names.index(name)])
    parts = tf.nest.flatten(map_parts(lambda rows: rows[row : row + 1], dataset.rows))
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
