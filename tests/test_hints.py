"""Every public function and constructor says by a hint what each of its arguments is."""

import importlib
import inspect
import json
import pathlib

import pytest

import tfmeta

NAMES = json.loads((pathlib.Path(__file__).parent / "golden" / "public_names.json").read_text())


def missing(function, returns):
    signature = inspect.signature(inspect.unwrap(function))
    named = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty
        and name not in ("self", "cls")
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return named + ["return"] * (returns and signature.return_annotation is signature.empty)


@pytest.mark.parametrize("module", NAMES)
def test_public_names_have_hints(module):
    values = importlib.import_module(module)
    for name in NAMES[module]:
        value = getattr(values, name)
        if inspect.isfunction(value):
            assert not missing(value, returns=True), f"{module}.{name}"
        elif inspect.isclass(value) and "__init__" in value.__dict__:
            assert not missing(value.__init__, returns=False), f"{module}.{name}"


# What users call of a learner, or write of a method, a rule or an environment of their own.
METHODS = [
    (tfmeta.MetaModel, "adapt predict_query score_task adapted_model export prepare compile fit"),
    (tfmeta.MetaModel, "evaluate predict train_on_batch test_on_batch predict_on_batch"),
    (
        tfmeta.learners.GradientLearner,
        "adapt adaptation_path adapted_model make_rule",
    ),
    (tfmeta.learners.EmbeddingLearner, "embed logits classifier"),
    (tfmeta.evaluation.ExactGP, "adapt predict_query predict_distribution"),
    (tfmeta.inner.Rule, "make init update learned_rates"),
    (tfmeta.environments.Environment, "draw_task reset observe step parameters tasks"),
]


@pytest.mark.parametrize(("cls", "names"), METHODS)
def test_methods_that_users_call_or_write_have_hints(cls, names):
    for name in names.split():
        returns = name != "compile"  # which returns nothing
        assert not missing(getattr(cls, name), returns), f"{cls.__name__}.{name}"


OF_LEARNERS = ("adapt", "predict_query", "predict_distribution", "fit", "evaluate")


@pytest.mark.parametrize("name", tfmeta.learners.__all__)
def test_what_users_call_of_each_learner_has_hints(name):
    for method in OF_LEARNERS:
        function = getattr(getattr(tfmeta.learners, name), method, None)
        found = [] if function is None else missing(function, returns=True)
        assert not found, f"{name}.{method}"


def test_families_say_what_their_parameters_take():
    assert not missing(tfmeta.episodes.sinusoid.parameters, returns=True)


def test_the_hints_are_there_for_those_who_install_it():
    assert (pathlib.Path(tfmeta.__file__).parent / "py.typed").exists()
