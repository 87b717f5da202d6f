"""An environment of Gymnasium that does what its task says, faults among it; used by the tests."""

import os
import signal

import gymnasium
import numpy as np

ID = "tfmeta-tests/Scripted-v0"
FAULTS = ("none", "raises", "nan observation", "nan reward", "reset shape", "step shape", "dies")


class Scripted(gymnasium.Env):
    """Observes a random number of its reset and the step; a step pays its number.

    Attributes:
        ends, cut: the step after which an episode is over by what happened, or is cut off.
        fault: place in `FAULTS`, of what goes wrong in the second step, or at the reset.
        raises_at: number of the reset, over all of these environments, that raises.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Discrete(2, start=5)
    resets, raises_at = 0, None

    def __init__(self, tilted=False):
        self.ends = self.cut = self.fault = 0.0
        if tilted:
            self.action_space = gymnasium.spaces.Box(np.float32([0, -1]), np.float32([2, 1]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        Scripted.resets += 1
        if Scripted.resets == Scripted.raises_at:
            raise OSError("the cable is loose")
        self.t, self.number = 0, self.np_random.random()
        return self.observed("reset shape"), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        if self.goes_wrong("raises"):
            raise OSError("the cable is loose")
        if self.goes_wrong("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        reward = np.nan if self.goes_wrong("nan reward") else float(self.t)
        ends = self.t == int(self.ends), self.t == int(self.cut)
        return self.observed("step shape"), reward, *ends, {}

    def goes_wrong(self, fault):
        return self.fault == FAULTS.index(fault) and self.t == (0 if "reset" in fault else 2)

    def observed(self, fault):
        number = np.nan if self.goes_wrong("nan observation") else self.number
        return np.zeros(3) if self.goes_wrong(fault) else np.array([number, self.t], "float32")


if ID not in gymnasium.registry:
    gymnasium.register(ID, Scripted)
