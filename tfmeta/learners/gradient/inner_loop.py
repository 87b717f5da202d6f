"""The inner loop of a gradient learner: `adapt`, for given steps, as functions of the learner."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.backend.calls import of_each_task
from tfmeta.backend.network_facts import has_batch_norm
from tfmeta.backend.recompute import recomputed
from tfmeta.engine.checks import learner_checks
from tfmeta.engine.inputs import as_examples
from tfmeta.engine.task import computes_in_float16, task_layers
from tfmeta.inner.gradient_steps import UnreachedWeights, gradient_steps
from tfmeta.learners.gradient import checks

#: Keeps gradients of 6e-11 from vanishing in float16, and overflows for those of 64.
INNER_LOSS_SCALE = 1024.0


class FastWeights(NamedTuple):
    """What a gradient learner adapts.

    Attributes:
        weights: tensors in the place of the network's `trainable_variables`.
        state: tensors in the place of its `non_trainable_variables`; after adaptation it holds
            the support set's statistics for BatchNormalization.
        inner_losses: support loss before each inner step, `[T]`.
    """

    weights: Any
    state: Any
    inner_losses: Any


def adaptation_path(learner, support, inner_steps, training, last_only, start=None, watched=None):
    """Every point of the inner loop, or the last one: a list of `FastWeights`.

    It starts from tensors as `adapted_part.start` returns them, from those without `start`.
    `watched`, `StepNorms` or `OnlyThese`, has a word in each step, which is then traced by itself.
    """
    learner_checks.check_compiled(learner, "adapt")
    support = as_examples(learner, support)
    steps = learner.steps_of(training) if inner_steps is None else inner_steps
    values = _values(learner)
    weights = values[0]
    checks.check_inner_steps(learner, steps, weights)
    checks.check_weights_with_parameters(learner)
    support_loss = _support_loss(learner, support, training)
    if start is None:
        start = learner.adapted_part.start(
            learner, weights, lambda f: support_loss(f, values, 0)[0], support, training
        )
    if steps > 1:  # so that the first step is the same function of a task as all others
        start, state = of_each_task((start, values[2]), like=tf.nest.flatten(support.x)[0])
        values = *values[:2], state
    try:
        path, states, losses = gradient_steps(
            support_loss, start, values, _StepOf(learner, watched), steps, learner.is_first_order(),
            checkpoint=_checkpoint(learner, training),
            loss_scale=INNER_LOSS_SCALE if computes_in_float16(learner) else None,
            rolled=learner.rolled_steps and last_only and watched is None,
            alike=learner.steps_are_alike() and watched is None,
        )  # fmt: skip
    except UnreachedWeights as error:
        raise checks.unreached(learner.adapted_part.names(learner), error.positions) from None
    states = [carried and carried[2] for carried in states]
    points = []
    for t in range(steps if last_only else 0, steps + 1):
        adapted = learner.adapted_part.place(learner, weights, path[t], t)
        state = learner.query_state(adapted, states[t], t, support, training)
        seen = tf.convert_to_tensor(losses[:t]) if t else tf.zeros([0], weights[0].dtype)
        points.append(FastWeights(adapted, state, seen))
    return points


def loss_at_start(learner, examples, training):
    """The loss of examples before any step, as a function of what the inner loop changes."""
    examples, values = as_examples(learner, examples), _values(learner)
    loss = _support_loss(learner, examples, training)
    return lambda fast: loss(fast, values, 0)[0]


def _values(learner):
    """Tensors of `network_weights()`, of what is learned besides, and of the network's state."""
    groups = (
        learner.network_weights(),
        learner.parameters_besides(),
        learner.inner_network().non_trainable_variables,
    )
    return tuple([tf.convert_to_tensor(v) for v in variables] for variables in groups)


def _support_loss(learner, support, training):
    def support_loss(fast, carried, t):
        # What stays is handed on with the state, for gradients of a checkpointed step.
        weights, parameters, state = carried
        rows = learner.minibatch(support, t)
        with _reading(learner, parameters):
            current = learner.adapted_part.place(learner, weights, fast, t)
        outputs, state = learner.run_network(current, state, rows.x, training, True)
        with _reading(learner, parameters):
            loss = learner.inner_loss(rows, outputs, current, t)
        return loss, (weights, parameters, state)

    return support_loss


def _reading(learner, parameters):
    """A scope in which what is learned besides the weights is read from tensors."""
    pairs = zip(learner.parameters_besides(), parameters, strict=True)
    return keras.StatelessScope(list(pairs))


class _StepOf:
    """A learner's rule, with what comes after it in each step."""

    def __init__(self, learner, watched=None):
        self.learner, self.watched = learner, watched
        self.takes_loss = learner.rule.takes_loss
        self.trainable_variables = learner.parameters_besides()  # a rule may read all of them

    def init(self, weights):
        return of_each_task(self.learner.rule.init(weights), like=weights[0])

    def update(self, gradients, weights, slots, step, **loss):
        new, slots = self.learner.rule.update(gradients, weights, slots, step, **loss)
        new = self._constrained(new)
        if self.watched is not None:
            new = self.watched.moved(gradients, weights, new)
        return new, slots

    def _constrained(self, weights):
        """What Keras's optimizers do after a step, for layers with a `kernel_constraint`."""
        constraints = self.learner.adapted_constraints()
        if not any(constraints):
            return weights
        # Several sets of weights may come one after another.
        pairs = zip(weights, constraints * (len(weights) // len(constraints)), strict=True)
        return [w if constraint is None else constraint(w) for w, constraint in pairs]


class StepNorms:
    """The norms of gradients and of moves of each inner step, filled by `adaptation_path`.

    Attributes:
        gradients: for each step a list of scalars, one for each tensor that the step changes.
        moves: the same for what the step changed.
    """

    def __init__(self):
        self.gradients, self.moves = [], []

    def moved(self, gradients, weights, new):
        """Note one step, from `weights` to `new`, which is taken as it is."""
        self.gradients.append([tf.norm(g) for g in gradients])
        self.moves.append([tf.norm(b - a) for a, b in zip(weights, new, strict=True)])
        return new


class OnlyThese:
    """Steps that change some of the tensors alone.

    Args:
        places: which, numbers.
    """

    def __init__(self, places):
        self.places = set(places)

    def moved(self, gradients, weights, new):
        """The tensors after one step, from `weights` to `new`."""
        pairs = enumerate(zip(weights, new, strict=True))
        return [b if i in self.places else a for i, (a, b) in pairs]


def support_statistics(learner, weights, state, support, training):
    """The state that normalises single query examples: one more pass, on the new weights."""
    if learner.transductive or not has_batch_norm(learner.inner_network()):
        return state
    return learner.run_network(weights, state, support.x, training, True)[1]


def _checkpoint(learner, training):
    if not (training and learner.checkpoint_inner_steps) or tf.executing_eagerly():
        return None

    def checkpoint(step):
        def in_task(*args):
            # The outer gradient computes the step again when the task is left already.
            with task_layers(learner):
                return step(*args)

        return recomputed(in_task)

    return checkpoint
