"""Deep kernel transfer (DKT): a Gaussian process on learned features."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag
from tfmeta.engine.inputs import as_tensor
from tfmeta.engine.saving import default_argument
from tfmeta.engine.task import TaskResult
from tfmeta.hints import Nest
from tfmeta.learners.bayesian.base import GaussianProcess
from tfmeta.learners.embedding.base import hide_absent, most_ways, without_absent
from tfmeta.learners.gaussian import GaussianLearner, rows_of_targets
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class DKT(GaussianLearner):
    """Learn a kernel that the functions of all tasks are likely under; adapt by its posterior.

    With features `f(x)`, a kernel `k` of them, a mean `c` and a noise `s`, all points `(X, y)` of a
    task, support and query alike, are one draw of a Gaussian process:

        loss = - log p(y | X) / |X|,    y ~ N(c, K + s^2 I),    K = k(f(X), f(X))

    A prediction is the posterior given the support set, in closed form; `predict_distribution` has
    its standard deviation, noise included. There is no inner loop, and nothing is predicted in
    training but for the metrics. Outside training the loss is the negative log-likelihood of the
    query set under the predictions, each target on its own.

    Classification, where targets are integers: a process for each class, of values 1 for its own
    examples and -1 for others, with one kernel for all. Outputs are the processes' means, of which
    the largest one wins; `predict_distribution` has no meaning there.

    Meta-learned: the weights of `f`, and the numbers of the process. Adapted: the posterior,
    of the support set's features and targets. Computed in float64 behind the features.

    Differs from the paper: the numbers of the process are shared by all classes, and `f` may be
    left out. The spectral mixture kernel is not there.

    Args:
        network: a `keras.Model` that maps inputs to features `[rows, F]` (more axes are
            flattened); None for the inputs themselves.
        kernel: "rbf", "matern52" or "periodic" of features; "cosine" or "linear", which suit
            classification. The authors' code: "rbf" on sinusoids, "cosine" on pictures.
        length, scale: where the kernel's length and scale start, > 0.
        noise: where the noise `s` starts, > 0. The authors' code: 0.1.
        learn_noise: False keeps the noise where it is, as the authors' code does with classes.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: there is no such kernel, or an argument is out of its range.

    Reference:
        Patacchiola, Turner, Crowley, O'Boyle and Storkey, "Bayesian Meta-Learning for the Few-Shot
        Setting via Deep Kernels", NeurIPS 2020, arXiv:1910.05199, algorithm 1, sections 3 and 4.
    """

    one_label_a_row = True

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        kernel: str = "rbf",
        length: float = 1.0,
        scale: float = 1.0,
        noise: float = 0.1,
        learn_noise: bool = True,
        **kwargs,
    ):
        super().__init__(network, **kwargs)
        self.learn_noise = check_flag("learn_noise", learn_noise)
        self.process = GaussianProcess(
            kernel, length, scale, noise, self.learn_noise, dtype=self.dtype_policy
        )
        self.kernel, self.length, self.scale = kernel, self.process.length, self.process.scale
        self.noise = self.process.noise

    def fixed_arguments(self):
        return {"kernel", "learn_noise", "length", "noise", "scale"}

    @property
    def predicts_distributions(self):
        """False where a loss of classes is compiled."""
        return not self.integer_labels

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "kernel": hp.Choice(
                "kernel",
                ["rbf", "matern52", "cosine", "linear"],
                default=default_argument(cls, "kernel"),
            ),
            "length": hp.Float(
                "length", 0.1, 10.0, sampling="log", default=default_argument(cls, "length")
            ),
            "noise": hp.Float(
                "noise", 1e-3, 1.0, sampling="log", default=default_argument(cls, "noise")
            ),
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        features = self.features(support.x, training)
        values, present = self._values(support.y, support, features.dtype)
        return self.process.known(features, values, support.mask, present=present)

    def _values(self, y, support, dtype):
        """What processes are known to be, `[rows, d]`, and which of them are there, `[d]`."""
        if not y.dtype.is_integer:
            values = rows_of_targets(y, dtype)
            return values, tf.ones_like(values[0])
        ways, y = most_ways(support), tf.reshape(y, [-1])
        members = tf.one_hot(tf.reshape(support.y, [-1]), ways, dtype=dtype)
        present = tf.reduce_max(members * tf.cast(support.mask, dtype)[:, None], axis=0)
        return 2.0 * tf.one_hot(y, ways, dtype=dtype) - 1.0, present

    def predict_distribution(
        self, adapted: Nest, x: Nest, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.features(x, training)
        mean, scale = self.process.posterior(adapted, features)
        return tf.cast(mean, features.dtype), tf.cast(scale, features.dtype)

    def predict_query(self, adapted: Nest, x: Nest, training: bool = False) -> Nest:
        mean = self.predict_distribution(adapted, x, training)[0]
        return hide_absent(mean, adapted.present)

    def score_task(self, episode, training):
        if not (training or episode.query.y.dtype.is_integer):
            return super().score_task(episode, training)
        support, query = episode
        adapted = self.adapt(support, training=training)
        features = self.features(as_tensor(self, query.x), training)
        mean, scale = (
            tf.cast(t, features.dtype) for t in self.process.posterior(adapted, features)
        )
        outputs = hide_absent(mean, adapted.present)
        values, _ = self._values(query.y, support, features.dtype)
        mask = tf.concat([support.mask, query.mask], 0)
        both = (tf.concat(pair, 0) for pair in zip(adapted[:2], (features, values), strict=True))
        likelihood = self.process.log_marginal(*both, mask)
        likelihood *= tf.cast(adapted.present, tf.float64)
        loss = -tf.reduce_sum(likelihood) / tf.reduce_sum(tf.cast(mask, tf.float64))
        loss = tf.cast(loss, features.dtype)
        return TaskResult(loss, query.y, outputs, query.mask, adapted=adapted, scale=scale)

    def predict(self, x, **kwargs):
        return without_absent(super().predict(x, **kwargs))
