"""A row of seconds for `test_reproduce.py`, which also runs this file: FOLDER STEP.

The process kills itself after that outer step.
"""

import os
import pathlib
import signal
import sys

from benchmarks.papers import Row, Test, Training

TRAINING = Training(
    "MAML", {"inner_learning_rate": 0.01}, family="sinusoid", shots=3, queries=3, tasks=2,
    steps=12, every=4, validation=4, outer=("Adam", 1e-2, "cosine"),
)  # fmt: skip
TESTS = tuple(
    Test(f"after {steps} steps", 3, ways=1, queries=5, published=2.0, episodes=6, inner_steps=steps)
    for steps in (1, 3)
)
TINY = Row("Nobody 2000", "None.", "nowhere", "Everything.", TRAINING, TESTS)


def train(folder, hours=TRAINING.cpu_hours):
    """The result of a run in a folder, or of what is left of it."""
    from benchmarks import paper_training
    from benchmarks.run_folder import RunFolder

    run = RunFolder(folder, repr(TRAINING))
    return paper_training.run(TINY, TRAINING, run, 0, None, "tiny", hours)


def main(folder, step):
    from benchmarks import paper_training
    from tfmeta.engine import fitting

    class Killed(paper_training.Watch):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == step:
                os.kill(os.getpid(), signal.SIGKILL)

    paper_training.Watch = Killed
    fitting._suits_xla = lambda *_: False  # as in quick tests, see conftest.py
    train(folder)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
