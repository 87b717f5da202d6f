"""Where the time of a tfmeta step goes, by kind of operation.

    python -m benchmarks.profile CASE [--task-batching loop] [--steps 20]

The step of `python -m benchmarks.speed`, under TensorFlow's profiler. Seconds are those of the
operations, added up over the threads that run at the same time; XLA's kernels (normalisation with
ReLU and pooling) are counted by their runs.
"""

import argparse
import collections
import pathlib
import re
import tempfile

import tensorflow as tf

from benchmarks.cases import CASES, first_weights, meta_batch
from benchmarks.workers.with_tfmeta import Tfmeta

KINDS = {
    "convolutions": r"Conv2D",
    "matrix products": r"MatMul",
    "normalisation, ReLU, pooling": r"BatchNorm|Relu|Pool|ExecuteAsyncOnStream",
    "sums": r"^(Sum|Mean|BiasAddGrad)$",
    "layout": r"Transpose|Reshape|Tile|Concat|Slice|Pack|Gather|TensorList",
}
# Containers of the operations above: their time would count twice.
CONTAINERS = r"^(Process|Run|Start|Done|Root|DoCompute|Compute|Prefetch|ForeverRepeat|Iterator)"


def operations(folder):
    """Name of an operation -> `[milliseconds, calls]`, out of the profiler's files."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found = collections.defaultdict(lambda: [0.0, 0])
    for file in pathlib.Path(folder).rglob("*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            for line in plane.lines:
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    # "node/name:Type"
                    kind = re.fullmatch(r".*:([A-Za-z0-9_]+)", name)
                    if kind and not re.match(CONTAINERS, kind[1]):
                        found[kind[1]][0] += event.duration_ps / 1e9
                        found[kind[1]][1] += 1
    return found


def by_kind(found):
    """Kind -> `[milliseconds, calls]`; what fits no kind is "the rest"."""
    total = {kind: [0.0, 0] for kind in (*KINDS, "the rest")}
    for name, (milliseconds, calls) in found.items():
        kind = next((k for k, pattern in KINDS.items() if re.search(pattern, name)), "the rest")
        total[kind][0] += milliseconds
        total[kind][1] += calls
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=[c for c in CASES if CASES[c].learner == "maml"])
    parser.add_argument("--task-batching", default="auto")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    case = CASES[options.case]
    arrays = {**first_weights(case), **meta_batch(case)}
    step = Tfmeta(case, arrays, {"learner": {"task_batching": options.task_batching}})
    for _ in range(2):
        step.run(options.steps)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            seconds = step.run(options.steps)
        found = operations(folder)
    print(f"{options.case}: {seconds / options.steps * 1e3:.1f} ms a step under the profiler")
    everything = sum(milliseconds for milliseconds, _ in found.values())
    print(f"{'ms a step':>12} {'share':>6} {'calls':>7}")
    for kind, (milliseconds, calls) in by_kind(found).items():
        share, per_step = milliseconds / everything, milliseconds / options.steps
        print(f"{per_step:12.2f} {share:6.0%} {calls / options.steps:7.0f}  {kind}")


if __name__ == "__main__":
    main()
