"""augmented: Keras's layers on episodes, by seed and number, without a retrace."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmeta.episodes import augmented, classification
from tfmeta.types import ClassDataset

rng = np.random.default_rng(0)
SMOOTH = np.add.outer(np.arange(12), np.arange(10))[None, ..., None] * 4 + 20
IMAGES = (SMOOTH + rng.integers(0, 60, (60, 1, 1, 3))).astype(np.uint8)
DATASET = ClassDataset(IMAGES, np.repeat(np.arange(6), 10))
OPTIONS = {"ways": 3, "shots": 2, "queries": 3, "seed": 1, "meta_batch_size": 2}


def layers():
    """A crop, flips and colours."""
    brightness = keras.layers.RandomBrightness(0.3, value_range=(0, 1))
    return [keras.layers.RandomCrop(8, 8), keras.layers.RandomFlip(), brightness]


def every(dataset):
    """All episodes, one after the other: support.x, query.x."""
    batches = list(dataset.as_numpy_iterator())
    return [np.concatenate([part.x for part in parts]) for parts in zip(*batches, strict=True)]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_draws_depend_on_seed_and_number_only():
    whole = every(augmented(classification(DATASET, **OPTIONS), layers()).take(6))
    assert whole[0].shape == (12, 6, 8, 8, 3)
    for options in ({"meta_batch_size": 3}, {"start": 4}, {"start": 1, "step": 3}):
        numbering = {key: options[key] for key in options if key != "meta_batch_size"}
        episodes = classification(DATASET, **{**OPTIONS, **options})
        found = every(augmented(episodes, layers(), **numbering).take(2))
        begin, by = options.get("start", 0), options.get("step", 1)
        expected = [part[begin::by][: len(f)] for part, f in zip(whole, found, strict=True)]
        assert_same(found, expected)
    other = every(augmented(classification(DATASET, **OPTIONS), layers(), seed=1).take(6))
    assert not np.array_equal(whole[0], other[0])


def test_each_picture_gets_a_draw_of_its_own():
    """The places of crops of one smooth picture, in all rows of a few episodes."""
    one = ClassDataset(np.tile(np.arange(120, dtype="uint8").reshape(1, 12, 10, 1), (60, 1, 1, 1)),
                       np.repeat(np.arange(6), 10))  # fmt: skip
    found = every(augmented(classification(one, **OPTIONS), keras.layers.RandomCrop(8, 8)).take(9))
    corners = [np.rint(part[..., 0, 0, 0] * 255).astype(int) for part in found]
    places = np.concatenate([c.ravel() for c in corners])
    assert set(places) == {10 * row + column for row in range(5) for column in range(3)}
    assert np.bincount(places)[[0, 11, 42]].min() > len(places) / 15 / 3
    for part in corners:
        assert all(len(set(task)) > 1 for task in part)
    assert not np.array_equal(corners[0], corners[1][:, :6])


def test_passes_of_counted_episodes_differ_and_are_reproducible():
    def passes():
        episodes = classification(DATASET, count=5, **OPTIONS)
        dataset = augmented(episodes, layers(), query=False)
        assert dataset.cardinality() == 3
        return [every(dataset) for _ in range(2)]

    (first, second), again = passes(), passes()
    assert first[0].shape[:2] == (5, 6)
    assert not np.array_equal(first[0], second[0])
    assert_same(first, again[0])
    assert_same(second, again[1])
    plain = every(classification(DATASET, count=5, **OPTIONS))
    np.testing.assert_array_equal(first[1], plain[1])  # query=False
    only_query = every(augmented(classification(DATASET, count=5, **OPTIONS),
                                 keras.layers.RandomInvert((1.0, 1.0), value_range=(0, 1)),
                                 support=False))  # fmt: skip
    np.testing.assert_array_equal(only_query[0], plain[0])
    np.testing.assert_allclose(only_query[1], 1 - plain[1], atol=1e-6)


def test_padding_stays_zero_and_layers_given_are_not_changed():
    layer = keras.layers.RandomBrightness(0.5, value_range=(0, 1), seed=3)
    state = np.array(layer.generator.state)
    options = {**OPTIONS, "ways": (2, 3), "shots": (1, 3)}
    episodes = list(augmented(classification(DATASET, **options), layer).take(4))
    for episode in episodes:
        for part in episode:
            assert (part.x.numpy()[part.mask.numpy() == 0] == 0).all()
    assert any((episode.support.mask == 0).numpy().any() for episode in episodes)
    np.testing.assert_array_equal(layer.generator.state, state)


def test_mixing_rows_and_their_labels():
    def one_hot(episode):
        return type(episode)(*(p._replace(y=tf.one_hot(p.y, 3)) for p in episode))

    episodes = classification(DATASET, **OPTIONS).map(one_hot)
    for layer in (keras.layers.MixUp(0.4), keras.layers.CutMix(1.0)):
        mixed = next(iter(augmented(episodes, layer, support=False)))
        plain = next(iter(episodes))
        y = mixed.query.y.numpy()
        np.testing.assert_allclose(y.sum(axis=-1), 1, atol=1e-6)
        assert ((y > 0.01) & (y < 0.99)).any()
        np.testing.assert_array_equal(mixed.support.x, plain.support.x)
        assert not np.array_equal(mixed.query.x, plain.query.x)
    with pytest.raises(ValueError, match=r"one-hot targets.*Received: targets of shape \(2, 6\)"):
        augmented(classification(DATASET, **OPTIONS), keras.layers.MixUp())
    padded = classification(DATASET, **{**OPTIONS, "shots": (1, 3)}).map(one_hot)
    with pytest.raises(tf.errors.InvalidArgumentError, match="episodes without padding"):
        next(iter(augmented(padded, keras.layers.MixUp())))


def test_layers_made_of_layers():
    """Colour jitter changes each picture in a way of its own, and by the seed."""
    jitter = keras.layers.RandomColorJitter(
        value_range=(0, 1), brightness_factor=0.3, contrast_factor=0.3, hue_factor=0.1
    )
    streams = [augmented(classification(DATASET, **OPTIONS), jitter, query=False) for _ in range(2)]
    found, again = (every(stream.take(2))[0] for stream in streams)
    np.testing.assert_array_equal(found, again)
    change = found - every(classification(DATASET, **OPTIONS).take(2))[0]
    assert len(np.unique(change.mean(axis=(2, 3, 4)).round(5))) == 24


class Noise(keras.layers.Layer):
    """A layer of a user's own, which counts its traces."""

    traces = 0

    def __init__(self, **options):
        super().__init__(**options)
        self.draws = keras.random.SeedGenerator(0)

    def call(self, x):
        Noise.traces += 1
        return x + keras.random.normal(keras.ops.shape(x), seed=self.draws)


def test_own_layers_and_nested_ones_are_traced_once():
    nested = keras.Sequential([keras.layers.GaussianNoise(0.1), Noise()])
    episodes = augmented(classification(DATASET, **OPTIONS), [nested, keras.layers.Rescaling(2.0)])
    traced = Noise.traces
    found = every(episodes.take(4))
    assert Noise.traces == traced
    assert_same(found, every(augmented(classification(DATASET, **OPTIONS),
                                       [nested, keras.layers.Rescaling(2.0)]).take(4)))  # fmt: skip
    assert episodes.element_spec == classification(DATASET, **OPTIONS).element_spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": tf.image.flip_left_right}, "Expected Keras layers. Received: <function"),
        ({"layers": [keras.layers.RandomBrightness(0.1)]}, r"value_range=\(0, 255\). Pass it"),
        ({"episodes": [1]}, r"tf.data.Dataset of tfmeta.Episode.*Received: list"),
        ({"support": 1}, "Expected support to be True or False"),
        ({"step": 0}, "Expected step to be an integer of at least 1"),
    ],
)
def test_errors(arguments, message):
    arguments = {
        "episodes": classification(DATASET, **OPTIONS),
        "layers": keras.layers.RandomFlip(),
        **arguments,
    }
    with pytest.raises(ValueError, match=message):
        augmented(**arguments)
