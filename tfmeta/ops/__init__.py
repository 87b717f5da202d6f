"""Pure tensor functions: tasks, distances, prototypes."""

from tfmeta.backend.map_tasks import map_gradients, map_tasks
from tfmeta.backend.moments import exact_moments as moments
from tfmeta.ops.distances import squared_euclidean
from tfmeta.ops.gaussian_process import covariance, gaussian_posterior
from tfmeta.ops.noise import standard_normal
from tfmeta.ops.prototypes import class_means
from tfmeta.ops.ridge import ridge
from tfmeta.ops.rows import row

__all__ = [
    "class_means",
    "covariance",
    "gaussian_posterior",
    "map_gradients",
    "map_tasks",
    "moments",
    "ridge",
    "row",
    "squared_euclidean",
    "standard_normal",
]
