"""Settings that every test needs before TensorFlow starts, and how long a quick test may take."""

import gc
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="module", autouse=True)
def small_heap():
    """What TensorFlow and the modules before have left is looked through no more for garbage.

    Half a million objects and more are alive as long as the process, and each search for garbage
    would go through all of them: keras-tuner begins two in each trial, and tracing many.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Quick tests ask XLA for nothing of themselves: "auto" is off, unless they are marked `xla`.

    XLA takes three times as long to compile the small networks of tests as to run them without it.
    Those that are about it say `jit_compile=True`, and slow tests run as a user's learner does.
    """
    from tfmeta.engine import fitting

    with pytest.MonkeyPatch.context() as patch:
        if not any(mark.name in ("slow", "xla") for mark in item.iter_markers()):
            patch.setattr(fitting, "_suits_xla", lambda learner, run_eagerly: False)
        yield
