"""RL2: a recurrent policy whose state is what it learns of a task."""

import keras
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.backend.private_keras import layers_of
from tfmeta.backend.task_layers import kernel_layers
from tfmeta.engine.saving import default_argument
from tfmeta.environments.environment import Environment
from tfmeta.learners.policies.actor_critic import ActorCritic


@keras.saving.register_keras_serializable("tfmeta")
class RL2(ActorCritic):
    """Live through a task's episodes with one memory: the recurrent policy learns how to learn.

    With the observation `s_t`, and the action, the reward and the end of an episode that came
    before it, a GRU of `H` units reads

        h_t = GRU([f(s_t), a_{t-1}, r_{t-1}, d_{t-1}], h_{t-1})
        a_t ~ pi(. | h_t),    V(h_t)

    The state goes on from one episode of a task to the next, and is new in a new task. All of a
    task is one trial of `T` steps, whose discounted reward an outer step ascends by the gradient of
    the mean over steps

        A_t log pi(a_t | h_t) - c_v (V(h_t) - R_t)^2 / var(A) + c_e entropy(pi(. | h_t))

    with generalised advantages `A_t`, brought to mean 0 and variance 1 over the meta-batch, and
    `R_t = A_t + V(h_t)`. The critic tells the mean reward of the steps to come, `V(h_t)` over
    `sum over i < T - t of discount^i`. With a `reward_weight` `c_r`, `c_r (g(h_t)[a_t] - r_t)^2 /
    var(r)` is descended besides: `g` tells the reward of each action, and teaches the state to
    remember what pays.

    The last step of a trial is worth its reward: that a trial ends there is part of the task, and
    nothing is added for what would come after a time limit.

    Meta-learned: all weights. Adapted: the state; no weight changes.

    Differs from the paper: one gradient of the compiled optimizer for each meta-batch (advantage
    actor-critic, as in Wang et al., whose agent is an LSTM) in the place of TRPO, and the baseline
    is an output of the same network, not one of its own. The paper has no `reward_weight`; it is
    the reward prediction of Jaderberg et al., for every action.

    Args:
        environment: a `tfmeta.environments.Environment`, whose `episodes` make a trial.
        network: a `keras.Model` from observations `[rows, observation_size]` to features
            `[rows, F]`, or None for the observations as they are.
        units: `H`. The paper: 256.
        discount: of rewards, > 0 and at most 1. The paper: 0.99.
        decay: of the generalised advantages, 0 to 1. The paper: 0.3.
        entropy_weight: `c_e`, at least 0: how much choices are kept open; or a
            `keras.optimizers.schedules.LearningRateSchedule` of it over the outer steps.
        value_weight: `c_v`, at least 0.
        reward_weight: `c_r`, at least 0, of `Discrete` actions; 0, the default, asks nothing.
        **kwargs: `name` and `dtype`, as in `MetaModel`.

    Raises:
        ValueError: an argument is out of its range.

    Reference:
        Duan et al., "RL2: Fast Reinforcement Learning via Slow Reinforcement Learning", 2016,
        arXiv:1611.02779, section 2; Wang et al., "Learning to reinforcement learn", 2016,
        arXiv:1611.05763, equation 1; Jaderberg et al., "Reinforcement learning with unsupervised
        auxiliary tasks", ICLR 2017, arXiv:1611.05397, section 3.2.
    """

    def __init__(
        self,
        environment: Environment,
        network: keras.Model | None = None,
        *,
        units: int = 64,
        decay: float = 0.3,
        **kwargs,
    ):
        super().__init__(environment, network, decay=decay, **kwargs)
        self.units = check_integer("units", units, 1)
        self.memory = keras.layers.GRUCell(self.units, name="memory")

    def fixed_arguments(self):
        return {"units"}

    @property
    def gains_in_xla(self):  # type: ignore[override]
        """In the graph a step takes half as long: it is many small operations, one by one."""
        return self.environment.in_graph and not kernel_layers(layers_of(self.network))

    @classmethod
    def search_space(cls, hp):
        """Arguments of the constructor, drawn with the `hp` of keras-tuner."""
        return {
            "units": hp.Int(
                "units", 16, 256, sampling="log", default=default_argument(cls, "units")
            ),
            "entropy_weight": hp.Float(
                "entropy_weight",
                1e-4,
                0.1,
                sampling="log",
                default=default_argument(cls, "entropy_weight"),
            ),
        }

    def build(self, input_shape=None):
        self.memory.build((None, self.reading_size))
        self.build_heads(self.units)

    def empty_memory(self, rows):
        return tf.zeros((rows, self.units))

    def act(self, observation, state, experience):
        outputs, (state,) = self.memory(self.read(observation, experience), [state])
        choices, value, told = self.heads(outputs)
        return choices, value, state, *told
