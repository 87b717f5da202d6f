"""The catalogue: one algorithm a file."""

from tfmeta.learners.base import MetaModel
from tfmeta.learners.finetune import Finetune
from tfmeta.learners.maml import MAML
from tfmeta.learners.protonet import ProtoNet

__all__ = ["MAML", "Finetune", "MetaModel", "ProtoNet"]
