"""The networks: shapes, weights counted by hand, errors, saving."""

import keras
import numpy as np
import pytest

from tfmeta.networks import conv4, mlp, resnet12


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_mlp_is_the_sinusoid_network():
    model = mlp(1, 1)
    # 1*40+40, 40*40+40, 40+1
    assert trainable(model) == 80 + 1640 + 41
    assert model(images(7, 1)).shape == (7, 1)
    assert model.get_layer("head").activation is keras.activations.linear
    assert model.get_layer("dense1").activation is keras.activations.relu


def test_mlp_takes_a_tuple_and_flattens_images():
    assert mlp((3,), 2, hidden=()).count_params() == 3 * 2 + 2
    model = mlp((4, 4, 1), 3, hidden=(5,), activation="tanh")
    assert trainable(model) == 16 * 5 + 5 + 5 * 3 + 3
    assert model(images(2, 4, 4, 1)).shape == (2, 3)


def test_mlp_gives_equal_layers_different_weights():
    model = mlp(8, 8, hidden=(8,), kernel_initializer=keras.initializers.TruncatedNormal(0, 0.01))
    first, last = (model.get_layer(name).kernel.numpy() for name in ("dense1", "head"))
    assert 0 < np.abs(first).max() <= 0.02
    assert np.abs(first - last).max() > 0


@pytest.mark.parametrize("downsample", ["pool", "stride"])
@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
def test_conv4_has_the_published_size_on_omniglot(downsample, norm):
    model = conv4((28, 28, 1), 5, downsample=downsample, norm=norm)
    # 640 + 3 * 36,928 convolution weights, 4 * 128 of normalisation, 64 * 5 + 5 of the head.
    assert trainable(model) == 111_936 + 325
    assert model(images(2, 28, 28, 1)).shape == (2, 5)


def test_conv4_has_the_published_size_on_mini_imagenet():
    assert trainable(conv4((84, 84, 3), 5, filters=32)) == 32_901


def test_conv4_without_norm():
    assert trainable(conv4((28, 28, 1), 5, norm=None)) == 111_936 - 512 + 325


def sides(model, kind):
    return [layer.output.shape[1] for layer in model.layers if isinstance(layer, kind)]


def test_conv4_halves_as_in_the_papers():
    assert sides(conv4((28, 28, 1), 5), keras.layers.MaxPooling2D) == [14, 7, 3, 1]
    assert sides(conv4((84, 84, 3), 5), keras.layers.MaxPooling2D) == [42, 21, 10, 5]
    stride = conv4((28, 28, 1), 5, downsample="stride")
    assert sides(stride, keras.layers.Conv2D) == [14, 7, 4, 2]
    assert sides(stride, keras.layers.MaxPooling2D) == []


def test_stride_features_are_the_mean_of_each_map():
    model = conv4((28, 28, 1), None, filters=4, downsample="stride")
    x = images(3, 28, 28, 1)
    maps = keras.Model(model.input, model.get_layer("relu4").output)(x)
    np.testing.assert_allclose(model(x), np.mean(maps, axis=(1, 2)), rtol=1e-5)


def test_no_head_gives_the_features():
    assert conv4((28, 28, 1), None).output_shape == (None, 64)
    assert conv4((84, 84, 3), None, filters=32).output_shape == (None, 800)
    assert conv4((84, 84, 3), None, filters=32, downsample="stride").output_shape == (None, 32)
    assert resnet12((32, 32, 3), None, widths=(4, 4, 4, 6)).output_shape == (None, 6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 1, 2), (5, 20, 3)])
@pytest.mark.parametrize("build", [conv4, resnet12])
def test_small_images(build, shape):
    sizes = {"filters": 8} if build is conv4 else {"widths": (8, 8, 8, 8)}
    for options in [{}, {"downsample": "stride"}] if build is conv4 else [{}]:
        outputs = build(shape, 3, **sizes, **options)(images(2, *shape))
        assert outputs.shape == (2, 3)
        assert np.isfinite(outputs).all()


def statistics_of(norm):
    """Mean of the normalised maps of one example, over all of it and over each group."""
    model = conv4((12, 12, 1), None, filters=16, norm=norm)
    maps = keras.Model(model.input, model.get_layer("norm1").output)(images(1, 12, 12, 1) + 2)
    maps = np.asarray(maps).reshape(144, 8, 2)
    return np.abs(maps.mean()), np.abs(maps.mean(axis=(0, 2))).max()


def test_layer_norm_is_over_all_channels_and_group_norm_over_eight_groups():
    whole, groups = statistics_of("layer")
    assert whole < 1e-4
    assert groups > 1e-2
    assert statistics_of("group")[1] < 1e-4


def test_group_norm_divides_any_number_of_filters():
    model = conv4((8, 8, 1), 2, filters=12, norm="group")
    assert model.get_layer("norm1").groups == 4


def test_resnet12_has_metaoptnets_size():
    assert trainable(resnet12((32, 32, 3), None, widths=(64, 160, 320, 640))) == 12_424_320


def test_resnet12_counts_and_shapes():
    model = resnet12((20, 20, 3), 5, widths=(4, 6, 8, 8))
    # A block: 9ab + 18bb + ab convolution weights and 4 * 2b of normalisation.
    blocks = [10 * a * b + 18 * b * b + 8 * b for a, b in [(3, 4), (4, 6), (6, 8), (8, 8)]]
    assert trainable(model) == sum(blocks) + 8 * 5 + 5
    assert sides(model, keras.layers.MaxPooling2D) == [10, 5, 2, 1]
    assert all(
        layer.negative_slope == pytest.approx(0.1) for layer in model.layers if "relu" in layer.name
    )
    assert model(images(2, 20, 20, 3)).shape == (2, 5)
    # The biases come back when nothing else holds an offset.
    bare = resnet12((20, 20, 3), 5, widths=(4, 6, 8, 8), norm=None)
    assert trainable(bare) == sum(blocks) + 45 - 8 * 26 + 4 * 26


def test_shortcut_reaches_the_output():
    model = resnet12((16, 16, 1), None, widths=(4, 4, 4, 4), norm=None)
    for layer in model.layers:
        if layer.name.endswith("conv3"):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    assert np.abs(model(images(2, 16, 16, 1))).max() > 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: mlp((6,), 3),
        lambda: conv4((16, 16, 1), 3, filters=4),
        lambda: conv4((16, 16, 1), 3, filters=4, downsample="stride", norm="group"),
        lambda: resnet12((16, 16, 1), 3, widths=(4, 4, 4, 4), norm="layer"),
    ],
)
def test_save_and_load(build, tmp_path):
    model = build()
    x = images(3, *model.input_shape[1:])
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: conv4((28, 28, 1), 5, downsample="max"), "downsample .*'pool', 'stride'.*'max'"),
        (lambda: conv4((28, 28, 1), 5, norm="instance"), "norm .*'batch'.*None.*'instance'"),
        (lambda: conv4((28, 28, 1), 0), "outputs .*at least 1, or None.* 0"),
        (lambda: conv4((28, 28, 1), 2.5), "outputs .*2.5"),
        (lambda: conv4((28, 28, 1), 5, filters=-1), "filters .*-1"),
        (lambda: conv4((28, 28, 1), 5, filters=True), "filters .*True"),
        (lambda: conv4((28, 28), 5), r"\(height, width, channels\).*\(28, 28\)"),
        (lambda: conv4(784, 5), r"\(height, width, channels\).*784"),
        (lambda: conv4((None, None, 3), 5), r"\(height, width, channels\).*None"),
        (lambda: resnet12((28, 28, 0), 5), r"\(height, width, channels\).*0"),
        (lambda: resnet12((28, 28, 1), 5, widths=64), "widths .*64"),
        (lambda: resnet12((28, 28, 1), 5, widths=(64, "a")), "width in widths.*'a'"),
        (lambda: resnet12((28, 28, 1), 5, norm="none"), "norm .*'none'"),
        (lambda: resnet12((28, 28, 1), "5"), "outputs .*'5'"),
        (lambda: mlp(0, 1), "input_shape .*0"),
        (lambda: mlp((), 1), r"input_shape .*\(\)"),
        (lambda: mlp(1, 0), "outputs .*at least 1, or None.* 0"),
        (lambda: mlp(1, 1, hidden=40), r"hidden .*\(40, 40\).*Received: 40"),
        (lambda: mlp(1, 1, hidden=(40, 0)), "width in hidden .*0"),
    ],
)
def test_errors_name_what_to_change(build, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        build()
