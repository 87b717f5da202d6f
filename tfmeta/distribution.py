"""Train on several workers: wait for all of them, and give each its own share of the episodes.

What distributes is TensorFlow's: `MirroredStrategy` for the devices of one machine needs nothing of
this module, and `MultiWorkerMirroredStrategy` for several processes, described by `TF_CONFIG`,
needs these few lines in the script that every worker runs:

```python
strategy = tfmeta.distribution.join()
with strategy.scope():
    learner = tfmeta.learners.MAML(tfmeta.networks.conv4((28, 28, 1), 5))
    learner.compile("adam", loss)
share = tfmeta.distribution.share(meta_batch_size=32)
episodes = tfmeta.episodes.classification(train, ways=5, shots=1, **share)
learner.fit(episodes, steps_per_epoch=1000, verbose=2 if tfmeta.distribution.is_chief() else 0)
```
"""

import contextlib
import errno
import json
import os
import socket
import time
from typing import Any

import tensorflow as tf

from tfmeta.arguments import check_integer, check_number

__all__ = ["is_chief", "join", "share"]


def join(timeout: float = 600.0) -> tf.distribute.Strategy:
    """Wait for all workers, and make TensorFlow's strategy for them.

    TensorFlow waits for a late worker without an end, and does not say for which. Here the workers
    meet before it starts, at the address of the first one, and each looks at its own port.

    Args:
        timeout: seconds to wait for the others: for each of them to start, and later for their
            part of a step.

    Returns:
        `tf.distribute.MultiWorkerMirroredStrategy`; without `TF_CONFIG`, or with one worker in it,
        TensorFlow's default strategy, so that the same script runs alone.

    Raises:
        ValueError: `TF_CONFIG` does not say what it must, or differs between workers.
        OSError: another process has this worker's port.
        TimeoutError: a worker did not come. All that came raise it, and name those missing.
    """
    timeout = check_number("timeout", timeout)
    addresses, worker = _cluster()
    if len(addresses) == 1:
        return tf.distribute.get_strategy()
    with _listening(addresses[worker]) as listener:
        meet = _lead if worker == 0 else _report
        meet(listener, addresses, worker, time.monotonic() + timeout)
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=timeout)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def share(meta_batch_size: int, count: int | None = None) -> dict[str, Any]:
    """This worker's share of a stream: arguments for any function of `tfmeta.episodes`.

    Of W workers, worker w makes and reads the episodes w, w + W, w + 2W, ... alone. The meta-batch
    of all workers together consists of the episodes that one process would have.

    Args:
        meta_batch_size: episodes of all workers together, in one outer step.
        count: episodes of all workers together, or None for an endless stream.

    Returns:
        A dict of `meta_batch_size`, `start`, `step` and `count`.

    Raises:
        ValueError: the number of workers does not divide an argument.
    """
    addresses, worker = _cluster()
    workers = len(addresses)
    numbers = {"meta_batch_size": meta_batch_size} | ({} if count is None else {"count": count})
    for name, value in numbers.items():
        if check_integer(name, value, 1) % workers:
            raise ValueError(
                f"Expected {name} to be a multiple of the {workers} workers. Received: "
                f"{name}={value}."
            )
    parts = {name: value // workers for name, value in numbers.items()}
    return {"count": None} | parts | {"start": worker, "step": workers}


def is_chief() -> bool:
    """True in the first worker, which writes backups, logs and the trained learner."""
    return _cluster()[1] == 0


def _cluster():
    """Addresses of all workers, and the number of this one, from `TF_CONFIG`."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return ["localhost:0"], 0
    try:
        config = json.loads(text)
        jobs = {job: list(config["cluster"].get(job, [])) for job in ("chief", "worker")}
        kind, index = config["task"]["type"], int(config["task"]["index"])
        jobs[kind][index].split(":")[1]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(
            'Expected TF_CONFIG like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": 0}}}}, with the task in the cluster. Received: {text}.'
        ) from error
    before = len(jobs["chief"]) if kind == "worker" else 0
    return [*jobs["chief"], *jobs["worker"]], before + index


@contextlib.contextmanager
def _listening(address):
    """A socket at the port of this worker's address, which TensorFlow takes afterwards."""
    port = int(address.rsplit(":", 1)[1])
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise OSError(
                error.errno,
                f"Expected port {port} of this worker, {address}, to be free. Received: a port "
                "that another process has. End that process, an earlier run perhaps, or change "
                "TF_CONFIG of all workers.",
            ) from None
        listener.listen(128)
        yield listener


def _lead(listener, addresses, worker, end):
    """The first worker: wait until all have reported, and tell them."""
    came, late, differs = {worker: None}, None, None
    try:
        while len(came) < len(addresses) and differs is None:
            listener.settimeout(max(0.01, end - time.monotonic()))
            connection, _ = listener.accept()
            connection.settimeout(5.0)
            # Whoever says something else is no worker.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said = json.loads(connection.makefile().readline())
                came[int(said["worker"])] = connection
                differs = said if said["addresses"] != addresses else None
    except TimeoutError:
        missing = [f"{w} ({a})" for w, a in enumerate(addresses) if w not in came]
        late = (
            f"Expected all {len(addresses)} workers to start in time. Received: no word of worker "
            f"{', '.join(missing)}. Look at their logs, and start all workers again."
        )
    if differs is not None:
        differs = (
            f"Expected one cluster in TF_CONFIG of all workers. Received: {addresses} in worker 0, "
            f"{differs['addresses']} in worker {differs['worker']}."
        )
    for connection in filter(None, came.values()):
        with contextlib.suppress(OSError), connection:
            connection.sendall((json.dumps({"late": late, "differs": differs}) + "\n").encode())
    _raise(late, differs)


def _report(listener, addresses, worker, end):
    """Every other worker: report to the first one, and wait for its word."""
    del listener  # held open, so that no other process takes the port
    host, port = addresses[0].rsplit(":", 1)
    word = json.dumps({"worker": worker, "addresses": addresses}) + "\n"
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            left = max(0.01, end - time.monotonic())
            with socket.create_connection((host, int(port)), timeout=left) as connection:
                connection.sendall(word.encode())
                connection.settimeout(left + 5.0)  # the first one's time ends later, perhaps
                answer = connection.makefile().readline()
            if answer:
                return _raise(**json.loads(answer))
        time.sleep(0.1)
    raise TimeoutError(
        f"Expected worker 0 at {addresses[0]} to start in time. Received: no answer in worker "
        f"{worker}. Look at its log, and start all workers again."
    )


def _raise(late, differs):
    if late is not None:
        raise TimeoutError(late)
    if differs is not None:
        raise ValueError(differs)
