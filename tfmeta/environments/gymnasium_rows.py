"""The host's side of environments of Gymnasium: one a row, in one vector environment.

Imported where Gymnasium is known to be there.
"""

import functools
import math

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from tfmeta.environments.environment import Box, Discrete


class InTask(gymnasium.Wrapper):
    """An environment that a task changes, and that says what goes wrong in it.

    Its observations and actions are flat. When an episode is over it waits: it observes what it
    observed last, and earns nothing. Gymnasium resets it by itself, without a seed, which it does
    not follow.

    Args:
        env: a `gymnasium.Env`, as it was made.
        change: function `(env, task) -> env`.
        task: the first task.
    """

    def __init__(self, env, change, task):
        changed = change(env, task)
        if not isinstance(changed, gymnasium.Env):
            raise ValueError(
                "Expected `change` to be a function (env, task) -> env that returns an "
                f"environment. Received: {type(changed).__name__} from it."
            )
        super().__init__(changed)
        self.made, self.change = env, change
        self.task, self.steps, self.over, self.seen = task, 0, True, None
        self.space, self.taken = changed.observation_space, changed.action_space
        if not isinstance(self.taken, spaces.Box | spaces.Discrete):
            raise ValueError(
                f"Expected discrete actions, or a Box of numbers. Received: {self.taken} of "
                f"{self._name()}. Let `change` return a wrapper with other actions."
            )
        size = spaces.flatdim(self.space)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.flat = isinstance(self.space, spaces.Box) and len(self.space.shape) == 1
        if isinstance(self.taken, spaces.Box):
            self.in_units = one_scale(self.taken) is None  # of -1..1
            self.action_space = spaces.Box(-np.inf, np.inf, (self.taken.low.size,), np.float32)
        else:
            self.action_space = spaces.Discrete(int(self.taken.n))

    def actions(self):
        """What is to be drawn: `Discrete` or `Box`."""
        if isinstance(self.taken, spaces.Discrete):
            return Discrete(int(self.taken.n))
        return Box(int(self.taken.low.size), *(one_scale(self.taken) or (-1.0, 1.0)))

    def reset(self, *, seed=None, options=None):
        if seed is None:
            return self.seen, {}
        self.steps, self.over = 0, False
        try:
            self.env = self.change(self.made, self.task)
            observation, _ = self.env.reset(seed=seed)
        except Exception as error:
            raise self._failure(error) from error
        self.seen = self._observed(observation)
        return self.seen, {}

    def step(self, action):
        if self.over:
            return self.seen, 0.0, False, False, {}
        self.steps += 1
        try:
            observation, reward, terminated, truncated, _ = self.env.step(self._action(action))
        except Exception as error:
            raise self._failure(error) from error
        self.seen, reward = self._observed(observation), float(reward)
        if not math.isfinite(reward):
            raise self._not_finite("reward", reward)
        self.over = bool(terminated or truncated)
        return self.seen, reward, bool(terminated), bool(truncated), {}

    def _observed(self, observation):
        if isinstance(self.space, spaces.Box) and np.shape(observation) != self.space.shape:
            raise ValueError(
                f"Expected observations of shape {self.space.shape} from {self._name()}. Received: "
                f"shape {np.shape(observation)}, {self._place()}."
            )
        seen = observation if self.flat else spaces.flatten(self.space, observation)
        seen = np.asarray(seen, np.float32)
        if not np.isfinite(seen).all():
            raise self._not_finite("observation", seen[~np.isfinite(seen)][0])
        return seen

    def _action(self, action):
        if isinstance(self.taken, spaces.Discrete):
            return int(action) + int(self.taken.start)
        low, high = self.taken.low, self.taken.high
        action = action.reshape(low.shape)
        if self.in_units:
            action = low + (high - low) * (np.clip(action, -1.0, 1.0) + 1) / 2
        return np.minimum(np.maximum(action, low), high).astype(self.taken.dtype, copy=False)

    def _failure(self, error):
        return RuntimeError(
            f"Expected {self._name()} to go on. Received: {type(error).__name__}({error}) "
            f"{self._place()}. The weights are those before this step."
        )

    def _not_finite(self, what, value):
        return FloatingPointError(
            f"Expected a finite {what} from {self._name()}. Received: {value} {self._place()}."
        )

    def _name(self):
        return self.made.spec.id if self.made.spec else type(self.made.unwrapped).__name__

    def _place(self):
        where = f"in step {self.steps}" if self.steps else "at the reset"
        return f"{where} of an episode in task {self.task}"


def one_scale(space):
    """The bounds `(low, high)` that all numbers of a `Box` share, infinite if one is; or None."""
    low, high = float(space.low.min()), float(space.high.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return -math.inf, math.inf
    return (low, high) if (space.low == low).all() and (space.high == high).all() else None


class Rows:
    """`N` environments side by side.

    Args:
        family: a `Gymnasium`.
        count: N.
    """

    def __init__(self, family, count):
        self.id, self.count = family.id, count
        self.vector = gymnasium.make_vec(
            family.id,
            num_envs=count,
            vectorization_mode=family.vectorization_mode,
            vector_kwargs=family.vector_kwargs | {"autoreset_mode": AutoresetMode.SAME_STEP},
            wrappers=[functools.partial(InTask, change=family.change, task=family.first_task)],
            **_arguments(family),
        )

    def begin(self, tasks, seeds):
        """Reset all to new tasks, a list of dicts: observations `[N, observation_size]`."""
        self.tasks, self.steps, self.over = tasks, 0, np.zeros(len(tasks), bool)
        self.seen = self._call(self._reset, tasks, seeds)
        return self.seen

    def step(self, actions):
        """`(observations, rewards, terminated, truncated)` of `[N, ...]`."""
        self.steps += 1
        nothing = np.zeros(len(self.over), bool)
        if self.over.all():
            return self.seen, np.zeros(len(self.over), np.float32), nothing, nothing
        self.seen, rewards, terminated, truncated, _ = self._call(self.vector.step, actions)
        self.over |= terminated | truncated
        return self.seen, rewards.astype(np.float32), terminated, truncated

    def close(self):
        """End all, whatever state they are in."""
        workers = getattr(self.vector, "processes", None)
        if workers is None:
            self.vector.close()
            return
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        self.vector.closed = True

    def _reset(self, tasks, seeds):
        self.vector.set_attr("task", tasks)
        return self.vector.reset(seed=seeds)[0]

    def _call(self, method, *arguments):
        try:
            return method(*arguments)
        except (EOFError, OSError) as error:  # of a pipe: those of environments are others here
            raise RuntimeError(self._died(error)) from error

    def _died(self, error):
        for worker in self.vector.processes:
            worker.join(0.1)  # its pipe may be gone before it is
        codes = [worker.exitcode for worker in self.vector.processes]
        row = next((r for r, code in enumerate(codes) if code is not None), None)
        which = "one" if row is None else f"number {row} with exit code {codes[row]},"
        task = "" if row is None else f" in task {self.tasks[row]}"
        return (
            f"Expected the worker processes of {self.id} to live. Received: the end of {which} in "
            f"step {self.steps} of an episode{task} ({type(error).__name__}). An exit code of -9 "
            "is a kill, often for want of memory: take a smaller meta_batch_size, or "
            'vectorization_mode="sync". The weights are those before this step.'
        )


def made(family):
    """One environment of a family, before any task changes it."""
    return gymnasium.make(family.id, **_arguments(family))


def _arguments(family):
    return {"disable_env_checker": True} | family.kwargs | {"max_episode_steps": family.horizon}
