"""A learner small enough to check by hand, and episodes made by hand."""

import numpy as np
import tensorflow as tf

from tfmeta.loops import map_fn
from tfmeta.types import Episode, Examples


class Facts:
    """What `MetaModel` declares of every learner, as far as scores read it."""

    takes_inner_steps = predicts_sequences = predicts_distributions = False
    query_loss = inner_steps = inner_learning_rate = None
    trainable_variables = ()


class PixelPrototypes(Facts):
    """Nearest class mean of raw inputs, without inner steps."""

    def __init__(self, ways):
        self.ways = ways
        self.traces = 0
        self.prepared = []

    def prepare(self, episodes):
        self.prepared.append(episodes)

    def map_tasks(self, fn, elements):
        self.traces += 1
        return map_fn(fn, elements, fn_output_signature=tf.float64)

    def adapt(self, support):
        member = tf.one_hot(support.y, self.ways) * support.mask[:, None]
        x = tf.reshape(support.x, [tf.shape(support.x)[0], -1])
        return tf.linalg.matmul(member, x, transpose_a=True) / tf.reduce_sum(member, 0)[:, None]

    def predict_query(self, adapted, x, mask=None):
        x = tf.reshape(x, [tf.shape(x)[0], -1])
        return -tf.reduce_sum(tf.square(x[:, None] - adapted[None]), -1)


class SteppingPrototypes(PixelPrototypes):
    """The same with inner steps: the means start at 0 and go half the way in each."""

    takes_inner_steps = True

    def adapt(self, support, inner_steps=1):
        return self.adaptation_path(support, inner_steps)[-1]

    def adaptation_path(self, support, inner_steps):
        target = super().adapt(support)
        return [target * (1 - 0.5**step) for step in range(inner_steps + 1)]


class Regressor(Facts):
    """Predicts the mean of the support targets, `[rows, 1]` or `[rows]`."""

    def __init__(self, keep_axis=True):
        self.keep_axis = keep_axis

    def prepare(self, episodes):
        pass

    def map_tasks(self, fn, elements):
        return map_fn(fn, elements, fn_output_signature=tf.float64)

    def adapt(self, support):
        return tf.reduce_mean(support.y)

    def predict_query(self, adapted, x, mask=None):
        outputs = tf.fill([x.shape[0], 1], adapted)
        return outputs if self.keep_axis else outputs[:, 0]


def classification_arrays(count=7, ways=3, shots=2, queries=4, side=3, seed=0):
    """One `Episode` of arrays `[count, rows, side, side, 1]`; hard enough to be half wrong."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(count, ways, 1, side, side, 1))

    def examples(rows):
        x = means + 2.0 * rng.normal(size=(count, ways, rows, side, side, 1))
        y = np.tile(np.repeat(np.arange(ways), rows), (count, 1))
        x = x.reshape(count, ways * rows, side, side, 1).astype("float32")
        return Examples(x, y, np.ones(y.shape, "float32"))

    return Episode(examples(shots), examples(queries))


def dataset(arrays, meta_batch_size=2):
    """`tf.data.Dataset` of meta-batches of these episodes; the last may be smaller."""
    return tf.data.Dataset.from_tensor_slices(arrays).batch(meta_batch_size)


def accuracies(arrays, scale=1.0):
    """The scores that `PixelPrototypes` must get, in NumPy, `[count]`."""
    scores = []
    for i in range(len(arrays.query.y)):
        sx, sy, _ = (a[i] for a in arrays.support)
        qx, qy, mask = (a[i] for a in arrays.query)
        means = scale * np.stack([sx[sy == c].mean(axis=0).ravel() for c in range(sy.max() + 1)])
        distances = ((qx.reshape(len(qx), 1, -1) - means) ** 2).sum(axis=-1)
        right = distances.argmin(axis=-1) == qy
        scores.append(right[mask > 0].mean())
    return np.array(scores)
