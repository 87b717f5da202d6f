"""The service itself: Flask for requests, waitress for connections."""

import contextlib
import re
from typing import Any

from tfmeta.hints import Path
from tfmeta.serving.exported import Exported, load
from tfmeta.serving.http import Refused, Turns, body_of, listen, needs, say_errors
from tfmeta.serving.limits import Limits
from tfmeta.serving.requests import parse
from tfmeta.serving.tasks import Full, Tasks


def application(
    exported: Exported | Path, name: str = "learner", limits: Limits | None = None
) -> Any:
    """A WSGI application that learns tasks and answers queries.

        GET    /v1/models/NAME                       is it there?
        GET    /v1/models/NAME/metadata              the note of the export
        POST   /v1/models/NAME/tasks                 a support set: {"task": TASK}
        POST   /v1/models/NAME/tasks/TASK:predict    queries: {"predictions": [...]}
        DELETE /v1/models/NAME/tasks/TASK            forget it

    Bodies and answers are JSON in the forms of TensorFlow Serving's REST API, errors
    `{"error": "..."}`.

    Args:
        exported: what `load` returned, or the folder of an export.
        name: of the model in the addresses.
        limits: `Limits`, None for the defaults.

    Returns:
        A `flask.Flask`.

    Raises:
        ImportError: Flask is not installed.
        ValueError: the export cannot be served, or a limit is no number > 0.
    """
    try:
        import flask
    except ImportError as error:
        raise ImportError(needs("serve").format(error)) from error
    exported = exported if isinstance(exported, Exported) else load(exported)
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"Expected a name of letters, digits, '_', '.', '-'. Received: {name!r}.")
    limits = (limits or Limits()).checked()
    service = _Service(exported, limits)
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes
    base = f"/v1/models/{name}"

    @app.get(base)
    def status():
        state = {"version": "1", "state": "AVAILABLE"}
        return {"model_version_status": [state | {"status": {"error_code": "OK"}}]}

    @app.get(f"{base}/metadata")
    def metadata():
        return {"model_spec": {"name": name}, "metadata": exported.note}

    @app.post(f"{base}/tasks")
    def adapt():
        return {"task": service.adapt(body_of(flask.request))}, 201

    @app.post(f"{base}/tasks/<task>:predict")
    def predict(task):
        return service.predict(task, body_of(flask.request))

    @app.delete(f"{base}/tasks/<task>")
    def drop(task):
        service.drop(task)
        return "", 204

    say_errors(app)
    return app


class _Service(Turns):
    """What the addresses do, without HTTP."""

    def __init__(self, exported, limits):
        super().__init__(limits)
        self.exported, self.tasks = exported, Tasks(limits)

    def adapt(self, body):
        with self.turn(), self._room():
            self.tasks.check_room()
            values, _ = parse(body, list(self.exported.inputs("adapt")))
            return self.tasks.add(self.exported.adapt(values, self.limits.rows))

    def predict(self, task, body):
        adapted = self.tasks.get(task)
        if adapted is None:
            raise _unknown(task)
        with self.turn():
            values, by_rows = parse(body, list(self.exported.inputs("predict_query")))
            outputs = self.exported.predict_query(adapted, values, self.limits.rows)
            return {"predictions" if by_rows else "outputs": outputs.tolist()}

    def drop(self, task):
        if not self.tasks.drop(task):
            raise _unknown(task)

    @contextlib.contextmanager
    def _room(self):
        try:
            yield
        except Full as error:
            raise Refused(
                429,
                f"Expected room for one more task. Received: a full service, {error}. DELETE a "
                f"task; one that nobody asks for {self.limits.task_seconds:g} s goes by itself.",
            ) from None


def _unknown(task):
    return Refused(
        404, f"Expected the name of a task that is kept. Received: {task[:40]!r}. POST it anew."
    )


def server(
    exported: Exported | Path,
    host: str = "127.0.0.1",
    port: int = 8501,
    name: str = "learner",
    limits: Limits | None = None,
) -> Any:
    """A server of `application`, which listens already: `server(path).run()` answers until stopped.

    Args:
        exported: what `load` returned, or the folder of an export.
        host: the address to listen at. The default takes requests from this machine alone; there
            is no password, so put a proxy with one in front of "0.0.0.0".
        port: 0 for any that is free, `effective_port` of what is returned.
        name: of the model in the addresses.
        limits: `Limits`, None for the defaults.

    Returns:
        A server of waitress, with `run()` and `close()`.

    Raises:
        ImportError: Flask or waitress is not installed.
        OSError: the port is taken.
        ValueError: the export cannot be served, or a limit is no number > 0.
    """
    limits = (limits or Limits()).checked()
    return listen(application(exported, name, limits), host, port, limits)
