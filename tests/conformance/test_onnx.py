"""Adapted tasks as ONNX files, by Keras and tf2onnx, run by onnxruntime."""

import numpy as np
import pytest
import tasks
from conformance import catalogue

pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MAML-strided", "ProtoNet", "R2D2-images", "SNAIL-images"])
def test_an_adapted_model_runs_in_onnxruntime(name, tmp_path):
    row = catalogue.ROWS[name]
    learner, episodes = catalogue.learner_to_read(row), row.episodes()
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    model = learner.adapted_model(support)
    model.export(tmp_path / "task.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "task.onnx")
    (given,) = session.get_inputs()
    (outputs,) = session.run(None, {given.name: query.x})
    np.testing.assert_allclose(outputs, model(query.x), rtol=1e-5, atol=1e-5)
