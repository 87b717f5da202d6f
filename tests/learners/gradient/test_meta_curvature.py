"""MetaCurvature: MAML at the identity, and one bent step against NumPy."""

import numpy as np
import pytest
import tasks
from meta_gradients import assert_gradients_of_maml, compiled

from tfmeta.learners import MAML, MetaCurvature

RATE = {"inner_learning_rate": 0.1, "inner_steps": 2}


@pytest.mark.parametrize("convolutional", [False, True])
def test_meta_curvature_at_the_identity_is_maml(convolutional):
    assert_gradients_of_maml(lambda network: MetaCurvature(network, **RATE), convolutional, **RATE)


def test_meta_curvature_bends_each_axis():
    """One step on known matrices, against NumPy."""
    network = tasks.convolutional(norm=False)
    curved = compiled(MetaCurvature(network, inner_learning_rate=0.1), tasks.CROSSENTROPY)
    plain = compiled(MAML(network, inner_learning_rate=0.1), tasks.CROSSENTROPY)
    random = np.random.default_rng(0)
    for variable in curved.meta_parameters.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    support = tasks.one(tasks.images().support)
    start = [w.numpy() for w in network.trainable_variables]
    moved, unbent = (np.array(m.adapt(support).weights[2]) for m in (curved, plain))
    kernel = start[2]
    assert kernel.shape == (3, 3, 3, 4)
    # After those of the first kernel and bias: out, in and places.
    out, inputs, places = (v.numpy() for v in curved.meta_parameters.trainable_variables[4:7])
    gradient = ((kernel - unbent) / 0.1).reshape(9, 3, 4)
    bent = np.einsum("sio,po,qi,rs->rqp", gradient, out, inputs, places).reshape(kernel.shape)
    np.testing.assert_allclose(moved, kernel - 0.1 * bent, rtol=1e-3, atol=1e-5)
