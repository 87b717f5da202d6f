"""Draw `docs/pictures/augmented.png`: pictures of one set, and what Keras's layers make of them.

    python tools/draw_augmented.py

The pictures are glyphs of the package, each class in an ink and on a paper of its own. All rows but
the first are by `tfmeta.episodes.augmented`, of the same episode.
"""

import colorsys
import pathlib

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import tfmeta

ROOT = pathlib.Path(__file__).resolve().parents[1]
WAYS = 8
LAYERS = {
    "as it is": None,
    "RandomCrop(22, 22)": keras.layers.RandomCrop(22, 22),
    'RandomFlip("horizontal")': keras.layers.RandomFlip("horizontal"),
    "RandomColorJitter": keras.layers.RandomColorJitter(
        value_range=(0, 1), brightness_factor=0.2, contrast_factor=0.2, saturation_factor=(0.3, 0.7)
    ),
    "MixUp(0.8)": keras.layers.MixUp(0.8),
}


def coloured():
    """Glyphs as colour pictures, a `ClassDataset`: ink and paper go by the class."""
    glyphs = tfmeta.datasets.glyphs("train")
    random = np.random.default_rng(0)
    hues = random.random((glyphs.num_classes, 2))
    inks = np.array([colorsys.hsv_to_rgb(hue, 0.9, 0.7) for hue, _ in hues])
    papers = np.array([colorsys.hsv_to_rgb(hue, 0.3, 0.95) for _, hue in hues])
    ids = np.asarray(glyphs.class_ids)
    ink = np.asarray(glyphs.x[:], "float32").reshape(-1, 28, 28, 1)
    ink = ink / max(1.0, float(ink.max()))
    x = ink * inks[ids][:, None, None] + (1 - ink) * papers[ids][:, None, None]
    return tfmeta.datasets.from_arrays(np.rint(255 * x).astype(np.uint8), ids)


def one_hot(episode):
    """The labels as `MixUp` wants them."""
    return type(episode)(*(part._replace(y=tf.one_hot(part.y, WAYS)) for part in episode))


def rows():
    """The support sets of one episode: name of the layer -> `(pictures, labels)`."""
    episodes = tfmeta.episodes.classification(
        coloured(), ways=WAYS, shots=1, queries=1, meta_batch_size=1, seed=3
    ).map(one_hot)
    for name, layer in LAYERS.items():
        changed = episodes if layer is None else tfmeta.episodes.augmented(episodes, layer)
        support = next(iter(changed)).support
        yield name, support.x[0].numpy(), support.y[0].numpy()


def draw(found):
    figure, axes = plt.subplots(
        len(found), WAYS, figsize=(9.5, 5.2), facecolor="white",
        gridspec_kw={"left": 0.22, "right": 0.99, "top": 0.99, "bottom": 0.04, "hspace": 0.22},
    )  # fmt: skip
    for line, (name, pictures, labels) in zip(axes, found, strict=True):
        for ax, picture, label in zip(line, pictures, labels, strict=True):
            ax.imshow(np.clip(picture, 0, 1))
            ax.set(xticks=[], yticks=[])
            shares = [f"{share:.0%}" for share in sorted(label, reverse=True) if share > 0.005]
            if len(shares) > 1:  # a mixture
                ax.set_xlabel(" + ".join(shares), fontsize=8)
        line[0].set_ylabel(
            name, rotation=0, ha="right", va="center", labelpad=8, family="monospace", fontsize=9
        )
    return figure


def main():
    figure = draw(list(rows()))
    figure.savefig(ROOT / "docs" / "pictures" / "augmented.png", dpi=110)


if __name__ == "__main__":
    main()
