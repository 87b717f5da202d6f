"""Two workers against one, a core each; and on paper, a meta-batch of 1,024 tasks on many workers.

    python -m benchmarks.several_workers [--steps 20] [--tasks 8] [--rounds 3]

MAML on strided Conv4-64, 5-way 1-shot on the glyphs. One worker takes outer steps of `--tasks`
tasks on core 0; then two workers take steps of twice as many, on cores 0 and 1. Efficiency is the
time of the former step by that of the latter. The two also time TensorFlow's all-reduce, the lowest
of 200 each. Writes benchmarks/results/several_workers.json, with the share of the machine that
others had: where that is large, wall time says nothing, and the efficiency in CPU time is an upper
bound. `python -m benchmarks.write_readme` makes of these times, and those of results/speed.json, a
table of what more workers would bring.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time

from benchmarks.cases import CASES, first_weights
from benchmarks.machine import busy_share, machine

RESULTS = pathlib.Path(__file__).parent / "results"
SIZES = (1, 10_000, 120_000, 1_000_000)  # floats of an all-reduce
# Name -> (seconds that a message takes, bytes a second).
NETWORKS = {
    "1 Gbit/s": (100e-6, 0.125e9),
    "10 Gbit/s": (30e-6, 1.25e9),
    "100 Gbit/s": (10e-6, 12.5e9),
}
# Of benchmarks.speed.
PAPER = ("omniglot-stride-1", "omniglot-5", "miniimagenet-5")
TASKS = 1024  # of the meta-batch on paper
STATISTICS = 8  # of BatchNormalization in Conv4, each reduced by itself


def train(options):
    """Seconds of outer steps in this worker, `{"wall": [...], "cpu": [...]}`."""
    import keras

    import tfmeta

    strategy = tfmeta.distribution.join(300)
    workers = strategy.num_replicas_in_sync
    with strategy.scope():
        network = tfmeta.networks.conv4((28, 28, 1), 5, downsample="stride")
        learner = tfmeta.learners.MAML(network, inner_learning_rate=0.4)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        learner.compile("adam", loss, metrics=["accuracy"])
    share = tfmeta.distribution.share(options.tasks * workers)
    data = tfmeta.datasets.glyphs("train")
    episodes = tfmeta.episodes.classification(data, ways=5, shots=1, queries=5, **share)
    ends = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(
            (time.perf_counter(), time.process_time())
        )
    )
    warm = 3
    learner.fit(episodes, steps_per_epoch=options.steps + warm, verbose=0, callbacks=[watch])
    pairs = list(zip(ends[warm - 1 :], ends[warm:], strict=False))
    found = {k: [b[i] - a[i] for a, b in pairs] for i, k in enumerate(("wall", "cpu"))}
    return found | ({"all_reduce": all_reduce(strategy)} if workers > 1 else {})


def all_reduce(strategy, repeats=200):
    """Number of floats -> seconds of one all-reduce, the lowest: of a machine that is in use."""
    import tensorflow as tf

    found = {}
    for size in SIZES:

        def reduce(size=size):
            context = tf.distribute.get_replica_context()
            return context.all_reduce("SUM", tf.ones([size]))

        run = tf.function(lambda reduce=reduce: strategy.run(reduce), autograph=False)
        run()
        taken = []
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
        found[str(size)] = min(taken)
    return found


def start(workers, options):
    """What each of so many workers, on a core of its own, says."""
    sockets = [socket.socket() for _ in range(workers)]
    for one in sockets:
        one.bind(("localhost", 0))
    hosts = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    command = [sys.executable, "-m", "benchmarks.several_workers", "--worker"]
    command += ["--steps", str(options.steps), "--tasks", str(options.tasks)]
    processes = []
    for index in range(workers):
        task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(task), "CORE": str(index)}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    said = [process.communicate(timeout=3600)[0] for process in processes]
    return [json.loads(text.splitlines()[-1]) for text in said]


def measure(options):
    busy, rounds = [], []
    for _ in range(options.rounds):
        busy.append(busy_share())
        one, two = start(1, options)[0], start(2, options)
        median = {
            kind: (statistics.median(one[kind]), max(statistics.median(w[kind]) for w in two))
            for kind in ("wall", "cpu")
        }
        rounds.append(
            {"one_s": median["wall"][0], "two_s": median["wall"][1],
             "one_cpu_s": median["cpu"][0], "two_cpu_s": median["cpu"][1],
             "all_reduce_s": two[0]["all_reduce"]}
        )  # fmt: skip
        print(rounds[-1], flush=True)
    efficiency = {
        name: statistics.median(r[f"one_{kind}"] / r[f"two_{kind}"] for r in rounds)
        for name, kind in (("efficiency", "s"), ("efficiency_cpu", "cpu_s"))
    }
    print(efficiency, "others had", [round(b, 2) for b in busy])
    found = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "busy": busy}
    return found | {"tasks": options.tasks, "steps": options.steps, "rounds": rounds} | efficiency


def step_seconds(workers, tasks, task_s, floats, network, own_s):
    """An outer step on paper: `(seconds of computing, seconds of communication)`.

    A ring of W workers passes 2 (W - 1) messages, each of a W-th of the numbers. Gradients are one
    all-reduce, logs another, and each statistic of BatchNormalization one more.

    Args:
        workers: W.
        tasks: of the meta-batch.
        task_s: seconds that one worker takes for one task.
        floats: numbers in the outer gradient.
        network: seconds that a message takes on the way, bytes a second.
        own_s: seconds that TensorFlow takes for a message, without the way.
    """
    compute = -(-tasks // workers) * task_s
    if workers == 1:
        return compute, 0.0
    message, bandwidth = network
    hops = 2 * (workers - 1)
    waiting = (2 + STATISTICS) * hops * (message + own_s)
    return compute, waiting + hops / workers * 4 * floats / bandwidth


def table(measured):
    """What was measured, in Markdown."""
    lines = [
        "| round | one worker, s a step | two workers | efficiency | in CPU time | "
        "all-reduce of 1 number | of 1,000,000 |",
        "|---|---|---|---|---|---|---|",
    ]
    for i, r in enumerate(measured["rounds"]):
        times = [f"{1000 * r['all_reduce_s'][str(n)]:.2f} ms" for n in (SIZES[0], SIZES[-1])]
        steps = f"{r['one_s']:.2f} | {r['two_s']:.2f}"
        lines.append(
            f"| {i + 1}, others had {measured['busy'][i]:.0%} | {steps} | "
            f"{r['one_s'] / r['two_s']:.2f} | {r['one_cpu_s'] / r['two_cpu_s']:.2f} | "
            f"{' | '.join(times)} |"
        )
    return "\n".join(lines)


def paper(measured, speed):
    """What 1,024 tasks would cost on many workers, in Markdown.

    Args:
        measured: the figures of this benchmark.
        speed: those of `benchmarks.speed`.
    """
    # A ring of two passes two messages.
    own_s = min(r["all_reduce_s"]["1"] for r in measured["rounds"]) / 2
    lines = [
        "| case | network | 1 worker | 16 workers | 64 workers | of it communication | "
        "speed-up by 64 | twice as many pay until |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in PAPER:
        floats = sum(weights.size for weights in first_weights(CASES[case]).values())
        task_s = speed[case]["contenders"]["tfmeta"]["step_s"]["median"] / CASES[case].tasks
        for name, network in NETWORKS.items():
            parts = {
                2**k: step_seconds(2**k, TASKS, task_s, floats, network, own_s) for k in range(11)
            }
            total = {workers: sum(part) for workers, part in parts.items()}
            pays = max([1, *(2 * w for w in list(total)[:-1] if total[w] / total[2 * w] >= 1.5)])
            lines.append(
                f"| {case} | {name} | {total[1]:.1f} s | {total[16]:.2f} s | {total[64]:.2f} s | "
                f"{parts[64][1] / total[64]:.0%} | {total[1] / total[64]:.0f} | {pays} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=8, help="of each worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        os.sched_setaffinity(0, {int(os.environ["CORE"])})  # before TensorFlow counts the cores
        print(json.dumps(train(options)))
    else:
        found = measure(options)
        (RESULTS / "several_workers.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
