"""MAML in plain TensorFlow: nested tapes, and a Python loop over the tasks. No tfmeta."""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import EPSILON, layers
from benchmarks.workers.serve import LEARNING_RATE, Contender, serve

VERSIONS = {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}


def forward(case, weights, x):
    """The network as a function of its weights, name -> tensor."""
    for layer in layers(case):
        kernel, bias = weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]
        if layer.name.startswith("conv"):
            x = tf.nn.conv2d(x, kernel, layer.stride, "SAME") + bias
            gamma, beta = (weights[f"norm{layer.name[4:]}/{w}"] for w in ("gamma", "beta"))
            # Not tf.nn.moments: its second derivative stops the gradient of the mean.
            mean = tf.reduce_mean(x, (0, 1, 2))
            variance = tf.reduce_mean(tf.math.squared_difference(x, mean), (0, 1, 2))
            x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, EPSILON)
            x = tf.nn.relu(x)
            if case.downsample == "pool":
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            continue
        if len(x.shape) == 4:
            pool = case.downsample == "pool"
            x = tf.reshape(x, (x.shape[0], -1)) if pool else tf.reduce_mean(x, (1, 2))
        x = x @ kernel + bias
        if layer.name != "head":
            x = tf.nn.relu(x)
    return x


def loss_of(case, y, outputs):
    if case.classifies:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs))
    return tf.reduce_mean(tf.math.squared_difference(outputs, y))


def task_loss(case, weights, support_x, support_y, query_x, query_y):
    """Query loss after the inner loop."""
    for _ in range(case.inner_steps):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = loss_of(case, support_y, forward(case, weights, support_x))
        gradients = tape.gradient(loss, weights)
        weights = {k: w - case.inner_learning_rate * gradients[k] for k, w in weights.items()}
    return loss_of(case, query_y, forward(case, weights, query_x))


class EagerLoop(Contender):
    def __init__(self, case, arrays, options):
        self.case = case
        names = ("support_x", "support_y", "query_x", "query_y")
        self.batch = [tf.constant(arrays[name]) for name in names]
        self.variables = {k: keras.Variable(v) for k, v in arrays.items() if "/" in k}
        self.optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self.optimizer.build(list(self.variables.values()))

    def step(self):
        self.outer_step(*self.batch)

    def outer_step(self, *batch):
        gradients = self.outer_gradients(*batch)
        self.optimizer.apply(list(gradients.values()), list(self.variables.values()))

    def outer_gradients(self, *batch):
        weights = {k: tf.convert_to_tensor(v) for k, v in self.variables.items()}
        with tf.GradientTape() as tape:
            tape.watch(weights)
            losses = [
                task_loss(self.case, weights, *[array[i] for array in batch])
                for i in range(self.case.tasks)
            ]
            loss = tf.add_n(losses) / len(losses)
        return tape.gradient(loss, weights)

    def first_moment(self):
        moments = self.optimizer._momentums
        return {k: m.numpy() for k, m in zip(self.variables, moments, strict=True)}


class FunctionLoop(EagerLoop):
    """The same, compiled: the loop over the tasks is unrolled into one graph."""

    def __init__(self, case, arrays, options):
        super().__init__(case, arrays, options)
        self.outer_step = tf.function(self.outer_step, autograph=False)


if __name__ == "__main__":
    serve({"eager loop": EagerLoop, "function loop": FunctionLoop}, VERSIONS)
