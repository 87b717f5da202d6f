"""Scores by class and by number of shots."""

import json

import numpy as np
import pytest
import tasks
from evaluation.fakes import PixelPrototypes

from tfmeta.datasets import from_arrays
from tfmeta.episodes import classification
from tfmeta.evaluation import (
    EvaluationReport,
    evaluate_episodes,
    score_classes,
    score_reliability,
    score_shots,
)
from tfmeta.learners import ProtoNet

WAYS, QUERIES, COUNT = 3, 4, 6


def data(seed=0):
    """Five classes of noisy vectors, which come closer one by one."""
    random = np.random.default_rng(seed)
    labels = np.repeat(["a", "b", "c", "d", "e"], 12)
    means = np.repeat(3.0 * random.normal(size=(5, 6)), 12, axis=0)
    x = (means + 2.0 * random.normal(size=(60, 6))).astype("float32")
    return from_arrays(x, labels)


def episodes(**kwargs):
    options = {"ways": WAYS, "shots": 3, "queries": QUERIES, "meta_batch_size": 4, "seed": 7}
    return classification(data(), **options | kwargs)


def by_hand(learner, count):
    """Right and all query examples of each class, found by their content."""
    dataset, right, number = data(), {}, {}
    rows = {x.tobytes(): name for name in dataset.class_names for x in dataset.of_class(name)}
    batches = [b for b, _ in zip(episodes(meta_batch_size=1), range(count), strict=False)]
    for batch in batches:
        support, query = (tasks.one(part) for part in batch)
        found = learner.predict_query(learner.adapt(support), query.x).numpy().argmax(-1)
        for x, label, guess in zip(query.x, query.y, found, strict=True):
            name = rows[x.tobytes()]
            right.setdefault(name, []).append(label == guess)
            number[name] = number.get(name, 0) + 1
    return {name: np.mean(values) for name, values in right.items()}


@pytest.mark.parametrize("kwargs", [{}, {"start": 2, "step": 3}, {"ways": (2, 3)}])
def test_accuracy_of_each_class(kwargs):
    learner = PixelPrototypes(WAYS)
    if "ways" in kwargs:  # padded: its absent class would be nan
        learner = ProtoNet(tasks.dense(4, 6))
        learner.compile("sgd", tasks.CROSSENTROPY)
    found = score_classes(learner, episodes(**kwargs), COUNT, verbose=0)
    means = [report.mean for report in found.values()]
    assert means == sorted(means)
    overall = evaluate_episodes(learner, episodes(**kwargs), COUNT, verbose=0)
    if not kwargs:
        slow = by_hand(learner, COUNT)
        assert set(found) == set(slow)
        for name, report in found.items():
            np.testing.assert_allclose(report.mean, slow[name])
    if "ways" not in kwargs:  # as many query examples of each class in each episode
        scores = np.concatenate([report.scores for report in found.values()])
        assert len(scores) == WAYS * COUNT
        np.testing.assert_allclose(scores.mean(), overall.mean)


def test_classes_of_other_episodes_are_not_known():
    learner = PixelPrototypes(WAYS)
    with pytest.raises(ValueError, match="in their order"):
        score_classes(learner, episodes(count=40).unbatch().shuffle(40, seed=3).batch(4), 4)
    with pytest.raises(ValueError, match="does not say which classes"):
        score_classes(learner, tasks.dataset(tasks.images(), 1), 2)


def test_first_shots_of_each_class():
    learner = PixelPrototypes(WAYS)
    found = score_shots(learner, episodes(), (1, 3), COUNT, verbose=0)
    whole = evaluate_episodes(learner, episodes(), COUNT, verbose=0)
    np.testing.assert_array_equal(found[3].scores, whole.scores)
    one = []
    for batch, _ in zip(episodes(meta_batch_size=1), range(COUNT), strict=False):
        support, query = (tasks.one(part) for part in batch)
        first = type(support)(*(t[::3] for t in support))
        outputs = learner.predict_query(learner.adapt(first), query.x).numpy()
        one.append((outputs.argmax(-1) == query.y).mean())
    np.testing.assert_allclose(found[1].scores, one)
    with pytest.raises(ValueError, match="Expected shots of at most 3"):
        score_shots(learner, episodes(), (4,), COUNT)


def test_pages_show_what_was_set(tmp_path):
    pytest.importorskip("matplotlib")
    learner = ProtoNet(tasks.dense(4, 6))
    learner.compile("sgd", tasks.CROSSENTROPY)
    report = evaluate_episodes(learner, episodes(), COUNT, verbose=0)
    bare = json.loads(report.to_json())
    report.calibration = score_reliability(learner, episodes(), COUNT, bins=4, verbose=0)
    report.by_shots = {1: EvaluationReport([0.25, 0.75], "accuracy")}
    report.by_class = {"a <b>": EvaluationReport([0.5], "accuracy")}
    values = json.loads(report.to_json())
    assert set(values) - set(bare) == {"calibration", "by_shots", "by_class"}
    assert values["by_class"] == {"a <b>": [0.5, None]}
    np.testing.assert_allclose(values["by_shots"]["1"], [0.5, 0.49])
    assert len(values["calibration"]["accuracy"]) == 4
    text = report.to_markdown()
    for words in ("| Calibration |  |", "| 1 | 50.00 ± 49.00 % | 2 |", "| a <b> | 50.00 % | 1 |"):
        assert words in text
    page = report.to_html()
    assert page.count("<img") == 2
    assert page.count("<caption>") == 4
    assert "a &lt;b&gt;" in page
    assert "<b>" not in page
    assert '<th scope="col">episodes</th>' in page
    assert page.index("Histogram") < page.index(">Calibration<") < page.index("Accuracy against")
