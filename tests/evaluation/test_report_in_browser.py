"""The page of a report in a browser: narrow and wide, by keyboard, for a screen reader."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("playwright", reason="playwright is not installed")

from browsers import launched, opened

from tfmeta.evaluation import EvaluationReport
from tfmeta.evaluation.reliability import Reliability

TABLES = ["Scores of an evaluation", "Calibration", "By shots", "By class"]
PICTURES = ["Histogram of accuracy over 600 episodes", "Accuracy against confidence"]


def scored(rate, episodes=600):
    right = np.random.default_rng(0).binomial(75, rate, episodes)
    return EvaluationReport(right / 75, "accuracy")


def calibration(bins=10):
    """Of predictions that are a little too sure."""
    random = np.random.default_rng(0)
    counts = random.multinomial(75, np.linspace(0.02, 0.18, bins), 600)
    sure = (np.arange(bins) + 0.5) / bins
    right = random.binomial(counts, 0.9 * sure)
    return Reliability(np.stack([counts, counts * sure, right], axis=-1))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    report = scored(0.9)
    report.calibration = calibration()
    report.by_shots = {n: scored(0.7 + 0.04 * n) for n in (1, 2, 5)}
    names = [f"Letter {i:02} of a script with a name that is long" for i in range(6)]
    report.by_class = {name: scored(0.8, 40) for name in names}
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.to_html(path, title="MAML on held-out glyphs")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


def accessible(page):
    """The roles and names that Chromium tells a screen reader."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    nodes = [node for node in tree["nodes"] if not node["ignored"]]
    return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes]


@pytest.mark.parametrize("width", [360, 1280])
def test_a_page_reads_at_any_width(browser, address, width):
    with opened(browser, address, width) as page:
        pictures = page.get_by_role("img")
        assert pictures.count() == 2
        for i in range(2):
            box = pictures.nth(i).bounding_box()
            assert box["x"] >= 0
            assert 200 < box["width"] <= width - box["x"]
        told = accessible(page)
        assert [name for role, name in told if role == "heading"] == ["MAML on held-out glyphs"]
        assert [name for role, name in told if role == "region"] == TABLES
        assert [name for role, name in told if role == "table"] == TABLES
        assert [name for role, name in told if role in ("img", "image")] == PICTURES
        assert ("rowheader", "mean") in told
        assert ("columnheader", "shots") in told


@pytest.mark.parametrize("width", [360, 1280])
def test_the_keyboard_reaches_every_table(browser, address, width):
    with opened(browser, address, width) as page:
        for name in TABLES:
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.getAttribute('aria-label')") == name
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none"
        # The last one has long names, and moves where it is wider than the page.
        page.keyboard.press("ArrowRight")
        narrow = width == 360
        moved = "document.activeElement.scrollLeft > 0"
        if narrow:
            page.wait_for_function(moved)
        assert page.evaluate(moved) == narrow
