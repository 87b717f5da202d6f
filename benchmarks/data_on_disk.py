"""Episodes from pictures that memory does not hold: memory, first episode, rate, and what is left.

    python -m benchmarks.data_on_disk --folder DIR [--pictures 400000] [--keep]

Writes a folder of JPEGs of 100x100x3 (2,000 different ones, over and over), makes the cache of
`from_folder` in a process of its own, and measures another that reads it. Rates are episodes per
CPU second of the whole process, its threads included, and so say the same on a machine that does
other things; the two that are compared take turns. `DIR` is removed at the end.
"""

import argparse
import gc
import io
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import threading
import time

import numpy as np

from benchmarks.machine import busy_share, machine, memory

RESULTS = pathlib.Path(__file__).parent / "results" / "data_on_disk.json"
SIZE, PER_CLASS, DIFFERENT, SEED = 100, 100, 2000, 0
EPISODES = {"ways": 5, "shots": 1, "queries": 15, "meta_batch_size": 4}
LARGE_EPISODES = {"ways": 20, "shots": 5, "queries": 15, "meta_batch_size": 1}


def write_pictures(folder, pictures):
    """Noisy gradients, `PER_CLASS` a class; about 2 kB each."""
    from PIL import Image

    rng, encoded = np.random.default_rng(SEED), []
    place = np.linspace(0, 1, SIZE)
    for _ in range(DIFFERENT):
        waves = [
            np.outer(np.sin(a * place + b), np.cos(c * place + d))
            for a, b, c, d in rng.uniform(0, 9, (3, 4))
        ]
        pixels = 127 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 4, (SIZE, SIZE, 3))
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=75)
        encoded.append(file.getvalue())
    for number in range(pictures):
        path = folder / f"class{number // PER_CLASS:05}" / f"{number % PER_CLASS:03}.jpg"
        if number % PER_CLASS == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(encoded[rng.integers(DIFFERENT)])


def make(folder):
    """Makes the cache, as the first call of a user does."""
    from tfmeta.datasets import from_folder

    began, cpu = time.perf_counter(), time.process_time()
    from_folder(folder / "pictures", image_size=SIZE, cache=folder / "cache")
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "bytes_beside_page_cache": own_memory(),
    }


def own_memory():
    """Bytes of this process that are no mapped file."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0]) * 1024


def rate(iterator, number, each):
    """Episodes per CPU second of this process."""
    began = time.process_time()
    for _ in range(number):
        next(iterator)
    return number * each / (time.process_time() - began)


def compared(streams, each, number, repeats=3):
    """Medians of the rates of streams that take turns, and the ratio of the first to the last."""
    iterators = {name: iter(stream) for name, stream in streams.items()}
    rates = {name: [] for name in streams}
    for repeat in range(repeats + 1):
        for name, iterator in iterators.items():
            found = rate(iterator, number, each)
            rates[name] += [found] if repeat else []  # the first fills the buffers
    found = {name: float(np.median(r)) for name, r in rates.items()}
    first, *_, last = found.values()
    return {"episodes_per_cpu_second": found, "ratio": first / last}


def read(folder):
    """Everything that is measured once the cache is there."""
    before = own_memory()
    began = time.perf_counter()
    from tfmeta import datasets, episodes

    imported = time.perf_counter() - began
    began, cpu = time.perf_counter(), time.process_time()
    on_disk = datasets.from_folder(folder / "pictures", image_size=SIZE, cache=folder / "cache")
    opened = time.perf_counter() - began
    next(iter(episodes.classification(on_disk, **EPISODES)))
    first = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    first |= {"of_which_opening": opened, "import_seconds": imported, "imported_bytes": before}
    part = on_disk.subset(range(80))  # 240 MB: as a whole in memory, and warm on disk
    in_memory = datasets.from_arrays(part.x[:].copy(), part.class_ids)
    streams = {
        "disk": episodes.classification(part, **EPISODES),
        "memory": episodes.classification(in_memory, **EPISODES),
    }
    same = all(
        (a.query.x == b.query.x).numpy().all()
        for a, b in zip(streams["disk"].take(5), streams["memory"].take(5), strict=True)
    )
    result = {"first_episode": first, "same_episodes": same}
    result["warm"] = compared(streams, EPISODES["meta_batch_size"], 20)
    del in_memory, streams
    whole = iter(episodes.classification(on_disk, **EPISODES))
    result["whole_set"] = {"episodes_per_cpu_second": rate(whole, 60, 4)}
    result["bytes_beside_page_cache"] = own_memory()
    result["peak_bytes_with_page_cache"] = memory()["peak"]
    result["variable_sizes"] = variable_sizes()
    result["left_after_20_pipelines"] = left_after_20_pipelines(on_disk)
    print(json.dumps(result), file=sys.stderr, flush=True)  # MAML takes the longest
    result["maml"] = maml_rate(on_disk)
    result["maml"]["data_are_faster_by"] = (
        result["whole_set"]["episodes_per_cpu_second"] / result["maml"]["episodes_per_cpu_second"]
    )
    return result


def variable_sizes():
    """Ways and shots that vary, at 84x84x3, against the largest."""
    from tfmeta import datasets, episodes

    x = np.random.default_rng(SEED).integers(0, 256, (4000, 84, 84, 3), np.uint8)
    dataset = datasets.from_arrays(x, np.repeat(np.arange(100), 40))
    vary = {"ways": (5, 20), "shots": (1, 5)}
    each = {f"{name} vary": {name: sizes} for name, sizes in vary.items()}
    streams = {
        name: episodes.classification(dataset, **LARGE_EPISODES | how)
        for name, how in ({"ways and shots vary": vary} | each | {"fixed": {}}).items()
    }
    found = compared(streams, 1, 15)
    rates = found["episodes_per_cpu_second"]
    return found | {f"ratio_{n}": rates[f"{n} vary"] / rates["fixed"] for n in vary}


def left_after_20_pipelines(dataset):
    """Threads and open files that twenty pipelines leave behind."""
    from tfmeta import episodes

    def there():
        gc.collect()
        return np.array([threading.active_count(), *(len(os.listdir(f"/proc/self/{d}"))
                         for d in ("task", "fd"))])  # fmt: skip

    next(iter(episodes.classification(dataset, **EPISODES)))
    before = there()
    for seed in range(20):
        next(iter(episodes.classification(dataset, **EPISODES, seed=seed)))
    names = ("python_threads", "threads", "files")
    return dict(zip(names, (there() - before).tolist(), strict=True))


def maml_rate(dataset):
    """What second-order MAML on Conv4 takes of the same episodes."""
    import keras

    import tfmeta

    learner = tfmeta.learners.MAML(tfmeta.networks.conv4((SIZE, SIZE, 3), 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    learner.compile("adam", loss)
    stream = tfmeta.episodes.classification(dataset, **EPISODES)
    learner.fit(stream, steps_per_epoch=1, verbose=0)
    began = time.process_time()
    learner.fit(stream, steps_per_epoch=2, verbose=0)
    return {"episodes_per_cpu_second": 2 * 4 / (time.process_time() - began)}


def in_process_of_its_own(part, folder):
    command = [sys.executable, "-m", "benchmarks.data_on_disk", "--part", part]
    done = subprocess.run([*command, "--folder", folder], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.decode().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="not there yet")
    parser.add_argument("--pictures", type=int, default=400_000)
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    parser.add_argument("--part", choices=("make", "read"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps({"make": make, "read": read}[options.part](options.folder)))
        return
    import keras
    import tensorflow as tf

    busy = busy_share()
    if not (options.folder / "pictures").exists():
        write_pictures(options.folder / "pictures", options.pictures)
    made = in_process_of_its_own("make", options.folder)
    result = {
        "pictures": options.pictures,
        "shape": [SIZE, SIZE, 3],
        "cache_bytes": (options.folder / "cache" / "x.bin").stat().st_size,
        "episodes": EPISODES,
        "large_episodes": LARGE_EPISODES,
        "seed": SEED,
        "make": made,
        **in_process_of_its_own("read", options.folder),
        "machine": machine(),
        "busy_share_before": busy,
        "versions": {
            "python": platform.python_version(), "numpy": np.__version__,
            "tensorflow": tf.__version__, "keras": keras.__version__,
        },
    }  # fmt: skip
    if not options.keep:
        shutil.rmtree(options.folder)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
