"""`learner.export`: what the files hold, what is refused, and that what was there is not lost."""

import json
import resource

import keras
import numpy as np
import pytest
import tasks
import tensorflow as tf
from disks import filled, small_disk

import tfmeta
from tfmeta import Examples
from tfmeta.learners import CNP, MAML, R2D2, ProtoNet, ZeroShotProtoNet


def protonet(**kwargs):
    keras.utils.set_random_seed(0)
    return ProtoNet(tfmeta.networks.mlp((4, 4, 1), 5, hidden=(8,)), **kwargs)


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_note_tells_shapes_preprocessing_and_versions(tmp_path):
    protonet().export(tmp_path / "learner")
    note = json.loads((tmp_path / "learner" / "assets" / "tfmeta.json").read_text())
    assert note["learner"] == "ProtoNet"
    assert note["versions"]["tfmeta"] == tfmeta.__version__
    assert note["signatures"]["adapt"]["inputs"] == {
        "x": {"shape": [None, 4, 4, 1], "dtype": "float32"},
        "y": {"shape": [None], "dtype": "int32"},
        "mask": {"shape": [None], "dtype": "float32"},
    }
    assert list(note["signatures"]["predict_query"]["outputs"]) == ["outputs"]
    assert "divided by 255" in note["preprocessing"]["x"]
    assert note["targets"] == {"kind": "class labels, from 0", "ways": None}
    assert note["outputs"] == "one logit a class"
    sizes = {name: len(content) for name, content in files_of(tmp_path / "learner").items()}
    del sizes["assets/tfmeta.json"]
    assert note["bytes"] == sizes


def test_masks_and_bytes_as_the_learner_takes_them(tmp_path):
    learner, random = protonet(), np.random.default_rng(0)
    pixels = random.integers(0, 256, (6, 4, 4, 1), dtype="uint8")
    support = Examples(
        pixels, np.array([0, 1, 2, 0, 1, 4]), np.array([1, 1, 1, 1, 1, 0], "float32")
    )
    learner.export(tmp_path / "learner", like=support)
    loaded = tf.saved_model.load(str(tmp_path / "learner"))
    adapted = loaded.signatures["adapt"](
        x=tf.constant(pixels), y=tf.constant(support.y, tf.int32), mask=tf.constant(support.mask)
    )
    outputs = loaded.signatures["predict_query"](**adapted, x=tf.constant(pixels[:2]))["outputs"]
    assert outputs.shape == (2, 3)  # the class of the padded row is no class
    expected = learner.predict_query(learner.adapt(Examples(*[t[:5] for t in support])), pixels[:2])
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


def test_nests_of_inputs_have_names(tmp_path):
    inputs = {name: keras.Input((3,), name=name) for name in ("second", "first")}
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()(list(inputs.values()))))
    learner = MAML(network, inner_learning_rate=0.1)
    learner.compile(loss="mse")
    learner.export(tmp_path / "learner")
    loaded = tf.saved_model.load(str(tmp_path / "learner"))
    random = np.random.default_rng(0)
    x = {name: random.normal(size=(4, 3)).astype("float32") for name in inputs}
    y = random.normal(size=(4, 2)).astype("float32")
    named = {f"x_{name}": tf.constant(part) for name, part in x.items()}
    adapted = loaded.signatures["adapt"](**named, y=tf.constant(y), mask=tf.ones(4))
    outputs = loaded.signatures["predict_query"](**adapted, **named)["outputs"]
    expected = learner.predict_query(learner.adapt(Examples(x, y)), x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


def test_targets_are_those_of_the_episodes_or_asked_for(tmp_path):
    learner = R2D2(tasks.dense(3))
    learner.compile(loss="mse")
    with pytest.raises(ValueError, match=r"Expected to know what targets look like.*like=support"):
        learner.export(tmp_path / "learner")
    assert not list(tmp_path.iterdir())
    learner.fit(tasks.dataset(tasks.regression(), 1), verbose=0)
    learner.export(tmp_path / "learner")
    note = json.loads((tmp_path / "learner" / "assets" / "tfmeta.json").read_text())
    assert note["signatures"]["adapt"]["inputs"]["y"]["shape"] == [None, 1]
    assert note["targets"] == {"kind": "numbers"}


def test_support_and_query_may_look_different(tmp_path):
    keras.utils.set_random_seed(0)
    network, words = tfmeta.networks.mlp((4,), 3), tfmeta.networks.mlp((2,), 3)
    learner, random = ZeroShotProtoNet(network, words), np.random.default_rng(0)
    support = Examples(random.normal(size=(3, 2)).astype("float32"), np.arange(3))
    query = Examples(random.normal(size=(5, 4)).astype("float32"), np.zeros(5, int))
    learner.export(tmp_path / "learner", like=tfmeta.Episode(support, query))
    loaded = tf.saved_model.load(str(tmp_path / "learner"))
    given = {"x": tf.constant(support.x), "y": tf.range(3), "mask": tf.ones(3)}
    adapted = loaded.signatures["adapt"](**given)
    outputs = loaded.signatures["predict_query"](**adapted, x=tf.constant(query.x))["outputs"]
    expected = learner.predict_query(learner.adapt(support), query.x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: CNP(), {}, r"Expected a built network before `export`"),
        (lambda: MAML(tasks.dense()), {}, r"Expected a compiled learner before `export`"),
        (protonet, {"format": "onnx"}, r"Expected format in .*tf_saved_model.*Received: 'onnx'"),
        (protonet, {"format": "litert"}, r"Expected the path of a \.tflite file"),
        (protonet, {"like": [1, 2]}, r"Expected tfmeta\.Examples.*Received: list"),
    ],
)
def test_what_is_refused_before_anything_is_written(make, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make().export(tmp_path / "learner", **arguments)
    assert not list(tmp_path.iterdir())


def test_only_an_earlier_export_is_replaced(tmp_path):
    learner = protonet()
    learner.export(tmp_path / "learner")
    learner.network.set_weights([w + 1 for w in learner.network.get_weights()])
    before = files_of(tmp_path / "learner")
    learner.export(tmp_path / "learner")
    after = files_of(tmp_path / "learner")
    assert before.keys() == after.keys()
    assert before != after
    assert [p.name for p in tmp_path.iterdir()] == ["learner"]
    (tmp_path / "learner" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"Received: .*a folder with 'thesis\.txt' in it"):
        learner.export(tmp_path / "learner")
    with pytest.raises(ValueError, match=r"Received: .*thesis\.txt, a file"):
        learner.export(tmp_path / "learner" / "thesis.txt")
    assert (tmp_path / "learner" / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_leaves_the_old_export_usable(tmp_path):
    """A limit of the size of files stands for the disk: writes fail in the same way."""
    learner = protonet()
    learner.export(tmp_path / "learner")
    before, limits = files_of(tmp_path / "learner"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises((OSError, tf.errors.OpError)):
            learner.export(tmp_path / "learner")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_of(tmp_path / "learner") == before
    assert [p.name for p in tmp_path.iterdir()] == ["learner"]
    tf.saved_model.load(str(tmp_path / "learner"))


@pytest.mark.parametrize("format", ["tf_saved_model", "litert"])
def test_a_disk_that_is_really_full_leaves_the_old_export_usable(format, tmp_path):
    learner = protonet()
    with small_disk(tmp_path / "disk", 1000) as disk:
        path = disk / ("learner" if format == "tf_saved_model" else "learner.tflite")
        learner.export(path, format=format)
        before = files_of(disk)
        with filled(disk, 8192), pytest.raises((OSError, tf.errors.OpError)):
            learner.export(path, format=format)
        assert files_of(disk) == before
        if format == "tf_saved_model":
            assert "adapt" in tf.saved_model.load(str(path)).signatures
