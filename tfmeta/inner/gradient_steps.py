"""The inner loop: gradient steps on the support loss."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfmeta.backend.calls import of_each_task, traced_once
from tfmeta.hints import Nest
from tfmeta.inner.rule import Rule


def gradient_steps(
    loss_fn: Callable,
    weights: Sequence,
    state: Nest,
    rule: Rule,
    steps: int,
    first_order: bool,
    *,
    checkpoint: Any = None,
    loss_scale: Any = None,
    rolled: bool = False,
    alike: bool = True,
) -> tuple[list, list, list]:
    """Take gradient steps, and keep every point on the way.

    `w_0 = weights`, `w_{t+1} = rule(gradient of loss_fn at w_t)`. Second-order gradients flow
    through unless `first_order`. In a graph a step is traced once, as a function, and called at
    each step.

    Args:
        loss_fn: function `(weights, state, t) -> (loss, new_state)`, t the number of the step, an
            int32 scalar.
        weights: list of tensors.
        state: what `loss_fn` hands from one step to the next, a nest of tensors.
        rule: a `tfmeta.inner.Rule`.
        steps: number of steps, a Python int.
        first_order: True treats each step's gradient as a constant, as FOMAML does.
        checkpoint: None, or a wrapper of one step (`tfmeta.backend.recompute`) that keeps less for
            the outer gradient. It then reaches the weights, the rule with its slots, and `state`
            only: what else `loss_fn` reads counts as a constant.
        loss_scale: None, or what the loss is multiplied by while the gradient is taken, so that
            small float16 values are not lost.
        rolled: True keeps the ends of the path alone: one loop in the graph, which does not grow
            with `steps`, nor does its memory if `first_order`.
        alike: False if shapes differ from step to step: t is then a Python int, and each step is
            traced by itself.

    Returns:
        `(path, states, losses)`: `steps + 1` lists of weights, the state before the first step and
        after each, and the support loss before each step, `steps` scalars. If `rolled`, there
        is None between the ends of the first two.

    Raises:
        UnreachedWeights: the support loss does not depend on a weight.
    """
    rule = _Handed(rule)

    def gradients_at(t, weights, state):
        return loss_and_gradients(loss_fn, weights, state, t, loss_scale)

    def step(t, weights, slots, state):
        loss, gradients, state = gradients_at(t, weights, state)
        if first_order:
            gradients = [tf.stop_gradient(g) for g in gradients]
        of_rule = tf.stop_gradient(loss) if first_order else loss
        more = {"loss": of_rule} if rule.takes_loss else {}
        weights, slots = rule.update(gradients, weights, slots, t, **more)
        return list(weights), slots, state, loss

    slots = rule.init(weights)
    if rolled and steps > 0:
        return _in_one_loop(step, weights, slots, state, steps)
    one = step
    if alike and steps > 1:
        example = tf.constant(0), weights, state
        if not first_order:
            one = traced_once(step, *example[:2], slots, state)
        elif not tf.executing_eagerly():
            # Nothing goes back through it: the outer tape must not even look.
            gradients_at = _of_constants(traced_once(gradients_at, *example))
    one = one if checkpoint is None or first_order else checkpoint(one)
    return _one_by_one(one, weights, slots, state, steps, alike)


def _one_by_one(step, weights, slots, state, steps, alike):
    path, states, losses = [weights], [state], []
    for t in range(steps):
        t = tf.constant(t) if alike else t
        weights, slots, state, loss = step(t, path[-1], slots, states[-1])
        path.append(weights)
        states.append(state)
        losses.append(loss)
    return path, states, losses


class _Handed:
    """A rule, of which what it has learned goes into each step with its slots.

    A step that is computed again for the outer gradient has a gradient for its arguments alone.
    """

    def __init__(self, rule):
        self.rule, self.takes_loss = rule, rule.takes_loss

    def init(self, weights):
        learned = [tf.convert_to_tensor(v) for v in self.rule.trainable_variables]
        return self.rule.init(weights), learned

    def update(self, gradients, weights, slots, step, **loss):
        slots, learned = slots
        pairs = zip(self.rule.trainable_variables, learned, strict=True)
        with keras.StatelessScope(list(pairs)):
            new, slots = self.rule.update(gradients, weights, slots, step, **loss)
        return new, (slots, learned)


def _of_constants(function):
    def call(t, *arguments):
        return function(t, *tf.nest.map_structure(tf.stop_gradient, arguments))

    return call


def loss_and_gradients(loss_fn, weights, state, t, loss_scale=None):
    """The loss of one step, its gradients for the weights, and the new state.

    Args:
        loss_fn: as in `gradient_steps`.
        weights: list of tensors.
        state: what `loss_fn` hands on, a nest of tensors.
        t: the number of the step.
        loss_scale: as in `gradient_steps`.

    Returns:
        `(loss, gradients, state)`.

    Raises:
        UnreachedWeights: the loss does not depend on a weight.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        loss, state = loss_fn(weights, state, t)
        scaled = loss if loss_scale is None else loss * loss_scale
    gradients = tape.gradient(scaled, weights)
    missing = [i for i, g in enumerate(gradients) if g is None]
    if missing:
        raise UnreachedWeights(missing)
    # Embeddings give sparse gradients, which an update rule could not multiply.
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    if loss_scale is not None:
        gradients = [g / loss_scale for g in gradients]
    return loss, gradients, state


def _in_one_loop(step, weights, slots, state, steps):
    def body(t, weights, slots, state, losses):
        weights, slots, state, loss = step(t, weights, slots, state)
        # Not a TensorArray, which XLA refuses inside `tf.vectorized_map`.
        losses = tf.where(tf.range(steps) == t, loss, losses)
        return t + 1, weights, slots, state, losses

    halves = tf.float16, tf.bfloat16  # losses are of 32 bits where weights have less
    dtype = tf.float32 if weights[0].dtype in halves else weights[0].dtype
    losses = of_each_task(tf.zeros([steps], dtype), like=weights[0])
    _, last, _, last_state, losses = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), weights, slots, state, losses),
        maximum_iterations=steps,
    )
    between = [None] * (steps - 1)
    return [weights, *between, last], [state, *between, last_state], losses


class UnreachedWeights(ValueError):
    """The support loss has no gradient for the weights of these positions."""

    def __init__(self, positions):
        super().__init__(f"No gradient for the weights of positions {positions}.")
        self.positions = positions
