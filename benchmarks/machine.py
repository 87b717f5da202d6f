"""The machine that a benchmark runs on, and whether anything else does."""

import contextlib
import os
import platform
import time

# Beyond it figures are not fair: PyTorch's threads wait for each other by spinning, and lose a
# hundredfold where a second process wants a core.
LARGEST_BUSY_SHARE = 0.1


def machine():
    """What the figures depend on, besides the versions."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return {"cores": os.cpu_count(), "cpu": models[0] if models else platform.processor()}
    return {"cores": os.cpu_count(), "cpu": platform.processor()}


def busy_share(seconds=1.0):
    """The share of the machine's processor time that is in use while this process waits."""

    def ticks():
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = ticks()
    time.sleep(seconds)
    total, idle = (after - before for after, before in zip(ticks(), (total, idle), strict=True))
    return 1 - idle / total


def memory(reset=False):
    """Bytes of this process, now and at their peak: `{"now": ..., "peak": ...}`; Linux."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts again from what is in use now
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return {"now": now, "peak": peak}
