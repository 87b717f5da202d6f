"""Policies against published figures: what they earn in tasks that they were not trained on.

    python -m benchmarks.policies                     # every row, into results/policies.json
    python -m benchmarks.policies --rows bandits-5-10,grid

A row trains a policy with the settings here, and scores it on 10,000 tasks with another seed.
Beside it stand the published figures, and on the same tasks those of `policy_baselines`. Rows of
`benchmarks.navigation` have a protocol of their own.
"""

import argparse
import json
import pathlib
import time
from typing import Any, NamedTuple

import keras
import numpy as np

import tfmeta
from benchmarks import navigation
from benchmarks import policy_baselines as baselines
from benchmarks.machine import machine
from benchmarks.workers import with_tfmeta
from tfmeta.environments import bandits, grid_navigation, tabular_mdps
from tfmeta.evaluation import EvaluationReport, evaluate_returns

RESULTS = pathlib.Path(__file__).parent / "results" / "policies.json"
TEST_TASKS, TEST_SEED = 10_000, 99


class Row(NamedTuple):
    """A policy to train.

    Attributes:
        environment: the family of its tasks.
        published: figures of papers, by name.
        arguments: of the learner's constructor.
        learner: name of its class.
        tasks: a meta-batch.
        steps: outer steps.
        rate: of Adam at first; it falls in a line to a thirtieth.
        entropy: `entropy_weight` at first and at last, in a line, too.
        before: rows whose weights this one goes on from, one after the other; of shorter trials.
        jit_compile: whether XLA compiles an outer step: 1.7 times as fast, the first slower.
    """

    environment: Any
    published: dict
    arguments: dict
    learner: str = "RL2"
    tasks: int = 1000
    steps: int = 2500
    rate: float = 5e-3
    entropy: tuple = (0.02, 0.002)
    before: tuple = ()
    jit_compile: bool = False


def _bandit(arms, pulls, rl2, gittins, random, **settings):
    """A row of Duan et al. 2016, table 1."""
    published = {"rl2": rl2, "gittins": gittins, "random": random}
    return Row(bandits(arms, pulls), published, {"decay": 0.95}, **settings)


def _long_bandit(arms, rl2, gittins, steps):
    """A row of 100 pulls, which goes on from 10 and 30 of them: so few are learned sooner."""
    row = _bandit(arms, 100, rl2, gittins, 49.9, tasks=200, steps=steps, rate=3e-3)
    few = row._replace(environment=bandits(arms, 10), tasks=1000, steps=1000, rate=5e-3)
    more = row._replace(environment=bandits(arms, 30), tasks=400, steps=600, entropy=(5e-3, 2e-3))
    return row._replace(entropy=(5e-3, 1e-3), before=(few, more))


OF_GRID = {"goal known": 11.07}  # of an episode, by counting steps
ROWS = {
    "bandits-5-10": _bandit(5, 10, 6.7, 6.6, 5.0)._replace(entropy=(0.02, 0.02)),
    "bandits-10-10": _bandit(10, 10, 6.7, 6.6, 5.0)._replace(entropy=(0.02, 0.02)),
    "bandits-5-100": _long_bandit(5, 78.7, 78.3, 1200),
    "bandits-10-100": _bandit(10, 100, 83.5, 82.8, 49.9, tasks=200, steps=2400),
    # Of ten episodes, as shares of value iteration: Duan et al., table 2.
    "mdp": Row(
        tabular_mdps(),
        {"rl2": 0.752, "psrl": 0.665, "ucrl2": 0.706, "random": 0.482},
        arguments={"decay": 0.3},
        tasks=150,
        steps=1200,
        entropy=(0.005, 0.002),
    ),
    "grid": Row(
        grid_navigation(),
        OF_GRID,
        arguments={"decay": 0.95},
        tasks=128,
        steps=1500,
        entropy=(0.03, 0.03),
    ),
}
ROWS["grid-varibad"] = ROWS["grid"]._replace(learner="VariBAD")


def trained(row, seed):
    """A learner that was trained as a row says, and the CPU seconds that it took."""
    keras.utils.set_random_seed(seed)
    seconds, weights = 0.0, None
    for stage in (*row.before, row):
        learner, more = _trained_on(stage, seed, weights)
        weights, seconds = learner.trainable_variables, seconds + more
    return learner, seconds


def _trained_on(row, seed, weights):
    """One stage, from weights, None for new ones."""
    line, steps = keras.optimizers.schedules.PolynomialDecay, row.steps
    arguments = {"entropy_weight": line(row.entropy[0], steps, row.entropy[1])} | row.arguments
    learner = getattr(tfmeta.learners, row.learner)(row.environment, **arguments)
    optimizer = keras.optimizers.Adam(line(row.rate, steps, row.rate / 30))
    learner.compile(optimizer, jit_compile=row.jit_compile)
    start = time.process_time()
    stream = row.environment.tasks(meta_batch_size=row.tasks, seed=seed)
    learner.prepare(stream)
    for variable, value in zip(learner.trainable_variables, weights or [], strict=False):
        variable.assign(value)
    learner.fit(stream, epochs=10, steps_per_epoch=steps // 10, verbose=2)
    return learner, time.process_time() - start


def measure(row, seed):
    """What a row's policy earns, and what others do: a dict."""
    learner, seconds = trained(row, seed)
    environment = row.environment
    tasks = environment.tasks(meta_batch_size=1000, seed=TEST_SEED)
    task = environment.parameters(np.arange(TEST_TASKS), TEST_SEED)
    report = evaluate_returns(learner, tasks, TEST_TASKS)
    found = {"return": report.mean, "interval": report.interval}
    if environment.episodes > 1:
        reports = [
            evaluate_returns(learner, tasks, TEST_TASKS, episode=e)
            for e in range(environment.episodes)
        ]
        found["return_of_episode"] = [r.mean for r in reports]
        found["interval_of_episode"] = [r.interval for r in reports]
    if isinstance(environment, type(bandits())):
        found["baselines"] = of_bandits(task.numpy(), environment.pulls)
    if isinstance(environment, type(tabular_mdps())):
        found |= of_mdps(report, task.rewards.numpy(), task.transitions.numpy(), environment)
    return found | {
        "published": row.published, "learner": row.learner, "arguments": row.arguments,
        "entropy_weight": row.entropy, "tasks_a_step": row.tasks, "outer_steps": row.steps,
        "steps_of_shorter_trials": [stage.steps for stage in row.before], "cpu_seconds": seconds,
    }  # fmt: skip


def of_bandits(chances, pulls):
    """Mean total rewards, and their intervals, of strategies that know how tasks are drawn."""
    found = {}
    for choose in (baselines.gittins, baselines.thompson_sampling):
        returns = baselines.play_bandits(choose, chances, pulls).sum(axis=1)
        report = EvaluationReport(returns, "return")
        found[choose.__name__] = [report.mean, report.interval]
    return found


def of_mdps(report, rewards, transitions, environment):
    """Shares of what value iteration earns in expectation, and their intervals.

    Value iteration knows the task, and looks ahead to the end of an episode; discounted by 0.99,
    its figure is 4 % lower, and so are shares of it 4 % higher: `share_of_discounted`.
    """
    horizon, episodes = environment.horizon, environment.episodes
    best, discounted = (
        episodes * baselines.value_iteration(rewards, transitions, horizon, discount)[1][:, 0]
        for discount in (1.0, 0.99)
    )
    returns = {"policy": report.scores}
    for plan in (baselines.psrl, baselines.random_choice):
        played = baselines.play_mdps(plan, rewards, transitions, horizon, episodes)
        returns[plan.__name__] = played.sum(axis=1)
    shares = {name: _share(scores, best) for name, scores in returns.items()}
    of_discounted = {name: _share(scores, discounted) for name, scores in returns.items()}
    return {"value_iteration": best.mean(), "share": shares, "share_of_discounted": of_discounted}


def _share(scores, best):
    """`[mean share, half its 95 % interval]` of the sum of all tasks, by the delta method."""
    share = scores.mean() / best.mean()
    return [share, EvaluationReport((scores - share * best) / best.mean(), "share").interval]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", default=",".join([*ROWS, *navigation.ROWS]))
    parser.add_argument("--steps", type=int, help="outer steps, in place of the row's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    path = options.output
    for name in options.rows.split(","):
        if name in navigation.ROWS:
            found = navigation.measure(name, options.steps, options.seed)
            name += f"-seed-{options.seed}" * (options.seed > 0)
        else:
            row = ROWS[name]
            found = measure(row._replace(steps=options.steps or row.steps), options.seed)
            found["tasks"] = TEST_TASKS
        facts = {"machine": machine(), "versions": with_tfmeta.VERSIONS}
        found |= {"seed": options.seed} | facts
        print(name, json.dumps(found))
        results = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(results | {name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
