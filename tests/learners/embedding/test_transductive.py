"""Transductive learners against NumPy: label propagation, BD-CSPN, TIM; masks of the query set."""

import numpy as np
import pytest
import tasks
from meta_gradients import compiled, relative_error_along

import tfmeta
from tfmeta.learners import BDCSPN, TIM, LabelPropagation

ALL = {
    "LabelPropagation": lambda n: LabelPropagation(n, neighbours=3, learn_scale=False),
    "BDCSPN": lambda n: BDCSPN(n, scale=4.0, confident=1),
    "TIM": lambda n: TIM(n, temperature=3.0, steps=4),
}


@pytest.fixture(scope="module")
def network():
    return tasks.convolutional(4, dtype="float64", norm=False)


@pytest.fixture(scope="module")
def task():
    episodes = tasks.images(shots=2, dtype="float64")
    return tasks.one(episodes.support), tasks.one(episodes.query)


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def cosines(a, b):
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    return a @ b.T


def squares(a, b):
    return np.sum((a[:, None] - b[None]) ** 2, axis=-1)


def propagated(s, y, z):
    rows = np.concatenate([s, z])
    weights = np.exp(-0.5 * squares(rows, rows) / rows.shape[1])
    near = weights >= np.sort(weights, axis=1)[:, [-3]]
    weights = weights * (near | near.T)
    roots = 1 / np.sqrt(weights.sum(axis=1))
    system = np.eye(len(rows)) - 0.99 * weights * roots[:, None] * roots
    return np.linalg.solve(system, np.concatenate([y, np.zeros((len(z), 3))]))[len(s) :]


def rectified(s, y, z):
    means = (y.T @ s) / y.sum(axis=0)[:, None]
    z = z + s.mean(axis=0) - z.mean(axis=0)
    similar, chosen = cosines(z, means), np.zeros((len(z), 3))
    for k in range(3):
        of_class = [i for i in range(len(z)) if similar[i].argmax() == k]
        if of_class:
            chosen[max(of_class, key=lambda i: similar[i, k]), k] = 1
    of_support, of_queries = (
        share * np.exp(4 * cosines(rows, means)) for share, rows in ((y, s), (chosen, z))
    )
    sums = of_support.sum(axis=0) + of_queries.sum(axis=0)
    means = (of_support.T @ s + of_queries.T @ z) / sums[:, None]
    return 4 * cosines(z, means)


def informed(s, y, z):
    s, z = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (s, z))
    w = (y.T @ s) / y.sum(axis=0)[:, None]
    for _ in range(4):
        of_s, of_z = (softmax(-1.5 * squares(v, w)) for v in (s, z))
        q = of_z**1.1 / np.sqrt((of_z**1.1).sum(axis=0))
        q = q / q.sum(axis=1, keepdims=True)
        new, norm = np.zeros_like(w), np.zeros(3)
        for rows, wanted, found, share in ((s, y, of_s, 0.1 / 1.1), (z, q, of_z, 1.0)):
            for i, row in enumerate(rows):
                moves = wanted[i][:, None] * row + found[i][:, None] * (w - row)
                new, norm = new + share * moves / len(rows), norm + share * wanted[i] / len(rows)
        w = new / norm[:, None]
    return -1.5 * squares(z, w)


REFERENCES = {"LabelPropagation": propagated, "BDCSPN": rectified, "TIM": informed}


@pytest.mark.parametrize("name", ALL)
def test_outputs_are_those_of_numpy_and_depend_on_the_query_set(name, network, task):
    learner, (support, query) = ALL[name](network), task
    s, z = (np.array(network(x)) for x in (support.x, query.x))
    adapted = learner.adapt(support)
    outputs = learner.predict_query(adapted, query.x)
    np.testing.assert_allclose(outputs, REFERENCES[name](s, np.eye(3)[support.y], z), rtol=1e-6)
    assert learner.is_transductive()
    fewer = learner.predict_query(adapted, query.x[:4])
    assert np.abs(outputs[:4] - fewer).max() > 1e-4
    # Padded rows are none of the query set.
    x = np.concatenate([query.x[:4], 7 * np.ones_like(query.x[:2])])
    padded = learner.predict_query(adapted, x, mask=np.array([1, 1, 1, 1, 0, 0], "float32"))
    np.testing.assert_allclose(padded[:4], fewer, rtol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_an_absent_class_is_hidden(name, network, task):
    learner, (support, query) = ALL[name](network), task
    names = np.array([0, 2, 3], "int32")
    renamed = learner.adapt(support._replace(y=names[support.y]))
    outputs = np.array(learner.predict_query(renamed, query.x))
    plain = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs[:, names], plain, rtol=1e-7)
    assert np.all(outputs[:, 1] < -1e37)


@pytest.mark.parametrize(
    "make", [lambda n: LabelPropagation(n, dtype="float64"), ALL["BDCSPN"], ALL["TIM"]]
)
def test_outer_gradient_against_central_differences(make, network):
    learner = compiled(make(network), tasks.CROSSENTROPY)
    episodes = tasks.images(shots=2, dtype="float64", seed=1)
    assert relative_error_along(learner, episodes, step=1e-7, eager=True) < 1e-5


def test_in_a_step_of_fit_tim_is_a_protonet_of_unit_vectors(network, task):
    learner, (support, query) = TIM(network), task
    simple = tfmeta.learners.SimpleShot(network, transform="L2N")
    outputs = learner.predict_query(learner.adapt(support), query.x, training=True)
    expected = simple.predict_query(simple.adapt(support), query.x)
    np.testing.assert_allclose(outputs, 7.5 * np.array(expected), rtol=1e-6)


def test_reports_say_that_scores_are_transductive(network):
    learner = compiled(TIM(network, steps=2), tasks.CROSSENTROPY)
    episodes = tasks.dataset(tasks.images(shots=2, dtype="float64"), 1)
    report = tfmeta.evaluation.evaluate_episodes(learner, episodes, count=2)
    assert report.transductive
    assert "transductive" in str(report)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (LabelPropagation, {"spread": 1.0}),
        (LabelPropagation, {"neighbours": 0}),
        (LabelPropagation, {"learn_scale": 1}),
        (BDCSPN, {"scale": 0}),
        (BDCSPN, {"confident": 0}),
        (TIM, {"temperature": 0}),
        (TIM, {"conditional_weight": -1}),
        (TIM, {"steps": 0}),
    ],
)
def test_bad_arguments(cls, arguments, network):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} "):
        cls(network, **arguments)
