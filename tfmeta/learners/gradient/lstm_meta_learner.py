"""The LSTM meta-learner: an LSTM whose cell state is the weights of the network."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer, check_number
from tfmeta.engine.inputs import as_examples
from tfmeta.engine.saving import default_argument
from tfmeta.inner import Rule
from tfmeta.learners.gradient.base import GradientLearner


class Gates(NamedTuple):
    """What `LSTMMetaLearner.gates` returns.

    Attributes:
        forget: `f`, for each weight of the network an array `[T, ...]`, all in 0..1.
        input: `i`, the same.
    """

    forget: Any
    input: Any


@keras.saving.register_keras_serializable("tfmeta")
class LSTMMetaLearner(GradientLearner):
    """Learn an initialisation, and an LSTM that makes each weight's steps out of its gradients.

    Each number of the weights `w` is the cell state of an LSTM that runs over the inner steps. All
    of them share its parameters. With the gradient `g` and the support loss `L` before step t:

        h_t = LSTM(p(g), p(L); h_{t-1})                                          `[hidden]`
        f_t = sigmoid(h_t . F_h + w_t F_w + f_{t-1} F_f + b_F)                   forget gate
        i_t = sigmoid(h_t . I_h + w_t I_w + i_{t-1} I_i + b_I)                   input gate
        w_{t+1} = f_t w_t - i_t g_t,    t = 0..T-1
        p(v) = (log(max(|v|, e^-10)) / 10, clip(e^10 v, -1, 1))

    Outer loop: the compiled optimizer descends the mean over tasks of `L_query(w_T)` along the
    initialisation `w_0` and the parameters of the LSTM. By default `g` and `L` are constants to it,
    as in the paper; gates and weights are not. With constant gates of 1 and `a` the rule is
    gradient descent at the rate `a`: `F` and `I` start at zero and the biases where the gates are
    `forget` and `inner_learning_rate`, so that training starts close to it. `gates` tells what the
    gates of a task were.

    Meta-learned: all trainable weights of the network, and the LSTM. Adapted: the weights.

    Differs from the paper: gates start constant, where its code draws their parameters at random
    and biases in 4..6 and -5..-4; normalisation as in `MAML`, where the paper's moves over the
    tasks; the gradient of the outer loop is not clipped unless the compiled optimizer does it
    (the paper's code: to 0.25).

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: where the input gates start, > 0 and < 1.
        forget: where the forget gates start, > 0 and < 1.
        hidden: number of units of the LSTM. The paper: 20.
        inner_steps: `T` in training. The paper: 12 with one shot, 5 with five.
        first_order: False lets the outer gradient go through gradients and losses, too, which is
            exact; the slope of `p` makes it large where gradients are small.
        **kwargs: `evaluation_steps`, `transductive`, `checkpoint_inner_steps`, `task_batching`,
            `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Ravi and Larochelle, "Optimization as a Model for Few-Shot Learning", ICLR 2017, sections
        3.1 to 3.4, and appendix.
    """

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.01,
        forget: float = 0.999,
        hidden: int = 20,
        inner_steps: int = 5,
        first_order: bool = True,
        **kwargs,
    ):
        for name, value in (("inner_learning_rate", inner_learning_rate), ("forget", forget)):
            if check_number(name, value) >= 1:
                raise ValueError(f"Expected {name} < 1, a gate. Received: {name}={value!r}.")
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            inner_steps=inner_steps,
            first_order=first_order,
            **kwargs,
        )
        self.forget = float(forget)
        self.hidden = check_integer("hidden", hidden, 1)

    @classmethod
    def search_space(cls, hp):
        # Before the base declares it: a gate is below 1, and the first declaration counts.
        hp.Float(
            "inner_learning_rate",
            1e-3,
            0.9,
            sampling="log",
            default=default_argument(cls, "inner_learning_rate"),
        )
        hidden = hp.Int("hidden", 5, 80, sampling="log", default=default_argument(cls, "hidden"))
        return super().search_space(hp) | {"hidden": hidden}

    def make_rule(self):
        return GatedSteps(self.inner_learning_rate, self.forget, self.hidden)

    def fixed_arguments(self):
        return {"inner_learning_rate", "forget", "hidden"}

    def gates(self, support, inner_steps=None):
        """The gates of each inner step on a task.

        Args:
            support: `Examples` of one task.
            inner_steps: number of steps in the place of the learner's own.

        Returns:
            `Gates` of NumPy arrays, for each weight that adapts one of shape `[T, ...]`.
        """
        support = as_examples(self, support)
        path = self.adaptation_path(support, inner_steps)
        slots, seen = self.rule.init(path[0].weights), []
        for step, point in enumerate(path[:-1]):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(point.weights)
                outputs, _ = self.run_network(point.weights, point.state, support.x, False, True)
                loss = self.inner_loss(support, outputs, point.weights, step)
            gradients = tape.gradient(loss, point.weights)
            _, slots = self.rule.update(gradients, point.weights, slots, step, loss=loss)
            seen.append([_shaped(gate, point.weights) for gate in (slots.forget, slots.input)])
        of_kinds = zip(*seen, strict=True)  # each a list of steps, of lists of weights
        return Gates(*([np.stack(g) for g in zip(*kind, strict=True)] for kind in of_kinds))


class Slots(NamedTuple):
    """What goes from step to step, for P numbers of weights."""

    hidden: Any  # [P, hidden]
    cell: Any  # [P, hidden]
    forget: Any  # [P]
    input: Any  # [P]


class GatedSteps(Rule):
    """`w <- f w - i g`, with gates that an LSTM makes of gradients and the support loss.

    Args:
        rate: where the input gates start.
        forget: where the forget gates start.
        hidden: number of units of the LSTM.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    takes_loss = True

    def __init__(self, rate, forget, hidden, name="lstm", **kwargs):
        super().__init__(name=name, **kwargs)
        self.starts = {"forget": forget, "input": rate}
        self.hidden = hidden

    def make(self, weights):
        dtype, units = weights[0].dtype, self.hidden

        def add(name, shape, initializer="zeros"):
            return self.add_weight(shape=shape, dtype=dtype, initializer=initializer, name=name)

        self.from_gradient = add("from_gradient", (2, 4 * units), "glorot_uniform")
        self.from_loss = add("from_loss", (2, 4 * units), "glorot_uniform")
        self.recurrent = add("recurrent", (units, 4 * units), "orthogonal")
        self.bias = add("bias", (4 * units,))
        self.bias.assign(np.repeat([0.0, 1.0, 0.0, 0.0], units))  # of its own forget gate: 1
        # From h, from the weight and the gate before, and the bias.
        self.gates = {name: [add(f"{name}_h", (units, 1)), *(add(f"{name}_{n}", ()) for n in
                      ("weight", "gate", "bias"))] for name in self.starts}  # fmt: skip
        for name, value in self.starts.items():
            self.gates[name][-1].assign(np.log(value / (1 - value)))

    def init(self, weights):
        first = _flat(weights)
        zeros = tf.zeros((first.shape[0], self.hidden), first.dtype)
        starts = [tf.fill(first.shape, tf.constant(v, first.dtype)) for v in self.starts.values()]
        return Slots(zeros, zeros, *starts)

    def update(self, gradients, weights, slots, step, loss):
        flat, gradient = _flat(weights), _flat(gradients)
        inputs = tf.matmul(_log_and_sign(gradient), self.from_gradient)
        inputs += tf.matmul(_log_and_sign(tf.cast(loss, flat.dtype)[None]), self.from_loss)
        inputs += tf.matmul(slots.hidden, self.recurrent) + self.bias
        write, keep, read, new = tf.split(inputs, 4, axis=1)
        cell = tf.sigmoid(keep) * slots.cell + tf.sigmoid(write) * tf.tanh(new)
        hidden = tf.sigmoid(read) * tf.tanh(cell)
        forget = self._gate("forget", hidden, flat, slots.forget)
        gate = self._gate("input", hidden, flat, slots.input)
        stepped = _shaped(forget * flat - gate * gradient, weights)
        return stepped, Slots(hidden, cell, forget, gate)

    def _gate(self, name, hidden, weights, before):
        from_hidden, from_weight, from_gate, bias = self.gates[name]
        of_each = weights * from_weight + before * from_gate + bias
        return tf.sigmoid(tf.matmul(hidden, from_hidden)[:, 0] + of_each)


def _flat(tensors):
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], 0)


def _shaped(flat, like):
    """Numbers `[P]` in the shapes of weights, a list."""
    parts = tf.split(flat, [w.shape.num_elements() for w in like])
    return [tf.reshape(part, w.shape) for part, w in zip(parts, like, strict=True)]


def _log_and_sign(values, scale=10.0):
    """`p`: the size and the sign of each number, both within a few units: `[P]` to `[P, 2]`."""
    size = tf.math.log(tf.maximum(tf.abs(values), np.exp(-scale))) / scale
    return tf.stack([size, tf.clip_by_value(values * np.exp(scale), -1.0, 1.0)], axis=1)
