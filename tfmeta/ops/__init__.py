"""Pure tensor functions: tasks, distances, prototypes."""

from tfmeta.ops.distances import squared_euclidean
from tfmeta.ops.prototypes import class_means
from tfmeta.ops.tasks import map_gradients, map_tasks

__all__ = ["class_means", "map_gradients", "map_tasks", "squared_euclidean"]
