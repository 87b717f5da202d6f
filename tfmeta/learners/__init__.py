"""The catalogue: one algorithm a file."""

from tfmeta.engine.meta_model import MetaModel
from tfmeta.learners.bayesian.adkl import ADKL
from tfmeta.learners.bayesian.alpaca import ALPaCA
from tfmeta.learners.bayesian.bayesian_maml import BayesianMAML
from tfmeta.learners.bayesian.dkt import DKT
from tfmeta.learners.bayesian.platipus import PLATIPUS
from tfmeta.learners.context.attentive_np import AttentiveNP
from tfmeta.learners.context.cnp import CNP
from tfmeta.learners.context.conv_cnp import ConvCNP
from tfmeta.learners.context.in_context import InContextTransformer
from tfmeta.learners.context.latent_np import LatentNP
from tfmeta.learners.context.lstm import LSTMLearner
from tfmeta.learners.context.mann import MANN
from tfmeta.learners.context.snail import SNAIL
from tfmeta.learners.context.tnp import TNP
from tfmeta.learners.embedding.base import EmbeddingLearner
from tfmeta.learners.embedding.baseline import Baseline
from tfmeta.learners.embedding.baseline_plus_plus import BaselinePlusPlus
from tfmeta.learners.embedding.bd_cspn import BDCSPN
from tfmeta.learners.embedding.feat import FEAT
from tfmeta.learners.embedding.label_propagation import LabelPropagation
from tfmeta.learners.embedding.lrd2 import LRD2
from tfmeta.learners.embedding.matching_net import MatchingNet
from tfmeta.learners.embedding.meta_opt_net import MetaOptNet
from tfmeta.learners.embedding.protonet import ProtoNet
from tfmeta.learners.embedding.r2d2 import R2D2
from tfmeta.learners.embedding.relation_net import RelationNet
from tfmeta.learners.embedding.simple_cnaps import SimpleCNAPS
from tfmeta.learners.embedding.simple_shot import SimpleShot
from tfmeta.learners.embedding.tim import TIM
from tfmeta.learners.embedding.zero_shot_protonet import ZeroShotProtoNet
from tfmeta.learners.generated.cnaps import CNAPs
from tfmeta.learners.generated.hypernetwork import Hypernetwork
from tfmeta.learners.generated.leo import LEO
from tfmeta.learners.gradient.alfa import ALFA
from tfmeta.learners.gradient.anil import ANIL
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.learners.gradient.boil import BOIL
from tfmeta.learners.gradient.cavia import CAVIA
from tfmeta.learners.gradient.finetune import Finetune
from tfmeta.learners.gradient.implicit_maml import ImplicitMAML
from tfmeta.learners.gradient.learned_loss import LearnedLoss
from tfmeta.learners.gradient.lstm_meta_learner import LSTMMetaLearner
from tfmeta.learners.gradient.maml import MAML
from tfmeta.learners.gradient.maml_plus_plus import MAMLPlusPlus
from tfmeta.learners.gradient.meta_curvature import MetaCurvature
from tfmeta.learners.gradient.meta_sgd import MetaSGD
from tfmeta.learners.gradient.mmaml import MMAML
from tfmeta.learners.gradient.parameter_memory import ParameterMemory
from tfmeta.learners.gradient.proto_maml import ProtoMAML
from tfmeta.learners.gradient.reptile import Reptile
from tfmeta.learners.optimizers.base import LearnedOptimizer
from tfmeta.learners.optimizers.learned_rates import LearnedAdam, LearnedMomentum, LearnedSGD
from tfmeta.learners.optimizers.lstm_rule import LSTMRule
from tfmeta.learners.optimizers.mlp_rule import MLPRule
from tfmeta.learners.optimizers.outer_gradients import (
    EvolutionStrategies,
    PersistentES,
    ThroughUnroll,
)
from tfmeta.learners.policies.base import PolicyLearner
from tfmeta.learners.policies.gradient_policy import GradientPolicy
from tfmeta.learners.policies.maml_ppo import MAMLPPO
from tfmeta.learners.policies.maml_trpo import MAMLTRPO
from tfmeta.learners.policies.promp import ProMP
from tfmeta.learners.policies.rl2 import RL2
from tfmeta.learners.policies.snail_policy import SNAILPolicy
from tfmeta.learners.policies.varibad import VariBAD

#: Every class above: an import is the row of a method in the table of learners.
__all__ = sorted(name for name, value in vars().items() if isinstance(value, type))
