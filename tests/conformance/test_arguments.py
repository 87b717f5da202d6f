"""Arguments that are set as attributes, after the learner was made: they count, or are refused."""

import keras
import numpy as np
import pytest
from conformance.catalogue import ROWS

import tfmeta
from tfmeta.engine import saving
from tfmeta.learners import CNP, R2D2, LSTMLearner

NEAR_FAR = tfmeta.Examples(np.array([[0.0], [1.0]], "float32"), np.array([[0.0], [1.0]], "float32"))
ONE_OF_A_CLASS = {row.cls: name for name, row in reversed(ROWS.items())}


def test_arguments_that_something_was_made_of_are_refused_and_stay():
    """All learners, all such arguments: the config still says what is computed."""
    tried = 0
    for name in ONE_OF_A_CLASS.values():
        learner = ROWS[name].make()
        if vars(learner).get("rule", learner) is None:  # nothing is made of them yet
            continue
        fixed = learner.fixed_arguments()
        assert fixed <= saving.argument_names(type(learner)), name
        for argument in fixed - set(learner.argument_checks):
            before = getattr(learner, argument, None)
            with pytest.raises(ValueError, match=f"Expected {argument} to stay .*made parameters"):
                setattr(learner, argument, "another")
            assert getattr(learner, argument, None) is before
            tried += 1
    assert tried > 60


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: R2D2(keras.Sequential([keras.layers.Dense(3)])), "scale", 5.0),
        (lambda: CNP(hidden=[4]), "hidden", [8]),
        (lambda: LSTMLearner(units=3), "units", 4),
    ],
)
def test_the_same_value_may_be_set_and_another_may_not(make, name, value):
    learner = make()
    setattr(learner, name, getattr(learner, name))
    with pytest.raises(ValueError, match=f"Expected {name} to stay .* Received: .*another learner"):
        setattr(learner, name, value)
    assert type(learner).from_config(learner.get_config()).get_config() == learner.get_config()


def test_an_argument_that_is_read_in_each_task_counts_at_once():
    learner = tfmeta.learners.MAML(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    learner.compile("adam", "mse")
    assert len(learner.adapt(NEAR_FAR).inner_losses) == 1
    learner.inner_steps = 3
    assert len(learner.adapt(NEAR_FAR).inner_losses) == 3
    assert learner.get_config()["inner_steps"] == 3
