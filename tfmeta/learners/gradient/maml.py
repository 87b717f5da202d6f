"""Model-agnostic meta-learning (MAML) and its first-order form (FOMAML)."""

import keras

from tfmeta.learners.gradient.base import GradientLearner


@keras.saving.register_keras_serializable("tfmeta")
class MAML(GradientLearner):
    """Learn an initialisation from which a few gradient steps solve a new task.

    Inner loop, for each task, from the meta-learned `w`:

        w_0 = w,    w_{t+1} = w_t - a * grad L_support(w_t),    t = 0..T-1

    Outer loop, over the tasks of a meta-batch: the compiled optimizer descends

        mean over tasks of  L_query(w_T)

    through the inner loop, second derivatives included; `first_order=True` (FOMAML) leaves
    them out, and descends along `grad L_query` at `w_T`.

    Meta-learned: all trainable weights of the network. Adapted: the same.

    Differs from the paper: query examples are normalised by the support set's statistics unless
    `transductive=True` (the paper's own code is transductive); inner gradients are not clipped
    (its miniImageNet runs clip to -10..10); weights frozen with `trainable = False` stay frozen.

    Args:
        network: a `keras.Model`, or None for a subclass with `call`.
        inner_learning_rate: `a`. The paper: 0.01 on the sinusoid, 0.4 on Omniglot 5-way.
        inner_steps: `T` in training. The paper: 1.
        evaluation_steps: `T` outside training, None for the same. The paper: 3 on Omniglot.
        first_order: True for FOMAML.
        transductive: True normalises query examples by the statistics of their own batch.
        checkpoint_inner_steps: True keeps less for the outer gradient and computes it again: less
            memory for more time, the same result.
        **kwargs: `task_batching`, `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        learner = tfmeta.learners.MAML(tfmeta.networks.mlp((1,), 1))
        learner.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
        learner.fit(tfmeta.episodes.sinusoid(), steps_per_epoch=1000, epochs=10)

    Reference:
        Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
        Networks", ICML 2017, arXiv:1703.03400, algorithms 1 and 2.
    """
