"""How the outer gradient is taken: a value that a learner names, `outer_gradient`."""

import tensorflow as tf

from tfmeta.backend.map_tasks import map_gradients
from tfmeta.engine.purity import task_scope
from tfmeta.engine.task import computes_in_float16, map_over_tasks, mode_for, task_layers


class ThroughAdaptation:
    """The gradient of the mean objective, through all that `adapt` did.

    An inner loop says for itself what is left out of it (first order) or computed again
    (`checkpoint_inner_steps`).
    """

    def over_tasks(self, learner, run, elements):
        """Results and gradients of a meta-batch.

        Args:
            learner: the learner.
            run: function of one task's element, `(episode, seeds)`, to its `TaskResult`.
            elements: such pairs of a meta-batch, tensors `[B, ...]`.

        Returns:
            `(results, gradients)`: a `TaskResult` `[B, ...]`, one gradient a trainable variable.
        """
        scale = learner.optimizer.scale_loss(1.0) if computes_in_float16(learner) else None

        def task(element):
            result = run(element)
            objective = result.objective if scale is None else result.objective * scale
            return objective, result._replace(adapted=())

        results, gradients = map_gradients(
            task, elements, learner.trainable_variables, mode_for(learner, elements)
        )
        return results, gradients if scale is None else [g / scale for g in gradients]


class OfEachTask:
    """Base of the ways in which each task gives a gradient of its own; the mean is descended."""

    def of_task(self, learner, episode, result):
        """The gradient of one task, a list with a tensor for each trainable variable."""
        raise NotImplementedError

    def over_tasks(self, learner, run, elements):
        """As `ThroughAdaptation.over_tasks`."""

        def task(element):
            result = run(element)
            with task_scope(learner), task_layers(learner):
                gradients = self.of_task(learner, element[0], result)
            return result._replace(adapted=()), gradients

        results, gradients = map_over_tasks(learner, task, elements)
        return results, [tf.reduce_mean(g, axis=0) for g in gradients]


class Displacement(OfEachTask):
    """What the inner loop moved the weights by, `w - w_T`: no derivative at all."""

    def of_task(self, learner, episode, result):
        pairs = zip(learner.network_weights(), result.adapted.weights, strict=True)
        return [w - new for w, new in pairs]
