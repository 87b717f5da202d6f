"""How fast this machine could take a case's outer steps, if nothing but the arithmetic counted.

    python -m benchmarks.limit [CASE ...]

The limit is the rate (FLOP/s) of the same convolutions and matrix products run alone, divided by
their FLOPs in one task. Normalisation, ReLU, pooling, loss and optimizer count as nothing, so no
implementation reaches it.

The rate: each layer's forward, input gradient and filter gradient in TensorFlow, inside one
`tf.function`, on the query sets of all tasks together with shared weights (the largest, and so the
fastest, batch of the case); all FLOPs over all seconds.

The FLOPs: one unit is a layer's forward pass, 2 FLOPs for each multiplication with its addition.

| pass | units | first layer |
|---|---|---|
| forward y = x*w | 1 | 1 |
| backward: input gradient dx(dy, w), filter gradient dw(x, dy) | 1 + 1 | 0 + 1 |
| backward of the forward pass: to x, to w | 1 + 1 | 0 + 1 |
| backward of dx: to dy, to w | 1 + 1 | 0 |
| backward of dw: to x, to dy | 1 + 1 | 0 + 1 |

A query example takes the first two rows: 3 units, 2 in the first layer, whose input needs no
gradient. A support example of a second-order step takes them all: 9 and 4. In a ProtoNet support
and query take the first two rows.
"""

import argparse
import json
import time

from benchmarks.cases import CASES, layers

QUERY, QUERY_FIRST = 3, 2
SUPPORT, SUPPORT_FIRST = 9, 4


def task_flops(case):
    """FLOPs of the convolutions and matrix products of one task of an outer step."""
    support, query = case.ways * case.shots, case.ways * case.queries
    total = 0
    for i, layer in enumerate(layers(case)):
        query_units, support_units = (QUERY, SUPPORT) if i else (QUERY_FIRST, SUPPORT_FIRST)
        if case.learner == "protonet":
            support_units = query_units
        units = case.inner_steps * support * support_units + query * query_units
        total += 2 * layer.macs * units
    return total


def layer_pass(layer, x_shape, first):
    """A function of x and w: forward, filter gradient and, unless `first`, input gradient."""
    import tensorflow as tf

    def dense(x, w):
        y = x @ w
        found = [y, tf.matmul(x, y, transpose_a=True)]
        return found if first else [*found, tf.matmul(y, w, transpose_b=True)]

    def convolution(x, w):
        strides = [1, layer.stride, layer.stride, 1]
        y = tf.nn.conv2d(x, w, strides, "SAME")
        found = [
            y,
            tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=w.shape, out_backprop=y, strides=strides, padding="SAME"
            ),
        ]
        if not first:
            found.append(
                tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=x_shape, filter=w, out_backprop=y, strides=strides, padding="SAME"
                )
            )
        return found

    return dense if len(x_shape) == 2 else convolution


def layer_seconds(layer, x_shape, first, seconds=0.2, repeats=3):
    """Seconds that the passes of one layer take, the shortest of some repeats."""
    import tensorflow as tf

    x = tf.random.stateless_normal(x_shape, (0, 1))
    w = tf.random.stateless_normal(layer.kernel, (0, 2))
    passes = layer_pass(layer, x_shape, first)

    @tf.function
    def run(times):
        total = tf.constant(0.0)
        for _ in tf.range(times):
            # Weights that depend on the last turn, results that are used: nothing is left out.
            results = passes(x, w + 1e-30 * total)
            total += 1e-30 * tf.reduce_sum(tf.stack([tf.reshape(r, [-1])[0] for r in results]))
        return total

    def measured(times):
        began = time.perf_counter()
        run(tf.constant(times)).numpy()
        return (time.perf_counter() - began) / times

    measured(1)
    times = max(1, round(seconds / measured(3)))
    return min(measured(times) for _ in range(repeats))


def limit(case):
    """`{"task_gflop", "gflop_per_s", "tasks_per_s", "layers"}`."""
    rows = case.tasks * case.ways * case.queries
    flops = seconds = 0
    rates, size = {}, case.input_shape
    for i, layer in enumerate(layers(case)):
        x_shape = (rows, *(size if len(layer.kernel) == 4 else layer.kernel[:1]))
        took = layer_seconds(layer, x_shape, first=not i)
        work = 2 * layer.macs * rows * (QUERY if i else QUERY_FIRST)
        rates[layer.name] = work / took / 1e9
        flops, seconds = flops + work, seconds + took
        after = 2 if case.downsample == "pool" else 1
        size = (layer.height // after, layer.width // after, layer.kernel[-1])
    task = task_flops(case)
    return {
        "task_gflop": task / 1e9,
        "gflop_per_s": flops / seconds / 1e9,
        "tasks_per_s": flops / seconds / task,
        "layers_gflop_per_s": rates,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    for name in parser.parse_args().cases:
        print(json.dumps({"case": name, **limit(CASES[name])}), flush=True)


if __name__ == "__main__":
    main()
