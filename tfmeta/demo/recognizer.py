"""What the page asks: which of the characters, of which there are a few drawings, is this one?"""

import pathlib

import keras
import numpy as np
import tensorflow as tf

import tfmeta.learners  # noqa: F401  (registers the class of the file)
from tfmeta.demo.strokes import SIDE
from tfmeta.types import Examples

#: The meta-trained network of the package; `python -m benchmarks.draw_network` makes it.
NETWORK = pathlib.Path(__file__).parent / "network.keras"


class Recognizer:
    """A meta-trained learner that learns new characters, any number of drawings each.

    Args:
        path: a `.keras` file of a learner for pictures `[28, 28, 1]`. Keras runs no code of it.
    """

    def __init__(self, path=NETWORK):
        self.learner = keras.models.load_model(path, compile=False, safe_mode=True)
        pictures = tf.TensorSpec([None, SIDE, SIDE, 1], "uint8")
        labels = tf.TensorSpec([None], "int32")
        self._function = tf.function(
            self._logits, input_signature=[pictures, labels, pictures], autograph=False
        )
        self(np.zeros((2, SIDE, SIDE, 1), np.uint8), [0, 1], np.zeros((1, SIDE, SIDE, 1), np.uint8))

    def __call__(self, pictures, labels, asked):
        """Probabilities of each character.

        Args:
            pictures: uint8 `[rows, 28, 28, 1]`, the drawings that are known.
            labels: `[rows]`, which character each is, from 0; none is left out.
            asked: uint8 `[queries, 28, 28, 1]`.

        Returns:
            float32 `[queries, characters]`, rows of sum 1.
        """
        logits = self._function(
            tf.convert_to_tensor(pictures),
            tf.constant(labels, "int32"),
            tf.convert_to_tensor(asked),
        )
        return tf.nn.softmax(logits[:, : max(labels) + 1]).numpy()

    def _logits(self, pictures, labels, asked):
        x, asked = (tf.cast(images, "float32") / 255 for images in (pictures, asked))
        adapted = self.learner.adapt(Examples(x, labels, tf.ones_like(labels, "float32")))
        return self.learner.predict_query(adapted, asked)
