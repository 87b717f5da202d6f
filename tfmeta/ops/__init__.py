"""Pure tensor functions: tasks, distances, prototypes."""

from tfmeta.backend.map_tasks import map_gradients, map_tasks
from tfmeta.backend.moments import exact_moments as moments
from tfmeta.ops.distances import cosine_similarity, euclidean, squared_euclidean
from tfmeta.ops.gaussian_process import covariance, gaussian_posterior, marginal_likelihood
from tfmeta.ops.logistic import logistic
from tfmeta.ops.mahalanobis import class_gaussians, mahalanobis
from tfmeta.ops.noise import standard_normal
from tfmeta.ops.policy_gradients import clipped_surrogate, surrogate
from tfmeta.ops.prototypes import class_means
from tfmeta.ops.returns import advantages, discounted_returns
from tfmeta.ops.ridge import ridge
from tfmeta.ops.rows import row
from tfmeta.ops.svm import svm

__all__ = [
    "advantages",
    "class_gaussians",
    "class_means",
    "clipped_surrogate",
    "cosine_similarity",
    "covariance",
    "discounted_returns",
    "euclidean",
    "gaussian_posterior",
    "logistic",
    "mahalanobis",
    "map_gradients",
    "map_tasks",
    "marginal_likelihood",
    "moments",
    "ridge",
    "row",
    "squared_euclidean",
    "standard_normal",
    "surrogate",
    "svm",
]
