# %% [markdown]
# # Navigation
# A policy that has to find out where to go. In each task a point walks from the middle of a square
# to a goal that it is not shown; all it gets is a reward, minus the distance, at each step. MAML
# looks for weights from which one policy gradient step on 20 walks is worth most: one idea more
# than before is that a learner's data are what it does.
#
#     pip install -e ".[plots]"
#     python tutorials/11_navigation.py
#
# Expect, after 7 to 9 minutes of CPU, a mean return of -38.9 ± 4.5 before adaptation, of
# -10.6 ± 2.0 after one step, -8.4 ± 1.6 after two and -6.6 ± 1.2 after three; who is told the goal
# earns -2.3.

# %%
import argparse
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import tfmeta

parser = argparse.ArgumentParser(description="Walk to goals that nobody shows")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--steps", type=int, default=10, help="outer steps an epoch")
parser.add_argument("--tasks", type=int, default=20, help="goals of an outer step")
parser.add_argument("--test-episodes", type=int, default=40, help="goals to be tested on")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("outputs"))
options = parser.parse_args()
keras.utils.set_random_seed(options.seed)
options.output.mkdir(parents=True, exist_ok=True)
start = time.process_time()

# %% [markdown]
# **The family of environments.** A task is a goal. `environment.tasks` stands where episodes stood
# before: it draws goals, and numbers for the randomness of the walks, 20 to adapt on and 20 that
# are scored. What is in a walk depends on the policy, and is lived through inside the training
# step, all goals and walks at once.

# %%
environment = tfmeta.environments.point_navigation()
tasks = environment.tasks(trajectories=20, meta_batch_size=options.tasks, seed=options.seed)
test_tasks = environment.tasks(trajectories=40, meta_batch_size=10, seed=99)

# %% [markdown]
# **The learner.** An inner step is REINFORCE with a linear baseline; an outer step is five of Adam
# on the same walks, clipped where they would move the policies too far. It is trained for one inner
# step; those that come after the first are small, to improve on it.

# %%
learner = tfmeta.learners.ProMP(environment, inner_learning_rate=(0.5, 0.05), decay=0.95)
updates = options.epochs * options.steps * learner.optimizer_steps
rate = keras.optimizers.schedules.PolynomialDecay(2e-3, updates, 1e-4)
learner.compile(keras.optimizers.Adam(rate))
learner.fit(tasks, epochs=options.epochs, steps_per_epoch=options.steps, verbose=2)

# %% [markdown]
# **Goals that were never met**, after 0 to 3 steps, though it was trained for one. A return is the
# sum of the rewards of a walk of 100 steps.

# %%
names = ["before", "after 1 step", "after 2 steps", "after 3 steps"]
for steps in range(4):
    report = tfmeta.evaluation.evaluate_returns(
        learner, test_tasks, options.test_episodes, inner_steps=steps
    )
    print(f"{names[steps]}: {report}")

# %% [markdown]
# **A picture**, as in the paper: 8 walks to each of 3 goals (the crosses), before and after
# each step. `learner.trial` gives what the rows of a meta-batch live through.

# %%
few = next(iter(environment.tasks(trajectories=20, meta_batch_size=3, seed=2000)))
goals = np.asarray(few.query.x["task"][:, 0])


@tf.function
def lived_after_each_step(tasks):
    return [learner.trial(tasks, inner_steps=steps) for steps in range(4)]


walks = []
for lived in lived_after_each_step(few):
    places = np.asarray(lived.observations).reshape(-1, 3, 20, 2)[:, :, :8]
    alive = np.asarray(lived.mask).reshape(-1, 3, 20, 1)[:, :, :8]
    walks.append(np.where(alive > 0, places, np.nan))
figure = Figure(figsize=(11, 8.5), layout="constrained")
COLORS = ("#0072B2", "#D55E00", "#009E73")
for row, (goal, color) in enumerate(zip(goals, COLORS, strict=True)):
    for steps in range(4):
        axes = figure.add_subplot(3, 4, 4 * row + steps + 1)
        for walk in range(8):
            axes.plot(*walks[steps][:, row, walk].T, color=color, alpha=0.6, linewidth=0.8)
        axes.plot(0, 0, "ko", markersize=4)
        axes.plot(*goal, "kx", markersize=10, markeredgewidth=2.5)
        axes.set(xlim=(-0.7, 0.7), ylim=(-0.7, 0.7), aspect="equal", xticks=[], yticks=[])
        if row == 0:
            axes.set_title(names[steps])
figure.savefig(options.output / "navigation.png", dpi=120)
print(f"picture: {options.output}/navigation.png")

# %% [markdown]
# **The same, moving.** Each point is one walk.

# %%
figure = Figure(figsize=(10, 2.9), layout="constrained")
FigureCanvasAgg(figure)
panels = figure.subplots(1, 4)
points = []
for steps, axes in enumerate(panels):
    axes.set(xlim=(-0.7, 0.7), ylim=(-0.7, 0.7), aspect="equal", xticks=[], yticks=[])
    axes.set_title(names[steps])
    for goal, color in zip(goals, COLORS, strict=True):
        axes.plot(*goal, "x", color=color, markersize=10, markeredgewidth=2.5)
        points.append(axes.plot([], [], "o", color=color, markersize=4, alpha=0.7)[0])


def show(t):
    for i, point in enumerate(points):
        point.set_data(*walks[i // 3][t, i % 3].T)
    return points


for walk in walks:  # who arrived stays there
    for t in range(1, len(walk)):
        walk[t] = np.where(np.isnan(walk[t]), walk[t - 1], walk[t])
animation = FuncAnimation(figure, show, frames=range(0, environment.horizon, 2), blit=True)
animation.save(options.output / "navigation.gif", PillowWriter(fps=12), dpi=80)
print(f"animation: {options.output}/navigation.gif")
print(f"{(time.process_time() - start) / 60:.1f} minutes of CPU")
