"""The service itself: Flask for requests, waitress for connections."""

import contextlib
import logging
import re
import threading

from tfmeta.serving.exported import Exported, load
from tfmeta.serving.limits import Limits
from tfmeta.serving.requests import parse
from tfmeta.serving.tasks import Full, Tasks

_log = logging.getLogger(__name__)
_NEEDS = (
    "Expected Flask and waitress, which serve over HTTP. Received: {}. "
    'Install them with pip install "tfmeta[serve]".'
)


def application(exported, name="learner", limits=None):
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
        raise ImportError(_NEEDS.format(error)) from error
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
        return {"task": service.adapt(_body(flask.request))}, 201

    @app.post(f"{base}/tasks/<task>:predict")
    def predict(task):
        return service.predict(task, _body(flask.request))

    @app.delete(f"{base}/tasks/<task>")
    def drop(task):
        service.drop(task)
        return "", 204

    _say_errors(app)
    return app


class _Refused(Exception):
    """An error for the client: a status, and words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class _Service:
    """What the addresses do, without HTTP."""

    def __init__(self, exported, limits):
        self.exported, self.limits, self.tasks = exported, limits, Tasks(limits)
        self._turns = threading.BoundedSemaphore(limits.computing)

    def adapt(self, body):
        with self._turn(), self._room():
            self.tasks.check_room()
            values, _ = parse(body, list(self.exported.inputs("adapt")))
            return self.tasks.add(self.exported.adapt(values, self.limits.rows))

    def predict(self, task, body):
        adapted = self.tasks.get(task)
        if adapted is None:
            raise _unknown(task)
        with self._turn():
            values, by_rows = parse(body, list(self.exported.inputs("predict_query")))
            outputs = self.exported.predict_query(adapted, values, self.limits.rows)
            return {"predictions" if by_rows else "outputs": outputs.tolist()}

    def drop(self, task):
        if not self.tasks.drop(task):
            raise _unknown(task)

    @contextlib.contextmanager
    def _turn(self):
        if not self._turns.acquire(timeout=self.limits.wait_seconds):
            raise _Refused(
                429,
                f"Expected a turn within {self.limits.wait_seconds:g} s. Received: too many "
                "requests before this one. Try again later.",
            )
        try:
            yield
        finally:
            self._turns.release()

    @contextlib.contextmanager
    def _room(self):
        try:
            yield
        except Full as error:
            raise _Refused(
                429,
                f"Expected room for one more task. Received: a full service, {error}. DELETE a "
                f"task; one that nobody asks for {self.limits.task_seconds:g} s goes by itself.",
            ) from None


def _unknown(task):
    return _Refused(
        404, f"Expected the name of a task that is kept. Received: {task[:40]!r}. POST it anew."
    )


def _body(request):
    # A page in a browser may not send this type to another place than its own without asking.
    if request.mimetype != "application/json":
        raise _Refused(
            415,
            "Expected the header Content-Type: application/json. "
            f"Received: {request.mimetype[:40] or 'none'}.",
        )
    return request.get_data(cache=False)


def _say_errors(app):
    from werkzeug.exceptions import HTTPException

    @app.errorhandler(_Refused)
    def refused(error):
        return {"error": str(error)}, error.status

    @app.errorhandler(ValueError)
    def wrong(error):
        return {"error": str(error)}, 400

    @app.errorhandler(HTTPException)
    def http(error):
        return {"error": f"{error.name}: {error.description}"}, error.code

    @app.errorhandler(Exception)
    def failed(error):
        _log.exception("A request failed.", exc_info=error)
        return {"error": "The service failed; its log says why."}, 500


def server(exported, host="127.0.0.1", port=8501, name="learner", limits=None):
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
    try:
        import waitress
    except ImportError as error:
        raise ImportError(_NEEDS.format(error)) from error
    limits = (limits or Limits()).checked()
    # Requests that wait are as it should be: it would warn of each.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    return waitress.create_server(
        application(exported, name, limits),
        host=host,
        port=port,
        threads=2 * limits.computing,
        max_request_body_size=limits.body_bytes,
        max_request_header_size=16 * 2**10,
        channel_timeout=max(1, int(limits.wait_seconds)),
        cleanup_interval=max(1, int(limits.wait_seconds) // 2),
        connection_limit=limits.connections,
        ident=None,
    )
