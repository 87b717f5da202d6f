"""Policies against published figures: what they earn in tasks that they were not trained on.

    python -m benchmarks.policies                     # every row, into results/policies.json
    python -m benchmarks.policies --rows bandits-5-10,grid

A row trains `RL2` with the settings here, and scores it on 10,000 tasks with another seed. Beside
it stand the published figures, and Thompson sampling on the same tasks.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np

import tfmeta
from benchmarks.machine import machine
from benchmarks.workers import with_tfmeta

RESULTS = pathlib.Path(__file__).parent / "results" / "policies.json"
TEST_TASKS, TEST_SEED = 10_000, 99

# Arms and pulls: RL2, the Gittins index and a random choice, Duan et al. 2016, table 1.
PUBLISHED = {
    (5, 10): (6.7, 6.6, 5.0),
    (10, 10): (6.7, 6.6, 5.0),
    (5, 100): (78.7, 78.3, 49.9),
    (10, 100): (83.5, 82.8, 49.9),
}
ROWS = {f"bandits-{arms}-{pulls}": (arms, pulls) for arms, pulls in PUBLISHED}


def trained(environment, steps, seed, tasks, entropy_weight):
    """An `RL2` after so many steps of so many tasks, and the CPU seconds that it took."""
    keras.utils.set_random_seed(seed)
    learner = tfmeta.learners.RL2(environment, decay=0.95, entropy_weight=entropy_weight)
    rate = keras.optimizers.schedules.PolynomialDecay(5e-3, steps, 5e-3 / 30)
    learner.compile(keras.optimizers.Adam(rate))
    start = time.process_time()
    stream = environment.tasks(meta_batch_size=tasks, seed=seed)
    learner.fit(stream, epochs=10, steps_per_epoch=steps // 10, verbose=2)
    return learner, time.process_time() - start


def thompson_sampling(chances, pulls, seed=0):
    """Returns `[tasks]` of drawing each arm's chance from its Beta posterior, the best one pulled.

    Args:
        chances: of the arms, `[tasks, arms]`.
    """
    rng = np.random.default_rng(seed)
    paid = np.ones((2, *chances.shape))  # successes and failures, and one of each
    rows, returns = np.arange(len(chances)), np.zeros(len(chances))
    for _ in range(pulls):
        arm = rng.beta(*paid).argmax(axis=1)
        reward = rng.random(len(chances)) < chances[rows, arm]
        paid[(~reward).astype(int), rows, arm] += 1
        returns += reward
    return returns


def measure_bandits(arms, pulls, steps, seed):
    """A row of the paper's table 1, a dict."""
    environment = tfmeta.environments.bandits(arms, pulls)
    learner, seconds = trained(environment, steps, seed, 1000, 0.02)
    report = tfmeta.evaluation.evaluate_returns(learner, unseen_tasks(environment), TEST_TASKS)
    chances = environment.parameters(np.arange(TEST_TASKS), TEST_SEED).numpy()
    sampled = tfmeta.evaluation.EvaluationReport(thompson_sampling(chances, pulls), "return")
    published = dict(zip(("rl2", "gittins", "random"), PUBLISHED[arms, pulls], strict=True))
    scores = {"return": report.mean, "interval": report.interval}
    return scores | {
        "thompson_sampling": sampled.mean, "published": published, "outer_steps": steps,
        "cpu_seconds": seconds,
    }  # fmt: skip


def measure_grid(steps, seed):
    """Returns of the four episodes of `grid_navigation`; 11.07 is the bound, the goal known."""
    environment = tfmeta.environments.grid_navigation()
    learner, seconds = trained(environment, steps, seed, 128, 0.03)
    reports = [
        tfmeta.evaluation.evaluate_returns(
            learner, unseen_tasks(environment), TEST_TASKS, episode=e
        )
        for e in range(environment.episodes)
    ]
    means, intervals = [r.mean for r in reports], [r.interval for r in reports]
    return {
        "return": means, "interval": intervals, "bound": 11.07, "outer_steps": steps,
        "cpu_seconds": seconds,
    }  # fmt: skip


def unseen_tasks(environment):
    """Tasks that no policy was trained on."""
    return environment.tasks(meta_batch_size=1000, seed=TEST_SEED)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", default=",".join([*ROWS, "grid"]))
    parser.add_argument("--steps", type=int, help="outer steps; 2,500, and 1,500 for the grid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    path = options.output
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in options.rows.split(","):
        if name == "grid":
            found = measure_grid(options.steps or 1500, options.seed)
        else:
            found = measure_bandits(*ROWS[name], options.steps or 2500, options.seed)
        facts = {"machine": machine(), "versions": with_tfmeta.VERSIONS}
        results[name] = found | {"tasks": TEST_TASKS, "seed": options.seed} | facts
        print(name, json.dumps(results[name]))
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
