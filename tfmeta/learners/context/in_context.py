"""An in-context transformer: a causal transformer over examples and their targets."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.engine.saving import default_argument
from tfmeta.learners.context.causal_attention import attend, seen_before
from tfmeta.learners.context.sequence import SequenceLearner
from tfmeta.learners.gaussian import full_precision


class Context(NamedTuple):
    """What `InContextTransformer.adapt` returns.

    Attributes:
        layers: for each layer keys and values of all tokens, `[2 S, heads, width / heads]`.
        rows: the number of support rows, a scalar.
    """

    layers: Any
    rows: Any


@keras.saving.register_keras_serializable("tfmeta")
class InContextTransformer(SequenceLearner):
    """Give a causal transformer examples and targets in turn, and take its output at the next x.

    With features `f(x_t)`, targets `y_t` (one-hot, of labels) and learned places `p`, the tokens

        A f(x_1) + p_1,  B y_1 + p_2,  A f(x_2) + p_3,  B y_2 + p_4,  ..

    go through layers of causal attention and of two dense layers, normalised before each, as in
    GPT-2. The output at `x_t`, which sees what comes before it, predicts `y_t`. A query row is the
    token after all of the support set's, whose keys and values are kept.

    Meta-learned: all weights. Adapted: keys and values of the support tokens.

    Differs from the paper: x and y have a linear map each (`A`, `B`), where the authors' code fills
    y up with zeros and has one for both. It trains on larger models and lets dimensions and points
    grow; for its tasks see `tfmeta.episodes.linear_regression`.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened), or None for the inputs as they are, flattened.
        width: of a token. The authors' code: 64 in "tiny", 256 in "standard".
        depth: number of layers. The code: 3 and 12.
        heads: of attention; a divisor of the width. The code: 2 and 8.
        most_rows: rows, query included, that there are places for.
        ways: number of classes that labels may name; not used where targets are numbers.
        score_support: True trains each support row's prediction from the rows before it, too.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range, or episodes have more than `most_rows`.

    Reference:
        Garg, Tsipras, Liang and Valiant, "What Can Transformers Learn In-Context? A Case Study of
        Simple Function Classes", NeurIPS 2022, arXiv:2208.01066, section 2; Kirsch et al.,
        "General-Purpose In-Context Learning by Meta-Learning Transformers", 2022, arXiv:2212.04458,
        for pictures and their labels.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        width: int = 64,
        depth: int = 3,
        heads: int = 2,
        most_rows: int = 128,
        ways: int = 5,
        score_support: bool = True,
        **kwargs,
    ):
        super().__init__(network, ways=ways, score_support=score_support, **kwargs)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 1)
        self.heads = check_integer("heads", heads, 1)
        self.most_rows = check_integer("most_rows", most_rows, 2)
        if self.width % self.heads:
            raise ValueError(
                f"Expected heads to divide the width, {width}. Received: heads={heads}."
            )
        dtype = self.dtype_policy
        self.of_x, self.of_y = (keras.layers.Dense(width, dtype=dtype) for _ in range(2))
        self.places = Places(2 * self.most_rows, self.width, dtype=dtype)
        self.blocks = [Block(self.width, self.heads, dtype=dtype) for _ in range(self.depth)]
        self.last = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype)

    def fixed_arguments(self):
        return {"depth", "heads", "most_rows", "width"}

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "width": hp.Choice("width", [32, 64, 128, 256], default=default_argument(cls, "width")),
            "depth": hp.Int("depth", 1, 8, default=default_argument(cls, "depth")),
        }

    def read(self, x, y, mask, training=False):
        self._check_rows(y.shape[0], "rows", self.most_rows)
        pairs = tf.stack([full_precision(self.of_x(x)), full_precision(self.of_y(y))], axis=1)
        tokens = tf.reshape(pairs, (-1, self.width))
        places, memories = tf.range(tf.shape(tokens)[0]), []
        tokens += self.places(places)
        for block in self.blocks:
            tokens, memory = block(tokens, None, places)
            memories.append(memory)
        number = tf.cast(tf.reduce_sum(mask), tf.int32)
        at_x = full_precision(self.last(tokens[::2]))
        return self.head(at_x, y), Context(tuple(memories), number)

    def answer(self, memory, x, training=False):
        tokens = memory.layers[0][0].shape[0]
        self._check_rows(tokens and tokens // 2, "support rows", self.most_rows - 1)
        places = 2 * memory.rows + tf.zeros_like(x[:, 0], tf.int32)
        tokens = full_precision(self.of_x(x)) + self.places(places)
        for block, looked_up in zip(self.blocks, memory.layers, strict=True):
            tokens, _ = block(tokens, looked_up, places)
        return self.head(full_precision(self.last(tokens)))

    def check_episodes(self, first):
        super().check_episodes(first)
        self._check_rows(first.support.y.shape[1], "support rows", self.most_rows - 1)

    def _check_rows(self, rows, of_what, most):
        if rows is not None and rows > most:
            raise ValueError(
                f"Expected at most {most} {of_what}, by most_rows={self.most_rows}. Received: "
                f"{rows}. Make the learner with most_rows={rows + 1}."
            )


class Places(keras.layers.Layer):
    """A learned vector for each place."""

    def __init__(self, places, width, **kwargs):
        super().__init__(**kwargs)
        self.table = self.add_weight(
            (places, width), keras.initializers.RandomNormal(stddev=0.02), name="table"
        )

    def call(self, places):
        """Places `[rows]` to `[rows, width]`."""
        table = tf.convert_to_tensor(self.table)
        return tf.matmul(tf.one_hot(places, table.shape[0], dtype=table.dtype), table)


class Block(keras.layers.Layer):
    """Causal attention, then two dense layers, each on normalised tokens and added to them."""

    def __init__(self, width, heads, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        dtype = self.dtype_policy
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype) for _ in range(2)]
        self.attention = keras.layers.Dense(3 * width, dtype=dtype)
        self.mixed = keras.layers.Dense(width, dtype=dtype)
        self.hidden = keras.layers.Dense(4 * width, "gelu", dtype=dtype)
        self.out = keras.layers.Dense(width, dtype=dtype)

    def build(self, tokens_shape):
        for layer in (*self.norms, self.attention, self.mixed, self.hidden):
            layer.build(tokens_shape)
        self.out.build((None, 4 * self.width))

    def call(self, tokens, memory, places):
        """Tokens `[M, width]` to `([M, width], memory)`; memory None where they read themselves."""
        qkv = full_precision(self.attention(self.norms[0](tokens)))
        split = (-1, self.heads, self.width // self.heads)
        query, *own = (tf.reshape(t, split) for t in tf.split(qkv, 3, axis=-1))
        memory = tuple(own) if memory is None else memory
        seen = seen_before(places, memory[0].shape[0] or tf.shape(memory[0])[0])
        found = tf.reshape(attend(query, *own, memory, seen), (-1, self.width))
        tokens += full_precision(self.mixed(found))
        hidden = self.hidden(self.norms[1](tokens))
        return tokens + full_precision(self.out(hidden)), memory
