"""Bad input of a learned optimizer, told before the first step."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.checks import episode_checks
from tfmeta.inner import Rule

_MINIMUM = {"unroll_length": 1, "fewest_steps": 1, "warm_start": 0, "inner_batch_size": 1}


def _checked(learner, name, value):
    if value is None and name != "warm_start":
        return None
    return check_integer(name, value, _MINIMUM[name])


#: Of arguments, when they are made and when they are changed.
OF_ARGUMENTS = dict.fromkeys(_MINIMUM, _checked)


def check_network(network):
    """A network whose loss is the compiled one alone."""
    if network is None:
        raise ValueError(
            "Expected a network: LearnedOptimizer(network), whose weights are drawn anew for each "
            "task. Received: None."
        )
    if isinstance(network, keras.Model) and network.built and not network.trainable_variables:
        raise ValueError(
            "Expected a network with trainable weights, which the rule steps. Received: none. Set "
            "trainable = True."
        )
    if isinstance(network, keras.Model) and network.losses:
        raise ValueError(
            "Expected a network without regularizers: the compiled loss is all that a task "
            f"descends. Received: {len(network.losses)} of them. Leave them out."
        )


def check_rule(rule):
    """An argument that is a `Rule`, of gradients alone."""
    if isinstance(rule, Rule) and rule.takes_loss:
        raise ValueError(
            "Expected a rule that goes by gradients, which is all that Keras gives an optimizer. "
            f"Received: {type(rule).__name__}, which takes the loss, too."
        )
    if not isinstance(rule, Rule):
        raise ValueError(f"Expected a tfmeta.inner.Rule, such as MLPRule(). Received: {rule!r}.")
    return rule


def check_learns(rule):
    """A rule that was made has something that training changes."""
    if not rule.trainable_variables:
        raise ValueError(
            "Expected a rule with weights that can be learned, such as LearnedSGD(). Received: "
            f"{type(rule).__name__}, which has none."
        )


def check_outer_gradient(value):
    """A way to take the outer gradient."""
    if not hasattr(value, "over_tasks"):
        raise ValueError(
            "Expected outer_gradient to be ThroughUnroll(), EvolutionStrategies() or "
            f"PersistentES(). Received: {value!r}."
        )
    return value


def check_lengths(learner):
    """Numbers of steps that fit each other."""
    unroll, fewest, warm = learner.unroll_length, learner.fewest_steps, learner.warm_start
    if learner.inner_steps == 0:
        raise ValueError("Expected inner_steps of at least 1. Received: inner_steps=0.")
    if unroll is None:
        if fewest is not None or warm or learner.outer_gradient.needs_unroll_length:
            needs = learner.outer_gradient if fewest is None and not warm else "steps that vary"
            raise ValueError(
                f"Expected unroll_length, the steps of one outer step, for {needs}. Received: "
                f"unroll_length=None, fewest_steps={fewest}, warm_start={warm}. Set unroll_length, "
                "or leave these out."
            )
        return
    if fewest is not None and fewest > learner.inner_steps:
        raise ValueError(
            "Expected fewest_steps <= inner_steps. Received: "
            f"fewest_steps={fewest}, inner_steps={learner.inner_steps}."
        )
    for name in ("inner_steps", "fewest_steps", "warm_start"):
        value = getattr(learner, name)
        if value is not None and value % unroll:
            raise ValueError(
                f"Expected {name} to be a multiple of unroll_length={unroll}. Received: "
                f"{name}={value}. Take {value - value % unroll or unroll} or "
                f"{value - value % unroll + unroll}."
            )


def as_dataset(learner, episodes):
    """One meta-batch, given by hand, as a data set."""
    return tf.data.Dataset.from_tensors(episode_checks.as_meta_batch(learner, episodes))


def rows_of_step(learner, examples, step):
    """The rows that a step outside of training sees: the same at each call."""
    size = learner.inner_batch_size
    if size is None:
        return examples
    seed = tf.stack([tf.constant(0), tf.cast(step, tf.int32)])
    bits = tf.random.stateless_uniform([size], seed, None, None, tf.int32)
    chosen = tf.math.floormod(bits, tf.shape(examples.y)[0])
    return tf.nest.map_structure(lambda part: tf.gather(part, chosen), examples)
