"""The service over HTTP: tasks at the same time, and errors of a client told in words."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import pickle
import re
import threading

import numpy as np
import pytest
from serving import exports

from tfmeta import serving
from tfmeta.serving.tasks import Full, Tasks

pytest.importorskip("flask", reason="the extra serve is not installed")
pytest.importorskip("waitress", reason="the extra serve is not installed")

BASE = "/v1/models/learner"
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def protonet(tmp_path_factory):
    path = tmp_path_factory.mktemp("protonet") / "learner"
    exports.protonet().export(path)
    return serving.load(path)


@pytest.fixture(scope="module")
def maml(tmp_path_factory):
    path = tmp_path_factory.mktemp("maml") / "learner"
    exports.maml().export(path)
    return serving.load(path)


def columns(examples):
    return {"inputs": {"x": examples.x.tolist(), "y": examples.y.tolist()}}


@contextlib.contextmanager
def running(exported, **limits):
    """A server in a thread of its own: its port."""
    server = serving.server(exported, port=0, limits=serving.Limits(**limits))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.close()
        thread.join(10)


def send(port, path, content):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", BASE + path, json.dumps(content), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def memory():
    """Of this process, MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 2**20


def test_200_requests_at_the_same_time_are_answered_right_and_memory_is_flat(protonet):
    learner, tasks = exports.protonet(), [exports.support(seed=seed) for seed in range(10)]
    queries = [tasks[i % 10].x[i % 6 :][:3] for i in range(200)]
    adapted = [learner.adapt(task) for task in tasks]
    expected = [learner.predict_query(adapted[i % 10], x) for i, x in enumerate(queries)]
    with running(protonet) as port, concurrent.futures.ThreadPoolExecutor(200) as pool:
        made = list(pool.map(lambda task: send(port, "/tasks", columns(task)), tasks))
        assert [status for status, _ in made] == [201] * 10
        names = [body["task"] for _, body in made]
        assert len(set(names)) == 10

        def ask(i):
            path = f"/tasks/{names[i % 10]}:predict"
            return send(port, path, {"instances": queries[i].tolist()})

        after = []
        for _ in range(4):
            answers = list(pool.map(ask, range(200)))
            after.append(memory())
            for (status, body), outputs in zip(answers, expected, strict=True):
                assert status == 200
                np.testing.assert_allclose(body["predictions"], outputs, rtol=1e-4, atol=1e-5)
    assert after[-1] - after[0] < 20, after


def test_a_gradient_learner_is_served_by_rows_and_by_columns(maml):
    client = serving.application(maml, name="curves").test_client()
    x, y = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 2]
    rows = [{"x": row, "y": label} for row, label in zip(x, y, strict=True)]
    columns = {"inputs": {"x": x, "y": y}}
    names = [
        client.post("/v1/models/curves/tasks", json=body).json["task"]
        for body in ({"instances": rows}, columns)
    ]
    answers = [
        client.post(f"/v1/models/curves/tasks/{name}:predict", json=body).json
        for name in names
        for body in ({"instances": x}, {"instances": [{"x": row} for row in x]}, {"inputs": x})
    ]
    forms = [name for answer in answers for name in answer]
    assert forms == 2 * ["predictions", "predictions", "outputs"]
    values = [next(iter(answer.values())) for answer in answers]
    assert values == [values[0]] * 6
    assert client.get("/v1/models/curves").json["model_version_status"][0]["state"] == "AVAILABLE"
    assert client.get("/v1/models/curves/metadata").json["metadata"]["learner"] == "MAML"
    assert client.delete(f"/v1/models/curves/tasks/{names[0]}").status_code == 204
    assert client.delete(f"/v1/models/curves/tasks/{names[0]}").status_code == 404


SUPPORT = columns(exports.support())


@pytest.mark.parametrize(
    ("path", "content", "status", "words"),
    [
        ("/tasks", {"inputs": {"x": [[1.0]], "y": [0]}}, 400, r"Expected x of shape \[rows, 4, 4"),
        ("/tasks", {"inputs": {"x": "a", "y": [0]}}, 400, "Expected numbers in x"),
        ("/tasks", {"inputs": SUPPORT["inputs"] | {"y": [9] * 6}}, 400, r"labels 0\.\.5"),
        ("/tasks", {"inputs": SUPPORT["inputs"] | {"y": [0]}}, 400, "as many rows"),
        ("/tasks", {"inputs": {}}, 400, "Expected the inputs mask, x, y. Received: none"),
        ("/tasks", {"instances": []}, 400, "Expected a list of rows, at least one"),
        ("/tasks", {"instances": [1, 2]}, 400, "Expected rows of the inputs"),
        ("/tasks", {"instances": [{"x": 1}, {"y": 1}]}, 400, "Expected rows of the inputs"),
        ("/tasks", [], 400, 'Expected {"instances"'),
        ("/tasks", {"inputs": {}, "instances": []}, 400, 'Expected {"instances"'),
        ("/tasks", b"{", 400, "Expected JSON. Received: Expecting property name"),
        ("/tasks", b"\xff", 400, "Expected JSON in UTF-8"),
        ("/tasks", b"[" * 10_000, 400, "lists in lists without end"),
        ("/tasks", b'{"inputs": {"x": [NaN], "y": [0]}}', 400, "finite numbers. Received: NaN"),
        ("/tasks", b'{"inputs": {"x": [[1e999]], "y": [0]}}', 400, "Expected x of shape"),
        ("/tasks", b'{"inputs": {"x": [' + b"9" * 5000 + b"]}}", 400, "."),
        ("/tasks", b"x" * 20_001, 413, "Request Entity Too Large"),
        ("/tasks/unknown:predict", {"instances": []}, 404, "name of a task .* 'unknown'"),
        ("/tasks/..%2F..%2Fetc:predict", {"instances": []}, 404, "."),
        ("/nothing", {}, 404, "Not Found"),
        ("", {}, 405, "Method Not Allowed"),
    ],
)
def test_errors_of_a_client_are_told_in_words(protonet, client, path, content, status, words):
    data = content if isinstance(content, bytes) else json.dumps(content)
    answer = client.post(BASE + path, data=data, content_type="application/json")
    assert answer.status_code == status
    assert list(answer.json) == ["error"]
    assert "Traceback" not in answer.text
    assert re.search(words, answer.json["error"]), answer.json


@pytest.fixture(scope="module")
def client(protonet):
    return serving.application(protonet, limits=serving.Limits(body_bytes=20_000)).test_client()


class Ran:
    def __reduce__(self):
        return os.mkdir, (os.environ["RAN"],)


def test_bodies_of_a_stranger_run_nothing_and_write_nowhere(client, tmp_path, monkeypatch):
    """Whatever a body says, it is JSON of numbers, or it is refused."""
    place = str(tmp_path / "ran")
    monkeypatch.setenv("RAN", place)
    monkeypatch.chdir(tmp_path)
    tagged = {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [place]}]}
    module = {"module": "os", "class_name": "mkdir", "config": place, "registered_name": "mkdir"}
    bodies = [pickle.dumps(Ran()), f"!!python/object/apply:os.mkdir ['{place}']".encode()]
    for evil in (tagged, module, place, f"file://{place}", "../../ran"):
        bodies += [json.dumps(body).encode() for body in (
            evil, {"inputs": evil}, {"inputs": {"x": evil, "y": [0]}},
            {"instances": [{"x": evil, "y": 0}]}, SUPPORT | {"signature_name": evil} | {"a": 1},
        )]  # fmt: skip
    for body in bodies:
        for path in (f"{BASE}/tasks", f"{BASE}/tasks/..%2Fran:predict"):
            answer = client.post(path, data=body, content_type="application/json")
            assert answer.status_code in (400, 404), body
            assert list(answer.json) == ["error"]
    assert not list(tmp_path.iterdir())


def test_a_page_of_another_site_cannot_send_json_unasked(client):
    answer = client.post(f"{BASE}/tasks", data=json.dumps(SUPPORT), content_type="text/plain")
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json["error"]


def test_limits_are_told_and_old_tasks_go(protonet):
    limits = serving.Limits(tasks=2, rows=6)
    client = serving.application(protonet, limits=limits).test_client()
    first, second = (client.post(f"{BASE}/tasks", json=SUPPORT).json["task"] for _ in range(2))
    full = client.post(f"{BASE}/tasks", json=SUPPORT)
    assert full.status_code == 429
    assert "at most 2 tasks at a time. DELETE a task" in full.json["error"]
    client.delete(f"{BASE}/tasks/{first}")
    assert client.post(f"{BASE}/tasks", json=SUPPORT).status_code == 201
    rows = {"inputs": np.zeros((7, 4, 4, 1)).tolist()}
    many = client.post(f"{BASE}/tasks/{second}:predict", json=rows)
    assert (many.status_code, "at most 6 rows" in many.json["error"]) == (400, True)
    small = serving.application(protonet, limits=serving.Limits(task_bytes=50)).test_client()
    answer = small.post(f"{BASE}/tasks", json=SUPPORT)
    assert (answer.status_code, "at most 50 bytes of tasks" in answer.json["error"]) == (429, True)


def test_tasks_that_nobody_asks_for_are_dropped():
    now = [0.0]
    tasks = Tasks(serving.Limits(tasks=2, task_seconds=10), clock=lambda: now[0])
    first, second = tasks.add({}), tasks.add({})
    with pytest.raises(Full, match="at most 2 tasks"):
        tasks.add({})
    now[0] = 8.0
    assert tasks.get(first) == {}
    now[0] = 11.0
    assert (tasks.get(first), tasks.get(second), len(tasks)) == ({}, None, 1)


def test_a_request_that_waits_too_long_for_its_turn_is_told(protonet):
    limits = serving.Limits(computing=1, wait_seconds=0.2)
    app = serving.application(protonet, limits=limits)
    release, inside = threading.Event(), threading.Event()
    learn = protonet.adapt

    class Slow(serving.Exported):
        def adapt(self, values, most_rows=None):
            inside.set()
            release.wait(30)
            return learn(values, most_rows)

    slow = Slow(protonet._model, protonet.note)
    app = serving.application(slow, limits=limits)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: app.test_client().post(f"{BASE}/tasks", json=SUPPORT))
        assert inside.wait(30)
        second = app.test_client().post(f"{BASE}/tasks", json=SUPPORT)
        release.set()
        assert first.result().status_code == 201
    assert second.status_code == 429
    assert "too many requests" in second.json["error"]


def test_a_fault_of_the_service_tells_nothing_of_its_inside(protonet, caplog):
    class Broken(serving.Exported):
        def adapt(self, values, most_rows=None):
            raise RuntimeError("a secret of the inside")

    client = serving.application(Broken(protonet._model, protonet.note)).test_client()
    answer = client.post(f"{BASE}/tasks", json=SUPPORT)
    assert answer.status_code == 500
    assert answer.json == {"error": "The service failed; its log says why."}
    assert "a secret of the inside" in caplog.text


def test_100_megabytes_and_a_silent_client_are_turned_away(protonet):
    with running(protonet, body_bytes=20_000, wait_seconds=1) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest("POST", f"{BASE}/tasks")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(100 * 2**20))
        connection.endheaders(b"{")
        answer = connection.getresponse()
        assert answer.status == 413
        assert b"Too Large" in answer.read()
        silent = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        silent.connect()
        silent.sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
        assert silent.sock.recv(1) == b""  # closed, long before the client's 30 s


def test_it_listens_to_this_machine_alone_unless_told(protonet):
    server = serving.server(protonet, port=0)
    assert server.effective_host == "127.0.0.1"
    with pytest.raises(OSError, match="in use"):
        serving.server(protonet, port=server.effective_port)
    server.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, "Expected a name of letters"),
        ({"limits": serving.Limits(tasks=0)}, "Expected tasks"),
        ({"limits": serving.Limits(wait_seconds=-1)}, "Expected wait_seconds > 0"),
    ],
)
def test_arguments_that_make_no_service(protonet, arguments, message):
    with pytest.raises(ValueError, match=message):
        serving.application(protonet, **arguments)
