"""The MLP rule of `tfmeta.learners.MLPRule` in JAX: an unroll of its steps by `lax.scan`."""

import jax
import jax.numpy as jnp

DECAYS = jnp.array((0.1, 0.5, 0.9, 0.99, 0.999, 0.9999))
TIMES = jnp.array((1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5))
STEP_SIZE = EXPONENT = 0.001


def step_of(rule, gradient, weight, momenta, t):
    """New numbers `[P]` of one weight, and its momenta `[P, 6]`."""
    momenta = DECAYS * momenta + (1 - DECAYS) * gradient[:, None]
    features = jnp.concatenate([gradient[:, None], weight[:, None], momenta], axis=1)
    features *= jax.lax.rsqrt(jnp.square(features).mean(0, keepdims=True) + 1e-5)
    time = jnp.tanh(t / TIMES - 1.0)
    # The same for all numbers: its part of the first layer is computed once, as in tfmeta.
    kernel = rule["rule/kernel_0"]
    x = jax.nn.relu(features @ kernel[:8] + time @ kernel[8:] + rule["rule/bias_0"])
    x = jax.nn.relu(x @ rule["rule/kernel_1"] + rule["rule/bias_1"])
    x = x @ rule["rule/kernel_2"] + rule["rule/bias_2"]
    return weight - STEP_SIZE * x[:, 0] * jnp.exp(EXPONENT * x[:, 1]), momenta


def unrolled_loss(loss, rule, start, steps, support, query):
    """The mean of the losses after each step; after the last one, of the query set."""

    def one(carried, t):
        weights, momenta = carried
        before, gradients = jax.value_and_grad(loss)(weights, *support)
        new = {
            name: step_of(rule, gradients[name].ravel(), w.ravel(), momenta[name], t)
            for name, w in weights.items()
        }
        weights = {name: new[name][0].reshape(w.shape) for name, w in weights.items()}
        return (weights, {name: m for name, (_, m) in new.items()}), before

    momenta = {name: jnp.zeros((w.size, len(DECAYS))) for name, w in start.items()}
    (weights, _), losses = jax.lax.scan(one, (start, momenta), jnp.arange(steps))
    return jnp.append(losses[1:], loss(weights, *query)).mean()
