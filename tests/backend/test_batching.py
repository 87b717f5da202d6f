"""The choice of how tasks are batched."""

import keras
import pytest
import tasks
import tensorflow as tf

from tfmeta.backend import batching
from tfmeta.backend.folding import has_grouped_kernels
from tfmeta.networks import conv4


def mode(network, own_weights=True, asked="auto", rows=3, in_xla=False, batch=2):
    x = tf.TensorSpec((batch, rows, *network.input_shape[1:]))
    layers = list(network._flatten_layers()) if own_weights else []
    return batching.batching_mode(layers, layers, asked, (x,), in_xla)


@pytest.fixture
def grouped_kernels(monkeypatch):
    monkeypatch.setattr(batching, "has_grouped_kernels", lambda dtype: dtype == tf.float32)


def test_dense_networks_are_vectorised():
    assert mode(tasks.dense()) == "vectorize"
    assert mode(tasks.dense(), asked="loop") == "loop"


def test_convolutions_of_shared_weights_are_vectorised():
    assert mode(tasks.convolutional(), own_weights=False) == "vectorize"
    assert mode(tasks.convolutional(), own_weights=False, in_xla=True) == "vectorize"


def test_small_convolutions_of_own_weights_are_folded(grouped_kernels):
    assert mode(tasks.convolutional()) == "fold"
    network = conv4((28, 28, 1), 5)
    assert mode(network, rows=5) == "fold"
    assert mode(network, rows=25) == "loop"
    assert mode(network, rows=25, asked="vectorize") == "fold"
    assert mode(network, rows=5, asked="loop") == "loop"


def test_folding_needs_grouped_kernels(grouped_kernels):
    assert mode(tasks.convolutional(dtype="float64")) == "loop"
    assert mode(tasks.convolutional(dtype="float64"), asked="vectorize") == "fold"


def test_folding_needs_known_shapes(grouped_kernels):
    assert mode(tasks.convolutional(), batch=None) == "loop"
    assert mode(tasks.convolutional(), rows=None, asked="vectorize") == "loop"


def test_xla_loops_over_convolutions_of_own_weights(grouped_kernels):
    assert mode(tasks.convolutional(), in_xla=True) == "loop"
    assert mode(tasks.convolutional(), in_xla=True, asked="vectorize") == "fold"


@pytest.mark.parametrize(
    "layer", [keras.layers.DepthwiseConv2D(3), keras.layers.SeparableConv2D(2, 3)]
)
def test_other_kernels_loop(layer, grouped_kernels):
    layers = [keras.Input((8, 8, 1)), layer, keras.layers.Flatten(), keras.layers.Dense(3)]
    assert mode(keras.Sequential(layers)) == "loop"


def test_recurrent_networks_loop():
    layers = [keras.Input((5, 2)), keras.layers.LSTM(4), keras.layers.Dense(3)]
    assert mode(keras.Sequential(layers)) == "loop"


def test_features_of_unknown_size_loop(grouped_kernels):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolution = keras.layers.Conv2D(2, 3)

        def call(self, x):
            return self.convolution(x)

    network = Subclassed()
    network(tf.zeros((1, 8, 8, 1)))
    network.input_shape = (None, 8, 8, 1)
    assert mode(network) == "loop"


def test_grouped_kernels_are_found_by_trying():
    def runs(dtype):
        x = tf.zeros((1, 4, 4, 4), dtype)
        try:
            tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=[3, 3, 2, 4], out_backprop=x, strides=[1] * 4, padding="SAME"
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
        return True

    for dtype in (tf.float32, tf.float64):
        assert has_grouped_kernels(dtype) == runs(dtype)
