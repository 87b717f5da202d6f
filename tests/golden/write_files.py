"""Write a file, five training losses and the predictions of every learner.

What lies in `files/` and in `losses_4709efe.json` was written by commit 4709efe (version 0.1.0)
with this script. It is the yardstick for later versions, so do not write it anew with them:

    git worktree add /tmp/base 4709efe
    mkdir -p /tmp/base/tests/golden && cp tests/golden/*files.py /tmp/base/tests/golden
    cd /tmp/base && PYTHONPATH=.:tests python -m golden.write_files
"""

import json
import pathlib

import numpy as np
from golden.learners_of_files import LEARNERS, dataset, fit, outputs

FOLDER = pathlib.Path(__file__).parent


def main():
    """Write everything beside this script."""
    (FOLDER / "files").mkdir(exist_ok=True)
    losses, predictions = {}, {}
    for name, make in LEARNERS.items():
        learner, episode = make()
        losses[name] = fit(learner, episode)
        learner.save(FOLDER / "files" / f"{name}.keras")
        task = {
            "support_x": episode.support.x[0],
            "support_y": episode.support.y[0],
            "query_x": episode.query.x[0],
        }
        score = learner.evaluate(dataset(episode, 1), verbose=0, return_dict=True)
        task |= {"outputs": outputs(learner, **task), "evaluate_loss": np.float32(score["loss"])}
        predictions |= {f"{name}_{key}": value for key, value in task.items()}
        print(name, losses[name])
    (FOLDER / "losses_4709efe.json").write_text(json.dumps(losses, indent=1) + "\n")
    np.savez_compressed(FOLDER / "files" / "predictions.npz", **predictions)


if __name__ == "__main__":
    main()
