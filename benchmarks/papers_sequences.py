"""Rows of `benchmarks.reproduce` that read Omniglot as sequences."""

from benchmarks.papers import SPLIT, Row, Test, Training

PROTOCOL = (
    "Sequences of 50 pictures of 20x20, of 5 classes with labels of random order, each label told "
    "one row late; 1,200 characters to train on and 423 for the test, with rotations. A controller "
    "of 200 units, rate 0.001, 100,000 outer steps of 16 sequences."
)
SOURCE = "arXiv:1605.06065; the numbers are of a repository's own run, snowkylin/ntm"


def _row(paper, learner, published):
    tests = (
        Test(f"instance {k}", 49, queries=1, published=number, episodes=1000, instance=k)
        for k, number in enumerate(published, start=1)
    )
    return Row(
        paper=paper,
        protocol=PROTOCOL,
        source=SOURCE,
        differs=f"{SPLIT} As many of the outer steps as the CPU time allows.",
        training=Training(
            learner,
            {"units": 200},
            family="omniglot-sequence",
            network={"part": "none"},
            shots=49,
            tasks=16,
            steps=100_000,
            every=1000,
            validation=200,
            outer=("Adam", 1e-3, "constant"),
        ),
        tests=tuple(tests),
    )


SEQUENCE_ROWS = {
    "lstm-omniglot-sequence": _row(
        "Hochreiter, Younger and Conwell 2001; Santoro et al. 2016", "LSTMLearner",
        (23.33, 58.97, 65.81, 68.1, 70.77),
    ),
    "mann-omniglot-sequence": _row(
        "Santoro, Bartunov, Botvinick, Wierstra and Lillicrap 2016", "MANN",
        (35.58, 88.81, 94.97, 96.51, 97.34),
    ),
}  # fmt: skip
