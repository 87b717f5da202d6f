"""JAX: the LSTM learner, CNP and TNP-D, all tasks of a meta-batch at once, each step compiled."""

import math

import jax
import jax.numpy as jnp

from benchmarks import cases_context
from benchmarks.workers.serve import serve
from benchmarks.workers.with_jax import VERSIONS, Vmap


def dense(weights, name, x):
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def dense_layers(weights, name, layers, x):
    for i in range(layers):
        x = dense(weights, f"{name}{i}", x)
        x = jax.nn.relu(x) if i < layers - 1 else x
    return x


def lstm_loss(case, weights, support_x, support_y, query_x, query_y):
    x, y = jnp.concatenate([support_x, query_x], 1), jnp.concatenate([support_y, query_y], 1)
    labels = jax.nn.one_hot(y, case.outputs)
    before = jnp.concatenate([jnp.zeros_like(labels[:, :1]), labels[:, :-1]], 1)
    rows = jnp.concatenate([x, before], -1).swapaxes(0, 1)

    def step(state, projected):
        h, c = state
        i, f, g, o = jnp.split(projected + h @ weights["lstm/recurrent"], 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = (jnp.zeros((case.tasks, case.width)),) * 2
    outputs = jax.lax.scan(step, start, dense(weights, "lstm", rows))[1].swapaxes(0, 1)
    logits = jax.nn.log_softmax(dense(weights, "head", outputs))
    return -(logits * labels).sum(-1).mean()


def likelihood_loss(outputs, y, minimum):
    mean, raw = jnp.split(outputs, 2, -1)
    scale = minimum + (1 - minimum) * jax.nn.softplus(raw)
    values = -0.5 * ((y - mean) / scale) ** 2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)
    return -values.sum(-1).mean()


def cnp_loss(case, weights, support_x, support_y, query_x, query_y):
    points = dense_layers(weights, "encode", 3, jnp.concatenate([support_x, support_y], -1))
    mean = jnp.broadcast_to(points.mean(1, keepdims=True), (*query_x.shape[:2], case.width))
    outputs = dense_layers(weights, "decode", 3, jnp.concatenate([mean, query_x], -1))
    return likelihood_loss(outputs, query_y, 0.1)


def norm(weights, name, x):
    x = x - x.mean(-1, keepdims=True)
    x *= jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)
    return x * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def block(weights, name, rows, points, heads=4):
    context, width = rows[:, :points], rows.shape[-1]

    def of_heads(part, x):
        return dense(weights, f"{name}.{part}", x).reshape(*x.shape[:2], heads, width // heads)

    queries = of_heads("query", rows)
    found = jax.nn.dot_product_attention(
        queries, of_heads("key", context), of_heads("value", context)
    )
    rows = rows + dense(weights, f"{name}.output", found.reshape(rows.shape))
    rows = norm(weights, f"{name}.norm0", rows)
    hidden = jax.nn.relu(dense(weights, f"{name}.widen", rows))
    return norm(weights, f"{name}.norm1", rows + dense(weights, f"{name}.narrow", hidden))


def tnp_loss(case, weights, support_x, support_y, query_x, query_y):
    y = jnp.concatenate([support_y, jnp.zeros_like(query_y)], 1)
    x = jnp.concatenate([support_x, query_x], 1)
    rows, points = dense_layers(weights, "embed", 4, jnp.concatenate([x, y], -1)), case.shots
    for i in range(cases_context.BLOCKS):
        rows = block(weights, f"block{i}", rows, points)
    return likelihood_loss(dense_layers(weights, "decode", 2, rows[:, points:]), query_y, 0.01)


LOSSES = {"lstm": lstm_loss, "cnp": cnp_loss, "tnp": tnp_loss}


class Jax(Vmap):
    @staticmethod
    def gradients(case, weights, batch, start=None):
        return jax.value_and_grad(lambda w: LOSSES[case.learner](case, w, *batch))(weights)


if __name__ == "__main__":
    serve({"jax": Jax}, VERSIONS)
