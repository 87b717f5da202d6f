"""The page in a browser: strokes of mouse, finger and keyboard, narrow and wide."""

import threading

import pytest
from demo import drawings

pytest.importorskip("flask", reason="the extra demo is not installed")
pytest.importorskip("waitress", reason="the extra demo is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")

from browsers import launched, opened

from tfmeta.demo import web

NAMES = list(drawings.CORNERS)
KEYS = ("Right", "Down", "Left", "Up")  # of a square


@pytest.fixture(scope="module")
def address():
    server = web.server(port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}/"
    server.close()
    thread.join(10)


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


def mouse(page, pad, drawing):
    """Draw strokes on a pad with the mouse."""
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    for stroke in drawing:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def finger(page, pad, drawing):
    """Draw strokes on a pad with a finger, by touch events of the browser's own."""
    pad.scroll_into_view_if_needed()
    box, session = pad.bounding_box(), page.context.new_cdp_session(page)
    for stroke in drawing:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        for i, (x, y) in enumerate(places):
            touch = {"type": "touchMove" if i else "touchStart", "touchPoints": [{"x": x, "y": y}]}
            session.send("Input.dispatchTouchEvent", touch)
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def answer(page, number):
    """Wait until the page says that it is this character, and return its bars in percent."""
    page.wait_for_function(
        "title => document.querySelector('#said').textContent.startsWith(title)",
        arg=f"Character {number},",
    )
    assert page.locator("#answers li.best .name").text_content() == f"Character {number}"
    bars = page.locator("#answers [role=meter]").all()
    return [int(bar.get_attribute("aria-valuenow")) for bar in bars]


def teach(page, names, hand, seed=0):
    pads = page.locator("#characters .pad")
    for i, name in enumerate(names):
        hand(page, pads.nth(i), drawings.draw(name, seed))


def test_by_mouse_on_a_wide_page(browser, address):
    with opened(browser, address, 1400) as page:
        said = page.locator("#said")
        assert said.text_content() == "Draw characters 1, 2 and 3 first."
        teach(page, NAMES[:3], mouse)
        assert said.text_content() == "Now draw one of them here."
        for i, name in enumerate(NAMES[:3]):
            page.locator("#next").click(force=True)
            mouse(page, page.locator("#question"), drawings.draw(name, 100))
            percents = answer(page, i + 1)
            assert len(percents) == 3
            assert 99 <= sum(percents) <= 101


def test_more_characters_and_examples_come_and_go(browser, address):
    with opened(browser, address, 1400) as page:
        more, fewer = page.locator("#more"), page.locator("#fewer")
        assert fewer.is_disabled()
        more.click()
        more.click()
        assert more.is_disabled()
        teach(page, NAMES, mouse)
        for item in page.locator(".character").all():
            item.locator(".another").click()
        teach(page, NAMES, mouse, seed=1)
        mouse(page, page.locator("#question"), drawings.draw(NAMES[4], 100))
        assert len(answer(page, 5)) == 5
        first = page.locator(".character").first
        first.locator(".examples button").click()
        assert first.locator(".examples li").count() == 0
        first.locator(".undo").click()
        assert page.locator("#said").text_content() == "Draw character 1 first."
        fewer.click()
        fewer.click()
        assert page.locator(".character").count() == 3


def test_by_finger_on_a_narrow_page(browser, address):
    options = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    with opened(browser, address, 390, 844, **options) as page:
        teach(page, NAMES[:3], finger)
        page.locator("#question").scroll_into_view_if_needed()
        before = page.evaluate("scrollY")
        finger(page, page.locator("#question"), drawings.draw(NAMES[1], 100))
        answer(page, 2)
        assert page.evaluate("scrollY") == before  # the finger drew, and did not scroll
        sizes = page.locator("button:visible").evaluate_all(
            "buttons => buttons.map(b => Math.min(b.offsetWidth, b.offsetHeight))"
        )
        assert min(sizes) >= 44  # large enough for a finger


def square(page, turns, times=5):
    """Lines along a square, by keys: pen down, so many sides, pen up."""
    page.keyboard.press("Space")
    for key in KEYS[:turns]:
        for _ in range(times):
            page.keyboard.press(f"Shift+Arrow{key}")
    page.keyboard.press("Space")


def test_by_keyboard_alone(browser, address):
    """A line, a corner and a square; then a corner."""
    with opened(browser, address, 1000) as page:
        reached = []
        for _ in range(20):
            page.keyboard.press("Tab")
            label = page.evaluate("document.activeElement.getAttribute('aria-label') || ''")
            if not label.startswith("Pad for"):
                continue
            reached.append(label)
            for _ in range(3):  # where there is room to the right and below
                page.keyboard.press("Shift+ArrowLeft")
                page.keyboard.press("Shift+ArrowUp")
            square(page, (1, 2, 4, 2)[len(reached) - 1])
            assert page.locator("#pen").text_content() == "Pen up"
            if label == "Pad for the question":
                break
        assert reached == [f"Pad for character {i}" for i in (1, 2, 3)] + ["Pad for the question"]
        answer(page, 2)
        page.keyboard.press("Backspace")
        page.wait_for_function("document.querySelector('#said').textContent.startsWith('Now draw')")
