"""What the speed benchmark compares is the same computation, and its limit counts right."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import speed_report
from benchmarks.cases import (
    CASES,
    OMNIGLOT,
    SINUSOID,
    all_arrays,
    first_weights,
    layers,
    meta_batch,
    outer_weights,
)
from benchmarks.contenders import chosen
from benchmarks.limit import passes, task_flops, with_sides
from benchmarks.workers import with_tensorflow, with_tfmeta

SMALL = {
    "mlp": dataclasses.replace(SINUSOID, tasks=3, inner_steps=2),
    "stride": dataclasses.replace(
        OMNIGLOT, input_shape=(14, 14, 1), width=4, tasks=2, downsample="stride"
    ),
    "pool": dataclasses.replace(OMNIGLOT, input_shape=(16, 16, 1), width=4, tasks=2),
}


@pytest.mark.parametrize("name", ["mlp", "pool", pytest.param("stride", marks=pytest.mark.slow)])
def test_the_plain_loop_takes_the_gradient_of_tfmeta(name):
    case = SMALL[name]
    arrays = {**first_weights(case), **meta_batch(case)}
    plain = with_tensorflow.FunctionLoop(case, arrays, {})
    plain.first_step()
    ours = with_tfmeta.Tfmeta(case, arrays, {})
    ours.first_step()
    expected, found = plain.first_moment(), ours.first_moment()
    assert list(found) == list(expected) == list(first_weights(case))
    expected, found = (np.concatenate([m.ravel() for m in d.values()]) for d in (expected, found))
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].network in ("mlp", "conv4")])
def test_cases_have_weights_for_every_layer_of_the_network(name):
    case = CASES[name]
    model = with_tfmeta.network(case, first_weights(case))
    shapes = {with_tfmeta.name(v): tuple(v.shape) for v in model.trainable_variables}
    assert shapes == {k: v.shape for k, v in first_weights(case).items()}
    for layer in layers(case):
        if layer.name.startswith("conv"):
            assert model.get_layer(layer.name).output.shape[1:3] == (layer.height, layer.width)


@pytest.mark.parametrize("name", ["lstm", "cnp", "tnp", "r2d2"])
def test_first_weights_are_those_of_the_learner(name):
    case = dataclasses.replace(CASES[name], tasks=2)
    arrays = all_arrays(case)
    learner = with_tfmeta.learner_of(case, arrays)
    names = [with_tfmeta.name(v) for v in learner.trainable_variables]
    if name != "r2d2":
        names = with_tfmeta.context_names(case, learner)
    weights = dict(zip(names, learner.trainable_variables, strict=True))
    without = {"r2d2/output_offset"} if name == "r2d2" else set()  # it moves all logits
    assert {*weights} - {*outer_weights(case)} == without
    for key, expected in outer_weights(case).items():
        np.testing.assert_array_equal(weights[key], expected)


def test_flops_of_one_linear_layer_by_hand():
    # Forward, filter gradient; of the support also backward of the forward pass, to the weights,
    # and of the filter gradient, to the outputs' gradient.
    case = dataclasses.replace(SINUSOID, shots=3, queries=7, inner_steps=2)
    first, *rest = layers(case)
    macs, others = first.macs, sum(layer.macs for layer in rest)
    assert (macs, others) == (40, 40 * 40 + 40)
    query, support = 2 * macs + 3 * others, 4 * macs + 9 * others
    assert task_flops(case) == 2 * (7 * query + 2 * 3 * support)


@pytest.mark.parametrize("name", ["sinusoid-5", "omniglot-1", "omniglot-stride-1"])
def test_passes_alone_have_the_shapes_of_the_network(name):
    case = CASES[name]
    for i, (layer, sides) in enumerate(with_sides(case)):
        for grouped in (False, True) if len(layer.kernel) == 4 else (False,):
            run, x_shape, w_shape = passes(layer, sides, i == 0, 2, grouped)
            found = run(tf.zeros(x_shape), tf.zeros(w_shape))
            sizes = [int(tf.size(t)) for t in found]
            # Of both tasks: outputs, gradients of the weights, gradients of the inputs.
            expected = [
                2 * layer.height * layer.width * layer.kernel[-1],
                2 * np.prod(layer.kernel),
            ]
            expected += [np.prod(x_shape)] if i else []
            assert sum(sizes) == sum(expected)


def test_macs_of_a_convolution_by_hand():
    conv1, conv2, *_ = layers(OMNIGLOT)
    assert conv1.macs == 28 * 28 * 9 * 1 * 64
    assert conv2.macs == 14 * 14 * 9 * 64 * 64


def test_contenders_of_a_case():
    assert chosen("protonet", CASES["protonet"]) == ["tfmeta", "torch protonet"]
    assert chosen("r2d2", CASES["r2d2"]) == ["tfmeta", "torch r2d2"]
    assert chosen("tnp", CASES["tnp"]) == ["tfmeta", "torch", "jax"]
    assert chosen("mann", CASES["mann"]) == ["tfmeta"]
    assert "tf function loop" not in chosen("sinusoid-1-1000", CASES["sinusoid-1-1000"])
    names = chosen("sinusoid-1", CASES["sinusoid-1"], peers=False)
    assert names == ["tfmeta", "tf eager loop", "tf function loop"]


def test_a_contender_with_another_gradient_gets_no_ratio():
    contenders = {
        "tfmeta": {"tasks_per_s": 6.0, "agrees": True},
        "higher": {"tasks_per_s": 2.0, "agrees": True},
        "jax map": {"tasks_per_s": 99.0, "agrees": False},
        "jax vmap": {"error": "Stopped"},
    }
    limit = {"tasks_per_s": 12.0, "same_shapes_tasks_per_s": 8.0}
    result = {"limit": limit, "contenders": contenders}
    speed_report.add_ratios(result)
    row = speed_report.table({"case": result}).splitlines()[-1]
    assert row == "| case | 6.00 | 50% / 75% | - | - | - | - | 3.00x | - | - | - |"
