"""Learners as LiteRT files: two signatures, of LiteRT's own operations alone, or a refusal."""

import numpy as np
import pytest
import tasks
import tensorflow as tf
from conformance import catalogue

import tfmeta

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is absent")

QUICK = ("ProtoNet", "R2D2-images")
# Their heads take gradient steps; their posteriors are computed in float64.
REFUSED = (tfmeta.learners.Baseline, tfmeta.learners.BaselinePlusPlus, tfmeta.learners.LEO)
REFUSED += (tfmeta.learners.ALPaCA, tfmeta.learners.DKT, tfmeta.learners.ADKL)
# Nothing says what their targets look like before they have seen an episode.
UNKNOWN_TARGETS = ("R2D2", "DKT")


def run(path, signature, **given):
    """Outputs of a signature, by name; inputs that it does not take are left out."""
    runner = interpreter.Interpreter(model_path=str(path)).get_signature_runner(signature)
    return runner(**{name: given[name] for name in runner.get_input_details()})


def check(name, path):
    row = catalogue.ROWS[name]
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    learner.export(path, format="litert", **({"like": support} if name in UNKNOWN_TARGETS else {}))
    for rows in (slice(None), slice(None, None, 2)):
        some = type(support)(*[t[rows] for t in support])
        adapted = run(path, "adapt", x=some.x, y=some.y, mask=some.mask)
        given = adapted | {"x": query.x, "mask": query.mask}
        outputs = run(path, "predict_query", **given)["outputs"]
        expected = learner.predict_query(learner.adapt(some), query.x)
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", QUICK)
def test_a_metric_and_a_closed_form_learner_run_in_litert(name, tmp_path):
    check(name, tmp_path / "learner.tflite")


@pytest.mark.parametrize("name", ["MAML", "Baseline"])
def test_what_litert_cannot_do_is_said(name, tmp_path):
    learner = catalogue.learner_to_read(catalogue.ROWS[name])
    message = f"LiteRT's own operations. Received: {name}.*adapted_model"
    with pytest.raises(ValueError, match=message):
        learner.export(tmp_path / "learner.tflite", format="litert")
    assert not list(tmp_path.iterdir())


def check_model(model, x, path, name):
    """A Keras model as a LiteRT file, run on inputs `[M, ...]`."""
    model.export(path, format="litert", verbose=False)
    runner = interpreter.Interpreter(model_path=str(path)).get_signature_runner()
    (given,) = runner.get_input_details()
    (outputs,) = runner(**{given: x}).values()
    np.testing.assert_allclose(outputs, model(x), rtol=1e-5, atol=1e-5, err_msg=name)


def check_adapted(name, path):
    row = catalogue.ROWS[name]
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    check_model(learner.adapted_model(support), query.x, path, name)


# By gradient steps; by turns in which distances are taken from rows that are constants; from a
# posterior that was computed in float64.
@pytest.mark.parametrize("name", ["MAML-strided", "TIM", "ALPaCA", "DKT"])
def test_an_adapted_model_runs_in_litert(name, tmp_path):
    check_adapted(name, tmp_path / "adapted.tflite")


def test_an_adapted_model_in_float64_is_refused(tmp_path):
    episodes = tasks.regression(dtype="float64")
    learner = tfmeta.learners.R2D2(tasks.dense(4, dtype="float64"), dtype="float64")
    learner.compile("sgd", "mse", run_eagerly=True)
    learner.prepare(tasks.dataset(episodes, 1))
    model = learner.adapted_model(tasks.one(episodes.support))
    with pytest.raises(ValueError, match=r"one of R2D2, which takes .*MatMul.*SavedModel"):
        model.export(tmp_path / "adapted.tflite", format="litert", verbose=False)
    assert not list(tmp_path.iterdir())


def test_an_adapted_policy_runs_in_litert(tmp_path):
    """A policy itself is not exported; one without a memory is, once it has adapted."""
    environment = tfmeta.environments.point_navigation(horizon=4)
    network = tfmeta.networks.mlp(environment.observation_size, 2, hidden=(6,))
    learner = tfmeta.learners.MAMLPPO(environment, network)
    learner.compile("sgd", run_eagerly=True)
    episode = next(iter(environment.tasks(5, 1, count=1)))
    support = tf.nest.map_structure(lambda t: t[0], episode.support)
    observations = np.random.default_rng(0).normal(size=(7, environment.observation_size))
    model, path = learner.adapted_model(support), tmp_path / "policy.tflite"
    check_model(model, observations.astype("float32"), path, "MAMLPPO")
    for before, after in zip(learner.network.weights, model.weights, strict=True):
        assert not np.array_equal(before, after)  # it has learned
    with pytest.raises(ValueError, match=r"Received: MAMLPPO, a policy.*adapted_model"):
        learner.export(tmp_path / "learner.tflite", format="litert")


@pytest.mark.slow
def test_every_learner_runs_in_litert_or_is_refused(tmp_path):
    for name, row in catalogue.ROWS.items():
        if not (row.cls.takes_inner_steps or row.cls in REFUSED):
            check(name, tmp_path / f"{name}.tflite")
            continue
        with pytest.raises(ValueError, match="LiteRT's own operations"):
            check(name, tmp_path / f"{name}.tflite")


@pytest.mark.slow
def test_every_adapted_model_runs_in_litert(tmp_path):
    """Also of the learners that LiteRT cannot adapt with."""
    for name in catalogue.ROWS:
        check_adapted(name, tmp_path / f"{name}.tflite")
