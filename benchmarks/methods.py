"""What `python -m benchmarks.accuracy` compares: the cases, and each method's settings in them.

Data alone, so that the command needs no TensorFlow to know what is left to do. Rates and steps are
the papers', or were chosen on validation classes with the first seed or two; none on test episodes.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    """What all methods are trained on alike.

    Attributes:
        family: "sinusoid" (regression, MLP 40-40), "modes" (the same of sinusoids and lines),
            "frequency" (`benchmarks.frequencies`, MLP 40-40-40), "glyphs" or "omniglot" (5-way,
            four strided convolutions), "described" (glyphs, each class with its printed picture).
        shots, queries: support and query examples (a class) in training.
        tasks: of a meta-batch.
        steps: outer steps; pretraining takes passes over the base classes instead.
        outer_rate: of Adam; it falls to zero along a cosine, but not in "sinusoid" and "modes".
        validation, test: number of episodes.
    """

    family: str
    shots: int
    queries: int
    tasks: int
    steps: int
    outer_rate: float
    validation: int = 100
    test: int = 600
    filters: int = 16
    ways: int = 5
    pretraining_epochs: int = 12

    @property
    def is_regression(self):
        return self.family in ("sinusoid", "modes", "frequency")


SINUSOID = Case("sinusoid", 10, 10, tasks=25, steps=10_000, outer_rate=1e-3)
GLYPHS = Case("glyphs", 1, 3, tasks=8, steps=500, outer_rate=2e-3)
FREQUENCY = Case("frequency", 10, 10, tasks=25, steps=30_000, outer_rate=3e-3, test=1250)
#: Case -> shots: the table of the ADKL paper, one for all families of methods.
FREQUENCIES = {f"frequency-{shots}": shots for shots in (5, 10, 20)}

CASES = {
    "sinusoid": SINUSOID,
    "glyphs-1": GLYPHS,
    "glyphs-5": dataclasses.replace(GLYPHS, shots=5),
    # Tasks of two kinds: what a memory is for.
    "modes": dataclasses.replace(SINUSOID, family="modes"),
    # The protocol of CAVIA's authors.
    "sinusoid-long": dataclasses.replace(SINUSOID, steps=50_000),
    # Test classes known by a description alone: for zero-shot methods.
    "glyphs-described": dataclasses.replace(GLYPHS, family="described"),
    **{n: dataclasses.replace(FREQUENCY, shots=shots) for n, shots in FREQUENCIES.items()},
    # An hour of CPU for each method, and data to fetch: only where it is asked for.
    "omniglot-1": dataclasses.replace(GLYPHS, family="omniglot", outer_rate=1e-3, filters=64),
    # Minutes for each, of the few that ask for it.
    "omniglot-short": dataclasses.replace(GLYPHS, family="omniglot", filters=32),
}
BY_DEFAULT = [name for name in CASES if not name.startswith("omniglot")]


@dataclasses.dataclass(frozen=True)
class Method:
    """A learner with its arguments; None where it has nothing to do.

    Attributes:
        learner: name of the class in `tfmeta.learners`.
        sinusoid, glyphs: arguments of the learner.
        more: case -> arguments in the place of these, or where there are none.
        pretrained: True trains a classifier of the base classes by ordinary `fit`.
        meta_trained: True trains on episodes after that pretraining, too.
        outer: in the place of Adam, ("SGD", rate).
        omniglot: arguments, and outer steps (passes, where pretrained): of about an hour of CPU.
        network: what the learner is given: "outputs", the case's network with its outputs,
            "embedding", that without them, "linear embedding", with 40 of them, in regression, "two
            embeddings", of examples and of descriptions, or "none" for learners that make all of
            their layers.
        frequency: arguments in the cases of `FREQUENCIES`.
        steps: case -> outer steps in the place of the case's own, where these would take hours.
    """

    learner: str
    sinusoid: dict | None = None
    glyphs: dict | None = None
    more: dict = dataclasses.field(default_factory=dict)
    pretrained: bool = False
    outer: tuple | None = None
    omniglot: tuple = (None, 0)
    network: str = "outputs"
    meta_trained: bool = False
    frequency: dict | None = None
    steps: dict = dataclasses.field(default_factory=dict)

    def arguments(self, name):
        """Those of the learner in a case, None if it has no part in it."""
        of_all = {"sinusoid": self.sinusoid, "glyphs-1": self.glyphs, "glyphs-5": self.glyphs}
        of_all |= {"omniglot-1": self.omniglot[0]} | dict.fromkeys(FREQUENCIES, self.frequency)
        return self.more.get(name, of_all.get(name))

    def case(self, name):
        """A case, with the steps that this method takes in it."""
        if name != "omniglot-1":
            return dataclasses.replace(CASES[name], steps=self.steps.get(name, CASES[name].steps))
        length = "pretraining_epochs" if self.pretrained else "steps"
        return dataclasses.replace(CASES[name], **{length: self.omniglot[1]})


def _rate(value, steps=1, **more):
    return {"inner_learning_rate": value, "inner_steps": steps, **more}


SLOW, FIVE = _rate(0.01), _rate(0.01, 5)
NORMS = ["norm1", "norm2", "norm3", "norm4"]
LONG = {"sinusoid-long": SLOW, "modes": SLOW}
PAPERS = {"distance": "squared_euclidean"}
GLYPH = _rate(0.4, evaluation_steps=3)
PLUS_PLUS = {"multi_step_loss_steps": 150, "per_step_statistics": False}
LONG_PLUS_PLUS = PLUS_PLUS | {"multi_step_loss_steps": 1500}

METHODS = {
    "MAML": Method(
        "MAML", SLOW, GLYPH, LONG | {"omniglot-short": GLYPH}, steps={"omniglot-short": 3000}
    ),
    "MAML, as many steps": Method("MAML", more={"omniglot-short": GLYPH}),
    "FOMAML": Method("MAML", SLOW | {"first_order": True}, GLYPH | {"first_order": True}),
    "MAML, 5 steps": Method("MAML", FIVE, _rate(0.2, 5), {"modes": FIVE}, frequency=FIVE),
    # Learned rates grow on the sinusoid until the inner loop diverges, clipped or not. Moving
    # statistics of each step are worse on glyphs than those of the support set.
    "MAML++": Method(
        "MAMLPlusPlus", FIVE | {"per_step_rates": False, "multi_step_loss_steps": 1000},
        _rate(0.2, 5, **PLUS_PLUS), omniglot=(_rate(0.2, 5, **LONG_PLUS_PLUS), 5_500),
    ),
    # A rate that is too large: what MAML++ is for.
    "MAML, 5 steps at 1.0": Method("MAML", more={"glyphs-1": _rate(1.0, 5)}),
    "MAML++, from 1.0": Method("MAMLPlusPlus", more={"glyphs-1": _rate(1.0, 5, **PLUS_PLUS)}),
    "MetaSGD": Method("MetaSGD", SLOW, _rate(0.4)),
    "MetaCurvature": Method("MetaCurvature", SLOW, GLYPH),
    "ALFA": Method("ALFA", FIVE, _rate(0.1, 5), frequency=FIVE),
    "ANIL": Method(
        "ANIL", _rate(0.1), _rate(3.0, 5), {"glyphs-5": _rate(1.0, 5, evaluation_steps=10)}
    ),
    "BOIL": Method("BOIL", SLOW, GLYPH),
    "CAVIA": Method(
        "CAVIA", _rate(1.0), _rate(1.0, 2, context_size=100, context_layers=NORMS),
        {"sinusoid-long": _rate(1.0)}, frequency=_rate(1.0, 5, context_size=20),
    ),
    "iMAML": Method("ImplicitMAML", _rate(0.05, 16), _rate(0.3, 8, regularization=0.5)),
    "Reptile": Method(
        "Reptile", _rate(0.02, 5, inner_batch_size=10, evaluation_steps=32),
        _rate(0.1, 5, evaluation_steps=10), outer=("SGD", 1.0),
    ),
    "Reptile, transductive": Method(
        "Reptile",
        more={"glyphs-1": _rate(0.1, 5, evaluation_steps=10, transductive=True)},
        outer=("SGD", 1.0),
    ),
    "ParameterMemory": Method(
        "ParameterMemory", SLOW, GLYPH | {"memory_size": 4},
        {"modes": SLOW | {"memory_size": 64}},
    ),
    "MMAML": Method("MMAML", more={"modes": SLOW}),
    "LSTM meta-learner": Method(
        "LSTMMetaLearner", glyphs=_rate(0.2, 5), more={"omniglot-short": _rate(0.2, 5)}
    ),
    "learned loss": Method("LearnedLoss", glyphs=_rate(0.2, 5)),
    "learned loss, 1 step": Method("LearnedLoss", glyphs=_rate(0.4)),
    "ProtoNet": Method("ProtoNet", glyphs=PAPERS, omniglot=(PAPERS, 40_000), network="embedding"),
    "ProtoNet, plain distances": Method(
        "ProtoNet", glyphs={"distance": "euclidean"}, network="embedding"
    ),
    "MatchingNet": Method("MatchingNet", glyphs={}, network="embedding"),
    "MatchingNet, full context": Method(
        "MatchingNet", glyphs={"full_context": True}, network="embedding"
    ),
    "RelationNet": Method("RelationNet", glyphs={"ways": 5}, network="embedding"),
    "R2D2": Method("R2D2", {}, {"scale": 10.0}, network="embedding", frequency={}),
    # With many frequencies, features that ReLU leaves positive have twice the error.
    "R2D2, linear features": Method(
        "R2D2", {}, more={"modes": {}}, network="linear embedding", frequency={}
    ),
    "LRD2": Method("LRD2", glyphs={"scale": 10.0}, network="embedding"),
    "MetaOptNet": Method("MetaOptNet", glyphs={"scale": 10.0}, network="embedding"),
    "MetaOptNet, ridge": Method(
        "MetaOptNet", glyphs={"head": "ridge", "scale": 10.0}, network="embedding"
    ),
    "FEAT": Method("FEAT", glyphs={}, network="embedding"),
    "SimpleCNAPS": Method("SimpleCNAPS", glyphs={}, network="embedding"),
    "ProtoMAML": Method("ProtoMAML", glyphs=_rate(0.05), network="embedding"),
    "CNAPs": Method("CNAPs", glyphs={}, pretrained=True, meta_trained=True, network="embedding"),
    "CNAPs, Mahalanobis": Method(
        "CNAPs", glyphs={"head": "mahalanobis"}, pretrained=True, meta_trained=True,
        network="embedding",
    ),
    "ZeroShotProtoNet": Method(
        "ZeroShotProtoNet", more={"glyphs-described": {}}, network="two embeddings"
    ),
    "ZeroShotProtoNet, pretrained": Method(
        "ZeroShotProtoNet", more={"glyphs-described": {}}, pretrained=True, meta_trained=True,
        network="two embeddings",
    ),
    "CNP": Method(
        "CNP", {}, more={"modes": {}}, network="none", frequency={"minimum_scale": 0.01}
    ),
    "LatentNP": Method("LatentNP", {}, more={"modes": {}}, network="none", frequency={}),
    "AttentiveNP": Method("AttentiveNP", {}, more={"modes": {}}, network="none", frequency={}),
    "ConvCNP": Method(
        "ConvCNP", {}, more={"modes": {}}, network="none", frequency={"points_per_unit": 4}
    ),
    "TNP": Method("TNP", {}, more={"modes": {}}, network="none", frequency={}),
    "Hypernetwork": Method("Hypernetwork", {}, {}, {"modes": {}}, frequency={}),
    "BayesianMAML": Method(
        "BayesianMAML", SLOW, GLYPH, {"modes": SLOW}, frequency=FIVE,
        # 10,000 diverged at 5 shots, after 7,000 of them.
        steps=dict.fromkeys(FREQUENCIES, 3000) | {"frequency-5": 6000},
    ),
    "PLATIPUS": Method("PLATIPUS", SLOW, GLYPH, {"modes": SLOW}, frequency=FIVE),
    "ALPaCA": Method(
        "ALPaCA", {"learn_noise": True}, more={"modes": {"learn_noise": True}},
        network="embedding", frequency={"learn_noise": True},
    ),
    "DKT": Method(
        "DKT", {}, {"kernel": "cosine", "learn_noise": False}, {"modes": {}},
        network="embedding", frequency={},
    ),
    "ADKL-GP": Method("ADKL", {}, more={"modes": {}}, network="embedding", frequency={}),
    "ADKL-KRR": Method(
        "ADKL", {"head": "ridge"}, more={"modes": {"head": "ridge"}},
        network="embedding", frequency={"head": "ridge"},
    ),
    # On validation 0.16 against 0.53 of the default kernel, rbf, at 10 shots.
    "ADKL-GP, linear": Method("ADKL", network="embedding", frequency={"kernel": "linear"}),
    "ADKL-KRR, linear": Method(
        "ADKL", network="embedding", frequency={"head": "ridge", "kernel": "linear"}
    ),
    "LSTM": Method("LSTMLearner", glyphs={}, network="embedding"),
    "MANN": Method("MANN", glyphs={}, network="embedding"),
    "SNAIL": Method("SNAIL", glyphs={}, network="embedding"),
    "InContextTransformer": Method("InContextTransformer", glyphs={}, network="embedding"),
    "LSTM, curves": Method("LSTMLearner", {}, more={"modes": {}}, network="none", frequency={}),
    "InContextTransformer, curves": Method(
        "InContextTransformer", {}, more={"modes": {}}, network="none", frequency={}
    ),
    "LabelPropagation, transductive": Method("LabelPropagation", glyphs={}, network="embedding"),
    "BD-CSPN, transductive": Method("BDCSPN", glyphs={}, pretrained=True),
    "TIM, transductive": Method("TIM", glyphs={}, pretrained=True),
    "joint training": Method("Finetune", {"inner_learning_rate": 0.01}),
    "pretrained, all weights": Method(
        "Finetune", glyphs={"inner_learning_rate": 0.03}, pretrained=True,
        omniglot=({"inner_learning_rate": 0.03}, 100),
    ),
    "Baseline": Method("Baseline", glyphs={}, pretrained=True, omniglot=({}, 100)),
    "Baseline++": Method("BaselinePlusPlus", glyphs={}, pretrained=True),
    "SimpleShot": Method("SimpleShot", glyphs={}, pretrained=True, omniglot=({}, 100)),
}  # fmt: skip


def job_text(case, method):
    """What a stored result was made with: results of other settings are made anew."""
    method = METHODS[method]
    how = method.learner, method.pretrained, method.outer
    how += ("meta_trained",) if method.meta_trained else ()
    return repr((method.case(case), how, sorted(method.arguments(case).items())))


def jobs(cases, methods, seeds):
    """All trainings, (case, method, seed), seed by seed: a part is a whole comparison."""
    return [
        (case, method, seed)
        for seed in seeds
        for case in cases
        for method in methods
        if METHODS[method].arguments(case) is not None
    ]
