"""Rows of `python -m benchmarks.reproduce` for methods that embed pictures, or read them in turn.

All of them on Omniglot's published split, with an hour of CPU each.
"""

from benchmarks.papers import SPLIT, Row, Test, Training

SNELL = "Snell, Swersky and Zemel 2017"
SNELL_SOURCE = "arXiv:1703.05175, section 3.1; jakesnell/prototypical-networks"
POOL = {"part": "embedding"}


def _tests(shots, published=(None, None), reach=(None, None)):
    """Scores at 5 and at 20 ways, as the tables of the field have them."""
    return tuple(
        Test(f"{ways}-way {shots}-shot", shots, ways, 15 if ways == 5 else 5, there, least)
        for ways, there, least in zip((5, 20), published, reach, strict=True)
    )


def _training(learner, arguments, **settings):
    """Many ways in training, as ProtoNet's authors found best, unless a method says otherwise."""
    usual = {
        "network": POOL, "queries": 5, "ways": 60, "tasks": 1, "steps": 20_000, "every": 250,
        "validation": 200, "outer": ("Adam", 1e-3, 2000), "cpu_hours": 1.0,
    }  # fmt: skip
    return Training(learner, arguments, **(usual | settings))


def _proto_row(shots, published, reach):
    return Row(
        paper=SNELL,
        protocol=(
            f"The published split with rotations; 60-way {shots}-shot with 5 queries a class in "
            "training; four blocks of 3x3 convolution (64), batch normalisation, ReLU and 2x2 max "
            "pooling; squared Euclidean distances; Adam 0.001, halved every 2,000 episodes, until "
            "validation is no better, then again on training and validation classes together. "
            "1,000 test episodes."
        ),
        source=SNELL_SOURCE,
        differs=(
            f"{SPLIT} Trained once, on the training classes alone, for an hour of CPU. 15 query "
            "examples a class in the test (5 at 20 ways)."
        ),
        training=_training("ProtoNet", {"distance": "squared_euclidean"}, shots=shots),
        tests=_tests(shots, published, reach),
    )


def _matching_row(shots, published, reach):
    return Row(
        paper="Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016",
        protocol=(
            "The published split with rotations; four blocks of 3x3 convolution (64), batch "
            "normalisation, ReLU and 2x2 max pooling; attention by cosine similarity."
        ),
        source="arXiv:1606.04080; the numbers as in the table of arXiv:1703.05175",
        differs=f"{SPLIT} ProtoNet's settings: 60-way episodes, Adam 0.001 halved every 2,000.",
        training=_training("MatchingNet", {}, shots=shots),
        tests=_tests(shots, published, reach),
    )


def _beside_proto(paper, source, differs, learner, arguments, reach=None, **settings):
    """A method for which the sources at hand give no number on this split."""
    tests = (Test("5-way 1-shot", 1, reach=reach), Test("20-way 1-shot", 1, 20, 5))
    return Row(
        paper=paper,
        protocol="ProtoNet's split, pictures and network; its own protocol was not at hand.",
        source=source,
        differs=f"{SPLIT} {differs}".strip(),
        training=_training(learner, arguments, **settings),
        tests=tests[:1] if "ways" in settings else tests,
    )


IMAGE_ROWS = {
    "protonet-omniglot-1s": _proto_row(1, (98.8, 96.0), (98.3, 95.2)),
    "protonet-omniglot-5s": _proto_row(5, (99.7, 98.9), (99.5, 98.6)),
    "matchingnet-omniglot-1s": _matching_row(1, (98.1, 93.8), (97.1, None)),
    "matchingnet-omniglot-5s": _matching_row(5, (98.9, 98.5), (97.9, None)),
    "relationnet-omniglot-5w1s": Row(
        paper="Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018",
        protocol=(
            "5-way 1-shot with 19 queries a class; features of 64 maps, relation module of 8 "
            "hidden units, Adam 0.001, 1,000,000 episodes, squared errors."
        ),
        source="arXiv:1711.06025; floodsung/LearningToCompare_FSL",
        differs=(
            f"{SPLIT} 4 tasks of 10 queries a class; maps of 3x3, from four blocks with pooling "
            "after the first three. An hour of CPU. To be reached: ProtoNet's number minus 1."
        ),
        training=_training(
            "RelationNet", {"ways": 5}, network={"part": "maps"}, ways=5, queries=10, tasks=4,
            outer=("Adam", 1e-3, "constant"),
        ),
        tests=(Test("5-way 1-shot", 1),),
    ),
    "r2d2-omniglot-1s": _beside_proto(
        "Bertinetto, Henriques, Torr and Vedaldi 2019", "arXiv:1805.08136; bertinetto/r2d2",
        "60-way 1-shot, where the authors' shots vary in 1..10; Adam 0.001.",
        "R2D2", {"scale": 10.0},
    ),
    "lrd2-omniglot-5w1s": _beside_proto(
        "Bertinetto, Henriques, Torr and Vedaldi 2019", "arXiv:1805.08136; bertinetto/r2d2",
        "5-way, 4 tasks: a logistic regression of 60 classes is solved too slowly.",
        "LRD2", {"scale": 10.0}, ways=5, tasks=4, queries=10,
    ),
    "metaoptnet-omniglot-5w1s": _beside_proto(
        "Lee, Maji, Ravichandran and Soatto 2019", "arXiv:1904.03758; kjunelee/MetaOptNet",
        "The support vector machine, 5-way, 4 tasks; Adam in the place of SGD.",
        "MetaOptNet", {"scale": 10.0}, ways=5, tasks=4, queries=10,
    ),
    "protomaml-omniglot-5w1s": _beside_proto(
        "Triantafillou et al. 2020", "arXiv:1903.03096",
        "5-way, 4 tasks, 1 inner step of 0.05, second order.",
        "ProtoMAML", {"inner_learning_rate": 0.05, "inner_steps": 1}, ways=5, tasks=4, queries=10,
    ),
    "simplecnaps-omniglot-5w1s": _beside_proto(
        "Bateni, Goyal, Masrani, Wood and Sigal 2020",
        "arXiv:1912.03432; peymanbateni/simple-cnaps",
        "The Mahalanobis head on a network trained from nothing, without the frozen one's FiLM.",
        "SimpleCNAPS", {}, ways=20, tasks=1, queries=5,
    ),
    "feat-omniglot-1s": _beside_proto(
        "Ye, Hu, Zhan and Sha 2020", "arXiv:1812.03664; Sha-Lab/FEAT",
        "From nothing, without the authors' pretraining.", "FEAT", {},
    ),
    "snail-omniglot-5w1s": Row(
        paper="Mishra, Rohaninejad, Chen and Abbeel 2018",
        protocol=(
            "5-way 1-shot; four convolutional blocks and 64 features, then attention (64, 32), "
            "convolutions (128), attention (256, 128), convolutions, attention (512, 256); Adam "
            "0.0001, 32 tasks, the loss of the last row alone."
        ),
        source="arXiv:1707.03141; a rerun of others, eambutu/snail-pytorch: 98.31",
        differs=f"{SPLIT} Adam 0.001, 1 query example a class, 8 tasks, an hour of CPU.",
        training=_training(
            "SNAIL", {"ways": 5, "length": 6, "score_support": False}, network=POOL, ways=5,
            queries=1, tasks=8, outer=("Adam", 1e-3, 5000),
        ),
        tests=(Test("5-way 1-shot", 1, published=99.07, reach=97.5),),
    ),
}  # fmt: skip
