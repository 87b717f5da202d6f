# %% [markdown]
# # HalfCheetah, forwards or backwards
# Two legs of a cheetah, simulated by MuJoCo, that has to run: in which direction, only the reward
# says. One idea more than in the navigation of tutorial 11: the environment is one of Gymnasium,
# which knows nothing of this library, and runs on the host.
#
#     pip install -e ".[rl,plots]" "gymnasium[mujoco]"
#     python tutorials/13_half_cheetah.py
#
# Expect, after 120 outer steps and 4 minutes of CPU, a first glimpse. On 40 tasks: returns of -10.5
# ± 2.1 before adaptation, -3.7 ± 3.6 and -0.8 ± 3.1 after 1 and 3 gradient steps; the first one
# gains 6.9 ± 4.0. The cheetah does not run by then, but leans to where it is paid. The paper trains
# for 800 steps of 40 tasks with 20 runs of 200 steps, which is ten hours of CPU or more here.

# %%
import argparse
import pathlib
import time

import keras
import numpy as np
from matplotlib.figure import Figure

import tfmeta

parser = argparse.ArgumentParser(description="Run in a direction that nobody tells")
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--steps", type=int, default=10, help="outer steps an epoch")
parser.add_argument("--tasks", type=int, default=10, help="tasks of an outer step")
parser.add_argument("--trajectories", type=int, default=10, help="runs of each task, twice")
parser.add_argument("--horizon", type=int, default=50, help="steps of a run; the paper: 200")
parser.add_argument("--test-episodes", type=int, default=40, help="tasks to be tested on")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("outputs"))
options = parser.parse_args()
keras.utils.set_random_seed(options.seed)
options.output.mkdir(parents=True, exist_ok=True)
start = time.process_time()

# %% [markdown]
# **The family** is Gymnasium's HalfCheetah-v5 with a direction for each task, 1 or -1: the reward
# of a step is the speed in that direction, minus what the motors cost. `parameters` of another
# kind, `{"velocity": (0.0, 2.0)}`, ask for a speed; a function of your own asks for anything else.

# %%
environment = tfmeta.environments.gymnasium(
    "HalfCheetah-v5", {"direction": [-1.0, 1.0]}, horizon=options.horizon, ctrl_cost_weight=0.05
)
tasks = environment.tasks(options.trajectories, options.tasks, seed=options.seed)

# %% [markdown]
# **The learner** is that of tutorial 11. `return_before` in the logs cannot rise much, since one
# policy cannot run in both directions; `return`, after one gradient step, can.

# %%
learner = tfmeta.learners.MAMLTRPO(environment, inner_learning_rate=0.1, max_kl=0.03)
learner.compile()
history = learner.fit(tasks, epochs=options.epochs, steps_per_epoch=options.steps, verbose=2)

# %% [markdown]
# **Tasks with other random numbers**, after 0 to 3 gradient steps. A return is the sum of the
# rewards of a run.

# %%
test_tasks = environment.tasks(options.trajectories, 20, seed=1000)
numbers = np.arange(options.test_episodes)
direction = environment.parameters(numbers, seed=1000)["direction"].numpy()
reports = [
    tfmeta.evaluation.evaluate_returns(
        learner, test_tasks, options.test_episodes, inner_steps=steps
    )
    for steps in range(4)
]
for steps, report in enumerate(reports):
    print(f"after {steps} steps: {report}")
print(f"gained by the first step: {reports[1].difference(reports[0])}")

# %% [markdown]
# **A picture:** what was earned in training before and after a gradient step, and of the test tasks
# what those of each direction earn.

# %%
figure = Figure(figsize=(9, 3.5), layout="constrained")
training, test = figure.subplots(1, 2)
outer_steps = options.steps * (1 + np.arange(options.epochs))
for name, label in (("return_before", "before"), ("return", "after a gradient step")):
    training.plot(outer_steps, history.history[name], label=label)
training.set(xlabel="outer steps", ylabel="return")
training.legend()
for way, name in ((1, "forwards"), (-1, "backwards")):
    of_way = [report.scores[direction == way].mean() for report in reports if way in direction]
    test.plot(range(len(of_way)), of_way, "o-", label=name)
test.set(xlabel="gradient steps", ylabel="return", xticks=range(4))
test.legend()
figure.savefig(options.output / "half_cheetah.png", dpi=120)
print(f"picture: {options.output}/half_cheetah.png")
environment.close()
print(f"{(time.process_time() - start) / 60:.1f} minutes of CPU")
