"""A report in JSON, Markdown and HTML."""

import html.parser
import json

import numpy as np
import pytest

from tfmeta.evaluation import EvaluationReport

SCORES = np.random.default_rng(0).binomial(75, 0.9, 600) / 75


class Page(html.parser.HTMLParser):
    """The tags and the words of a page; every tag that opens must close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_json_has_every_score_and_both_intervals(tmp_path):
    report = EvaluationReport(SCORES, "accuracy")
    text = report.to_json(tmp_path / "report.json")
    values = json.loads((tmp_path / "report.json").read_text())
    assert json.loads(text) == values
    np.testing.assert_array_equal(values["scores"], SCORES)
    assert values["mean"] == report.mean
    low, high = values["bootstrap"]
    np.testing.assert_allclose([report.mean - low, high - report.mean], report.interval, rtol=0.1)
    assert json.loads(EvaluationReport([1.0]).to_json())["interval"] is None


def test_the_bootstrap_of_skewed_scores_is_not_symmetric():
    scores = np.random.default_rng(0).exponential(size=30) ** 2
    report = EvaluationReport(scores, "mean squared error")
    low, high = report.bootstrap()
    assert report.bootstrap() == (low, high)
    assert high - report.mean > 1.1 * (report.mean - low)
    slow = np.random.default_rng(1).choice(scores, (10_000, 30)).mean(1)
    np.testing.assert_allclose([low, high], np.quantile(slow, (0.025, 0.975)), rtol=0.05)


def test_the_hardest_episodes_are_the_worst():
    scores = [0.5, 0.1, 0.9, 0.1]
    assert EvaluationReport(scores, "accuracy").hardest(3) == [1, 3, 0]
    assert EvaluationReport(scores, "mean squared error").hardest(2) == [2, 0]


def test_markdown_says_it_all():
    text = EvaluationReport(SCORES, "accuracy", transductive=True).to_markdown()
    for words in ("| accuracy |", "normal |", "bootstrap |", "| 600 |", "number ", "| yes"):
        assert words in text


def test_the_page_is_one_file_that_reads_without_its_picture(tmp_path):
    pytest.importorskip("matplotlib")
    report = EvaluationReport(SCORES, "accuracy")
    text = report.to_html(tmp_path / "report.html", title="Letters & <digits>")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text
    page = Page(text)
    assert "Letters & <digits>" in page.words
    assert str(report) in page.words
    tags = dict(page.tags)
    assert tags["img"]["src"].startswith("data:image/png;base64,")
    assert tags["img"]["alt"]
    assert tags["html"]["lang"] == "en"
    assert "http" not in text  # nothing is fetched
