"""Trials of a user's networks: what works with learners, and what is said before the first step."""

import numpy as np
import pytest

import tfmeta


def test_an_mlp_without_a_head_as_conv4_without_one():
    network = tfmeta.networks.mlp((8, 8, 1), None, hidden=(7, 5))
    assert network.output_shape == (None, 5)
    assert network(np.zeros((2, 8, 8, 1))).shape == (2, 5)
    with pytest.raises(ValueError, match="Expected a network with a layer"):
        tfmeta.networks.mlp((8,), None, hidden=())
