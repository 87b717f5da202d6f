"""Every learner's own search space: real arguments, and ranges that hold the defaults."""

import ast
import inspect
import textwrap

import pytest
import tasks
from conformance.catalogue import frozen

import tfmeta

keras_tuner = pytest.importorskip("keras_tuner")

LEARNERS = [
    value
    for name, value in sorted(vars(tfmeta.learners).items())
    if name in tfmeta.learners.__all__
    and issubclass(value, tfmeta.MetaModel)
    and name not in ("MetaModel", "PolicyLearner")
]
by_learner = pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)


def made(cls, **arguments):
    """A learner on networks that suit it."""
    if cls is tfmeta.learners.CNAPs:
        return cls(frozen(), **arguments)
    if issubclass(cls, tfmeta.learners.PolicyLearner):
        return cls(tfmeta.environments.bandits(), **arguments)
    if cls is tfmeta.learners.ZeroShotProtoNet:
        return cls(tasks.dense(), tasks.dense(), **arguments)
    return cls(tasks.dense(), **arguments)


@by_learner
def test_defaults_are_the_constructors(cls):
    hp = keras_tuner.HyperParameters()
    arguments = cls.search_space(hp)
    assert set(arguments) == {parameter.name for parameter in hp.space}
    tuned, plain = made(cls, **arguments), made(cls)
    for name, value in arguments.items():
        assert getattr(tuned, name) == getattr(plain, name) == value


@by_learner
def test_both_ends_are_legal_arguments(cls):
    hp = keras_tuner.HyperParameters()
    cls.search_space(hp)
    for end in (0.0, 1.0 - 1e-9):
        values = {p.name: p.prob_to_value(end) for p in hp.space}
        learner = made(cls, **values)
        assert {name: getattr(learner, name) for name in values} == values


def test_a_rate_is_searched_on_a_log_scale():
    hp = keras_tuner.HyperParameters()
    tfmeta.learners.MAML.search_space(hp)
    rate, steps, first_order = hp.space
    assert (rate.name, rate.sampling, rate.min_value, rate.max_value) == (
        *("inner_learning_rate", "log"),
        *(1e-3, 1.0),
    )
    assert (steps.name, steps.min_value, steps.max_value) == ("inner_steps", 1, 5)
    assert first_order.name == "first_order"


def test_learners_without_second_order_do_not_tune_it():
    for cls in (
        tfmeta.learners.Reptile,
        tfmeta.learners.ImplicitMAML,
        tfmeta.learners.Finetune,
        tfmeta.learners.ProtoNet,
    ):
        assert "first_order" not in cls.search_space(keras_tuner.HyperParameters())


def test_a_subclass_adds_its_own():
    class Wider(tfmeta.learners.ANIL):
        def __init__(self, network=None, *, inner_steps=7, **kwargs):
            super().__init__(network, inner_steps=inner_steps, **kwargs)

        @classmethod
        def search_space(cls, hp):
            own = {"adapted_layers": [hp.Choice("adapted_layers", ["dense", "head"])]}
            return super().search_space(hp) | own

    hp = keras_tuner.HyperParameters()
    arguments = Wider.search_space(hp)
    assert arguments["adapted_layers"] == ["dense"]
    assert arguments["inner_steps"] == 7
    assert {p.name: p for p in hp.space}["inner_steps"].max_value == 14


@by_learner
def test_no_default_is_typed_again(cls):
    """`default=default_argument(cls, "name")`: a number would stay behind the constructor's."""
    source = textwrap.dedent(inspect.getsource(cls.search_space))
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    given = [k.value for call in calls for k in call.keywords if k.arg == "default"]
    assert not [ast.unparse(v) for v in given if isinstance(v, ast.Constant)]
