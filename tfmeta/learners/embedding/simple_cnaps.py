"""Simple CNAPS: the nearest class mean, by a covariance of each class."""

import keras

from tfmeta.arguments import check_number
from tfmeta.engine.saving import default_argument
from tfmeta.hints import Nest
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.ops import class_gaussians, mahalanobis
from tfmeta.types import Examples


@keras.saving.register_keras_serializable("tfmeta")
class SimpleCNAPS(EmbeddingLearner):
    """Classify by the nearest class mean, in a distance of each class's own: Mahalanobis's.

    With the network `f`, the `n_k` support examples of class `k`, `c_k` their mean, `Cov_k` their
    covariance, and `Cov` the covariance of all support examples:

        l_k = n_k / (n_k + 1)
        Q_k = l_k Cov_k + (1 - l_k) Cov + b I
        outputs_k = -1/2 (f(x) - c_k)^T Q_k^-1 (f(x) - c_k)        (logits)

    Meta-learned: the weights of `f`. Adapted: `c_k` and `Q_k`. Ways and shots are free, in one task
    from class to class, too.

    Differs from the paper: this is the paper's head, on an embedding that is the same for all
    tasks; the paper's network is frozen, and its features are changed for each task, which is
    `CNAPs(head="mahalanobis")`. The authors' code leaves the factor 1/2 out.

    Args:
        network: a `keras.Model` that maps inputs to embeddings, `[rows, D]` (more axes are
            flattened), or None for a subclass with `call`.
        regularization: `b`, > 0. The paper: 1.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Bateni, Goyal, Masrani, Wood and Sigal, "Improved Few-Shot Visual Classification", CVPR
        2020, arXiv:1912.03432, section 4.
    """

    def __init__(
        self, network: keras.Model | None = None, *, regularization: float = 1.0, **kwargs
    ):
        super().__init__(network, **kwargs)
        self.regularization = check_number("regularization", regularization)

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "regularization": hp.Float(
                "regularization",
                1e-2,
                1e2,
                sampling="log",
                default=default_argument(cls, "regularization"),
            )
        }

    def adapt(self, support: Examples, training: bool = False) -> Nest:
        embeddings, ways = self.embed(support.x, training), self.most_ways(support)
        return class_gaussians(embeddings, support.y, support.mask, ways, self.regularization)

    def logits(self, adapted, embeddings):
        return -0.5 * mahalanobis(embeddings, adapted)
