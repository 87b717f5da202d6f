"""Trials of inputs that once were read, silently, as something else than they are."""

import warnings
import zipfile

import keras
import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.learners import MAML, ProtoNet


def pictures(dtype="uint8", rows=3, seed=0):
    """Pictures `[rows, 4, 4, 1]` of bytes."""
    return np.random.default_rng(seed).integers(0, 256, (rows, 4, 4, 1)).astype(dtype)


def of_pictures(cls, layers=(), **options):
    """A learner of pictures 4x4 and three classes."""
    layers = [keras.Input((4, 4, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(3)]
    learner = cls(keras.Sequential(layers), **options)
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    return learner


class Subclassed(keras.Model):
    """A network that Keras cannot clone."""

    def __init__(self):
        super().__init__()
        self.flatten, self.head = keras.layers.Flatten(), keras.layers.Dense(3)

    def call(self, x):
        return self.head(self.flatten(x))


@pytest.mark.parametrize("cls", [MAML, ProtoNet, tfmeta.learners.R2D2, tfmeta.learners.CAVIA])
def test_an_adapted_model_takes_uint8_pictures(cls, tmp_path):
    learner, x = of_pictures(cls), pictures(seed=1)
    support = tfmeta.Examples(pictures(), np.arange(3))
    expected = learner.predict_query(learner.adapt(support), x)
    model = learner.adapted_model(support)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model(x / np.float32(255)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(learner(x), learner(x / np.float32(255)), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    np.testing.assert_allclose(loaded(x), expected, rtol=1e-4, atol=1e-5)


def test_an_adapted_subclassed_network_takes_uint8_pictures():
    learner = MAML(Subclassed())
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    learner.build((None, 4, 4, 1))
    support, x = tfmeta.Examples(pictures(), np.arange(3)), pictures(seed=1)
    expected = learner.predict_query(learner.adapt(support), x / np.float32(255))
    np.testing.assert_allclose(learner.adapted_model(support)(x), expected, rtol=1e-4, atol=1e-5)


def test_an_adapted_model_trains_on():
    learner, support = of_pictures(MAML), tfmeta.Examples(pictures(), np.arange(3))
    model = learner.adapted_model(support)
    model.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    before = np.array(learner.network.get_weights()[0])
    losses = model.fit(pictures(), np.arange(3), epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]
    np.testing.assert_array_equal(learner.network.get_weights()[0], before)


def embedding_networks():
    head = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)]
    floats = [keras.Input((5,)), keras.layers.Embedding(200, 4), *head]
    nested = [keras.Input((5,)), keras.layers.Embedding(200, 4), keras.layers.Dense(4)]
    nested = keras.Sequential(nested)
    return {
        "input of floats": keras.Sequential(floats),
        "nested": keras.Sequential([nested, keras.layers.Flatten(), keras.layers.Dense(3)]),
        "not built": keras.Sequential([keras.layers.Embedding(200, 4), *head]),
    }


@pytest.mark.parametrize("kind", ["input of floats", "nested", "not built"])
@pytest.mark.parametrize("cls", [MAML, ProtoNet])
def test_token_ids_in_uint8_are_no_pictures(cls, kind):
    learner = cls(embedding_networks()[kind])
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    learner.build((None, 5))
    ids = np.random.default_rng(0).integers(0, 200, (3, 5))
    wide, narrow = (tfmeta.Examples(ids.astype(d), np.arange(3)) for d in ("int32", "uint8"))
    expected = learner.predict_query(learner.adapt(wide), wide.x)
    assert np.std(expected, axis=0).max() > 0
    np.testing.assert_allclose(
        learner.predict_query(learner.adapt(narrow), narrow.x), expected, atol=1e-6
    )
    np.testing.assert_allclose(learner.adapted_model(narrow)(narrow.x), expected, atol=1e-6)
    np.testing.assert_allclose(learner(narrow.x), learner(wide.x), atol=1e-6)
    data = tfmeta.datasets.from_arrays(np.repeat(narrow.x, 2, axis=0), np.arange(6) // 2)
    episodes = tfmeta.episodes.classification(data, ways=3, queries=1, count=1, meta_batch_size=1)
    with pytest.raises(ValueError, match=r"integers in support\.x.*astype\(\"int32\"\)"):
        learner.fit(episodes, verbose=0)


def test_the_last_layer_of_a_nested_head_is_the_last():
    body = keras.Sequential([keras.Input((4,)), *map(keras.layers.Dense, (5, 6))])
    head = keras.Sequential([keras.Input((6,)), *map(keras.layers.Dense, (7, 3))])
    network = keras.Sequential([body, head])
    last, first = head.layers[-1], body.layers[0]
    learner = tfmeta.learners.ANIL(network)
    assert [learner.network_weights()[i] for i in learner.adapted_positions()] == last.weights
    learner = tfmeta.learners.CAVIA(network)
    assert [learner.network_weights()[i] for i in learner.shifted()] == [first.bias]
    learner = tfmeta.learners.BOIL(network)
    adapted = [learner.network_weights()[i] for i in learner.adapted_positions()]
    assert {v.path for v in network.weights} - {v.path for v in adapted} == {
        v.path for v in last.weights
    }


def test_pictures_beside_token_ids_are_scaled():
    picture, ids = keras.Input((4, 4, 1), name="picture"), keras.Input((5,), name="ids")
    parts = [keras.layers.Flatten()(picture), keras.layers.Embedding(200, 2)(ids)]
    parts[1] = keras.layers.Flatten()(parts[1])
    outputs = keras.layers.Dense(3)(keras.layers.Concatenate()(parts))
    learner = MAML(keras.Model({"picture": picture, "ids": ids}, outputs))
    learner.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
    numbers = np.random.default_rng(0).integers(0, 200, (3, 5))
    narrow = {"ids": numbers.astype("uint8"), "picture": pictures()}
    wide = {"ids": numbers, "picture": pictures() / np.float32(255)}
    support = tfmeta.Examples(wide, np.arange(3))
    expected = learner.predict_query(learner.adapt(support), wide)
    adapted = learner.adapt(support._replace(x=narrow))
    np.testing.assert_allclose(learner.predict_query(adapted, narrow), expected, rtol=1e-4)
    model = learner.adapted_model(support)
    np.testing.assert_allclose(model(narrow), expected, rtol=1e-4, atol=1e-6)


def test_float_pictures_of_bytes_bring_a_warning():
    data = tfmeta.datasets.from_arrays(pictures("float32", rows=6), np.arange(6) // 2)
    episodes = tfmeta.episodes.classification(data, ways=3, queries=1, count=1, meta_batch_size=1)
    support = tfmeta.Examples(pictures("float32"), np.arange(3))
    learner = of_pictures(MAML)
    with pytest.warns(UserWarning, match=r"0\.\.1 in support\.x.*Divide by 255"):
        learner.evaluate(episodes, verbose=0)
    by_hand = of_pictures(ProtoNet)
    with pytest.warns(UserWarning, match="Divide by 255"):
        by_hand.adapt(support)
    for dtype in ("int32", "uint16"):
        with pytest.warns(UserWarning, match=f"Received: {dtype} of .*Divide by 255"):
            of_pictures(MAML).adapt(support._replace(x=pictures(dtype)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.evaluate(episodes, verbose=0)  # once is enough
        of_pictures(MAML, [keras.layers.Rescaling(1 / 255)]).adapt(support)
        of_pictures(MAML).adapt(support._replace(x=support.x / 255))
        of_pictures(MAML).adapt(support._replace(x=pictures()))
        numbers = MAML(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
        numbers.compile("sgd", tasks.CROSSENTROPY, run_eagerly=True)
        numbers.adapt(tfmeta.Examples(np.full((3, 4), 200.0), np.arange(3)))


def test_pictures_that_are_scaled_twice_bring_a_warning():
    rescaling = [keras.layers.Rescaling(1 / 127.5, offset=-1)]
    data = tfmeta.datasets.from_arrays(pictures(rows=6), np.arange(6) // 2)
    episodes = tfmeta.episodes.classification(data, ways=3, queries=1, count=1, meta_batch_size=1)
    with pytest.warns(UserWarning, match=r"Rescaling has not seen yet.*Leave Rescaling out"):
        of_pictures(MAML, rescaling).evaluate(episodes, verbose=0)
    with pytest.warns(UserWarning, match="Leave Rescaling out"):
        of_pictures(ProtoNet, rescaling).adapt(tfmeta.Examples(pictures(), np.arange(3)))


def test_a_folder_gives_what_pillow_reads_and_names_the_rest(tmp_path):
    image = pytest.importorskip("PIL.Image")
    root = tmp_path / "images"
    for i, name in enumerate(("a/1.png", "a/2.webp", "b/3.bmp", "b/4.tif", "b/5.gif", "6.jpg")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.new("L", (6, 4), 40 * i).save(root / name, **({"lossless": True} if i == 1 else {}))
    for name in ("a/1.heic", "lost/deep/1.heic", "a/.hidden", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no image")
    (root / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root))
    for path in (root, tmp_path / "images.zip"):
        with pytest.warns(UserWarning, match="Passed over") as caught:
            data = tfmeta.datasets.from_folder(path, channels=1)
        assert data.class_names == ("a", "b")
        assert data.counts.tolist() == [2, 3]
        np.testing.assert_array_equal(data.x[:, 0, 0, 0], [0, 40, 80, 120, 160])
        said = str(caught[0].message)
        assert "2 files that pillow does not read: a/1.heic, lost/deep/1.heic;" in said
        assert "1 images beside the class folders: 6.jpg;" in said
        assert said.endswith("2 folders without an image, which are no class: empty, lost.")
        assert len(caught) == 1


def test_pictures_of_floats_in_a_folder_are_refused(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    image.fromarray(np.full((4, 6), 0.5, "float32")).save(tmp_path / "a" / "1.tif")
    with pytest.raises(ValueError, match=r"a/1\.tif \(floats, of a range"):
        tfmeta.datasets.from_folder(tmp_path)
