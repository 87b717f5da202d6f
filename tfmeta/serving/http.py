"""What services over HTTP share: turns, bodies, errors in words, and the server of waitress."""

import contextlib
import errno
import logging
import threading

_log = logging.getLogger(__name__)


def needs(extra):
    """Words for an ImportError; `{}` in them is what was said."""
    return (
        "Expected Flask and waitress, which serve over HTTP. Received: {}. "
        f'Install them with pip install "tfmeta[{extra}]".'
    )


class Refused(Exception):
    """An error for the client: a status, and words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class Turns:
    """So many requests compute at a time; the others wait, a while.

    Args:
        limits: `Limits`.
    """

    def __init__(self, limits):
        self.limits = limits
        self._turns = threading.BoundedSemaphore(limits.computing)

    @contextlib.contextmanager
    def turn(self):
        """A turn; `Refused` if there is none in time."""
        if not self._turns.acquire(timeout=self.limits.wait_seconds):
            raise Refused(
                429,
                f"Expected a turn within {self.limits.wait_seconds:g} s. Received: too many "
                "requests before this one. Try again later.",
            )
        try:
            yield
        finally:
            self._turns.release()


def body_of(request):
    """The bytes of a request's body, which has to be said to be JSON."""
    # A page in a browser may not send this type to another place than its own without asking.
    if request.mimetype != "application/json":
        raise Refused(
            415,
            "Expected the header Content-Type: application/json. "
            f"Received: {request.mimetype[:40] or 'none'}.",
        )
    return request.get_data(cache=False)


def say_errors(app):
    """Errors of a `flask.Flask` become `{"error": "..."}`: never a stack trace."""
    from werkzeug.exceptions import HTTPException

    @app.errorhandler(Refused)
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


def listen(app, host, port, limits, extra="serve"):
    """A server of waitress that listens already: `run()` answers until it is stopped.

    Args:
        app: a WSGI application.
        host: the address to listen at.
        port: 0 for any that is free, `effective_port` of what is returned.
        limits: `Limits`.
        extra: of tfmeta, which installs waitress.

    Raises:
        ImportError: waitress is not installed.
        OSError: the port is taken.
    """
    try:
        import waitress
    except ImportError as error:
        raise ImportError(needs(extra).format(error)) from error
    # Requests that wait are as it should be: it would warn of each.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        return waitress.create_server(
            app,
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
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            f"Expected a port that is free. Received: {port}, which is in use. Choose another one, "
            "or 0 for any."
        ) from error
