"""Learners as LiteRT files: two signatures, of LiteRT's own operations alone, or a refusal."""

import numpy as np
import pytest
import tasks
from conformance import catalogue

import tfmeta

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is absent")

QUICK = ("ProtoNet", "R2D2-images")
# Their heads take gradient steps; their posteriors are factors in float64.
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


def test_an_adapted_model_of_a_gradient_learner_runs_in_litert(tmp_path):
    row, path = catalogue.ROWS["MAML-strided"], tmp_path / "adapted.tflite"
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    model = learner.adapted_model(support)
    model.export(path, format="litert", verbose=False)
    loaded = interpreter.Interpreter(model_path=str(path))
    runner = loaded.get_signature_runner()
    (name,) = runner.get_input_details()
    outputs = next(iter(runner(**{name: query.x}).values()))
    np.testing.assert_allclose(outputs, model(query.x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_every_learner_runs_in_litert_or_is_refused(tmp_path):
    for name, row in catalogue.ROWS.items():
        if not (row.cls.takes_inner_steps or row.cls in REFUSED):
            check(name, tmp_path / f"{name}.tflite")
            continue
        with pytest.raises(ValueError, match="LiteRT's own operations"):
            check(name, tmp_path / f"{name}.tflite")


@pytest.mark.slow
def test_every_adapted_model_converts(tmp_path):
    """Also of the learners that LiteRT cannot adapt with."""
    for name, row in catalogue.ROWS.items():
        learner = catalogue.learner_to_read(row)
        model = learner.adapted_model(tasks.one(row.episodes().support))
        model.export(tmp_path / f"{name}.tflite", format="litert", verbose=False)
        assert (tmp_path / f"{name}.tflite").stat().st_size > 500, name
