"""Trials with data and rates that diverge: what is to blame is named, and nothing else."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.learners import MAML, ProtoNet

GOOD = tasks.regression()
MODES = [{"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}]


def learner(optimizer="sgd", rate=0.01, steps=1, **mode):
    maml = MAML(tasks.line(), inner_learning_rate=rate, inner_steps=steps)
    maml.compile(optimizer, "mse", **(mode or MODES[0]))
    return maml


def spoiled(part, field, value=np.nan):
    """The episodes with one number of one tensor that is not finite."""
    examples = getattr(GOOD, part)
    values = getattr(examples, field).numpy()
    values[1, 2] = value
    return GOOD._replace(**{part: examples._replace(**{field: tf.constant(values)})})


@pytest.mark.parametrize("mode", MODES, ids=["eager", "graph", "xla"])
def test_data_that_are_not_numbers_are_to_blame(mode):
    maml = learner(**mode)
    for part, field in (("support", "x"), ("query", "y")):
        with pytest.raises(FloatingPointError, match=rf"NaN or infinity in {part}\.{field} of"):
            maml.evaluate(tasks.dataset(spoiled(part, field), 1), verbose=0)


def test_infinite_data_of_one_task_given_by_hand():
    support = tasks.one(spoiled("support", "y", np.inf).support, task=1)
    with pytest.raises(FloatingPointError, match=r"step 0.*infinity in support\.y of") as said:
        learner().adapt(support)
    assert "inner_learning_rate, or" not in str(said.value)


def test_data_of_a_learner_without_inner_steps():
    protonet = ProtoNet(tasks.convolutional())
    protonet.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    good = tasks.images()
    x = np.array(good.query.x)
    x[0, 0] = np.nan
    bad = good._replace(query=good.query._replace(x=tf.constant(x)))
    with pytest.raises(FloatingPointError, match=r"NaN or infinity in query\.x of the episodes"):
        protonet.fit(tasks.dataset(bad, 1), verbose=0)


def test_data_of_evaluate_episodes():
    data = tasks.dataset(spoiled("support", "x"))
    with pytest.raises(FloatingPointError, match=r"in episode 1.*NaN or infinity in support\.x"):
        tfmeta.evaluation.evaluate_episodes(learner(), data, 3, verbose=0)


@pytest.mark.parametrize("mode", MODES, ids=["eager", "graph", "xla"])
def test_a_diverged_outer_rate_is_to_blame(mode):
    maml = learner(keras.optimizers.SGD(1e20), **mode)
    with pytest.raises(FloatingPointError, match="the outer loop has diverged") as said:
        maml.fit(tasks.dataset(GOOD, 20), verbose=0)
    assert "Lower inner_learning_rate" not in str(said.value)
    with pytest.raises(FloatingPointError, match="outer loop has diverged"):
        maml.adapt(tasks.one(GOOD.support))


def test_a_diverged_inner_rate_is_to_blame():
    with pytest.raises(FloatingPointError, match=r"inner step \d of.*Lower inner_learning_rate"):
        learner(rate=1e20, steps=5).evaluate(tasks.dataset(GOOD, 1), verbose=0)
    with pytest.raises(FloatingPointError, match=r"query loss.*Lower inner_learning_rate"):
        learner(rate=1e30).evaluate(tasks.dataset(GOOD, 1), verbose=0)


def test_a_loss_before_the_first_step_is_not_the_inner_rates_fault():
    maml = learner()
    maml.compile("sgd", lambda y, outputs: tf.math.log(outputs * 0 - 1)[:, 0], run_eagerly=True)
    with pytest.raises(FloatingPointError, match="look for a logarithm") as said:
        maml.adapt(tasks.one(GOOD.support))
    assert "inner_learning_rate, or" not in str(said.value)
