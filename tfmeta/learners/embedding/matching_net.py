"""Matching networks, with and without full context embeddings."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_flag, check_integer, check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.ops import cosine_similarity
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class MatchingNet(EmbeddingLearner):
    """Classify by attention over the support examples: a nearest neighbour that is differentiable.

    With the network `f'`, `c` the cosine of an angle and `S` the support set:

        a(x, i) = softmax over i in S of c(f(x), g(x_i)) / T
        P(k | x) = sum of a(x, i) over the i of class k,    outputs_k = log P(k | x)

    Without context, `f = g = f'`. With it (`full_context`), an LSTM reads the support rows in both
    directions, and another one of `K` steps reads the rows that it attends to:

        g(x_i) = forward_i + backward_i + f'(x_i)

        h_0 = r_0 = 0;    u_k, cell_k = LSTM([f'(x), r_{k-1}], (h_{k-1}, cell_{k-1}))
        h_k = u_k + f'(x),    r_k = sum over i of softmax_i(h_k . g(x_i)) g(x_i)
        f(x) = h_K

    Outputs are logits whose softmax is the `P` above. Meta-learned: the weights of `f'`, those of
    the two LSTMs, and `T` if `learn_temperature`. Adapted: nothing; the support set is kept. With
    context the order of the support rows matters.

    Differs from the paper: the paper's softmax has no temperature, which is `temperature=1`:
    cosines from -1 to 1 can then hardly be sure of anything. The read-out enters the LSTM beside
    `f'(x)`, not beside the hidden state, which is the same up to weights that are counted twice.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        full_context: True embeds each example in the context of the support set.
        attention_steps: `K`, at least 1.
        temperature: `T`, or where it starts, > 0. The paper: 1.
        learn_temperature: True learns `T`, as the exponential of a weight.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, "Matching Networks for One Shot
        Learning", NeurIPS 2016, arXiv:1606.04080, equations 1 and 2, and section 2.1 and the
        appendix for context.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        full_context: bool = False,
        attention_steps: int = 5,
        temperature: float = 0.1,
        learn_temperature: bool = False,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.full_context = check_flag("full_context", full_context)
        self.attention_steps = check_integer("attention_steps", attention_steps, 1)
        self.temperature = check_number("temperature", temperature)
        self.learn_temperature = check_flag("learn_temperature", learn_temperature)
        self.order_matters = self.full_context
        self.log_temperature = None

    def fixed_arguments(self):
        return {"full_context", "learn_temperature"} | (
            {"temperature"} if self.learn_temperature else set()
        )

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "temperature": hp.Float(
                "temperature",
                0.02,
                1.0,
                sampling="log",
                default=default_argument(cls, "temperature"),
            ),
            "learn_temperature": hp.Boolean(
                "learn_temperature", default=default_argument(cls, "learn_temperature")
            ),
            "full_context": hp.Boolean(
                "full_context", default=default_argument(cls, "full_context")
            ),
        }

    def make_weights(self, shape):
        if self.learn_temperature:
            self.log_temperature = self.add_number("log_temperature", math.log(self.temperature))
        if not self.full_context:
            return
        width = int(np.prod(shape))
        # The seeds are of a dropout that there is not, and files do not have them.
        reader = keras.layers.LSTM(width, return_sequences=True, dtype=self.dtype_policy, seed=0)
        self.reader = keras.layers.Bidirectional(
            reader, "sum", dtype=self.dtype_policy, name="reader"
        )
        self.reader.build((None, None, width))
        self.attention = keras.layers.LSTMCell(
            width, dtype=self.dtype_policy, seed=0, name="attention"
        )
        self.attention.build((None, 2 * width))

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        adapted = self.embedded_support(support, training)
        if not self.full_context:
            return adapted
        rows, real = adapted.embeddings, tf.reduce_sum(adapted.members, axis=-1)
        read = self.reader(rows[None], mask=real[None] > 0, training=training)[0]
        in_context = rows + tf.cast(read, rows.dtype) * real[:, None]
        return adapted._replace(embeddings=in_context)

    def logits(self, adapted, embeddings):
        if self.full_context:
            embeddings = self._in_context(adapted, embeddings)
        scores = cosine_similarity(embeddings, adapted.embeddings) * self._inverse_temperature(
            embeddings.dtype
        )
        attention = tf.nn.log_softmax(_of_real(scores, adapted), axis=-1)
        # The logarithm of a sum over the rows of a class, as safe as that of a softmax.
        largest = tf.stop_gradient(tf.reduce_max(attention, axis=-1, keepdims=True))
        sums = tf.matmul(tf.exp(attention - largest), adapted.members)
        smallest = tf.constant(1e-30, sums.dtype)
        return tf.math.log(tf.maximum(sums, smallest)) + largest

    def _inverse_temperature(self, dtype):
        if self.log_temperature is None:
            return tf.constant(1 / self.temperature, dtype)
        return tf.exp(-tf.cast(self.log_temperature, dtype))

    def _in_context(self, adapted, embeddings):
        """`f(x)` for `f'(x)`, `[M, D]`."""
        rows = adapted.embeddings
        hidden = cell = read = tf.zeros_like(embeddings)
        for _ in range(self.attention_steps):
            inputs = tf.concat([embeddings, read], axis=-1)
            out, (_, cell) = self.attention(inputs, [hidden, cell])
            hidden = tf.cast(out, embeddings.dtype) + embeddings
            scores = _of_real(tf.matmul(hidden, rows, transpose_b=True), adapted)
            read = tf.matmul(tf.nn.softmax(scores, axis=-1), rows)
        return hidden


def _of_real(scores, adapted):
    """Scores `[M, S]`, those of padded support rows at minus infinity, or nearly."""
    real = tf.reduce_sum(adapted.members, axis=-1)
    return tf.where(real[None] > 0, scores, scores.dtype.min / 4)
