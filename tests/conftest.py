"""Settings that every test needs before TensorFlow starts, and how long a quick test may take."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")


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
