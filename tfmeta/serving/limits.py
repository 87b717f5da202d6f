"""What one service takes on at most."""

from typing import NamedTuple

from tfmeta.arguments import check_integer, check_number


class Limits(NamedTuple):
    """Limits of a service; a request beyond one is refused in words.

    Attributes:
        tasks: the number of tasks that are kept.
        task_bytes: the size of all that is kept of them together.
        task_seconds: a task that nobody asked for so long is dropped.
        body_bytes: the size of a request's body.
        rows: the number of rows of a support or query set.
        computing: the number of requests that are computed at a time.
        wait_seconds: how long a request waits for its turn, and a silent client for its answer.
        connections: the number of open connections.
    """

    tasks: int = 100
    task_bytes: int = 2**30
    task_seconds: float = 3600.0
    body_bytes: int = 16 * 2**20
    rows: int = 1000
    computing: int = 4
    wait_seconds: float = 30.0
    connections: int = 500

    def checked(self):
        """These limits; a ValueError unless all are numbers > 0."""
        for name, value in self._asdict().items():
            if name.endswith("_seconds"):
                check_number(name, value)
            else:
                check_integer(name, value, 1)
        return self
