"""The learner that trains update rules, and makes optimizers of them."""

from typing import Any

import keras
import tensorflow as tf

from tfmeta.arguments import check_flag
from tfmeta.engine.checks import learner_checks
from tfmeta.engine.saving import default_argument
from tfmeta.inner import RuleOptimizer
from tfmeta.inner.rule import Rule
from tfmeta.learners.gradient.adapted_part import AllWeights
from tfmeta.learners.gradient.base import GradientLearner
from tfmeta.learners.optimizers import arguments
from tfmeta.learners.optimizers.mlp_rule import MLPRule
from tfmeta.learners.optimizers.outer_gradients import ThroughUnroll
from tfmeta.learners.optimizers.start import DrawnWeights
from tfmeta.learners.optimizers.unroll import score_stretch
from tfmeta.learners.optimizers.unrolls import Unrolls


@keras.saving.register_keras_serializable("tfmeta")
class LearnedOptimizer(GradientLearner):
    """Learn the rule itself by which networks are trained, over many tasks.

    For each task the network's weights are drawn anew, and stepped on its support set:

        w_0 ~ the network's initializers,    w_{t+1}, s_{t+1} = rule(grad L_support(w_t), w_t, s_t)

    Outer loop: the compiled optimizer descends, along the weights of the rule, the mean of the
    losses after each of the steps: of the support set, and after the last one of the query set.
    A rule steps weights of any shape, so that what was learned on small networks can train others:
    `keras_optimizer()` is an optimizer of Keras, to compile any model with.

    An outer step runs all of a task's `inner_steps`, or a stretch of `unroll_length` of them: then
    the task stays in its place of the meta-batch, the next outer step goes on with it, and another
    one takes the place when it has ended. Where these tasks stand is kept in files and backups. A
    task whose loss, or whose gradient, is not finite ends at once, has no part in the outer
    gradient, and is counted: `restarts` in the history.

    Meta-learned: the weights of the rule; none of the network's. Adapted: all trainable weights.

    Differs from the papers: derivatives go through the inner gradients, too, unless `first_order`
    (which Andrychowicz et al. always drop); the objective ends with the query set, of examples that
    the network was not trained on.

    Args:
        network: a `keras.Model`, whose weights are never changed.
        rule: a `tfmeta.inner.Rule` with learned weights, such as `LSTMRule()`, `MLPRule()`,
            `LearnedAdam()`; None for `MLPRule()`.
        inner_steps: steps of a task in training.
        evaluation_steps: steps outside training, None for the same.
        unroll_length: steps of one outer step, which divide `inner_steps`; None for all of them.
        fewest_steps: the number of steps of each task is drawn, log-uniformly, from this one to
            `inner_steps`; None for `inner_steps` always.
        warm_start: each task takes up to so many steps before those that count.
        outer_gradient: `ThroughUnroll()`, `EvolutionStrategies(...)` or `PersistentES(...)`.
        inner_batch_size: rows of the support set, drawn with replacement, that a step sees; None
            for all of them.
        draw_weights: False starts each task from the weights that the network has.
        first_order: True treats inner gradients as constants.
        **kwargs: `transductive`, `task_batching`, `name` and `dtype`, as in `MAML`.

    Raises:
        ValueError: an argument is out of its range, numbers of steps are no multiples of
            `unroll_length`, or the rule has nothing to learn.

    Reference:
        Andrychowicz et al., "Learning to learn by gradient descent by gradient descent", NeurIPS
        2016, arXiv:1606.04474, equations 2 and 3; Metz et al., "Practical tradeoffs between memory,
        compute, and performance in learned optimizers", CoLLAs 2022, arXiv:2203.11860.
    """

    rolled_steps = True
    # All steps of a stretch would be compiled one after another: minutes, for 20 of them.
    gains_in_xla = False

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        rule: Rule | None = None,
        inner_steps: int = 20,
        evaluation_steps: int | None = None,
        unroll_length: int | None = None,
        fewest_steps: int | None = None,
        warm_start: int = 0,
        outer_gradient: Any = None,
        inner_batch_size: int | None = None,
        draw_weights: bool = True,
        **kwargs,
    ):
        arguments.check_network(network)
        super().__init__(
            network, inner_steps=inner_steps, evaluation_steps=evaluation_steps, **kwargs
        )
        self.rule = arguments.check_rule(MLPRule() if rule is None else rule)
        self.rule.built = True  # it is made with the network, on no inputs
        self.unroll_length = unroll_length
        self.fewest_steps = fewest_steps
        self.warm_start = warm_start
        self.inner_batch_size = inner_batch_size
        self.outer_gradient = arguments.check_outer_gradient(outer_gradient or ThroughUnroll())
        self.draw_weights = check_flag("draw_weights", draw_weights)
        self.adapted_part = DrawnWeights() if self.draw_weights else AllWeights()
        self.unrolls = Unrolls(name="unrolls")
        self.seeds = keras.random.SeedGenerator(0)

    def ready(self):
        arguments.check_lengths(self)
        super().ready()

    def make_parameters(self):
        object.__setattr__(self, "_made_for", lambda: ())
        weights = self.network_weights()
        if not self.rule.weights and weights:
            self.rule.make(weights)
            arguments.check_learns(self.rule)

    def weights_with_parameters(self):
        return []  # the rule is for weights of any shape

    @property
    def trainable_variables(self):
        """The weights of the rule: those of the network are drawn anew for each task."""
        return self.rule.trainable_variables

    trainable_weights = trainable_variables

    @property
    def losses(self):
        """Those of the rule's weights; the network's are refused."""
        return self.rule.losses

    def stretch(self):
        """The number of inner steps of one outer step."""
        return self.inner_steps if self.unroll_length is None else self.unroll_length

    def minibatch(self, examples, step):
        return arguments.rows_of_step(self, examples, step)

    def score_task(self, episode, training):
        return score_stretch(self, episode) if training else super().score_task(episode, training)

    # The tasks that go on, and what is counted.

    def prepare_unrolls(self, episodes):
        """Make what is kept from one outer step to the next; `fit` and `train_on_batch` do it.

        Args:
            episodes: a `tf.data.Dataset` of meta-batched `Episode`.
        """
        self.prepare(episodes)
        if self.unroll_length is not None:
            with self.distribute_strategy.scope():
                particles = self.outer_gradient.kept_particles
                self.unrolls.make(self, episodes.element_spec, particles)

    def fit(self, x: Any = None, y: None = None, **kwargs) -> keras.callbacks.History:
        learner_checks.check_compiled(self, "fit")
        self.prepare_unrolls(x)
        return super().fit(x, y, **kwargs)

    def train_on_batch(self, x, **kwargs):
        learner_checks.check_compiled(self, "train_on_batch")
        if self.unroll_length is not None:
            self.prepare_unrolls(arguments.as_dataset(self, x))
        return super().train_on_batch(x, **kwargs)

    def train_step(self, episodes):
        logs = super().train_step(episodes)
        return logs | {"restarts": tf.cast(tf.convert_to_tensor(self.unrolls.restarts), tf.float32)}

    @property
    def restarts(self):
        """How many tasks ended because a value was not finite, since the learner was made."""
        return int(tf.convert_to_tensor(self.unrolls.restarts))

    # The optimizer.

    def keras_optimizer(self, learning_rate: float = 1.0, **kwargs) -> keras.optimizers.Optimizer:
        """An optimizer of Keras that steps any model as the rule has learned to.

        It holds a copy: later training of this learner does not change it. Compile a model with it
        as with any other: `model.compile(learner.keras_optimizer(), loss)`.

        Args:
            learning_rate: what the rule's steps are multiplied by, a float or a schedule.
            **kwargs: as in `keras.optimizers.Optimizer`.

        Returns:
            `tfmeta.inner.RuleOptimizer`.

        Raises:
            ValueError: the learner was not trained.
        """
        if int(tf.convert_to_tensor(self.unrolls.outer_steps)) == 0:
            raise ValueError(
                "Expected a trained learner. Received: LearnedOptimizer after 0 outer steps, whose "
                "rule is as it was drawn. Call fit first; for a rule whose weights were set by "
                "hand take tfmeta.inner.RuleOptimizer(rule)."
            )
        return RuleOptimizer(_copy(self.rule, self.network_weights()), learning_rate, **kwargs)

    # Arguments.

    argument_checks = GradientLearner.argument_checks | arguments.OF_ARGUMENTS

    def fixed_arguments(self):
        return {"draw_weights", "rule"}

    def arguments_changed(self):
        if "_is_ready" in vars(self):  # all of them are set
            arguments.check_lengths(self)

    @classmethod
    def refused_arguments(cls):
        own = {"inner_learning_rate", "checkpoint_inner_steps"}
        return super().refused_arguments() | own

    @classmethod
    def search_space(cls, hp):
        return {
            "inner_steps": hp.Int(
                "inner_steps", 5, 100, sampling="log", default=default_argument(cls, "inner_steps")
            ),
            "first_order": hp.Boolean("first_order", default=default_argument(cls, "first_order")),
        }


def _copy(rule, weights):
    """A rule with the same learned values in variables of its own, which stay as they are."""
    copy = type(rule).from_config(rule.get_config())
    copy.make(weights)
    copy.built = True
    copy.set_weights(rule.get_weights())
    copy.trainable = False
    return copy
