"""A worker: one contender in one process, told what to do by lines of JSON on its stdin.

    {"do": "load", "case": {...}, "file": "case.npz", "options": {...}}  -> {"versions": {...}}
    {"do": "memory", "reset": true}   -> {"now": bytes, "peak": bytes}
    {"do": "first"}                   -> {"first_step_s": s}
    {"do": "gradient", "file": "x"}   -> {}; the outer gradient of the first step, as an npz
    {"do": "round", "seconds": s}     -> {"steps": n, "seconds": t}
    {"do": "quit"}

Whatever else a library prints goes to stderr. Standard library and NumPy alone: the workers of all
libraries import this file.
"""

import json
import math
import os
import platform
import sys
import time

import numpy as np

from benchmarks.cases import Case
from benchmarks.machine import memory

LEARNING_RATE = 1e-3  # of the outer optimizer, Adam


class Contender:
    """One way to take an outer step. Subclasses take `(case, arrays, options)`.

    `arrays` holds what `cases.first_weights` and `cases.meta_batch` give.
    """

    steps_at_a_time = 1

    def step(self):
        """One outer step, the optimizer's update included."""
        raise NotImplementedError

    def finish(self):
        """Wait for whatever `step` has left to run."""

    def first_moment(self):
        """Name -> first moment of Adam, arrays in Keras's layouts."""
        raise NotImplementedError

    def first_step(self):
        self.step()
        self.finish()

    def run(self, steps):
        """Take steps; the seconds that they took."""
        began = time.perf_counter()
        for _ in range(steps):
            self.step()
        self.finish()
        return time.perf_counter() - began


class Session:
    """What the commands do."""

    def __init__(self, contenders, versions):
        self.contenders, self.versions = contenders, versions
        self.step_seconds = None

    def load(self, case, file, contender, options):
        with np.load(file) as arrays:
            arrays = dict(arrays)
        case = Case(**case | {"input_shape": tuple(case["input_shape"])})
        self.contender = self.contenders[contender](case, arrays, options)
        return {"versions": {"python": platform.python_version(), **self.versions}}

    def first(self):
        began = time.perf_counter()
        self.contender.first_step()
        seconds = time.perf_counter() - began
        # Adam starts with a moment of 0 and adds a tenth of the gradient: after one step the
        # moment tells the very gradient that the timed step took, with nothing compiled anew.
        self.gradients = {k: v / 0.1 for k, v in self.contender.first_moment().items()}
        return {"first_step_s": seconds}

    def gradient(self, file):
        np.savez(file, **self.gradients)
        return {}

    def round(self, seconds):
        if self.step_seconds is None:  # how many steps fill a round is not known yet
            self._steps(1)
            self._steps(seconds / 2)
        steps, taken = self._steps(seconds)
        return {"steps": steps, "seconds": taken}

    def _steps(self, seconds):
        at_a_time = self.contender.steps_at_a_time
        wanted = seconds / self.step_seconds if self.step_seconds else 1
        steps = at_a_time * max(1, math.ceil(wanted / at_a_time))
        taken = self.contender.run(steps)
        self.step_seconds = taken / steps
        return steps, taken

    def memory(self, reset=False):
        return memory(reset)


def serve(contenders, versions):
    """Answer commands until "quit" or the end of stdin.

    Args:
        contenders: name -> subclass of `Contender`.
        versions: name -> version of the libraries in use.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session(contenders, versions)
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        if do == "quit":
            return
        print(json.dumps(getattr(session, do)(**command)), file=answers, flush=True)
