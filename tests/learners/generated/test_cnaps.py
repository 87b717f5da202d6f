"""CNAPs: nothing is changed at first, features by hand, both heads, frozen networks."""

import keras
import numpy as np
import pytest
import tasks
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.learners import CNAPs, SimpleCNAPS


def frozen(dtype="float64"):
    """A network that does not train, with moving statistics that are not the first ones."""
    network = tasks.convolutional(4, dtype=dtype)
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
                variable.assign(random.uniform(0.5, 1.5, variable.shape))
    network.trainable = False
    return network


def made(moved=True, dtype="float64", **kwargs):
    """A compiled learner, away from where it starts if `moved`."""
    network = frozen(dtype)
    learner = CNAPs(network, representation=3, hidden=5, dtype=dtype, **kwargs)
    random = np.random.default_rng(1)
    for variable in learner.trainable_variables if moved else ():
        variable.assign(variable + 0.2 * random.normal(size=variable.shape))
    return compiled(learner, tasks.CROSSENTROPY)


@pytest.fixture(scope="module")
def episodes():
    return tasks.images(shots=2, dtype="float64")


@pytest.fixture(scope="module")
def learner():
    return made()


def test_a_new_learner_is_a_plain_head_on_the_networks_features(episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    learner = made(moved=False)
    s, z = (np.array(learner.network(x)) for x in (support.x, query.x))
    means = np.stack([s[support.y == label].mean(axis=0) for label in range(3)])
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, z @ means.T - np.sum(means**2, axis=1) / 2, rtol=1e-6)
    simple = SimpleCNAPS(learner.network)
    expected = simple.predict_query(simple.adapt(support), query.x)
    learner = made(moved=False, head="mahalanobis")
    outputs = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)


def test_features_are_those_of_a_network_with_the_tasks_scales_and_offsets(learner, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    adapted = learner.adapt(support)
    other, layers = frozen(), []
    for layer in other.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layers.append(layer)
    for layer, scale, offset in zip(layers, adapted.scales, adapted.offsets, strict=True):
        assert np.abs(layer.gamma - scale).max() > 0.01
        layer.gamma.assign(scale)
        layer.beta.assign(offset)
    kernel, bias = adapted.head
    expected = np.array(other(query.x)) @ kernel + bias
    np.testing.assert_allclose(learner.predict_query(adapted, query.x), expected, rtol=1e-6)


@pytest.mark.parametrize("head", ["linear", "mahalanobis"])
def test_outer_gradient_against_central_differences(head, learner, episodes):
    learner = learner if head == "linear" else made(head=head)
    assert all(v is not w for v in learner.trainable_variables for w in learner.network.variables)
    assert relative_error_along(learner, episodes, eager=True) < 1e-6


def test_padded_rows_change_nothing_and_ways_are_free(learner, episodes):
    support, query = tasks.one(episodes.support), tasks.one(episodes.query)
    padded = tfmeta.Examples(*(np.concatenate([t, 7 * np.ones_like(t[:2])]) for t in support))
    padded.y[-2:] = 1
    padded.mask[-2:] = 0
    a, b = (learner.predict_query(learner.adapt(s), query.x) for s in (support, padded))
    np.testing.assert_allclose(a, b, rtol=1e-8)
    two = tfmeta.Examples(*(t[:4] for t in support))
    assert learner.predict_query(learner.adapt(two), query.x).shape == (6, 2)


def test_a_network_that_trains_is_refused_and_one_without_normalisation(episodes):
    learner = compiled(CNAPs(tasks.convolutional(4)), tasks.CROSSENTROPY)
    with pytest.raises(ValueError, match=r"Expected a frozen network\. Received: one with 10"):
        learner.fit(tasks.dataset(tasks.images(), 1), verbose=0)
    with pytest.raises(ValueError, match=r"Expected film_layers to name some .*, \[\]"):
        CNAPs(tasks.convolutional(4, norm=False))


@pytest.mark.parametrize(
    "arguments",
    [{"head": "tree"}, {"film_layers": "x"}, {"representation": 0}, {"regularization": 0}],
)
def test_bad_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        CNAPs(frozen(), **arguments)
    with pytest.raises(ValueError, match="Expected a built network"):
        CNAPs(None)
