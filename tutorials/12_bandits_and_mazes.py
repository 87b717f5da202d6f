# %% [markdown]
# # Bandits and mazes: policies that learn by living
# A policy is given no examples of its task. RL2 is a recurrent network that lives through a task's
# episodes, sees what it did and what that paid, and so learns what the task is; the outer loop
# trains it to learn well. One idea more than before: the data is what the learner lives through.
#
#     pip install -e ".[plots]"
#     python tutorials/12_bandits_and_mazes.py
#
# Expect, after 1.5 minutes of CPU, 6.54 ± 0.10 of ten pulls on unseen bandits, with a regret of 1.8
# where Thompson sampling has 2.5; and in mazes never seen 0.52 ± 0.02 in the first episode, 0.82 ±
# 0.01 in the second and third, when it knows the way.

# %%
import argparse
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

from tfmeta.environments import bandits, mazes
from tfmeta.evaluation import evaluate_returns
from tfmeta.learners import RL2

parser = argparse.ArgumentParser(description="Policies for bandits, and for mazes never seen")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--steps", type=int, default=200, help="outer steps an epoch")
parser.add_argument("--test-episodes", type=int, default=2000, help="tasks to score on")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("outputs"))
options = parser.parse_args()
options.output.mkdir(parents=True, exist_ok=True)
start = time.process_time()


# %% [markdown]
# **Training** is Keras's, on the tasks of a family; an `entropy_weight` that falls keeps choices
# open at first.


# %%
def trained(environment, meta_batch_size, entropy, decay):
    keras.utils.set_random_seed(options.seed)
    steps = options.epochs * options.steps
    line = keras.optimizers.schedules.PolynomialDecay
    learner = RL2(environment, decay=decay, entropy_weight=line(entropy, steps, entropy / 10))
    learner.compile(keras.optimizers.Adam(line(5e-3, steps, 2e-4)))
    tasks = environment.tasks(meta_batch_size=meta_batch_size, seed=options.seed)
    learner.fit(tasks, epochs=options.epochs, steps_per_epoch=options.steps, verbose=2)
    return learner


def unseen(environment):
    return environment.tasks(meta_batch_size=min(500, options.test_episodes), seed=1000)


# %% [markdown]
# **Bandits**: five arms of unknown worth, ten pulls. To pull the arm that paid best so far is to
# miss better ones; to try them all is to waste pulls. Thompson sampling knows how arms are drawn,
# keeps the posterior of each, and pulls the best of one draw. The regret of a pull is how much less
# the arm pays in expectation than the best one.

# %%
arms, pulls = 5, 10
bandit = trained(bandits(arms, pulls), 500, 0.02, 0.95)
report = evaluate_returns(bandit, unseen(bandit.environment), options.test_episodes)
print(f"RL2 on unseen bandits, {pulls} pulls: {report}")

numbers = np.arange(options.test_episodes)
chances = bandit.environment.parameters(numbers, seed=1000)
trial, _ = tf.function(bandit.roll)(chances, tf.constant(numbers))
chances = chances.numpy()


def thompson(chances):
    """Arms `[pulls, tasks]` that Thompson sampling pulls."""
    random, rows, chosen = np.random.default_rng(options.seed), np.arange(len(chances)), []
    paid, failed = np.ones((2, *chances.shape))
    for _ in range(pulls):
        chosen.append(random.beta(paid, failed).argmax(axis=1))
        reward = random.random(len(chances)) < chances[rows, chosen[-1]]
        paid[rows, chosen[-1]] += reward
        failed[rows, chosen[-1]] += ~reward
    return np.array(chosen)


def regret(chosen):
    """Mean regret up to each pull."""
    missed = chances.max(axis=1) - chances[np.arange(len(chances)), chosen]
    return missed.mean(axis=1).cumsum()


random_arms = np.random.default_rng(options.seed).integers(arms, size=(pulls, len(chances)))
curves = {
    "RL2": regret(np.array(trial.actions)),
    "Thompson sampling": regret(thompson(chances)),
    "random": regret(random_arms),
}
for name, curve in curves.items():
    print(f"{name}: regret {curve[-1]:.2f} after {pulls} pulls")

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for (name, curve), style in zip(curves.items(), ("o-", "s--", ":"), strict=True):
    axes.plot(np.arange(1, pulls + 1), curve, style, label=name)
axes.set(xlabel="pull", ylabel="regret so far", title=f"{arms} arms that were never pulled before")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(options.output / "regret.png", dpi=120)

# %% [markdown]
# **Mazes**, each drawn anew: walls and a goal that is not shown. An agent sees its cell and which
# ways are open. It has to look for the goal in the first episode, and to go there in the later
# ones. The state of the network is all it has to remember the way with.

# %%
maze = trained(mazes(size=4, horizon=16, episodes=3), 100, 0.03, 0.9)
environment = maze.environment
for episode in range(environment.episodes):
    report = evaluate_returns(maze, unseen(environment), options.test_episodes, episode=episode)
    print(f"mazes never seen, episode {episode + 1}: {report}")

# %% [markdown]
# **What it does** in one maze that it was never in. The picture has the path of each episode; the
# GIF shows the first episode, and then the last.

# %%
shown = 64
tasks = environment.parameters(np.arange(shown), seed=2000)
lived, _ = tf.function(maze.roll)(tasks, tf.range(shown, dtype=tf.int64))
count, horizon, size = environment.episodes, environment.horizon, environment.size
mask = np.array(lived.mask).reshape(count, horizon, shown)
done = np.array(lived.done).reshape(count, horizon, shown).any(axis=1)
seen = np.array(lived.observations).reshape(count, horizon, shown, -1)
cells = np.stack([seen[..., :size].argmax(-1), seen[..., size : 2 * size].argmax(-1)], axis=-1)
lengths = mask.sum(axis=1).astype(int)
# Of these, the maze where it found the goal late at first, and soonest after that, in comparison.
number = int(np.argmax(done[0] * done[-1] * (lengths[0] - lengths[-1])))
walls, goal = np.array(tasks.open)[number], np.array(tasks.goal)[number]


def path_of(episode):
    """Cells of an episode, with the goal if it was found."""
    path = list(cells[episode, : lengths[episode, number], number])
    return np.array([*path, goal] if done[episode, number] else path)


def draw(axes, path, title):
    """The walls, the goal, and a path whose last cell is where the agent is."""
    ends = {0: ((0, 1), (1, 1)), 1: ((1, 0), (1, 1)), 2: ((0, 0), (1, 0)), 3: ((0, 0), (0, 1))}
    for x, y in np.ndindex(size, size):
        for way, corners in ends.items():
            if not walls[x, y, way]:
                sides = np.add(corners, (x - 0.5, y - 0.5))
                axes.plot(*sides.T, color="black", lw=2)
    axes.plot(*goal, "*", color="#E69F00", markersize=18)
    axes.plot(*path.T, color="#0072B2", lw=3, alpha=0.5)
    axes.plot(*path[-1], "o", color="#D55E00", markersize=10)
    axes.set(title=title, aspect="equal")
    axes.axis("off")


figure = Figure(figsize=(3 * count, 3.3), layout="constrained")
for episode, axes in enumerate(figure.subplots(1, count)):
    path = path_of(episode)
    draw(axes, path, f"episode {episode + 1}: {len(path) - 1} steps")
figure.savefig(options.output / "maze.png", dpi=120)

# %%
from matplotlib.animation import FuncAnimation, PillowWriter

frames = [
    (episode, t + 1)
    for episode in (0, count - 1)
    for t in [*range(len(path_of(episode))), *[len(path_of(episode)) - 1] * 4]
]
figure = Figure(figsize=(3.2, 3.5))
axes = figure.subplots()


def show(frame):
    axes.clear()
    episode, length = frame
    draw(axes, path_of(episode)[:length], f"episode {episode + 1}, step {length - 1}")


FuncAnimation(figure, show, frames, cache_frame_data=False).save(
    options.output / "maze.gif", PillowWriter(fps=4)
)
print(f"pictures: {options.output}/regret.png, {options.output}/maze.png")
print(f"in motion: {options.output}/maze.gif")
print(f"{(time.process_time() - start) / 60:.1f} minutes of CPU")
