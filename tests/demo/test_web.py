"""The page over HTTP, without a browser: right answers, and errors told in words."""

import json
import re
import time

import keras
import pytest
from demo import drawings

import tfmeta

pytest.importorskip("flask", reason="the extra demo is not installed")
pytest.importorskip("waitress", reason="the extra demo is not installed")

from tfmeta.demo import __main__ as command
from tfmeta.demo import web
from tfmeta.demo.recognizer import NETWORK, Recognizer

NAMES = list(drawings.CORNERS)


@pytest.fixture(scope="module")
def client():
    return web.application().test_client()


@pytest.mark.parametrize(("ways", "shots"), [(3, 1), (5, 1), (4, 3)])
def test_characters_that_nobody_wrote_before_are_told_apart(client, ways, shots):
    right = asked = 0
    for seed in range(4):
        for i, name in enumerate(NAMES[:ways]):
            content = drawings.question(NAMES[:ways], shots, name, seed=10 * seed)
            found = client.post("/answer", json=content).json["probabilities"]
            assert len(found) == ways
            assert sum(found) == pytest.approx(1, abs=1e-5)
            right, asked = right + (max(found) == found[i]), asked + 1
    assert right >= 0.9 * asked, (right, asked)


def test_examples_may_differ_in_number_and_the_first_answer_is_quick():
    fresh = web.application().test_client()
    content = drawings.question(NAMES[:3], 5, "bolt")
    content["examples"][0] = content["examples"][0][:1]
    began = time.process_time()
    assert fresh.post("/answer", json=content).status_code == 200
    assert time.process_time() - began < 2
    assert fresh.post("/answer", json=content).json == fresh.post("/answer", json=content).json


def test_the_page_asks_no_other_machine(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    linked = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert sorted(linked) == ["data:,", "pad.js", "page.js", "style.css"]
    for name in ("", *web.FILES):
        if name == "index.html":
            continue
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.mimetype == web.FILES[name or "index.html"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "//" not in re.sub(r"^\s*//.*$| // .*$", "", answer.text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "path", ["network.keras", "..%2Fweb.py", "page/page.js", "%2Fetc%2Fpasswd"]
)
def test_no_other_file_is_given_away(client, path):
    assert client.get(f"/{path}").status_code == 404


LINE = [[0.1, 0.2], [0.8, 0.9]]
EXAMPLES = [[[LINE]]] * 3
GOOD = {"examples": EXAMPLES, "drawing": [LINE]}


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "Expected JSON"),
        ([], 400, 'Expected {"examples"'),
        ({"examples": EXAMPLES}, 400, 'Expected {"examples"'),
        (GOOD | {"more": 1}, 400, 'Expected {"examples"'),
        (GOOD | {"examples": EXAMPLES[:2]}, 400, "of 3 to 5 characters.* 2 of them"),
        (GOOD | {"examples": EXAMPLES * 2}, 400, "of 3 to 5 characters.* 6 of them"),
        (GOOD | {"examples": "abc"}, 400, "Received: str"),
        (GOOD | {"examples": [[], [[LINE]], [[LINE]]]}, 400, "of character 1. Received: 0"),
        (GOOD | {"examples": [[[LINE]], [[LINE]], [[LINE]] * 6]}, 400, "of character 3"),
        (GOOD | {"examples": [[[LINE]], [[LINE]], 7]}, 400, "of character 3. Received: int"),
        (GOOD | {"drawing": []}, 400, "at least one stroke. Received: 0 of them"),
        (GOOD | {"drawing": None}, 400, "at least one stroke. Received: NoneType"),
        (GOOD | {"drawing": [[]]}, 400, r"a stroke of shape \[rows, 2\]"),
        (GOOD | {"drawing": [[[0.1, 0.2, 0.3]]]}, 400, r"a stroke of shape \[rows, 2\]"),
        (GOOD | {"drawing": [[[0.1, 0.2], [0.3]]]}, 400, "differ in length"),
        (GOOD | {"drawing": [[["0.1", "0.2"]]]}, 400, "Expected numbers in a stroke"),
        (GOOD | {"drawing": [[[0.1, 1.2]]]}, 400, r"points in 0\.\.1"),
        (GOOD | {"drawing": [[[0.1, 10**400]]]}, 400, "Expected"),
        (b'{"examples": [], "drawing": [[[NaN, 0]]]}', 400, "finite numbers"),
        (GOOD | {"drawing": [[[0.5, 0.5]] * 5001]}, 400, "at most 5000 points"),
        (b"x" * (2 * 2**20 + 1), 413, "Too Large"),
    ],
)
def test_errors_of_a_client_are_told_in_words(client, content, status, words):
    data = content if isinstance(content, bytes) else json.dumps(content)
    answer = client.post("/answer", data=data, content_type="application/json")
    assert answer.status_code == status
    assert list(answer.json) == ["error"]
    assert re.search(words, answer.json["error"]), answer.json


def test_a_page_of_another_site_cannot_ask(client):
    answer = client.post("/answer", data=json.dumps(GOOD), content_type="text/plain")
    assert answer.status_code == 415


def test_the_network_is_small_and_its_file_runs_no_code(tmp_path):
    assert NETWORK.stat().st_size < 500_000
    target = tmp_path / "written"
    place = str(target)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Lambda(lambda x: (open(place, "w").close(), x)[1]),
            keras.layers.Flatten(),
        ]
    )
    tfmeta.learners.ProtoNet(network).save(tmp_path / "stranger.keras")
    target.unlink()
    with pytest.raises(ValueError, match="safe_mode"):
        Recognizer(tmp_path / "stranger.keras")
    assert not target.exists()


def test_it_listens_to_this_machine_alone_unless_told():
    serving = web.server(port=0, recognizer=object())  # asked for nothing
    assert serving.effective_host == "127.0.0.1"
    with pytest.raises(SystemExit, match=r"port that is free. Received: .*, which is in use"):
        command.main(["--port", str(serving.effective_port)])
    serving.close()
