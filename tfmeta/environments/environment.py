"""What a family of environments is: tasks, and how one lives in them."""

import contextlib
import inspect
from typing import Any, NamedTuple

import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.hints import Nest
from tfmeta.ops import random_numbers as rng
from tfmeta.stream import check_stream, stream
from tfmeta.types import Episode, Examples


class Discrete(NamedTuple):
    """Actions `0..count-1`, int32.

    Attributes:
        count: number of actions.
    """

    count: int  # type: ignore[assignment]  # which hides that of tuples


class Box(NamedTuple):
    """Actions of real numbers, float32.

    Attributes:
        size: number of numbers in an action.
        low, high: bounds, which the environment clips actions to.
    """

    size: int
    low: float
    high: float


class Environment:
    """A family of environments, one a task, that run in the graph, many rows at once.

    A row is one agent in one task; `N` rows may be of as many tasks or of one. Nothing is kept
    outside of tensors: what a row lives through depends on its task, its actions and its random
    numbers alone, so that a rollout is reproducible and compiled as a whole
    (`tfmeta.environments.rollout`).

    A family of your own is a subclass with these attributes and with `draw_task`, `reset`,
    `observe` and `step`; registered with `keras.saving.register_keras_serializable()`, it is in the
    `.keras` files of the policies that were made for it.

    Attributes:
        observation_size: numbers in an observation.
        actions: `Discrete(count)` or `Box(size, low, high)`.
        horizon: steps after which an episode ends by its time limit.
        episodes: episodes that an agent lives through in one task, for learners that keep their
            memory from one to the next.
        task_draws: random numbers that a task takes.
        reset_draws: random numbers that a start takes.
        step_draws: random numbers that a step takes.
        in_graph: False where the host keeps the states, so that an episode begins by a call,
            `begin`, one after the other.
    """

    observation_size: Any = None
    actions: Any = None
    horizon: Any = None
    episodes = 1
    task_draws = 0
    reset_draws = 0
    step_draws = 0
    in_graph = True

    def draw_task(self, bits: tf.Tensor) -> Nest:
        """Tasks, a nest of tensors `[E, ...]`, from random numbers `bits` `[task_draws, E]`."""
        raise NotImplementedError(f"{type(self).__name__} does not define `draw_task`.")

    def reset(self, task: Nest, bits: tf.Tensor) -> Nest:
        """The first states of `N` rows.

        Args:
            task: a nest `[N, ...]`, the task of each row.
            bits: `[reset_draws, N]`, uint64, for `tfmeta.ops.random_numbers`.

        Returns:
            The states, a nest of tensors `[N, ...]`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `reset`.")

    def observe(self, task: Nest, state: Nest) -> tf.Tensor:
        """What the agents see: float32 `[N, observation_size]`."""
        raise NotImplementedError(f"{type(self).__name__} does not define `observe`.")

    def step(self, task: Nest, state: Nest, action: tf.Tensor, bits: tf.Tensor) -> tuple:
        """One step of `N` rows.

        Args:
            task: a nest `[N, ...]`.
            state: a nest `[N, ...]`.
            action: int32 `[N]` of `Discrete` actions, float32 `[N, size]` of a `Box`, not clipped.
            bits: `[step_draws, N]`, uint64.

        Returns:
            `(state, reward, done)`: the next state, float32 `[N]` and bool `[N]`; `done` is True
            where the episode is over by what happened in it, not by its time limit.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `step`.")

    def begin(self, task, state):
        """What `reset` returned, when its episode begins: where not `in_graph`."""
        return state

    def cut_off(self, task, state):
        """Where a step ended an episode by a time limit other than `horizon`: bool `[N]`, or None.

        It is the end of the episode, whose last state has still a value.
        """
        return None

    def readable_errors(self):
        """A context in which what went wrong on the host is raised as it was, not by TensorFlow."""
        return contextlib.nullcontext()

    def parameters(self, numbers: Any, seed: int = 0) -> Nest:
        """The tasks of these numbers: a nest of tensors `[E, ...]`.

        Args:
            numbers: integers `[E]`, task numbers.
            seed: the seed given to `tasks`.
        """
        numbers = tf.cast(numbers, tf.int64)
        return self.draw_task(
            rng.random_bits(check_integer("seed", seed), numbers, self.task_draws)
        )

    def tasks(
        self,
        trajectories: int = 1,
        meta_batch_size: int = 20,
        seed: int = 0,
        count: int | None = None,
        *,
        start: int = 0,
        step: int = 1,
    ) -> tf.data.Dataset:
        """Meta-batches of tasks to `fit` a policy on, or to score it.

        Task number i depends on the family, `seed` and i only.

        Args:
            trajectories: rows a task: trajectories that each update of a policy is made from.
            meta_batch_size: B, tasks per element.
            seed: int.
            count: number of tasks, the same on every pass; None for an endless stream.
            start: number of the first task.
            step: distance between the numbers of neighbouring tasks.

        Returns:
            `tf.data.Dataset` of `Episode(support, query)`: what a policy adapts on, and what it is
            scored on, is lived through when it is. Both are `Examples` whose x is a dict of "task",
            the nest of `parameters` repeated for each trajectory, `[B, R, ...]`, and of "row",
            int64 `[B, R]`, which no other trajectory of the stream has and its random numbers come
            from. y is zeros `[B, R]`, mask ones.

        Raises:
            ValueError: an argument is out of range.
        """
        seed, numbering = check_stream(meta_batch_size, seed, count, start, step)
        trajectories = check_integer("trajectories", trajectories, 1)

        def sample(numbers):
            task = tf.nest.map_structure(
                lambda t: tf.repeat(t[:, tf.newaxis], trajectories, axis=1),
                self.draw_task(rng.random_bits(seed, numbers, self.task_draws)),
            )
            rows = tf.range(trajectories, dtype=tf.int64)
            first = 2 * trajectories * numbers[:, tf.newaxis] + rows
            return Episode(*(_rows(task, first + part * trajectories) for part in range(2)))

        return stream(sample, **numbering)

    def get_config(self):
        """The arguments of the constructor, which are attributes of the same names: for files."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        return cls(**config)

    def __repr__(self):
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({given})"


def _rows(task, rows):
    zeros = tf.zeros(tf.shape(rows))
    return Examples({"task": task, "row": rows}, zeros, zeros + 1.0)
