"""The page over HTTP: three files, and one question."""

import pathlib

from tfmeta.demo.questions import read_question
from tfmeta.demo.recognizer import Recognizer
from tfmeta.serving.http import Turns, body_of, listen, needs, say_errors
from tfmeta.serving.limits import Limits
from tfmeta.serving.requests import read_json

PAGE = pathlib.Path(__file__).parent / "page"
FILES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "pad.js": "text/javascript",
    "page.js": "text/javascript",
}
LIMITS = Limits(body_bytes=2 * 2**20, computing=2, wait_seconds=10.0, connections=50)
HEADERS = {
    # Nothing from another machine, nothing written into the page, and no frame around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(recognizer=None, limits=LIMITS):
    """A WSGI application that shows the page and answers its questions.

        GET  /          the page
        POST /answer    drawings: {"probabilities": [...]}

    Nothing is kept of what it is sent.

    Args:
        recognizer: a `Recognizer`, None for that of the package.
        limits: `tfmeta.serving.Limits`.

    Returns:
        A `flask.Flask`.

    Raises:
        ImportError: Flask is not installed.
    """
    try:
        import flask
    except ImportError as error:
        raise ImportError(needs("demo").format(error)) from error
    recognizer, turns = recognizer or Recognizer(), Turns(limits.checked())
    app = flask.Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes

    @app.get("/")
    def page():
        return flask.Response((PAGE / "index.html").read_bytes(), mimetype="text/html")

    @app.get("/<any('style.css', 'pad.js', 'page.js'):name>")
    def file(name):
        return flask.Response((PAGE / name).read_bytes(), mimetype=FILES[name])

    @app.post("/answer")
    def answer():
        body = body_of(flask.request)
        with turns.turn():
            probabilities = recognizer(*read_question(read_json(body)))
        return {"probabilities": probabilities[0].tolist()}

    @app.after_request
    def guarded(response):
        response.headers.update(HEADERS)
        return response

    say_errors(app)
    return app


def server(host="127.0.0.1", port=8502, recognizer=None, limits=LIMITS):
    """A server of `application`, which listens already: `server().run()` answers until stopped.

    Args:
        host: the address to listen at. The default takes requests from this machine alone.
        port: 0 for any that is free, `effective_port` of what is returned.
        recognizer, limits: as in `application`.

    Raises:
        ImportError: Flask or waitress is not installed.
        OSError: the port is taken.
    """
    return listen(application(recognizer, limits), host, port, limits, extra="demo")
