"""The plain baseline: train jointly on all tasks, then fine-tune on the support set."""

import keras

from tfmeta.engine.saving import default_argument
from tfmeta.learners.gradient.base import GradientLearner


def _no_inner_steps(learner, name, value):
    if value != 0:
        raise ValueError(
            "Expected no inner_steps: Finetune takes none in training. "
            f"Received: inner_steps={value!r}. Set evaluation_steps."
        )
    return value


@keras.saving.register_keras_serializable("tfmeta")
class Finetune(GradientLearner):
    """Train one network on all tasks together; adapt it to a new one by gradient descent.

    Training descends `mean over tasks of L_query(w)`, without any adaptation: MAML with no inner
    step. A new task starts from `w` and takes `evaluation_steps` steps of

        w_{t+1} = w_t - a * grad L_support(w_t).

    On regression this is the pretrained network of the MAML paper's figure 2. On classification
    labels are drawn anew in each episode, so joint training cannot learn classes: the result is
    a barely better start than random weights, and that is what the baseline shows. To start from
    a network that was trained on class labels with ordinary `fit`, pass that network.

    Meta-learned: all trainable weights of the network. Adapted: the same.

    Differs from the paper: normalisation as in `MAML`.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: `a`, > 0.
        evaluation_steps: number of fine-tuning steps on the support set.
        transductive: as in `MAML`.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Finn et al., 2017, arXiv:1703.03400, section 5.1, the "pretrained" baseline.
    """

    takes_first_order = False

    def __init__(
        self,
        network: keras.Model | None = None,
        *,
        inner_learning_rate: float = 0.01,
        evaluation_steps: int = 10,
        transductive: bool = False,
        **kwargs,
    ):
        super().__init__(
            network,
            inner_learning_rate=inner_learning_rate,
            evaluation_steps=evaluation_steps,
            transductive=transductive,
            **{"inner_steps": 0} | kwargs,
        )

    argument_checks = GradientLearner.argument_checks | {"inner_steps": _no_inner_steps}

    @classmethod
    def refused_arguments(cls):
        return super().refused_arguments() | {"inner_steps"}

    @classmethod
    def search_space(cls, hp):
        # Not the base's: training takes no inner step.
        return {
            "inner_learning_rate": hp.Float(
                "inner_learning_rate",
                1e-3,
                1.0,
                sampling="log",
                default=default_argument(cls, "inner_learning_rate"),
            ),
            "evaluation_steps": hp.Int(
                "evaluation_steps",
                1,
                100,
                sampling="log",
                default=default_argument(cls, "evaluation_steps"),
            ),
        }
