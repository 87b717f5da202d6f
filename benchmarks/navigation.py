"""Policies that learn a goal by gradient steps: return after each, on goals that are not shown.

    python -m benchmarks.policies --rows navigation-trpo

The protocol is that of the authors of MAML: 40 goals that no policy was trained on, 0 to 3 steps on
40 trajectories each. After the first step the rate is a tenth of what it was, chosen on other goals
(theirs: half). Beside it stand the means in the authors' result files, also of a policy that was
pretrained on all goals, of random weights, and of one that is told the goal.
"""

import time
from typing import Any, NamedTuple

import keras

import tfmeta
from tfmeta.environments import point_navigation
from tfmeta.evaluation import evaluate_returns

GOALS, STEPS, TEST_SEED = 40, 3, 99
#: After 0, 1, 2 and 3 steps, from the result files of cbfinn/maml_rl.
PUBLISHED = {
    "maml": [-40.41, -11.68, -3.33, -3.23],
    "pretrained": [-40.81, -19.73, -11.72, -8.47],
    "random": [-82.66, -57.96, -53.84, -46.81],
    "goal known": [-2.29],
}


class Row(NamedTuple):
    """A policy to train.

    Attributes:
        learner: name of its class.
        arguments: of the learner's constructor, besides those that all have.
        steps: outer steps.
        rate: of Adam, None for a learner without an optimizer; or at first and at last, in a line.
        tasks: goals of an outer step.
        trajectories: of each goal, to adapt on and to be scored on.
    """

    learner: str
    arguments: dict
    steps: int
    rate: Any = None
    tasks: int = 20
    trajectories: int = 20


OF_ALL = {"inner_learning_rate": (0.5, 0.05), "decay": 0.95}
ROWS = {
    "navigation-trpo": Row("MAMLTRPO", {"curvature_tasks": 10}, steps=140),
    "navigation-ppo": Row("MAMLPPO", {}, steps=40, rate=1e-3),
    "navigation-promp": Row("ProMP", {}, steps=300, rate=(2e-3, 1e-4)),
}


def trained(row, environment, steps, seed):
    """A learner after so many steps, and the CPU seconds that it took."""
    keras.utils.set_random_seed(seed)
    learner = getattr(tfmeta.learners, row.learner)(environment, **OF_ALL, **row.arguments)
    rate = row.rate
    if isinstance(rate, tuple):
        updates = steps * learner.optimizer_steps
        rate = keras.optimizers.schedules.PolynomialDecay(rate[0], updates, rate[1])
    learner.compile(*[] if rate is None else [keras.optimizers.Adam(rate)])
    start = time.process_time()
    tasks = environment.tasks(row.trajectories, row.tasks, seed=seed)
    learner.fit(tasks, epochs=max(steps // 10, 1), steps_per_epoch=min(steps, 10), verbose=2)
    return learner, time.process_time() - start


def measure(name, steps, seed):
    """Returns after 0 to 3 steps, and their intervals over the goals: a dict."""
    row, environment = ROWS[name], point_navigation()
    learner, seconds = trained(row, environment, steps or row.steps, seed)
    tasks = environment.tasks(40, 10, seed=TEST_SEED)
    reports = [evaluate_returns(learner, tasks, GOALS, inner_steps=k) for k in range(STEPS + 1)]
    return {
        "return_after_steps": [r.mean for r in reports],
        "interval_after_steps": [r.interval for r in reports],
        "published": PUBLISHED, "learner": row.learner, "arguments": OF_ALL | row.arguments,
        "rate": row.rate, "tasks_a_step": row.tasks, "trajectories": row.trajectories,
        "outer_steps": steps or row.steps, "cpu_seconds": seconds, "tasks": GOALS,
    }  # fmt: skip
