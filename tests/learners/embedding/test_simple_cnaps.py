"""Simple CNAPS: its limit is a ProtoNet, outer gradient, classes of different size."""

import numpy as np
import pytest
import tasks
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.learners import ProtoNet, SimpleCNAPS


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


@pytest.mark.parametrize("width", [4, 12])
def test_outer_gradient_against_central_differences(width, episodes):
    network = tasks.convolutional(width, dtype="float64", norm=False)
    learner = compiled(SimpleCNAPS(network, regularization=0.3), tasks.CROSSENTROPY)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_where_the_identity_is_most_of_it_it_is_a_protonet(episodes):
    network = tasks.convolutional(4, dtype="float64", norm=False)
    learner = SimpleCNAPS(network, regularization=1e8)
    protonet = ProtoNet(network, distance="squared_euclidean", temperature=2e8)
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    a, b = (m.predict_query(m.adapt(support), query.x) for m in (learner, protonet))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_shots_may_differ_and_padding_changes_nothing(episodes):
    learner = SimpleCNAPS(tasks.convolutional(4, dtype="float64", norm=False))
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    fewer = tfmeta.Examples(*(t[:-1] for t in support))
    padded = support._replace(mask=np.array([1, 1, 1, 1, 1, 0], "float32"))
    a, b = (learner.predict_query(learner.adapt(s), query.x) for s in (fewer, padded))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_bad_arguments():
    with pytest.raises(ValueError, match="Expected regularization > 0"):
        SimpleCNAPS(tasks.convolutional(4), regularization=0)
