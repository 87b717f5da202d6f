"""Families of environments, one a task, to meta-learn policies in."""

from tfmeta.environments.bandits import bandits
from tfmeta.environments.cartpole import cartpole
from tfmeta.environments.environment import Box, Discrete, Environment
from tfmeta.environments.grid_navigation import grid_navigation
from tfmeta.environments.gymnasium import gymnasium
from tfmeta.environments.mazes import mazes
from tfmeta.environments.point_navigation import point_navigation
from tfmeta.environments.rollout import Trajectories, rollout
from tfmeta.environments.tabular_mdps import tabular_mdps

__all__ = [
    "Box",
    "Discrete",
    "Environment",
    "Trajectories",
    "bandits",
    "cartpole",
    "grid_navigation",
    "gymnasium",
    "mazes",
    "point_navigation",
    "rollout",
    "tabular_mdps",
]
