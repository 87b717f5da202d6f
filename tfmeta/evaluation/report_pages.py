"""A report as JSON, as Markdown, and as a page that opens anywhere."""

import base64
import html
import io
import json

import numpy as np

from tfmeta.evaluation.score_words import is_percent, shown
from tfmeta.version import __version__

HARDEST = 5

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #8888; padding: .35rem .8rem; text-align: left; }
td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; background: white; }
.scroll { overflow-x: auto; }
"""


def to_json(report):
    """The report as JSON text: what `to_markdown` shows, and every episode's score."""
    low, high = report.bootstrap()
    values = {
        "score": report.score_name,
        "mean": report.mean,
        "interval": None if np.isnan(report.interval) else report.interval,
        "interval_is": "half width, 95 %, 1.96 standard errors over episodes",
        "bootstrap": [low, high],
        "episodes": len(report.scores),
        "transductive": report.transductive,
        "scores": report.scores.tolist(),
        "tfmeta": __version__,
    }
    if report.calibration is not None:
        values["calibration"] = {
            "expected_calibration_error": report.calibration.error,
            "interval": report.calibration.interval,
            **{k: _numbers(getattr(report.calibration, k)) for k in ("share", *_OF_BINS)},
        }
    for name in ("by_shots", "by_class"):
        parts = getattr(report, name)
        if parts:
            values[name] = {str(key): _numbers([r.mean, r.interval]) for key, r in parts.items()}
    return json.dumps(values, indent=1)


def rows(report):
    """What a page says of a report: pairs of words."""
    low, high = (shown(value, np.nan, report.score_name) for value in report.bootstrap())
    order = report.hardest(HARDEST)
    hardest = ", ".join(
        f"number {i}: {shown(report.scores[i], np.nan, report.score_name)}" for i in order
    )
    spread = [shown(q, np.nan, report.score_name) for q in np.quantile(report.scores, (0.1, 0.9))]
    return [
        ("mean", shown(report.mean, np.nan, report.score_name)),
        ("95 % interval, normal", shown(report.mean, report.interval, report.score_name)),
        ("95 % interval, bootstrap", f"{low} to {high}"),
        ("episodes", str(len(report.scores))),
        ("four of five episodes", f"{spread[0]} to {spread[1]}"),
        ("hardest episodes", hardest),
        ("transductive", "yes: higher than one query at a time" if report.transductive else "no"),
    ]


_OF_BINS = ("confidence", "accuracy")


def _numbers(values):
    """A list for JSON, which knows no nan."""
    return [None if np.isnan(value) else float(value) for value in values]


def tables(report):
    """All that a page says, a dict from a caption to pairs of words."""
    found = {"Scores of an evaluation": rows(report)}
    if report.calibration is not None:
        words = str(report.calibration)
        found["Calibration"] = [("how sure, and how often right", words)]
    for caption, parts in (("By shots", report.by_shots), ("By class", report.by_class)):
        if parts:
            found[caption] = [(str(key), _with_count(part)) for key, part in parts.items()]
    return found


def _with_count(report):
    score = shown(report.mean, report.interval, report.score_name)
    return f"{score}, {len(report.scores)} episodes"


def to_markdown(report):
    """The report as tables in Markdown."""
    parts = []
    for caption, pairs in tables(report).items():
        name = report.score_name if not parts else caption
        lines = [f"| {name} | |", "|---|---|", *(f"| {n} | {v} |" for n, v in pairs)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def to_html(report, title):
    """The report as one page, with its pictures inside."""
    parts = "\n".join(_table(caption, pairs) for caption, pairs in tables(report).items())
    pictures = "\n".join(_picture(figure, says) for figure, says in _figures(report))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p>{html.escape(str(report))}</p>
{parts}
{pictures}
<p><small>tfmeta {__version__}</small></p>
</main>
</body>
</html>
"""


def _table(caption, pairs):
    cells = "\n".join(
        f'<tr><th scope="row">{html.escape(n)}</th><td>{html.escape(v)}</td></tr>' for n, v in pairs
    )
    caption = html.escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">\n'
        f"<table><caption>{caption}</caption>\n{cells}\n</table></div>"
    )


def _picture(figure, says):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(says)}" src="data:image/png;base64,{picture}">'


def _figures(report):
    """Pairs of a figure and what it shows, in words."""
    yield histogram(report), f"Histogram of {report.score_name} over {len(report.scores)} episodes"
    if report.calibration is not None:
        from tfmeta.evaluation.reliability import plot_reliability

        yield plot_reliability(report.calibration), "Accuracy against confidence"


def histogram(report):
    """A figure of how the scores of the episodes are spread."""
    from tfmeta.evaluation.plots import COLORS, figure_class

    scale, unit = (100, " (%)") if is_percent(report.score_name) else (1, "")
    figure = figure_class()(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.hist(scale * report.scores, bins=min(30, len(report.scores)), color=COLORS[0])
    axes.axvline(scale * report.mean, color=COLORS[1], label="mean")
    axes.set_xlabel(f"{report.score_name} of an episode{unit}")
    axes.set_ylabel("episodes")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
