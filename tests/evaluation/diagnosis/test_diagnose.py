"""`diagnose` on learners that are made to memorise, to reuse features, and to adapt them."""

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf

import tfmeta
from tfmeta.episodes import sinusoid
from tfmeta.evaluation import EvaluationReport, diagnose
from tfmeta.evaluation.diagnosis.diagnose import _permutation
from tfmeta.evaluation.diagnosis.diagnosis import Diagnosis
from tfmeta.evaluation.diagnosis.similarity import LayerOutputs, head_positions, linear_cka
from tfmeta.evaluation.diagnosis.smaller import smaller
from tfmeta.learners import ANIL, MAML, ProtoMAML, ProtoNet

COUNT = 12


def two_layers(first, second):
    """`x [rows, 2] -> x @ first -> @ second`, linear, without offsets."""
    dense = [keras.layers.Dense(w.shape[1], use_bias=False, name=n) for n, w in (
        ("body", first), ("head", second))]  # fmt: skip
    network = keras.Sequential([keras.Input((2,)), *dense])
    network.set_weights([first, second])
    return network


def slopes(directions, seed=0, rows=12):
    """Episodes of `y = u x`, `[rows, 2]` to `[rows, 1]`, the `u` one after another."""
    random = np.random.default_rng(seed)

    def examples():
        x = random.normal(size=(len(directions), rows, 2)).astype("float32")
        y = (x @ directions[:, :, None]).astype("float32")
        return tfmeta.Examples(x, y, np.ones(y.shape[:2], "float32"))

    return tf.data.Dataset.from_tensor_slices(tfmeta.Episode(examples(), examples())).batch(4)


def turned(seed=1):
    """Directions of length 1, all around."""
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, COUNT)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def compiled(learner):
    learner.compile("sgd", "mse")
    return learner


def test_a_memoriser():
    # One function for all tasks, which the weights have; hardly an inner step is taken.
    directions = np.tile([[1.0, -2.0]], (COUNT, 1))
    network = two_layers(np.eye(2, dtype="float32"), np.array([[0.9], [-2.0]], "float32"))
    found = diagnose(compiled(MAML(network, inner_learning_rate=1e-3)), slopes(directions), COUNT)
    assert found.verdict == "memorises"
    assert "(memorisation)" in str(found)
    assert found.share("support left out", "support mean") > 0.95
    assert "it hardly matters which input has which label" in str(found)
    assert found.alignment.mean > 0.9
    assert "what helps one task helps another" in str(found)


def test_a_feature_reuser():
    # The head starts at 0, so that no gradient reaches the body in the one inner step.
    network = two_layers(np.eye(2, dtype="float32"), np.zeros((2, 1), "float32"))
    learner = compiled(MAML(network, inner_learning_rate=0.5))
    found = diagnose(learner, slopes(turned()), COUNT)
    assert found.verdict == "reuses features"
    np.testing.assert_allclose(
        found.scores["head alone"].scores, found.scores["adapted"].scores, rtol=1e-5
    )
    assert found.similarity["body"].mean > 0.9999
    assert found.similarity["head"].mean < 0.9
    assert "100 % of what adaptation gains" in str(found)
    assert "what it knows of a task comes from the support set" in str(found)
    assert found.by_shots[1].mean > found.scores["adapted"].mean
    assert "With 1 shot: " in str(found)
    assert ", with 6 shots: " in str(found)
    assert "which changes most, to 1.00 in body; those below the last say nearly what" in str(found)


def test_an_adapter_of_features():
    # One number between the layers: the head can only scale it, the body has to turn.
    network = two_layers(np.array([[1.0], [0.0]], "float32"), np.array([[1.0]], "float32"))
    learner = compiled(MAML(network, inner_learning_rate=0.1, inner_steps=10))
    up_or_down = np.array([[0.0, 1.0], [0.0, -1.0]] * (COUNT // 2))
    found = diagnose(learner, slopes(up_or_down), COUNT)
    assert found.verdict == "adapts features"
    assert found.share("head alone", "support left out") < 0.7
    assert found.similarity["body"].mean < 0.95
    assert "adaptation changes what layers below the last say (body)" in str(found)
    assert "the layers below have to move, too" in str(found)
    assert "which input has which label is what it learns from" in str(found)


def test_a_learner_that_learns_nothing():
    network = two_layers(np.eye(2, dtype="float32"), np.zeros((2, 1), "float32"))
    learner = compiled(MAML(network, inner_learning_rate=1e-7))
    found = diagnose(learner, slopes(turned()), COUNT)
    assert found.verdict == "learns nothing"
    assert "support mean" in found.sentences[0]
    assert "not better than" in found.sentences[0]


def test_classes_of_a_learner_without_inner_steps(tmp_path):
    pytest.importorskip("matplotlib")
    learner = ProtoNet(tasks.convolutional(4, norm=False))
    learner.compile("sgd", tasks.CROSSENTROPY)
    batch = tasks.images(tasks=3, ways=4, shots=4, queries=2)
    data = tf.data.Dataset.from_tensor_slices(batch).batch(1)  # each needs another one's support
    found = diagnose(learner, data, 3)
    assert found.verdict == "uses the support set"
    assert found.scores["chance"].mean == 0.25
    assert found.scores["adapted"].mean > 0.9
    assert found.scores["labels shuffled"].mean < 0.5
    assert (set(found.by_shots), set(found.by_ways)) == ({1, 2}, {2})
    assert found.similarity == {}
    alone = [learner.adapt(tasks.one(batch.support, i)) for i in (0, 1, 2)]
    left = [
        np.mean(
            learner.predict_query(alone[i - 1], tasks.one(batch.query, i).x).numpy().argmax(-1)
            == tasks.one(batch.query, i).y
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(found.scores["support left out"].scores, left)
    figure = found.plot(tmp_path / "found.png")
    assert len(figure.axes) == 3
    assert (tmp_path / "found.png").stat().st_size > 5000


def test_similarity_is_that_of_the_paper():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)), random.normal(size=(20, 5)) + 7.0
    a, b = x - x.mean(0), y - y.mean(0)
    slow = np.linalg.norm(b.T @ a) ** 2
    slow /= np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    np.testing.assert_allclose(linear_cka(tf.constant(x), tf.constant(y)), slow, rtol=1e-5)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(linear_cka(x, -4.0 * x @ turn + 2.0), 1.0, rtol=1e-5)
    assert linear_cka(np.ones((4, 2)), np.ones((4, 2))) == 1.0


def test_outputs_of_layers_are_those_of_the_adapted_network():
    learner = MAML(tasks.convolutional(3), inner_learning_rate=0.1)
    learner.compile("sgd", tasks.CROSSENTROPY)
    episode = tasks.images(tasks=1)
    support, query = (tasks.one(part) for part in episode)
    adapted = learner.adapt(support)
    layers = LayerOutputs.of(learner.network)
    outputs = layers(learner, adapted, query.x)
    np.testing.assert_allclose(outputs[-1], learner.predict_query(adapted, query.x), rtol=1e-5)
    assert layers.names()[-1] == learner.network.layers[-1].name
    assert len(outputs) == 5
    head = [learner.network_weights()[i] for i in head_positions(learner)]
    last = learner.network.layers[-1]
    assert [id(v) for v in head] == [id(last.kernel), id(last.bias)]
    assert LayerOutputs.of(keras.Sequential([keras.layers.Dense(2)])) is None


def test_smaller_episodes_have_the_first_rows_of_each_class():
    batch = tasks.images(tasks=2, ways=4, shots=3, queries=2)
    order = np.random.default_rng(0).permutation(12)
    mixed = tf.nest.map_structure(lambda t: tf.gather(t, order, axis=1), batch.support)
    found = smaller(batch._replace(support=mixed))
    assert list(found) == [("shots", 1), ("ways", 2)]
    np.testing.assert_array_equal(found["shots", 1].support.y[0], [0, 1, 2, 3])
    first = [next(i for i, row in enumerate(order) if row // 3 == label) for label in range(4)]
    np.testing.assert_array_equal(found["shots", 1].support.x[1], mixed.x.numpy()[1, first])
    for name, part in (("support", mixed), ("query", batch.query)):
        few = getattr(found["ways", 2], name)
        assert set(few.y.numpy().ravel()) == {0, 1}
        assert few.x.shape[1] == part.x.shape[1] // 2
    padded = batch.support._replace(mask=tf.zeros_like(batch.support.mask))
    assert smaller(batch._replace(support=padded)) == {}


def test_no_row_keeps_its_label():
    for rows in (2, 3, 12, 25):
        permutation = _permutation(rows)
        assert sorted(permutation) == list(range(rows))
        assert not (permutation == np.arange(rows)).any()


def test_errors_are_better_when_they_are_small():
    errors = {"adapted": [0.1, 0.3], "support left out": [1.0, 1.2], "support mean": [1.0, 1.4],
              "labels shuffled": [2.0, 2.0], "head alone": [0.9, 1.1]}  # fmt: skip
    reports = {k: EvaluationReport(v, "mean squared error") for k, v in errors.items()}
    shots = {2: [0.4, 0.6], 4: [0.2, 0.4]}
    shots = {k: EvaluationReport(v, "mean squared error") for k, v in shots.items()}
    ways = {3: EvaluationReport([0.0, 0.2], "mean squared error")}
    found = Diagnosis(reports, {}, shots, ways, None)
    for words in (
        "With 2 shots: 0.50 ± 0.20, with 4 shots: 0.30 ± 0.20, with all: 0.20 ± 0.20; it learns "
        "from more examples of a task.",
        "With 3 ways: 0.10 ± 0.20, with all: 0.20 ± 0.20; fewer classes are easier",
    ):
        assert words in str(found)
    found = Diagnosis(reports, {}, {2: reports["adapted"]}, {3: shots[2]}, None)
    assert "with all: 0.20 ± 0.20; more examples of a task show no gain." in str(found)
    assert "fewer classes should be easier" in str(found)
    assert found.verdict == "adapts features"
    np.testing.assert_allclose(found.share("head alone", "support left out"), 1 / 9)
    np.testing.assert_allclose(found.gain("adapted", "support mean").mean, 1.0)
    assert repr(found) == "<Diagnosis: adapts features>"
    third = {k: EvaluationReport(np.full(2, v), "accuracy") for k, v in {
        "adapted": np.float32(1 / 3), "support left out": np.float32(1 / 3),
        "labels shuffled": np.float32(1 / 3), "chance": 1 / 3}.items()}  # fmt: skip
    assert Diagnosis(third, {}, {}, {}, None).verdict == "learns nothing"


def test_where_the_head_is_all_that_adapts_it_is_not_compared():
    found = diagnose(compiled(ANIL(tasks.dense())), sinusoid(meta_batch_size=2), 2)
    assert "head alone" not in found.scores


def test_a_start_that_is_made_of_the_support_set_is_left_out_too():
    learner = ProtoMAML(tasks.convolutional(4, norm=False), inner_steps=1)
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    batch = tasks.images(tasks=4, ways=4, shots=2, queries=2)
    found = diagnose(learner, tasks.dataset(batch, 1), 4)
    left = []
    for i in range(4):
        start, query = learner.unadapted(tasks.one(batch.support, i - 1)), tasks.one(batch.query, i)
        outputs = learner.predict_query(start, query.x).numpy()
        left.append((outputs.argmax(-1) == query.y).mean())
    np.testing.assert_allclose(found.scores["support left out"].scores, left)
    assert found.scores["adapted"].mean > found.scores["support left out"].mean


def test_bad_arguments():
    learner = compiled(MAML(tasks.line()))
    data = tasks.dataset(tasks.regression(), 1)
    with pytest.raises(ValueError, match="Expected at least count=9 episodes"):
        diagnose(learner, data, 9)
    with pytest.raises(ValueError, match="Expected count to be an integer of at least 2"):
        diagnose(learner, data, 1)
    with pytest.raises(ValueError, match="Expected a learner that adapts to single episodes"):
        diagnose(learner.network, data, 2)
