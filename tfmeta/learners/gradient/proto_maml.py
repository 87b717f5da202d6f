"""ProtoMAML: MAML whose head starts at each task's prototypes."""

import keras
import numpy as np
import tensorflow as tf

from tfmeta.engine.checks.input_shapes import check_input_shapes
from tfmeta.engine.losses import one_output
from tfmeta.engine.meta_model import MetaModel
from tfmeta.learners.embedding.base import most_ways, without_absent
from tfmeta.learners.gradient.adapted_part import AllWeights
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.ops import class_means


@keras.saving.register_keras_serializable("tfmeta")
class ProtoMAML(GradientLearner):
    """MAML on an embedding, under a head that each task starts at its prototypes.

    With the network `f` of weights `w`, and `c_k` the mean of `f(x)` over the support examples of
    class `k`, a linear head `h = (W, b)` starts where it is a ProtoNet of squared distances:

        W_k = 2 c_k,    b_k = -|c_k|^2

    Inner loop, for each task, on all weights:

        (w, h)_{t+1} = (w, h)_t - a * grad L_support((w, h)_t),    t = 0..T-1
        outputs_k = W_k . f(x) + b_k        (logits)

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query` after the steps,
    along `w`; the gradient goes through the prototypes, too. Without steps it is a ProtoNet.

    Meta-learned: the weights of `f`. Adapted: these, and the head. The number of ways is free.

    Differs from the paper: second order unless `first_order`, which the paper takes for want of
    memory; normalisation as in `MAML`.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        inner_learning_rate: `a`.
        inner_steps: `T` in training.
        **kwargs: `evaluation_steps`, `first_order`, `transductive`, `checkpoint_inner_steps`,
            `task_batching`, `name` and `dtype`, as in `MAML`.

    Reference:
        Triantafillou et al., "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
        Examples", ICLR 2020, arXiv:1903.03096, section 3, Proto-MAML.
    """

    integer_labels = True
    one_label_a_row = True

    @property
    def adapted_part(self):
        return WeightsAndHead()

    def run_network(self, weights, state, x, training, batch_statistics):
        """Call the network, and the head on top of it, on given weights: `(outputs, state)`."""
        *weights, kernel, bias = weights
        features, state = self.embed_with(weights, state, x, training, batch_statistics)
        return tf.matmul(features, kernel) + bias, state

    def embed_with(self, weights, state, x, training, batch_statistics):
        """Embeddings `[rows, D]` on given weights, without the head: `(embeddings, state)`."""
        features, state = super().run_network(weights, state, x, training, batch_statistics)
        if one_output(features).dtype in (tf.float16, tf.bfloat16):  # half precision is for layers
            features = tf.cast(features, tf.float32)
        return tf.reshape(features, (-1, int(np.prod(features.shape[1:])))), state

    def predict(self, x, **kwargs):
        return without_absent(super().predict(x, **kwargs))

    # The head is the task's own, not the network's last layer.

    def predicts_logits(self):
        return True

    def check_episodes(self, first):
        MetaModel.check_episodes(self, first)
        check_input_shapes(self.inner_network(), first.query.x, 2)

    def scored_specs(self, episode):
        return MetaModel.scored_specs(self, episode)

    def adapted_model(self, support):
        return MetaModel.adapted_model(self, support)


class WeightsAndHead(AllWeights):
    """Every trainable weight of the network, and a head of the task's own behind them."""

    def names(self, learner):
        return [*super().names(learner), "head/kernel", "head/bias"]

    def start(self, learner, weights, support_loss, support, training):
        state = [tf.convert_to_tensor(v) for v in learner.inner_network().non_trainable_variables]
        embeddings, _ = learner.embed_with(weights, state, support.x, training, True)
        means, present = class_means(embeddings, support.y, support.mask, most_ways(support))
        squares = tf.reduce_sum(means * means, axis=-1)
        # A class that is not there has no share in a softmax, and so no gradient.
        bias = tf.where(present > 0, -squares, means.dtype.min / 2)
        body = super().start(learner, weights, support_loss, support, training)
        return [*body, 2.0 * tf.transpose(means), bias]

    def place(self, learner, weights, fast, step):
        *body, kernel, bias = fast
        return [*super().place(learner, weights, body, step), kernel, bias]
