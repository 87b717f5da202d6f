"""What `python -m benchmarks.reproduce` trains: papers' protocols, their numbers, settings here.

Data alone, so that `--list` needs no TensorFlow. `benchmarks.papers_images` has the methods that do
not take gradient steps, `benchmarks.papers_sequences` those that read sequences. Where a paper's
own protocol is longer than a row's CPU time, the row says how many outer steps it takes.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Test:
    """What a trained learner is scored on, once.

    Attributes:
        name: "5-way 1-shot", say.
        shots, ways, queries: of an episode; queries are a class's (of all, in regression).
        published: the paper's number: accuracy in percent, or a mean squared error; None where it
            shows a picture only, or another protocol.
        reach: what is to be reached here; None for no such aim.
        episodes: how many.
        inner_steps: in the place of the learner's own; None for those.
        instance: k, in sequences: the accuracy at the k-th time that a class is seen.
    """

    name: str
    shots: int
    ways: int = 5
    queries: int = 15
    published: float | None = None
    reach: float | None = None
    episodes: int = 1000
    inner_steps: int | None = None
    instance: int | None = None


@dataclasses.dataclass(frozen=True)
class Training:
    """The settings here: what a run was made with. Another training is another run.

    Attributes:
        learner: name of the class in `tfmeta.learners`.
        arguments: of the learner.
        family: "omniglot" (the published split, with rotations), "omniglot-sequence", of its
            pictures in 20x20, or "sinusoid".
        network: arguments of `conv4` or `mlp`; the key "part" is "outputs", as it is,
            "embedding", without the head, "maps", up to the last block's feature maps, or "none".
        shots, queries, ways, tasks: of the training episodes; tasks of a meta-batch. A sequence
            has `shots + queries` rows in all.
        steps: outer steps.
        every: outer steps between two scores on validation classes.
        validation: episodes of such a score, of the first test's ways and shots.
        outer: optimizer, its rate, and how that goes: "constant", "cosine" (to a hundredth),
            "linear" (to zero), or outer steps after which it halves, again and again.
        at_once: outer steps in one call, for small networks.
        cpu_hours: training ends after these, finished or not: two cores for half as long.
    """

    learner: str
    arguments: dict
    family: str = "omniglot"
    network: dict = dataclasses.field(default_factory=dict)
    shots: int = 1
    queries: int = 1
    ways: int = 5
    tasks: int = 32
    steps: int = 60_000
    every: int = 500
    validation: int = 500
    outer: tuple = ("Adam", 1e-3, "constant")
    at_once: int = 1
    cpu_hours: float = 10.0

    def part(self, share):
        """The same with a share of the steps and of the CPU time; schedules end with it."""
        if share == 1:
            return self
        steps = max(self.every, round(self.steps * share / self.every) * self.every)
        arguments = self.arguments
        if "multi_step_loss_steps" in arguments:
            shorter = round(arguments["multi_step_loss_steps"] * share)
            arguments = arguments | {"multi_step_loss_steps": shorter}
        return dataclasses.replace(
            self, steps=steps, arguments=arguments, cpu_hours=self.cpu_hours * share
        )


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table of reproductions.

    Attributes:
        paper: authors and year.
        protocol: the paper's, or its authors' code's.
        source: where protocol and numbers are from.
        differs: what is otherwise here.
        training: the settings here.
        tests: a tuple of `Test`, the first of which validation goes by.
    """

    paper: str
    protocol: str
    source: str
    differs: str
    training: Training
    tests: tuple


SPLIT = (
    "The split is the published one: 1,028 characters to train on, with rotations, 172 for "
    "validation, 423 for the test. Pictures are made smaller by means over areas."
)
OWN_DRAW = f"{SPLIT} The authors draw 1,100 to 1,200 of 1,623 characters at random instead."
STRIDE = {"part": "outputs", "downsample": "stride"}
FINN = "Finn, Abbeel and Levine 2017"
FINN_SOURCE = "arXiv:1703.03400, appendix A.1; cbfinn/maml"
ANTONIOU = "Antoniou, Edwards and Storkey 2019"
ANTONIOU_SOURCE = "arXiv:1810.09502; AntreasAntoniou/HowToTrainYourMAMLPytorch, experiment_config"
# One query example a class, as in the authors' code: they are normalised together.
FIVE_WAY = Test("5-way 1-shot", 1, queries=1, episodes=3000)
TWENTY_WAY = Test("20-way 1-shot", 1, ways=20, queries=1, episodes=1000)
MAML_5 = {"inner_learning_rate": 0.4, "inner_steps": 1, "evaluation_steps": 3}
MAML_PROTOCOL = (
    "5-way 1-shot, 1 query example a class. 28x28 pictures, classes turned by multiples of 90 "
    "degrees, in the test, too. Four convolutions of 64 filters with stride 2, batch "
    "normalisation by the statistics of the batch at hand (transductive), ReLU, mean over "
    "places, linear head. 1 inner step of 0.4 (3 in the test), second order. 60,000 outer "
    "steps of 32 tasks, Adam 0.001. 600 test episodes."
)
PLUS_PLUS = {
    "inner_learning_rate": 0.1, "inner_steps": 5, "transductive": True,
    "per_step_statistics": False,
}  # fmt: skip


def _plus_plus_protocol(ways):
    return (
        f"{ways}-way 1-shot, 1 query example a class. Four convolutions of 64 filters with batch "
        "normalisation by the batch at hand, max pooling. 5 inner steps, rates learned from 0.1 a "
        "layer and step, losses of all steps for 5,000 outer steps, scale and offset a step. "
        "50,000 outer steps of 8 tasks, Adam 0.001 along a cosine to 0.00001. 600 test episodes, "
        "by the mean outputs of the five checkpoints that are best on validation."
    )


def _beside_maml(name, paper, source, differs):
    return Row(
        paper=paper,
        protocol="That of MAML, beside which it stands: one budget for both.",
        source=source,
        differs=f"{OWN_DRAW} {differs}",
        training=Training(name, MAML_5 | {"transductive": True}, network=STRIDE),
        tests=(FIVE_WAY,),
    )


GRADIENT_ROWS = {
    "maml-omniglot-5w1s": Row(
        paper=FINN,
        protocol=MAML_PROTOCOL,
        source=FINN_SOURCE,
        differs=f"{OWN_DRAW} 3,000 test episodes.",
        training=Training("MAML", MAML_5 | {"transductive": True}, network=STRIDE),
        tests=(dataclasses.replace(FIVE_WAY, published=98.7, reach=98.0),),
    ),
    "maml-omniglot-5w1s-not-transductive": Row(
        paper=FINN,
        protocol=f"{MAML_PROTOCOL} Here without the part in brackets.",
        source=FINN_SOURCE,
        differs=f"{OWN_DRAW} Query examples are normalised by the support set's statistics.",
        training=Training("MAML", MAML_5, network=STRIDE),
        tests=(FIVE_WAY,),
    ),
    "maml-omniglot-20w1s": Row(
        paper=FINN,
        protocol=(
            "20-way 1-shot, 1 query example a class; network, pictures and normalisation as in "
            "5-way. 5 inner steps of 0.1, in the test, too. 60,000 outer steps of 16 tasks, Adam "
            "0.001. 600 test episodes. A rerun by MAML++'s authors: 91.6."
        ),
        source=f"{FINN_SOURCE}; {ANTONIOU_SOURCE}",
        differs=f"{OWN_DRAW} As many of the 60,000 outer steps as there are in the CPU time.",
        training=Training(
            "MAML", {"inner_learning_rate": 0.1, "inner_steps": 5, "transductive": True},
            network=STRIDE, ways=20, tasks=16, every=250, validation=200,
        ),
        tests=(dataclasses.replace(TWENTY_WAY, published=95.8, reach=92.5),),
    ),
    "mamlpp-omniglot-20w1s": Row(
        paper=ANTONIOU,
        protocol=_plus_plus_protocol(20),
        source=f"{ANTONIOU_SOURCE} (a user's rerun: 96.65)",
        differs=(
            f"{OWN_DRAW} 10,000 outer steps, and 1,000 with the losses of all steps. The one best "
            "checkpoint. A rate a layer, where the code has one a weight tensor."
        ),
        training=Training(
            "MAMLPlusPlus", PLUS_PLUS | {"multi_step_loss_steps": 1000},
            network={"part": "outputs"}, ways=20, tasks=8, steps=10_000, every=250, validation=200,
            outer=("Adam", 1e-3, "cosine"),
        ),
        tests=(dataclasses.replace(TWENTY_WAY, published=97.65, reach=95.5),),
    ),
    "mamlpp-omniglot-5w1s": Row(
        paper=ANTONIOU,
        protocol=_plus_plus_protocol(5),
        source=ANTONIOU_SOURCE,
        differs=(
            f"{OWN_DRAW} The one best checkpoint. A rate a layer, where the code has one a weight "
            "tensor."
        ),
        training=Training(
            "MAMLPlusPlus", PLUS_PLUS | {"multi_step_loss_steps": 5000},
            network={"part": "outputs"}, tasks=8, steps=50_000, outer=("Adam", 1e-3, "cosine"),
        ),
        tests=(dataclasses.replace(FIVE_WAY, published=99.47, reach=98.5),),
    ),
    "metasgd-omniglot-5w1s": Row(
        paper="Li, Zhou, Chen and Li 2017",
        protocol=(
            "5-way 1-shot; the network of MAML, 1 inner step, a rate a weight. No code was "
            "published."
        ),
        source="arXiv:1707.09835",
        differs=(
            f"{OWN_DRAW} MAML's settings: rates start at 0.4, 1 inner step in the test, "
            "transductive, 60,000 outer steps of 32 tasks."
        ),
        training=Training(
            "MetaSGD", {"inner_learning_rate": 0.4, "inner_steps": 1, "transductive": True},
            network=STRIDE,
        ),
        tests=(dataclasses.replace(FIVE_WAY, published=99.5, reach=98.3),),
    ),
    "reptile-omniglot-5w5s": Row(
        paper="Nichol, Achiam and Schulman 2018",
        protocol=(
            "5-way 5-shot, transductive: 1 query example a class in the test, normalised together. "
            "10 examples a class in training, inner batches of 10, 5 inner steps of Adam (0.001, "
            "beta_1 = 0), 50 in the test; 100,000 outer steps of 5 tasks, outer rate 1 to 0 in a "
            "line. 10,000 test episodes."
        ),
        source="arXiv:1803.02999; openai/supervised-reptile",
        differs=(
            f"{OWN_DRAW} Adam's mean squares start anew with each task, where the code keeps them; "
            "batches of 10 in the test, too (5 there). 1,000 test episodes. The mean over places "
            "where the code flattens."
        ),
        training=Training(
            "Reptile",
            {
                "inner_learning_rate": 0.001, "inner_beta_2": 0.999, "inner_steps": 5,
                "inner_batch_size": 10, "evaluation_steps": 50, "transductive": True,
            },
            network=STRIDE, shots=5, queries=5, tasks=5, steps=100_000, every=1000, validation=200,
            outer=("SGD", 1.0, "linear"),
        ),
        tests=(Test("5-way 5-shot", 5, queries=1, published=99.5, reach=98.8),),
    ),
    "anil-omniglot-5w1s": _beside_maml(
        "ANIL", "Raghu, Raghu, Bengio and Vinyals 2020", "arXiv:1909.09157",
        "The paper has 20-way and other rates; here the settings are MAML's.",
    ),
    "boil-omniglot-5w1s": _beside_maml(
        "BOIL", "Oh, Yoo, Kim and Yun 2021", "arXiv:2008.08882",
        "The paper has miniImageNet and others; here the settings are MAML's.",
    ),
}  # fmt: skip

SINE = "amplitude 0.1..5, phase 0..pi, x in -5..5; MLP 40-40, 10 shots, mean squared error"
SMALL = {
    "family": "sinusoid", "shots": 10, "queries": 10, "tasks": 25, "steps": 70_000, "every": 5000,
    "at_once": 100,
}  # fmt: skip


def _sine_test(name, steps, episodes=600):
    return Test(name, 10, ways=1, queries=100, episodes=episodes, inner_steps=steps)


def _sine_row(paper, source, protocol, differs, learner, arguments, tests, **settings):
    return Row(
        paper, f"{SINE}. {protocol} A picture only, no number.", source,
        f"{differs} 600 test tasks of 100 query points.",
        Training(learner, arguments, **(SMALL | settings)), tests,
    )  # fmt: skip


SINUSOID_ROWS = {
    "maml-sinusoid": _sine_row(
        FINN, "arXiv:1703.03400, section 5.1; cbfinn/maml",
        "1 inner step of 0.01, 10 query points, 70,000 outer steps of 25 tasks, Adam 0.001.",
        "Keras's initial weights, where the code's are normal of deviation 0.01.",
        "MAML", {"inner_learning_rate": 0.01},
        (_sine_test("after 1 step", 1), _sine_test("after 10 steps", 10)),
    ),
    "cavia-sinusoid": _sine_row(
        "Zintgraf, Shiarlis, Kurin, Hofmann and Whiteson 2019",
        "arXiv:1810.03642, section 5.1; lmzintgraf/cavia, regression/arguments.py",
        "5 context numbers, 1 inner step of 1.0, 10 query points, 50,000 outer steps of 25 tasks, "
        "Adam 0.001.",
        "Keras's initial weights, where the code's are PyTorch's.",
        "CAVIA", {"inner_learning_rate": 1.0, "context_size": 5}, (_sine_test("after 1 step", 1),),
        steps=50_000,
    ),
    "metasgd-sinusoid": _sine_row(
        "Li, Zhou, Chen and Li 2017", "arXiv:1707.09835",
        "1 inner step, a rate a weight.",
        "MAML's settings: rates start at 0.01, 70,000 outer steps of 25 tasks.",
        "MetaSGD", {"inner_learning_rate": 0.01}, (_sine_test("after 1 step", 1),),
    ),
    "alfa-sinusoid": _sine_row(
        "Baik, Choi, Choi, Kim and Lee 2020", "arXiv:2011.00209",
        "5 inner steps of generated rates and decays.",
        "MAML's settings: 5 steps from 0.01, 25 tasks an outer step. 15,000 outer steps: of "
        "70,000, it diverged before the 20,000th.",
        "ALFA", {"inner_learning_rate": 0.01, "inner_steps": 5}, (_sine_test("after 5 steps", 5),),
        steps=15_000,
    ),
    "imaml-sinusoid": _sine_row(
        "Rajeswaran, Finn, Kakade and Levine 2019", "arXiv:1909.04630",
        "Inner steps to the minimum, implicit gradient.",
        "16 inner steps of 0.05, 20,000 outer steps of 25 tasks.",
        "ImplicitMAML", {"inner_learning_rate": 0.05, "inner_steps": 16},
        (_sine_test("after 16 steps", 16),), steps=20_000,
    ),
}  # fmt: skip
