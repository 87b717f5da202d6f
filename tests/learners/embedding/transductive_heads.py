"""What transductive heads are compared by: masks of the query set, absent classes, gradients."""

import numpy as np
import tasks
from meta_gradients import compiled, relative_error_along


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def squares(a, b):
    return np.sum((a[:, None] - b[None]) ** 2, axis=-1)


def assert_outputs_are_those_of(reference, learner, task):
    """Of NumPy's function of support rows, one-hot labels and query rows, and padding is no row."""
    support, query = task
    s, z = (np.array(learner.network(x)) for x in (support.x, query.x))
    adapted = learner.adapt(support)
    outputs = learner.predict_query(adapted, query.x)
    np.testing.assert_allclose(outputs, reference(s, np.eye(3)[support.y], z), rtol=1e-6)
    assert learner.is_transductive()
    fewer = learner.predict_query(adapted, query.x[:4])
    assert np.abs(outputs[:4] - fewer).max() > 1e-4
    # Padded rows are none of the query set.
    x = np.concatenate([query.x[:4], 7 * np.ones_like(query.x[:2])])
    padded = learner.predict_query(adapted, x, mask=np.array([1, 1, 1, 1, 0, 0], "float32"))
    np.testing.assert_allclose(padded[:4], fewer, rtol=1e-7)


def assert_an_absent_class_is_hidden(learner, task):
    support, query = task
    names = np.array([0, 2, 3], "int32")
    renamed = learner.adapt(support._replace(y=names[support.y]))
    outputs = np.array(learner.predict_query(renamed, query.x))
    plain = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs[:, names], plain, rtol=1e-7)
    assert np.all(outputs[:, 1] < -1e37)


def assert_gradient(learner):
    compiled(learner, tasks.CROSSENTROPY)
    episodes = tasks.images(shots=2, dtype="float64", seed=1)
    assert relative_error_along(learner, episodes, step=1e-7, eager=True) < 1e-5
