"""Families of any environment of Gymnasium, which run on the host."""

import collections
import contextlib
import threading
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.environments.environment import Environment
from tfmeta.environments.gymnasium_checks import check_gymnasium, check_parameters, time_limit
from tfmeta.environments.gymnasium_families import ready_made
from tfmeta.ops import random_numbers as rng

_MODES = ("sync", "async")
_KEPT = 8  # vector environments that wait for a rollout, or are in one that was broken off


@keras.saving.register_keras_serializable("tfmeta")
class Gymnasium(Environment):
    """An environment of Gymnasium in tasks; made by `gymnasium`."""

    in_graph = False
    reset_draws = 1

    def __init__(
        self,
        id,
        parameters=None,
        change=None,
        horizon=None,
        episodes=1,
        vectorization_mode="sync",
        vector_kwargs=None,
        kwargs=None,
    ):
        check_gymnasium()
        if vectorization_mode not in _MODES:
            raise ValueError(
                f"Expected vectorization_mode in {_MODES}. Received: {vectorization_mode!r}."
            )
        known, ready = ready_made(id)
        self.id, self.change = id, ready if change is None else change
        self.varied = check_parameters(id, known if parameters is None else parameters)
        self.task_draws = len(self.varied)
        self.episodes = check_integer("episodes", episodes, 1)
        self.vectorization_mode = vectorization_mode
        self.vector_kwargs, self.kwargs = dict(vector_kwargs or {}), dict(kwargs or {})
        # By the number of an episode, and by the number of rows.
        self._living, self._waiting = {}, collections.deque()
        self._lock, self._fault, self._begun = threading.Lock(), None, 0
        self.horizon = None if horizon is None else check_integer("horizon", horizon, 1)
        self._look_at_one()

    def get_config(self):
        names = ("id", "change", "horizon", "episodes", "vectorization_mode")
        given = {name: getattr(self, name) for name in (*names, "vector_kwargs", "kwargs")}
        # Files know no tuples.
        varied = {n: {"range": list(v)} if _is_range(v) else v for n, v in self.varied.items()}
        return given | {"parameters": varied}

    @classmethod
    def from_config(cls, config):
        config = keras.saving.deserialize_keras_object(config)
        varied = config["parameters"].items()
        ranges = {n: tuple(v["range"]) if isinstance(v, dict) else v for n, v in varied}
        return cls(**config | {"parameters": ranges})

    def __repr__(self):
        return f"gymnasium({self.id!r}, {self.varied!r}, horizon={self.horizon})"

    def draw_task(self, bits):
        """Parameters, a dict of float32 `[E]`."""
        pairs = zip(self.varied.items(), tf.unstack(bits, self.task_draws), strict=True)
        return {name: _draw(values, numbers) for (name, values), numbers in pairs}

    def reset(self, task, bits):
        rows = tf.shape(bits)[1]
        return {
            "observation": tf.zeros([rows, self.observation_size]),
            "cut": tf.zeros([rows], tf.bool),
            "seed": tf.cast(bits[0], tf.int64),
            "episode": tf.zeros([rows], tf.int64),
        }

    def begin(self, task, state):
        values = [task[name] for name in self.varied]
        kinds = [tf.float32, tf.int64]
        seen, episode = tf.numpy_function(self._begin, [state["seed"], *values], kinds)
        return state | _shaped(state, observation=seen, episode=episode)

    def observe(self, task, state):
        return state["observation"]

    def step(self, task, state, action, bits):
        # The number of the episode goes through each step: it holds them in their order.
        kinds = [tf.float32, tf.int64, tf.bool, tf.float32, tf.bool]
        seen, episode, cut, reward, done = tf.numpy_function(
            self._step, [state["episode"], action], kinds
        )
        reward.set_shape(action.shape[:1])
        done.set_shape(action.shape[:1])
        return state | _shaped(state, observation=seen, episode=episode, cut=cut), reward, done

    def cut_off(self, task, state):
        return state["cut"]

    @contextlib.contextmanager
    def readable_errors(self):
        self._fault = None
        try:
            yield
        except Exception:
            if self._fault is None:
                raise
            (error, cause), self._fault = self._fault, None
            raise error from cause

    def close(self):
        """End the environments, and their worker processes; the next rollout makes new ones."""
        for rows in [*self._living.values(), *self._waiting]:
            rows.close()
        self._living.clear()
        self._waiting.clear()

    def _begin(self, seeds, *values):
        pairs = list(zip(self.varied, values, strict=True))
        tasks = [{name: float(v[row]) for name, v in pairs} for row in range(len(seeds))]

        def begin():
            rows = self._take(len(seeds))
            self._begun += 1
            self._living[self._begun] = rows
            seen = rows.begin(tasks, [int(s) for s in seeds])
            return seen, np.full(len(seeds), self._begun)

        return self._on_host(begin)

    def _step(self, episode, actions):
        def step():
            rows = self._living[episode[0]]
            seen, reward, done, cut = rows.step(actions)
            if rows.steps == self.horizon:  # a rollout goes no further
                self._waiting.append(self._living.pop(episode[0]))
            return seen, episode, cut & ~done, reward, done

        return self._on_host(step)

    def _on_host(self, run):
        """What `run` returns; after an error nothing of the environments is taken for sound."""
        with self._lock:
            try:
                return run()
            except Exception as error:
                self._fault = error, error.__cause__  # which TensorFlow takes away
                self.close()
                raise

    def _take(self, count):
        """Environments for so many rows that no other rollout lives in: TensorFlow may run two."""
        from tfmeta.environments.gymnasium_rows import Rows

        for rows in self._waiting:
            if rows.count == count:
                self._waiting.remove(rows)
                return rows
        while len(self._living) + len(self._waiting) >= _KEPT:
            old = self._waiting.popleft() if self._waiting else self._living.pop(min(self._living))
            old.close()
        return Rows(self, count)

    def _look_at_one(self):
        """Make one, in the first task: what it observes, what it takes, and whether it can be."""
        from tfmeta.environments.gymnasium_rows import InTask, made

        self.first_task = {name: float(value[0]) for name, value in self.parameters([0]).items()}
        env = made(self)
        self.horizon = time_limit(self.id, self.horizon, env)
        one = InTask(env, self.change, self.first_task)
        self.observation_size = one.observation_space.shape[0]
        self.actions = one.actions()
        one.close()


def gymnasium(
    id: str,
    parameters: dict | None = None,
    change: Callable | None = None,
    *,
    horizon: int | None = None,
    episodes: int = 1,
    vectorization_mode: str = "sync",
    vector_kwargs: dict | None = None,
    **kwargs,
) -> Environment:
    """A family of any environment of Gymnasium: the same environment, changed for each task.

    ```python
    family = tfmeta.environments.gymnasium("CartPole-v1")
    family = tfmeta.environments.gymnasium("MountainCar-v0", {"gravity": (0.001, 0.005)})
    ```

    Made ready are CartPole ("length", "masspole" and "force_mag" differ), Pendulum ("g", "m", "l")
    and HalfCheetah (`pip install "gymnasium[mujoco]"`), whose reward asks for a "direction", -1 or
    1, or for a "velocity". Of any other environment name the attributes that differ; or give a
    function of your own that makes it what it is in a task:

    ```python
    import gymnasium

    @keras.saving.register_keras_serializable()
    def windy(env, task):
        push = lambda action: action + task["wind"]
        return gymnasium.wrappers.TransformAction(env, push, env.action_space)

    family = tfmeta.environments.gymnasium("Pendulum-v1", {"wind": (-0.5, 0.5)}, windy)
    ```

    The environments run on the host, in Python, one a row; all else is as with the families in the
    graph. Observations and actions are made flat. What an episode is depends on its task and on the
    numbers of its row alone, if it does on the seed of its reset.

    Args:
        id: name of an environment that Gymnasium knows.
        parameters: dict of what differs: `(low, high)`, from which a task's value is drawn
            uniformly, or a list to draw from. None for those of an environment that is made ready;
            `{}` for a family of one task.
        change: function `(env, task) -> env`, called before each episode with the environment as
            it was made and a dict of floats. It returns the environment with its attributes set, or
            a wrapper around it. None sets the attributes that have the parameters' names.
        horizon: steps after which an episode ends by its time limit; None for what Gymnasium has.
        episodes: episodes of a task.
        vectorization_mode: "sync", one after the other, or "async", a process for each row, which
            is faster where a step takes long.
        vector_kwargs: arguments of Gymnasium's vector environment, such as `{"context": "spawn"}`.
        **kwargs: arguments of the environment, for `gymnasium.make`.

    Returns:
        `tfmeta.environments.Environment`. A task is a dict of numbers. `close()` ends
        the processes.

    Raises:
        ImportError: Gymnasium is missing, or older than 1.1: `pip install tfmeta[rl]`.
        ValueError: an argument is out of range; every task would be the same; the actions are
            neither discrete nor numbers. In a rollout: an observation has another shape.
        RuntimeError: in a rollout: an environment has raised, or a worker process died.
        FloatingPointError: in a rollout: an observation or a reward is not finite.

    Reference:
        Towers et al., "Gymnasium: A standard interface for reinforcement learning environments"
        (2024). arXiv:2407.17032
    """
    return Gymnasium(
        id, parameters, change, horizon, episodes, vectorization_mode, vector_kwargs, kwargs
    )


def _shaped(state, **values):
    """Values from the host in the shapes of those that a state had."""
    for name, value in values.items():
        value.set_shape(state[name].shape)
    return values


def _is_range(values):
    return isinstance(values, tuple)


def _draw(values, bits):
    if _is_range(values):
        return rng.uniform(bits, *values)
    return tf.gather(tf.constant(values, tf.float32), rng.integers(bits, len(values)))
