# %% [markdown]
# # Uncertainty: know what you do not know
# A task seen at a few points leaves much open. Learners that predict distributions say how much:
# ALPaCA by a Bayesian linear regression on learned features, in closed form, PLATIPUS by samples
# of the weights that a task starts from. Three ideas: bands, whether they may be believed
# (coverage), and what they are good for: to ask for the label that tells most (active learning).
#
#     python tutorials/10_uncertainty.py
#
# Expect, on 600 new waves, that ALPaCA's intervals of 95 % hold 0.95 of the targets after 5 points
# (those of 50 %: 0.53), and that 4 labels which it chooses leave a mean squared error of 0.04
# where 4 random ones leave 0.10. PLATIPUS's intervals of 95 % hold 0.92 after these 2,000
# outer steps. Some 75 s of CPU.

# %%
import argparse
import pathlib
import time

import keras
import numpy as np

import tfmeta
from tfmeta.evaluation import Coverage, active_curve, evaluate_episodes

parser = argparse.ArgumentParser(description="Learners that predict distributions")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--steps", type=int, default=1000, help="outer steps an epoch")
parser.add_argument("--test-episodes", type=int, default=600)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("outputs"))
options = parser.parse_args()
keras.utils.set_random_seed(options.seed)
options.output.mkdir(parents=True, exist_ok=True)
count, cpu = options.test_episodes, time.process_time()

# %% [markdown]
# ALPaCA learns on waves with a little noise. How many points a task has changes from task to task,
# by the mask of its support set, so that it learns what to believe after one point and after ten.
# `Coverage` is a metric of Keras: the share of targets inside the interval of a level.

# %%
import tensorflow as tf


def some_points(episodes):
    """Leave a random number of each task's support points, at least one."""
    mask = episodes.support.mask
    kept = tf.random.uniform(tf.shape(mask)[:1], 1, tf.shape(mask)[1] + 1, tf.int32)
    mask *= tf.sequence_mask(kept, tf.shape(mask)[1], mask.dtype)
    return episodes._replace(support=episodes.support._replace(mask=mask))


train = tfmeta.episodes.sinusoid(shots=10, queries=20, meta_batch_size=20, noise=0.05)
network = tfmeta.networks.mlp((1,), None, hidden=(128, 128, 32), activation="tanh")
alpaca = tfmeta.learners.ALPaCA(network, noise=0.05, precision=0.01)
alpaca.compile(keras.optimizers.Adam(1e-3), metrics=[Coverage(0.95)])
alpaca.fit(train.map(some_points), epochs=options.epochs, steps_per_epoch=options.steps, verbose=2)

# %% [markdown]
# Are the bands to be believed? On new waves, after 5 points.

# %%
test = tfmeta.episodes.sinusoid(5, 50, 20, seed=1000, count=count, noise=0.05)
for level in (0.5, 0.95):
    covered = evaluate_episodes(alpaca, test, count, score=Coverage(level), verbose=0)
    print(f"ALPaCA, 5 points: {covered}", flush=True)

# %% [markdown]
# What they are good for: a wave is learned from labels that cost something. The learner asks for
# the point of a pool that it is least sure of; against it, the pool's points in their order,
# which is random. The same waves for both, so that the difference has an interval of its own.

# %%
pools = tfmeta.episodes.sinusoid(40, 50, 20, seed=2000, count=count, noise=0.05)
chosen, at_random = (active_curve(alpaca, pools, 8, count, at_random=r) for r in (False, True))
for labels in (2, 4, 6, 8):
    print(f"{labels} labels, chosen: {chosen.at(labels)}; at random: {at_random.at(labels)}")
    print(f"  {chosen.at(labels).difference(at_random.at(labels))}", flush=True)
curves = {"least certain": chosen, "at random": at_random}
picture = options.output / "uncertainty_active.png"
tfmeta.evaluation.plot_curve(curves, picture, "Which point to label next")

# %% [markdown]
# PLATIPUS on tasks that are ambiguous on purpose: three points with much noise, of a wave or of a
# line. Its samples are different functions near the same points, as in the paper's figure of the
# same task; after so few steps they are still too much alike.

# %%
family = tfmeta.episodes.mixture(tfmeta.episodes.sinusoid, tfmeta.episodes.line)
ambiguous = family(shots=3, queries=20, meta_batch_size=20, noise=0.3)
platipus = tfmeta.learners.PLATIPUS(
    tfmeta.networks.mlp((1,), 1, hidden=(40, 40)),
    inner_learning_rate=0.01, inner_steps=3, noise=0.3,
)  # fmt: skip
platipus.compile(keras.optimizers.Adam(1e-3), loss="mse")
platipus.fit(ambiguous, epochs=options.epochs, steps_per_epoch=options.steps, verbose=2)
test = family(3, 50, 20, seed=1000, count=count, noise=0.3)
covered = evaluate_episodes(platipus, test, count, score=Coverage(0.95), verbose=0)
print(f"PLATIPUS, 3 points: {covered}")

# %% [markdown]
# Bands of the one, samples of the other.

# %%
from matplotlib.figure import Figure

x = np.linspace(-5, 5, 200, dtype="float32")[:, None]
figure = Figure(figsize=(10, 6), layout="constrained")
panels = figure.subplots(2, 3, sharex=True)
wave = tfmeta.episodes.sinusoid(5, 50, 1, seed=7, count=1, noise=0.05)
for axis, points in zip(panels[0], (1, 3, 5), strict=True):
    episode = next(iter(wave))
    support = tfmeta.Examples(*(t[0, :points] for t in episode.support))
    mean, scale = (t[:, 0] for t in alpaca.predict_distribution(alpaca.adapt(support), x))
    axis.fill_between(x[:, 0], mean - 2 * scale, mean + 2 * scale, alpha=0.3)
    axis.plot(x, mean)
    axis.plot(episode.query.x[0], episode.query.y[0], ".", color="gray", markersize=3)
    axis.plot(support.x, support.y, "^", color="black")
    axis.set_title(f"ALPaCA, points: {points}, mean ± 2 sd")
for axis, episode in zip(panels[1], family(3, 50, 1, seed=5, count=3, noise=0.3), strict=True):
    support = tfmeta.Examples(*(t[0] for t in episode.support))
    samples = platipus.predict_particles(platipus.adapt(support), x)
    axis.plot(x, np.transpose(samples[:, :, 0]), lw=1)
    axis.plot(episode.query.x[0], episode.query.y[0], ".", color="gray", markersize=3)
    axis.plot(support.x, support.y, "^", color="black")
    axis.set_title("PLATIPUS: samples")
figure.savefig(options.output / "uncertainty_bands.png", dpi=120)
print(f"{time.process_time() - cpu:.0f} s of CPU")
print(f"pictures: {picture}, {options.output}/uncertainty_bands.png")
