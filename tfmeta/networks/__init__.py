"""Plain Keras networks of the few-shot literature; nothing about meta-learning inside."""

from tfmeta.networks.conv4 import conv4
from tfmeta.networks.mlp import mlp
from tfmeta.networks.resnet12 import resnet12

__all__ = ["conv4", "mlp", "resnet12"]
