"""tfmeta as a user runs it: `compile`, then `fit` on a `tf.data.Dataset` of episodes."""

import time

import keras
import numpy as np
import tensorflow as tf

import tfmeta
from benchmarks import cases_context
from benchmarks.workers.serve import LEARNING_RATE, Contender, serve

VERSIONS = {
    "tensorflow": tf.__version__,
    "keras": keras.__version__,
    "tfmeta": tfmeta.__version__,
    "numpy": np.__version__,
}


# Learner of a case -> name of the class, and arguments: the widths of `benchmarks.cases_context`.
CONTEXT = {
    "lstm": ("LSTMLearner", {}),
    "cnp": ("CNP", {}),
    "tnp": ("TNP", {}),
    "mann": ("MANN", {}),
    "snail": ("SNAIL", {}),
    "transformer": ("InContextTransformer", {}),
}


class Stopwatch(keras.callbacks.Callback):
    """The seconds of an epoch: what `fit` does once, before the first step, is not a step's."""

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.began


def network(case, arrays):
    """The case's network out of `tfmeta.networks`, with the case's first weights."""
    if case.network == "mlp":
        model = tfmeta.networks.mlp(case.input_shape, case.outputs, (case.width, case.width))
    else:
        model = tfmeta.networks.conv4(
            case.input_shape, case.outputs or None, case.width, case.downsample
        )
    for variable in model.trainable_variables:
        variable.assign(arrays[name(variable)])
    return model


def name(variable):
    """ "conv1/kernel", whatever the model around it is called."""
    return "/".join(variable.path.split("/")[-2:])


def meta_batch(arrays):
    """`tfmeta.Episode` of tensors `[tasks, rows, ...]`."""
    parts = []
    for part in ("support", "query"):
        x, y = (tf.constant(arrays[f"{part}_{axis}"]) for axis in "xy")
        parts.append(tfmeta.Examples(x, y, tf.ones(x.shape[:2])))
    return tfmeta.Episode(*parts)


def loss_of(case):
    if case.classifies:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.MeanSquaredError()


def learner_of(case, arrays, options=None):
    """The compiled learner. `options`: more arguments of the learner and of `compile`."""
    options = options or {}
    arguments = options.get("learner", {})
    if case.learner == "protonet":
        arguments = {"distance": "squared_euclidean", **arguments}  # as in PyTorch's
        learner = tfmeta.learners.ProtoNet(network(case, arrays), **arguments)
    elif case.learner == "optimizer":
        learner = tfmeta.learners.LearnedOptimizer(
            network(case, arrays),
            rule=tfmeta.learners.MLPRule(name="rule"),
            inner_steps=case.inner_steps,
            draw_weights=False,
            **arguments,
        )
        for variable in learner.trainable_variables:
            variable.assign(arrays[name(variable)])
    elif case.learner == "r2d2":
        scale = float(arrays["r2d2/output_scale"])
        learner = tfmeta.learners.R2D2(network(case, arrays), scale=scale, name="r2d2", **arguments)
    elif case.learner in cases_context.LEARNERS:
        learner = context_learner(case, arrays, arguments)
    else:
        learner = tfmeta.learners.MAML(
            network(case, arrays),
            inner_learning_rate=case.inner_learning_rate,
            inner_steps=case.inner_steps,
            transductive=True,
            **arguments,
        )
    learner.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=loss_of(case),
        steps_per_execution=case.steps_per_execution,
        **options.get("compile", {}),
    )
    return learner


def context_learner(case, arrays, arguments):
    """A learner that makes its layers on the first episode."""
    name, sizes = CONTEXT[case.learner]
    learner = getattr(tfmeta.learners, name)(**sizes, **arguments)
    from tfmeta.engine.building import build_on  # not in trees of before, which `against` measures

    build_on(learner, tf.nest.map_structure(lambda t: t[0], meta_batch(arrays)))
    names, variables = context_names(case, learner), learner.trainable_variables
    for key, variable in zip(names, variables, strict=True):
        variable.assign(arrays.get(key, variable))
    return learner


def context_names(case, learner):
    """The names of such a learner's weights in `cases_context`, which follow their order."""
    known = list(cases_context.shapes(case))
    return known or [v.path for v in learner.trainable_variables]


class Tfmeta(Contender):
    def __init__(self, case, arrays, options):
        self.case, self.learner = case, learner_of(case, arrays, options)
        self.steps_at_a_time = case.steps_per_execution
        self.episodes = tf.data.Dataset.from_tensors(meta_batch(arrays))

    def first_step(self):
        # One step alone, also with many steps per execution: the data end after it.
        self.learner.fit(self.episodes, verbose=0)

    def first_moment(self):
        variables = self.learner.trainable_variables
        moments = self.learner.optimizer._momentums
        names = map(name, variables)
        if self.case.learner in cases_context.LEARNERS:
            names = context_names(self.case, self.learner)
        return {k: m.numpy() for k, m in zip(names, moments, strict=True)}

    def run(self, steps):
        watch = Stopwatch()
        self.learner.fit(
            self.episodes.repeat(), steps_per_epoch=steps, verbose=0, callbacks=[watch]
        )
        return watch.seconds


if __name__ == "__main__":
    serve({"tfmeta": Tfmeta}, VERSIONS)
