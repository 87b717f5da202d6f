"""The table of learners that every conformance test goes through. A new learner adds one row."""

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tasks
from conformance.own_methods import LayersOfItsOwn, MethodOfItsOwn

import tfmeta
from tfmeta.learners import (
    ADKL,
    ALFA,
    ANIL,
    BDCSPN,
    BOIL,
    CAVIA,
    CNP,
    DKT,
    FEAT,
    LEO,
    LRD2,
    MAML,
    MANN,
    MMAML,
    PLATIPUS,
    R2D2,
    SNAIL,
    TIM,
    TNP,
    ALPaCA,
    AttentiveNP,
    Baseline,
    BaselinePlusPlus,
    BayesianMAML,
    CNAPs,
    ConvCNP,
    Finetune,
    Hypernetwork,
    ImplicitMAML,
    InContextTransformer,
    LabelPropagation,
    LatentNP,
    LearnedLoss,
    LearnedOptimizer,
    LSTMLearner,
    LSTMMetaLearner,
    LSTMRule,
    MAMLPlusPlus,
    MatchingNet,
    MetaCurvature,
    MetaOptNet,
    MetaSGD,
    ParameterMemory,
    ProtoMAML,
    ProtoNet,
    RelationNet,
    Reptile,
    SimpleCNAPS,
    SimpleShot,
    ZeroShotProtoNet,
)


class Row(NamedTuple):
    """One learner of the table.

    Attributes:
        make: function without arguments to a learner that is not compiled.
        cls: the class it stands for.
        images: True for classification of pictures, False for regression.
        masks: True if padded rows change nothing.
        renames: True if renaming the labels renames the outputs, and nothing else.
        slow: True for rows whose compiled steps `pytest -m slow` goes through; most of the quick
            tests run such a row's steps eagerly, which needs no trace.
        second: True for another row of a learner, which only `pytest -m slow` goes through.
        rate: of the outer steps; 0.05 throws attention back once before it comes down.
    """

    make: Any
    cls: type
    images: bool = False
    masks: bool = True
    renames: bool = False
    slow: bool = False
    second: bool = False
    rate: float = 0.05

    def compiled(self, **kwargs):
        """A learner with the same weights at each call."""
        keras.utils.set_random_seed(1)
        learner = self.make()
        loss = tasks.CROSSENTROPY if self.images else "mse"
        learner.compile(keras.optimizers.SGD(self.rate, momentum=0.9), loss, **kwargs)
        if not learner.built:
            learner.prepare(tasks.dataset(self.episodes(), 1))
        return learner

    def episodes(self, count=3, **kwargs):
        """One meta-batch that fits the learner."""
        if self.images:
            return tasks.images(tasks=count, shots=2, size=4, **kwargs)
        return tasks.regression(tasks=count, **kwargs)


def small_convolutional(norm=True):
    layers = [keras.Input((4, 4, 1)), keras.layers.Conv2D(4, 3, strides=2, padding="same")]
    layers += [keras.layers.BatchNormalization(momentum=0.5)] if norm else []
    layers += [keras.layers.Activation("tanh"), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def embedding():
    return tfmeta.networks.mlp((4, 4, 1), 5, hidden=(8,))


POINTS = {"hidden": (8,), "representation": 6, "minimum_scale": 0.5}


def frozen():
    network = small_convolutional()
    network.trainable = False
    return network


def on_embedding(make, speed="slow", renames=True, cls=None, **arguments):
    """The row of a learner that puts a head on a dense embedding of pictures."""
    return Row(
        lambda: make(embedding(), **arguments), cls or make, True, True, renames, **{speed: True}
    )


def in_order(cls, **arguments):
    """Two rows of a learner that reads the support rows in order: of numbers, and of pictures."""
    return {
        cls.__name__: Row(lambda: cls(score_support=False, **arguments), cls, slow=True),
        f"{cls.__name__}-images": Row(
            lambda: cls(embedding(), ways=3, **arguments), cls, True, second=True
        ),
    }


RATE = {"inner_learning_rate": 0.05, "inner_steps": 2}
ONE_STEP = RATE | {"inner_steps": 1}

ROWS = {
    "MAML": Row(lambda: MAML(tasks.dense(), **RATE), MAML),
    "MAML-first-order": Row(
        lambda: MAML(tasks.dense(), first_order=True, **RATE), MAML, second=True
    ),
    "MAML-transductive": Row(
        lambda: MAML(small_convolutional(), transductive=True, **RATE), MAML, True, False
    ),
    "MAML-strided": Row(lambda: MAML(small_convolutional(norm=False), **RATE), MAML, True),
    "Finetune": Row(lambda: Finetune(tasks.dense(), inner_learning_rate=0.05), Finetune, slow=True),
    "ALFA": Row(lambda: ALFA(tasks.dense(), **RATE), ALFA, slow=True),
    "ImplicitMAML": Row(
        lambda: ImplicitMAML(tasks.dense(), inner_learning_rate=0.05, inner_steps=3),
        ImplicitMAML,
        slow=True,
    ),
    "ANIL": Row(lambda: ANIL(tasks.dense(), **RATE), ANIL, slow=True),
    "ANIL-convolutional": Row(
        lambda: ANIL(small_convolutional(), **RATE), ANIL, True, False, second=True
    ),
    "BOIL": Row(lambda: BOIL(small_convolutional(norm=False), **RATE), BOIL, True, slow=True),
    "CAVIA": Row(
        lambda: CAVIA(tasks.dense(), inner_steps=2, inner_learning_rate=0.5), CAVIA, slow=True
    ),
    "CAVIA-convolutional": Row(
        lambda: CAVIA(small_convolutional(), inner_learning_rate=0.5),
        CAVIA,
        True,
        False,
        second=True,
    ),
    "MetaCurvature": Row(lambda: MetaCurvature(tasks.dense(), **RATE), MetaCurvature, slow=True),
    "MetaSGD": Row(lambda: MetaSGD(tasks.dense(), **RATE), MetaSGD, slow=True),
    "Reptile": Row(lambda: Reptile(tasks.dense(), **RATE), Reptile, slow=True),
    "MAMLPlusPlus": Row(lambda: MAMLPlusPlus(tasks.dense(), **RATE), MAMLPlusPlus, slow=True),
    "MAMLPlusPlus-convolutional": Row(
        lambda: MAMLPlusPlus(small_convolutional(), **RATE),
        MAMLPlusPlus,
        True,
        False,
        second=True,
    ),
    "LSTMMetaLearner": Row(
        lambda: LSTMMetaLearner(tasks.dense(), hidden=3, first_order=False, **ONE_STEP),
        LSTMMetaLearner,
        slow=True,
    ),
    "LSTMMetaLearner-convolutional": Row(
        lambda: LSTMMetaLearner(small_convolutional(), hidden=3, **RATE),
        LSTMMetaLearner,
        True,
        False,
        second=True,
    ),
    "LearnedLoss": Row(lambda: LearnedLoss(tasks.dense(), **ONE_STEP), LearnedLoss, slow=True),
    "LearnedLoss-convolutional": Row(
        lambda: LearnedLoss(small_convolutional(), **RATE), LearnedLoss, True, False, second=True
    ),
    "MMAML": Row(
        lambda: MMAML(tasks.dense(), representation=4, hidden=(6,), **ONE_STEP), MMAML, slow=True
    ),
    "MMAML-convolutional": Row(
        lambda: MMAML(small_convolutional(), representation=4, hidden=(6,), **RATE),
        MMAML,
        True,
        False,
        second=True,
    ),
    "ParameterMemory": Row(
        lambda: ParameterMemory(tasks.dense(), memory_size=3, neighbours=2, **RATE),
        ParameterMemory,
        slow=True,
    ),
    "ParameterMemory-convolutional": Row(
        lambda: ParameterMemory(small_convolutional(), memory_size=2, **RATE),
        ParameterMemory,
        True,
        False,
        second=True,
    ),
    **in_order(LSTMLearner, units=6),
    **in_order(MANN, units=6, memory_rows=4, memory_width=3, heads=2),
    **in_order(SNAIL, length=4, filters=4, attention=((3, 2), (3, 2))),
    **in_order(InContextTransformer, width=8, depth=1),
    "ProtoNet": Row(lambda: ProtoNet(small_convolutional()), ProtoNet, True, False, True),
    "ProtoNet-dense": Row(lambda: ProtoNet(embedding()), ProtoNet, True, True, True),
    "Baseline": Row(
        lambda: Baseline(embedding(), head_learning_rate=0.5, head_steps=5),
        Baseline,
        True,
        True,
        True,
        slow=True,
    ),
    "BaselinePlusPlus": Row(
        lambda: BaselinePlusPlus(small_convolutional(), head_learning_rate=0.5, head_steps=3),
        BaselinePlusPlus,
        True,
        False,
        True,
        slow=True,
    ),
    "SimpleShot": Row(lambda: SimpleShot(embedding()), SimpleShot, True, True, True, slow=True),
    "R2D2": Row(lambda: R2D2(tasks.dense(3)), R2D2),
    "R2D2-images": Row(lambda: R2D2(embedding()), R2D2, True, True, True, second=True),
    "CNP": Row(lambda: CNP(**POINTS), CNP),
    "LatentNP": Row(lambda: LatentNP(latent_size=3, **POINTS), LatentNP, slow=True),
    "AttentiveNP": Row(
        lambda: AttentiveNP(latent_size=3, heads=2, **POINTS), AttentiveNP, slow=True, rate=0.02
    ),
    "ConvCNP": Row(
        lambda: ConvCNP(
            points_per_unit=4, reach=5.0, filters=6, kernel_size=3, blocks=1, minimum_scale=0.5
        ),
        ConvCNP,
        slow=True,
    ),
    "TNP": Row(
        lambda: TNP(width=8, heads=2, blocks=2, feedforward=6, minimum_scale=0.5),
        TNP,
        slow=True,
        rate=0.02,
    ),
    "Hypernetwork": Row(
        lambda: Hypernetwork(tasks.dense(), representation=4, hidden=(6,)),
        Hypernetwork,
        slow=True,
    ),
    "Hypernetwork-images": Row(
        lambda: Hypernetwork(small_convolutional(), representation=4, hidden=(6,)),
        Hypernetwork,
        True,
        False,
        second=True,
    ),
    "ALPaCA": Row(lambda: ALPaCA(tasks.dense(3), noise=0.5, precision=1.0), ALPaCA, slow=True),
    "DKT": Row(lambda: DKT(tasks.dense(3), noise=0.5), DKT, slow=True),
    "DKT-images": Row(
        lambda: DKT(embedding(), kernel="cosine", noise=0.5),
        *(DKT, True, True, True),
        second=True,
        rate=0.005,  # at 0.05 the loss of the second epoch is above that of the first
    ),
    "ADKL": Row(
        lambda: ADKL(hidden=(6,), representation=4, embedding=4, noise=0.5), ADKL, slow=True
    ),
    "BayesianMAML": Row(
        lambda: BayesianMAML(tasks.dense(), particles=2, **RATE), BayesianMAML, slow=True
    ),
    "BayesianMAML-images": Row(
        lambda: BayesianMAML(small_convolutional(), particles=2, leader_steps=1, **RATE),
        BayesianMAML,
        True,
        False,
        second=True,
    ),
    "PLATIPUS": Row(lambda: PLATIPUS(tasks.dense(), particles=2, **RATE), PLATIPUS, slow=True),
    "PLATIPUS-images": Row(
        lambda: PLATIPUS(small_convolutional(), particles=2, **RATE),
        PLATIPUS,
        True,
        False,
        second=True,
        rate=0.01,
    ),
    "LearnedOptimizer": Row(
        lambda: LearnedOptimizer(
            tasks.dense(), rule=LSTMRule((4,)), inner_steps=2, draw_weights=False
        ),
        LearnedOptimizer,
        slow=True,
        rate=0.01,
    ),
    "BDCSPN": on_embedding(BDCSPN),
    "CNAPs": Row(lambda: CNAPs(frozen(), representation=3, hidden=4), CNAPs, True, True, slow=True),
    "FEAT": on_embedding(FEAT, dropout=0.0),
    "LEO": Row(
        lambda: LEO(frozen(), latent_size=4, latent_steps=1, head_steps=1, noise=0.0, dropout=0.0),
        LEO,
        True,
        True,
        slow=True,
        rate=0.02,
    ),
    "LRD2": on_embedding(LRD2, steps=2),
    "LabelPropagation": on_embedding(LabelPropagation, neighbours=4, spread=0.5),
    "MatchingNet": on_embedding(MatchingNet),
    "MatchingNet-context": on_embedding(
        MatchingNet, "second", renames=False, full_context=True, attention_steps=2
    ),
    "MetaOptNet": on_embedding(MetaOptNet, steps=8),
    "ProtoMAML": on_embedding(ProtoMAML, **RATE),
    "RelationNet": on_embedding(RelationNet, filters=6),
    "SimpleCNAPS": on_embedding(SimpleCNAPS),
    "TIM": on_embedding(TIM, temperature=3.0, steps=3),
    # Pictures describe classes, too.
    "ZeroShotProtoNet": on_embedding(
        lambda network: ZeroShotProtoNet(network, embedding()), cls=ZeroShotProtoNet
    ),
    "layers-of-its-own": Row(lambda: LayersOfItsOwn(**RATE), LayersOfItsOwn),
    "method-of-its-own": Row(lambda: MethodOfItsOwn(), MethodOfItsOwn),
}


def _parameters(is_slow):
    """The rows as arguments of a test, those that are slow marked so."""
    marks = {True: [pytest.mark.slow], False: []}
    rows = [pytest.param(row, id=n, marks=marks[is_slow(row)]) for n, row in ROWS.items()]
    return pytest.mark.parametrize("row", rows)


PARAMS = _parameters(lambda row: row.second)
COMPILED = _parameters(lambda row: row.second or row.slow)
# Every row compiled, in the slow tests where that takes long, and then eagerly in the quick ones.
EAGER_OR_COMPILED = pytest.mark.parametrize(
    ("row", "eager"),
    [
        pytest.param(row, eager, id=f"{name}-eager" if eager else name, marks=marks)
        for name, row in ROWS.items()
        for eager, marks in (
            (False, [pytest.mark.slow] if row.slow or row.second else []),
            *([(True, [])] if row.slow else []),
        )
    ],
)


@functools.cache
def learner_to_read(row):
    """One learner of a row, for all tests that change nothing of it."""
    return row.compiled()


def rows(slow):
    """Name -> row, the slow ones or the others."""
    return {name: row for name, row in ROWS.items() if (row.slow or row.second) == slow}


def weights(learner):
    """Copies of all weights."""
    return [np.array(v) for v in learner.variables]


def assert_equal_weights(a, b, **tolerance):
    """Weights of two learners, or lists of weights, agree."""
    a, b = (x if isinstance(x, list) else weights(x) for x in (a, b))
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def count_traces(learner):
    """Count the Python calls, which are the traces, of a learner's steps: a dict."""
    counts = {}

    def counted(name, original):
        def step(data):
            counts[name] = counts.get(name, 0) + 1
            return original(data)

        return step

    for name in ("train_step", "test_step"):
        object.__setattr__(learner, name, counted(name, getattr(learner, name)))
    return counts
