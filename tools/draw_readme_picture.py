"""Draw README's picture, `docs/pictures/adapt.png`: five letters, learned from one picture each.

    python tools/draw_readme_picture.py

MAML is meta-trained for 600 outer steps on Latin letters and digits. The task drawn is the first of
the test episodes, whatever became of it, and the curve is over all of them.
"""

import pathlib

import keras
import matplotlib.pyplot as plt
import numpy as np

import tfmeta

ROOT = pathlib.Path(__file__).resolve().parents[1]
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377")
STEPS, TEST_EPISODES, SHOWN = 600, 200, 6


def train():
    """A learner of five letters, after some meta-training."""
    network = tfmeta.networks.conv4((28, 28, 1), 5, filters=32, downsample="stride")
    learner = tfmeta.learners.MAML(network, inner_learning_rate=0.4, evaluation_steps=3)
    learner.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, STEPS)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    episodes = tfmeta.episodes.classification(
        tfmeta.datasets.glyphs("train"), ways=5, shots=1, queries=3, meta_batch_size=8
    )
    learner.fit(episodes, steps_per_epoch=STEPS, verbose=0)
    return learner


def letter(ax, picture, label, right=True):
    """One picture, in a frame of the colour of a class; a wrong one is struck through."""
    ax.imshow(picture.squeeze(), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set(color=COLORS[label], linewidth=3)
    if not right:
        ax.plot([0, 27], [27, 0], color="black", linewidth=1.5)


def draw(episode, labels, curve):
    """The figure: what is learned from, what is then named, and how well over many tasks."""
    support, query = episode
    figure = plt.figure(figsize=(9.5, 3.1), facecolor="white")
    grid = figure.add_gridspec(
        5, 3 + SHOWN + 1, width_ratios=[1, 1.7, *[1] * SHOWN, 1.9, 5.5], wspace=0.12, hspace=0.12,
        left=0.01, right=0.99, top=0.84, bottom=0.16,
    )  # fmt: skip
    for row in range(5):
        letter(figure.add_subplot(grid[row, 0]), support.x[support.y == row][0], row)
        of_class = np.flatnonzero(query.y == row)[:SHOWN]
        for column, i in enumerate(of_class):
            ax = figure.add_subplot(grid[row, 2 + column])
            letter(ax, query.x[i], labels[i], right=labels[i] == row)
    arrow = figure.add_subplot(grid[:, 1])
    arrow.annotate("", (0.92, 0.5), (0.08, 0.5), arrowprops={"arrowstyle": "-|>", "linewidth": 2.5})
    arrow.text(0.5, 0.56, "adapt", ha="center", family="monospace")
    arrow.set_axis_off()
    figure.text(0.01, 0.9, "one picture each", fontsize=11)
    figure.text(0.21, 0.9, "colour: what the adapted network says", fontsize=11)
    ax = figure.add_subplot(grid[:, -1])
    steps, mean, half = range(len(curve.mean)), 100 * curve.mean, 100 * curve.interval
    ax.plot(steps, mean, color=COLORS[0], marker="o")
    ax.fill_between(steps, mean - half, mean + half, color=COLORS[0], alpha=0.25)
    ax.axhline(20, color="gray", linestyle=":")
    ax.text(len(mean) - 1, 22, "chance", ha="right", color="gray")
    ax.set(ylim=(0, 100), xticks=steps, xlabel="gradient steps on the five pictures")
    ax.set_title(f"% right, {TEST_EPISODES} tasks of unseen scripts", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def main():
    keras.utils.set_random_seed(0)
    learner = train()
    test = tfmeta.episodes.classification(
        tfmeta.datasets.glyphs("test"), meta_batch_size=8, seed=2, count=TEST_EPISODES
    )
    curve = tfmeta.evaluation.score_curve(learner, test, 5, count=TEST_EPISODES, verbose=0)
    print("accuracy by step:", np.round(curve.mean, 4), "±", np.round(curve.interval, 4))
    support, query = (tfmeta.Examples(*[t[0].numpy() for t in part]) for part in next(iter(test)))
    outputs = learner.predict_query(learner.adapt(support), query.x)
    figure = draw((support, query), np.argmax(outputs, axis=-1), curve)
    figure.savefig(ROOT / "docs" / "pictures" / "adapt.png", dpi=110)


if __name__ == "__main__":
    main()
