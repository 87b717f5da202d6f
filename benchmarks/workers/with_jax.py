"""JAX: the tasks under `vmap`, one after another in `lax.map`, or in a Python loop."""

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from benchmarks.cases import EPSILON, layers, outer_weights
from benchmarks.workers.jax_rule import unrolled_loss
from benchmarks.workers.serve import LEARNING_RATE, Contender, serve

VERSIONS = {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}


def max_pool(x):
    """2x2, rounding down.

    The larger of four slices: on a CPU faster than `reduce_window`. (`max` over a reshaped array
    is NaN or wrong in the second derivative once compiled, jax 0.10.2.)
    """
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    x = x[:, :height, :width]
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def forward(case, weights, x):
    """The network as a function of its weights, name -> array."""
    for layer in layers(case):
        kernel, bias = weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]
        if layer.name.startswith("conv"):
            gamma, beta = (weights[f"norm{layer.name[4:]}/{w}"] for w in ("gamma", "beta"))
            x = jax.lax.conv_general_dilated(
                x, kernel, (layer.stride,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = x + bias
            mean = x.mean((0, 1, 2))
            variance = jnp.square(x - mean).mean((0, 1, 2))
            x = (x - mean) * (jax.lax.rsqrt(variance + EPSILON) * gamma) + beta
            x = jax.nn.relu(x)
            x = max_pool(x) if case.downsample == "pool" else x
            continue
        if x.ndim == 4:
            x = x.reshape(len(x), -1) if case.downsample == "pool" else x.mean((1, 2))
        x = x @ kernel + bias
        x = x if layer.name == "head" else jax.nn.relu(x)
    return x


def loss_of(case, weights, x, y):
    outputs = forward(case, weights, x)
    if not case.classifies:
        return jnp.square(outputs - y).mean()
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1)
    return -chosen.mean()


def task_loss(case, weights, support_x, support_y, query_x, query_y, start=None):
    """Query loss after the inner loop; of a learned rule, the mean of the losses after its steps.

    `start`: the network's weights, where `weights` are those of a rule.
    """
    if case.learner == "optimizer":

        def loss(w, x, y):
            return loss_of(case, w, x, y)

        return unrolled_loss(
            loss, weights, start, case.inner_steps, (support_x, support_y), (query_x, query_y)
        )
    for _ in range(case.inner_steps):
        gradients = jax.grad(loss_of, 1)(case, weights, support_x, support_y)
        weights = {k: w - case.inner_learning_rate * gradients[k] for k, w in weights.items()}
    return loss_of(case, weights, query_x, query_y)


def vmap_gradients(case, weights, batch, start=None):
    """All tasks at once."""

    def mean_loss(weights):
        tasks = jax.vmap(
            lambda weights, task: task_loss(case, weights, *task, start=start), (None, 0)
        )
        return tasks(weights, batch).mean()

    return jax.value_and_grad(mean_loss)(weights)


def map_gradients(case, weights, batch, start=None):
    """One task after another, the gradient of each taken inside the loop."""

    def one(task):
        return jax.value_and_grad(lambda weights: task_loss(case, weights, *task, start=start))(
            weights
        )

    return jax.tree.map(lambda values: values.mean(0), jax.lax.map(one, batch))


def adam(state, gradients, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """`(weights, first moments, second moments, steps)` after one more step."""
    weights, first, second, steps = state
    steps = steps + 1
    first = jax.tree.map(lambda m, g: m + (1 - beta_1) * (g - m), first, gradients)
    second = jax.tree.map(lambda v, g: v + (1 - beta_2) * (g * g - v), second, gradients)
    rate = LEARNING_RATE * jnp.sqrt(1 - beta_2**steps) / (1 - beta_1**steps)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + epsilon), weights, first, second
    )
    return weights, first, second, steps


class Vmap(Contender):
    gradients = staticmethod(vmap_gradients)

    def __init__(self, case, arrays, options):
        self.batch = tuple(
            jnp.asarray(arrays[name]) for name in ("support_x", "support_y", "query_x", "query_y")
        )
        named = {name: jnp.asarray(a) for name, a in arrays.items() if "/" in name}
        weights = {name: named.pop(name) for name in outer_weights(case)}
        zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
        self.state = (weights, *zeros, jnp.zeros(()))

        def outer_step(state, batch):
            loss, gradients = self.gradients(case, state[0], batch, named)
            return adam(state, gradients), loss

        # Donated: the new weights and moments take the place of the old ones.
        self.outer_step = jax.jit(outer_step, donate_argnums=0)

    def step(self):
        self.state, _ = self.outer_step(self.state, self.batch)

    def finish(self):
        jax.block_until_ready(self.state)

    def first_moment(self):
        return {name: np.asarray(m) for name, m in self.state[1].items()}


class Map(Vmap):
    gradients = staticmethod(map_gradients)


class Loop(Vmap):
    """A Python loop over one compiled task: convolutions are slow inside XLA's loops."""

    def __init__(self, case, arrays, options):
        super().__init__(case, arrays, options)
        self.tasks = [tuple(array[i] for array in self.batch) for i in range(case.tasks)]

        def add(total, weights, task):
            gradients = jax.grad(lambda weights: task_loss(case, weights, *task))(weights)
            return jax.tree.map(lambda t, g: t + g / case.tasks, total, gradients)

        self.add = jax.jit(add, donate_argnums=0)
        self.update = jax.jit(adam, donate_argnums=0)
        self.zeros = jax.jit(lambda weights: jax.tree.map(jnp.zeros_like, weights))

    def step(self):
        total = self.zeros(self.state[0])
        for task in self.tasks:
            total = self.add(total, self.state[0], task)
        self.state = self.update(self.state, total)


if __name__ == "__main__":
    serve({"vmap": Vmap, "map": Map, "loop": Loop}, VERSIONS)
