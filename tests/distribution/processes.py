"""Workers as forks of one process that has imported TensorFlow, and not started it."""

import json
import os
import signal
import socket
import time


def free_ports(count):
    """Ports of this machine that nobody has."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def say(**facts):
    """A line of JSON for the test that started this process, in one write."""
    os.write(1, (json.dumps(facts) + "\n").encode())


def config(ports, worker):
    """The text of `TF_CONFIG`."""
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": worker}})


def start(function, *arguments, tf_config=None):
    """Run a function in a fork; its process id. An error is said, and ends it with 1."""
    child = os.fork()
    if child:
        return child
    if tf_config is not None:
        os.environ["TF_CONFIG"] = tf_config
    try:
        function(*arguments)
    except Exception as error:
        say(error=type(error).__name__, text=str(error))
        os._exit(1)
    os._exit(0)


def ends(children, seconds=240):
    """How each of the processes ended; one that still runs then is killed: "hangs"."""
    end, found = time.monotonic() + seconds, {}
    while len(found) < len(children) and time.monotonic() < end:
        for child in set(children) - set(found):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                killed = os.WIFSIGNALED(status)
                found[child] = os.WTERMSIG(status) if killed else -os.WEXITSTATUS(status)
        time.sleep(0.02)
    for child in set(children) - set(found):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return [found.get(child, "hangs") for child in children]
