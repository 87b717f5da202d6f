"""How fast this machine could take a case's outer steps, if nothing but the arithmetic counted.

    python -m benchmarks.limit [CASE ...]

The time of the convolutions and matrix products of a step run alone, inside one `tf.function`;
normalisation, ReLU, pooling, loss and optimizer count as nothing, so no implementation reaches it.
Twice:

- "tasks_per_s": at the rate (FLOP/s) that each layer has on the query sets of all tasks together
  with shared weights, the largest, and so the fastest, batch of the case.
- "same_shapes_tasks_per_s": with the shapes of the step, the rows of one task to weights of its
  own, all tasks at a time: as one grouped kernel or one kernel a task, whichever is faster.

The FLOPs: one unit is a layer's forward pass, 2 FLOPs for each multiplication with its addition.

| pass | units | first layer |
|---|---|---|
| forward y = x*w | 1 | 1 |
| backward: input gradient dx(dy, w), filter gradient dw(x, dy) | 1 + 1 | 0 + 1 |
| backward of the forward pass: to x, to w | 1 + 1 | 0 + 1 |
| backward of dx: to dy, to w | 1 + 1 | 0 |
| backward of dw: to x, to dy | 1 + 1 | 0 + 1 |

A query example takes the first two rows: 3 units, 2 in the first layer, whose input needs no
gradient. A support example of a second-order step takes them all: 9 and 4. In ProtoNet and
R2D2 support and query take the first two rows.
"""

import argparse
import functools
import json
import time

import tensorflow as tf

from benchmarks.cases import CASES, layers

QUERY, QUERY_FIRST = 3, 2
SUPPORT, SUPPORT_FIRST = 9, 4


def task_flops(case):
    """FLOPs of the convolutions and matrix products of one task of an outer step."""
    support, query = case.ways * case.shots, case.ways * case.queries
    total = 0
    for i, layer in enumerate(layers(case)):
        query_units, support_units = (QUERY, SUPPORT) if i else (QUERY_FIRST, SUPPORT_FIRST)
        if case.learner in ("protonet", "r2d2"):
            support_units = query_units
        units = case.inner_steps * support * support_units + query * query_units
        total += 2 * layer.macs * units
    return total


def dense(x, w, first):
    y = tf.matmul(x, w)
    found = [y, tf.matmul(x, y, transpose_a=True)]
    return found if first else [*found, tf.matmul(y, w, transpose_b=True)]


def convolution(x, w, first, stride):
    """Forward, filter gradient and, unless `first`, input gradient; grouped if `w` is."""
    y = tf.nn.conv2d(x, w, stride, "SAME")
    strides = {"strides": [1, stride, stride, 1], "padding": "SAME", "out_backprop": y}
    found = [y, tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=w.shape, **strides)]
    if not first:
        found.append(tf.raw_ops.Conv2DBackpropInput(input_sizes=x.shape, filter=w, **strides))
    return found


def with_sides(case):
    """Pairs of a layer and the `(height, width)` of its inputs."""
    sides, after = case.input_shape[:2], 2 if case.downsample == "pool" else 1
    for layer in layers(case):
        yield layer, sides
        sides = (layer.height // after, layer.width // after)


def passes(layer, sides, first, tasks=1, grouped=False):
    """`(run, x_shape, w_shape)`: a function of x and w, and the shapes it takes for one row."""
    if len(layer.kernel) == 2:
        run = functools.partial(dense, first=first)
        return run, (tasks, 1, layer.kernel[0]), (tasks, *layer.kernel)
    one = functools.partial(convolution, first=first, stride=layer.stride)
    *field, inputs, outputs = layer.kernel
    if grouped:
        return one, (1, *sides, tasks * inputs), (*field, inputs, tasks * outputs)

    def run(x, w):
        return [t for i in range(tasks) for t in one(x[i], w[i])]

    return run, (tasks, 1, *sides, inputs), (tasks, *layer.kernel)


def layer_seconds(layer, sides, first, rows, tasks=1, grouped=False, seconds=0.2, repeats=3):
    """Seconds that the passes of one layer take, the shortest of some repeats.

    Args:
        layer: a `Layer`.
        sides: `(height, width)` of its inputs.
        first: True for the first layer, whose input needs no gradient.
        rows: rows of one task.
        tasks: number of tasks, each with weights of its own.
        grouped: True for one kernel for all tasks.
        seconds: of a measurement.
        repeats: number of measurements.
    """
    pass_once, x_shape, w_shape = passes(layer, sides, first, tasks, grouped)
    at = 0 if grouped else 1
    x = tf.random.stateless_normal((*x_shape[:at], rows, *x_shape[at + 1 :]), (0, 1))
    w = tf.random.stateless_normal(w_shape, (0, 2))

    @tf.function
    def run(times):
        total = tf.constant(0.0)
        for _ in tf.range(times):
            # Weights that depend on the last turn, results that are used: nothing is left out.
            results = pass_once(x, w + 1e-30 * total)
            total += 1e-30 * tf.reduce_sum(tf.stack([tf.reshape(r, [-1])[0] for r in results]))
        return total

    def measured(times):
        began = time.perf_counter()
        run(tf.constant(times)).numpy()
        return (time.perf_counter() - began) / times

    measured(1)
    times = max(1, round(seconds / measured(3)))
    return min(measured(times) for _ in range(repeats))


def same_shapes_seconds(case):
    """Seconds of one outer step's kernels, each task with its own rows and weights."""
    total = 0
    for i, (layer, sides) in enumerate(with_sides(case)):
        support, query = case.ways * case.shots, case.ways * case.queries
        # Of the support set's units, as many go to each kind of pass.
        turns = case.inner_steps * (2 if i == 0 else 3)
        for rows, times in ((support, turns), (query, 1)):
            designs = (False, True) if len(layer.kernel) == 4 else (False,)
            total += times * min(
                layer_seconds(layer, sides, i == 0, rows, case.tasks, grouped)
                for grouped in designs
            )
    return total


def limit(case):
    """The figures of one case, a dict for JSON."""
    rows = case.tasks * case.ways * case.queries
    flops = seconds = 0
    rates = {}
    for i, (layer, sides) in enumerate(with_sides(case)):
        took = layer_seconds(layer, sides, i == 0, rows)
        work = 2 * layer.macs * rows * (QUERY if i else QUERY_FIRST)
        rates[layer.name] = work / took / 1e9
        flops, seconds = flops + work, seconds + took
    task = task_flops(case)
    found = {
        "task_gflop": task / 1e9,
        "gflop_per_s": flops / seconds / 1e9,
        "tasks_per_s": flops / seconds / task,
        "layers_gflop_per_s": rates,
    }
    if case.learner == "maml":
        found["same_shapes_tasks_per_s"] = case.tasks / same_shapes_seconds(case)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    for name in parser.parse_args().cases:
        print(json.dumps({"case": name, **limit(CASES[name])}), flush=True)


if __name__ == "__main__":
    main()
