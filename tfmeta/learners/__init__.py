"""The catalogue: one algorithm a file."""

from tfmeta.learners.alfa import ALFA
from tfmeta.learners.anil import ANIL
from tfmeta.learners.base import MetaModel
from tfmeta.learners.baseline import Baseline
from tfmeta.learners.baseline_plus_plus import BaselinePlusPlus
from tfmeta.learners.boil import BOIL
from tfmeta.learners.cavia import CAVIA
from tfmeta.learners.finetune import Finetune
from tfmeta.learners.implicit_maml import ImplicitMAML
from tfmeta.learners.maml import MAML
from tfmeta.learners.maml_plus_plus import MAMLPlusPlus
from tfmeta.learners.meta_curvature import MetaCurvature
from tfmeta.learners.meta_sgd import MetaSGD
from tfmeta.learners.parameter_memory import ParameterMemory
from tfmeta.learners.protonet import ProtoNet
from tfmeta.learners.reptile import Reptile
from tfmeta.learners.simple_shot import SimpleShot

__all__ = [
    "ALFA",
    "ANIL",
    "BOIL",
    "CAVIA",
    "MAML",
    "Baseline",
    "BaselinePlusPlus",
    "Finetune",
    "ImplicitMAML",
    "MAMLPlusPlus",
    "MetaCurvature",
    "MetaModel",
    "MetaSGD",
    "ParameterMemory",
    "ProtoNet",
    "Reptile",
    "SimpleShot",
]
