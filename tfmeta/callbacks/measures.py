"""What a learner does on one episode, as numbers: losses by inner step, norms, learned rates."""

import collections

import numpy as np
import tensorflow as tf

from tfmeta.engine import outer_loop, phases
from tfmeta.engine.kept import kept
from tfmeta.engine.meta_model import MetaModel
from tfmeta.engine.purity import task_scope
from tfmeta.engine.task import run_before, run_task, task_layers
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.learners.gradient.inner_loop import StepNorms, adaptation_path
from tfmeta.learners.policies.base import PolicyLearner

_MOST_STEPS = 20  # each of them is traced by itself: of more, norms would take long to trace


def measure(learner, episodes):
    """Numbers of one episode, without a change of any variable.

    Args:
        learner: a compiled and built learner.
        episodes: a meta-batch of one episode, `Episode` of tensors `[1, rows, ...]`.

    Returns:
        `(numbers, outputs)`: a dict from a name to a float, and the query outputs after adaptation,
        `[M, ...]`. The names:

        - `query_loss/before` and `query_loss/adapted`: without and after adaptation;
        - `support_loss/step_0`, ...: before each inner step; `support_loss/adapted`;
        - `support_query_gap`: the query loss minus the support loss, both after adaptation;
        - `outer_gradient_norm` and, by layer, `outer_gradient_norm/conv2d`;
        - `inner_gradient_norm/step_0` and `inner_gradient_norm/step_0/conv2d`, and so for what a
          step moves the weights by, `inner_step_norm`.

        A learner has those of them that it can have: a policy none, and None for outputs.
    """
    if isinstance(learner, PolicyLearner):  # it lives through a meta-batch, not through an episode
        return {}, None
    phase = phases.current(learner)

    def make():
        return tf.function(lambda episodes: _numbers(learner, episodes), autograph=False)

    with phases.in_phase(phase):
        found, outputs = kept(learner, ("measure", phase), make)(episodes)
    return {name: float(value) for name, value in found.items()}, outputs.numpy()


def learned_rates(learner):
    """Names and values of the inner learning rates that a learner has learned, by step and layer.

    Returns:
        dict such as `{"inner_learning_rate/step_0/conv2d": 0.1}`, without the step where a rule has
        the same rates in all; empty for a learner that learns none.
    """
    rates = None if learner.rule is None else learner.rule.learned_rates()
    if rates is None:
        return {}
    rates, found = np.asarray(rates, np.float64), {}
    names = learner.adapted_part.names(learner) if rates.shape[1] > 1 else ["all"]
    for step, row in enumerate(rates):
        at = f"/step_{step}" if len(rates) > 1 else ""
        layers = collections.defaultdict(list)
        for name, rate in zip(names, row, strict=True):
            layers[_layer(name)].append(rate)
        found |= {f"inner_learning_rate{at}/{k}": float(np.mean(v)) for k, v in layers.items()}
    return found


def _numbers(learner, episodes):
    episode = tf.nest.map_structure(lambda t: t[0], episodes)
    found = {}
    before = run_before(learner, episode)
    if before != ():
        found["query_loss/before"] = before.loss
    result = run_task(learner, episode, (), training=False)
    found["query_loss/adapted"] = result.loss
    if tf.is_tensor(result.inner_losses):
        for step, loss in enumerate(tf.unstack(result.inner_losses)):
            found[f"support_loss/step_{step}"] = loss
    if _alike(*episode):
        seen = run_task(learner, episode._replace(query=episode.support), (), training=False)
        found["support_loss/adapted"] = seen.loss
        found["support_query_gap"] = result.loss - seen.loss
    # One with a step of its own may go on with the tasks of the step before.
    if type(learner).train_step is MetaModel.train_step:
        gradients = outer_loop.results_and_gradients(learner, episodes)[1]
        names = [v.path for v in learner.trainable_variables]
        found |= _by_layer("outer_gradient_norm", names, [tf.norm(g) for g in gradients])
    if isinstance(learner, GradientLearner) and learner.steps_of(False) <= _MOST_STEPS:
        found |= _inner_norms(learner, episode.support)
    return found, result.outputs


def _alike(support, query):
    """Whether support examples could be query examples."""

    def kinds(part):
        return [(t.dtype, t.shape[1:].as_list()) for t in tf.nest.flatten((part.x, part.y))]

    return kinds(support) == kinds(query)


def _inner_norms(learner, support):
    norms, found = StepNorms(), {}
    with task_scope(learner), task_layers(learner):
        adaptation_path(learner, support, None, False, True, watched=norms)
    names = learner.adapted_part.names(learner)
    pairs = zip(norms.gradients, norms.moves, strict=True)
    for step, (gradients, moves) in enumerate(pairs):
        found |= _by_layer(f"inner_gradient_norm/step_{step}", names, gradients)
        found |= _by_layer(f"inner_step_norm/step_{step}", names, moves)
    return found


def _by_layer(prefix, names, norms):
    """The norm of everything, and that of each layer, from those of its weights."""
    layers = collections.defaultdict(list)
    for name, norm in zip(names, norms, strict=True):
        layers[_layer(name)].append(tf.cast(norm, tf.float32))
    found = {prefix: tf.norm(tf.stack([n for part in layers.values() for n in part]))}
    return found | {f"{prefix}/{layer}": tf.norm(tf.stack(v)) for layer, v in layers.items()}


def _layer(path):
    """The layer of a weight, by the path of the weight: "conv2d" of "conv2d/kernel"."""
    return path.rsplit("/", 1)[0]
