"""Policies against published figures: what they earn in tasks that they were not trained on.

    python -m benchmarks.policies                     # every row, with results/policies.json
    python -m benchmarks.policies --rows bandits-5-10

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


def trained(arms, pulls, steps, seed):
    """An `RL2` trained on bandits, and the CPU seconds that it took."""
    environment = tfmeta.environments.bandits(arms, pulls)
    keras.utils.set_random_seed(seed)
    learner = tfmeta.learners.RL2(environment, decay=0.95, entropy_weight=0.02)
    rate = keras.optimizers.schedules.PolynomialDecay(5e-3, steps, 5e-3 / 30)
    learner.compile(keras.optimizers.Adam(rate))
    start = time.process_time()
    tasks = environment.tasks(meta_batch_size=1000, seed=seed)
    learner.fit(tasks, epochs=10, steps_per_epoch=steps // 10, verbose=2)
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


def measure(name, steps, seed):
    """One row, a dict."""
    arms, pulls = ROWS[name]
    learner, seconds = trained(arms, pulls, steps, seed)
    environment = learner.environment
    tasks = environment.tasks(meta_batch_size=1000, seed=TEST_SEED)
    report = tfmeta.evaluation.evaluate_returns(learner, tasks, TEST_TASKS)
    chances = environment.parameters(np.arange(TEST_TASKS), TEST_SEED).numpy()
    sampled = tfmeta.evaluation.EvaluationReport(thompson_sampling(chances, pulls), "return")
    published = dict(zip(("rl2", "gittins", "random"), PUBLISHED[arms, pulls], strict=True))
    return {
        "return": report.mean, "interval": report.interval, "tasks": TEST_TASKS,
        "thompson_sampling": sampled.mean, "published": published, "outer_steps": steps,
        "seed": seed, "cpu_seconds": seconds, "machine": machine(),
        "versions": with_tfmeta.VERSIONS,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    path = options.output
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in options.rows.split(","):
        results[name] = measure(name, options.steps, options.seed)
        print(name, json.dumps(results[name]))
        path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
