"""Train the network that ships with the page to draw on, tfmeta/demo/network.keras.

    python -m benchmarks.draw_network [--steps 2400] [--omniglot images_evaluation.zip] [--write]

The page's drawings are thin lines of one width; the glyphs of the package are print. So each glyph
is thinned to its middle line, which is warped as hands do, by an affine map and slow waves, and
drawn by the pen of the page (`tfmeta.demo.strokes`). ProtoNet is trained on Latin letters and
digits and scored on scripts that it has not seen; with `--omniglot`, the evaluation archive of
Omniglot (https://github.com/brendenlake/omniglot), on handwriting of 20 people, too.

Needs scikit-image. Prints the scores; `--write` writes the network, and the scores to
benchmarks/results/draw_network.json.
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
from tfmeta.demo import strokes
from tfmeta.demo.recognizer import NETWORK

RESULTS = pathlib.Path(__file__).parent / "results" / "draw_network.json"
SHOTS = (1, 3)
_FINER = 2  # the middle line is looked for in pictures of so many times the size


def middle_line(picture, finer=_FINER, ink=90):
    """Points `[points, 2]` (x, y) of the lines in the middle of what is drawn.

    Args:
        picture: uint8 `[H, W, 1]`, ink 255.
        finer: how many times finer than the pixels the points lie.
        ink: from which value on a pixel is ink; hairlines of print are pale.
    """
    from PIL import Image
    from skimage.morphology import skeletonize

    height, width = picture.shape[:2]
    large = Image.fromarray(picture[..., 0]).resize((width * finer, height * finer))
    rows, columns = np.nonzero(skeletonize(np.asarray(large) >= ink))
    return np.stack([columns, rows], axis=1).astype(np.float32) / (finer * max(height, width))


def by_hand(points, rng, much=1.0):
    """Points as another hand would have set them.

    Args:
        points: `[points, 2]`, in parts of the picture's side.
        rng: `numpy.random.Generator`.
        much: 0 changes nothing, 1 is as much as training sees.
    """
    angle = much * rng.uniform(-0.25, 0.25)
    across, down = np.exp(much * rng.uniform(-0.25, 0.25, 2))
    shear = much * rng.uniform(-0.35, 0.35)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (points - 0.5) @ (turn @ [[across, shear], [0, down]]).T
    for _ in range(3):  # slow waves: lines bend, corners shift
        way, move = rng.normal(size=(2, 2))
        phase = 2 * np.pi * (points @ way * 0.8 + rng.uniform())
        points = points + much * 0.025 * np.sin(phase)[:, None] * move
    return points.astype(np.float32)


def drawn(dataset, variations, rng):
    """A `ClassDataset` of the same characters, drawn by the pen of the page."""
    lines = [middle_line(picture) for picture in dataset.x]
    kept = [i for i, line in enumerate(lines) if len(line) > 1]
    pictures = [
        strokes.render(list(by_hand(lines[i], rng)[:, None]), strokes.PEN * rng.uniform(0.85, 1.2))
        for i in kept
        for _ in range(variations)
    ]
    class_ids = np.repeat(np.asarray(dataset.class_ids)[kept], variations)
    return tfmeta.ClassDataset(np.stack(pictures), class_ids, dataset.class_names)


def glyphs(split, variations=8, seed=0):
    """The glyphs of a split as they would be drawn on the page."""
    return drawn(
        tfmeta.datasets.glyphs(split, variations=0), variations, np.random.default_rng(seed)
    )


def handwriting(path):
    """Omniglot's characters, their lines drawn by the pen of the page: nothing is warped."""
    found = tfmeta.datasets.from_folder(path, channels=1)
    lines = [middle_line(255 - picture, finer=1, ink=128) for picture in found.x]
    pictures = [strokes.render(list(line[:, None]), strokes.PEN) for line in lines]
    return tfmeta.ClassDataset(np.stack(pictures), found.class_ids, found.class_names)


def learner(filters):
    return tfmeta.learners.ProtoNet(tfmeta.networks.conv4((28, 28, 1), None, filters=filters))


def train(options):
    """A trained ProtoNet, and the seconds of CPU that it took."""
    keras.utils.set_random_seed(options.seed)
    began = time.process_time()
    made = learner(options.filters)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, options.steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    episodes = tfmeta.episodes.classification(
        glyphs("train"), ways=20, shots=1, queries=4, meta_batch_size=1, seed=options.seed
    )
    made.fit(episodes, epochs=5, steps_per_epoch=options.steps // 5, verbose=2)
    return made, time.process_time() - began


def scores(made, sets, count):
    """Name -> accuracy and half its 95 % interval, in parts of one."""
    found = {}
    for name, dataset in sets.items():
        for shots in SHOTS:
            episodes = tfmeta.episodes.classification(
                dataset, ways=5, shots=shots, queries=5, seed=1000, count=count
            )
            report = tfmeta.evaluation.evaluate_episodes(made, episodes, count, verbose=0)
            print(f"{name}, 5-way {shots}-shot: {report}", flush=True)
            found[f"{name}, 5-way {shots}-shot"] = [report.mean, report.interval]
    return found


def write(made, filters):
    """The learner as it ships: without optimizer and metrics."""
    plain = learner(filters)
    plain.set_weights(made.get_weights())
    plain.save(NETWORK)
    print(f"{NETWORK}: {NETWORK.stat().st_size / 1000:.0f} kB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--filters", type=int, default=48)
    parser.add_argument("--count", type=int, default=1000, help="test episodes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", help="validation, to choose by")
    parser.add_argument("--omniglot", type=pathlib.Path, help="images_evaluation.zip")
    parser.add_argument("--write", action="store_true", help="the network, and its scores")
    options = parser.parse_args()
    made, seconds = train(options)
    print(f"trained in {seconds:.0f} s of CPU")
    sets = {"unseen scripts": glyphs(options.split, seed=1)}
    if options.omniglot:
        sets["handwriting"] = handwriting(options.omniglot)
    found = scores(made, sets, options.count)
    if options.write:
        write(made, options.filters)
        facts = {name: value for name, value in vars(options).items() if name != "omniglot"}
        results = {"machine": machine(), "versions": with_tfmeta.VERSIONS, **facts}
        results |= {"cpu_seconds": round(seconds), "figures": found}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
