"""The catalogue: one algorithm a file."""

from tfmeta.learners.alfa import ALFA
from tfmeta.learners.anil import ANIL
from tfmeta.learners.base import MetaModel
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

__all__ = [
    "ALFA",
    "ANIL",
    "BOIL",
    "CAVIA",
    "MAML",
    "Finetune",
    "ImplicitMAML",
    "MAMLPlusPlus",
    "MetaCurvature",
    "MetaModel",
    "MetaSGD",
    "ParameterMemory",
    "ProtoNet",
    "Reptile",
]
