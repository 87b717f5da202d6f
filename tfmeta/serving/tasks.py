"""The tasks that a service has learned, each under a name that nobody guesses."""

import collections
import secrets
import threading
import time

import tensorflow as tf


class Full(Exception):
    """There is no room for one more task."""


class Tasks:
    """Name -> what `adapt` returned. Safe to use from many threads.

    Args:
        limits: `Limits`.
        clock: function without arguments to seconds.
    """

    def __init__(self, limits, clock=time.monotonic):
        self.limits, self.clock = limits, clock
        self._lock = threading.Lock()
        self._kept = collections.OrderedDict()  # name -> (value, bytes, last used); oldest first

    def check_room(self):
        """Raise `Full` if there are too many tasks, before one more is learned."""
        with self._lock:
            self._drop_old()
            if len(self._kept) >= self.limits.tasks:
                raise Full(f"at most {self.limits.tasks} tasks at a time")

    def add(self, adapted):
        """Keep a dict of tensors: the task's name."""
        size = sum(_bytes(tensor) for tensor in adapted.values())
        with self._lock:
            self._drop_old()
            if len(self._kept) >= self.limits.tasks:
                raise Full(f"at most {self.limits.tasks} tasks at a time")
            if size + sum(entry[1] for entry in self._kept.values()) > self.limits.task_bytes:
                raise Full(f"at most {self.limits.task_bytes} bytes of tasks, this one has {size}")
            name = secrets.token_urlsafe(16)
            self._kept[name] = adapted, size, self.clock()
        return name

    def get(self, name):
        """What `adapt` returned for this task, None if there is none of this name (any more)."""
        with self._lock:
            self._drop_old()
            if name not in self._kept:
                return None
            adapted, size, _ = self._kept.pop(name)
            self._kept[name] = adapted, size, self.clock()
        return adapted

    def drop(self, name):
        """Forget a task: True if there was one."""
        with self._lock:
            return self._kept.pop(name, None) is not None

    def __len__(self):
        with self._lock:
            self._drop_old()
            return len(self._kept)

    def _drop_old(self):
        since = self.clock() - self.limits.task_seconds
        while self._kept and next(iter(self._kept.values()))[2] < since:
            self._kept.popitem(last=False)


def _bytes(tensor):
    return int(tf.size(tensor)) * tensor.dtype.size
