"""A report as JSON, as Markdown, and as a page that opens anywhere."""

import base64
import html
import io
import json
from typing import NamedTuple

import numpy as np

from tfmeta.evaluation.score_words import is_percent, shown
from tfmeta.version import __version__

HARDEST = 5

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: bold; font-size: 1.15em; }
th, td { border-bottom: 1px solid #8888; padding: .35rem .8rem; text-align: left; }
td { font-variant-numeric: tabular-nums; }
th[scope=row] { min-width: 7rem; }
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


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        caption: str.
        header: a word a column; empty for a table of names and values.
        rows: tuples of words, the first of which names the row.
    """

    caption: str
    header: tuple
    rows: list


def tables(report):
    """All that a page says: a list of `Table`."""
    found = [Table("Scores of an evaluation", (), rows(report))]
    if report.calibration is not None:
        words = str(report.calibration)
        found.append(Table("Calibration", (), [("how sure, and how often right", words)]))
    for kind, parts in (("shots", report.by_shots), ("class", report.by_class)):
        if parts:
            header = (kind, report.score_name, "episodes")
            scored = [
                (str(key), shown(r.mean, r.interval, r.score_name), str(len(r.scores)))
                for key, r in parts.items()
            ]
            found.append(Table(f"By {kind}", header, scored))
    return found


def to_markdown(report):
    """The report as tables in Markdown."""
    parts = []
    for table in tables(report):
        header = table.header or (report.score_name if not parts else table.caption, "")
        lines = [header, ["---"] * len(header), *table.rows]
        parts.append("\n".join(f"| {' | '.join(words)} |" for words in lines) + "\n")
    return "\n".join(parts)


def to_html(report, title):
    """The report as one page, with its pictures inside."""
    pictures = {caption: _picture(*figure) for caption, figure in _figures(report)}
    parts = "\n".join(_table(t) + pictures.get(t.caption, "") for t in tables(report))
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
<p><small>tfmeta {__version__}</small></p>
</main>
</body>
</html>
"""


def _table(table):
    head = "".join(f'<th scope="col">{html.escape(word)}</th>' for word in table.header)
    lines = [f"<thead><tr>{head}</tr></thead>"] if head else []
    for name, *words in table.rows:
        cells = "".join(f"<td>{_together(word)}</td>" for word in words)
        lines.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    caption, cells = html.escape(table.caption), "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">\n'
        f"<table><caption>{caption}</caption>\n{cells}\n</table></div>\n"
    )


def _together(words):
    """Words for a page, in which no line ends within "93.08 ± 0.82 %"."""
    return html.escape(words).replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def _picture(figure, says):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(says)}" src="data:image/png;base64,{picture}">'


def _figures(report):
    """Pairs of a table's caption and `(figure, what it shows in words)`."""
    says = f"Histogram of {report.score_name} over {len(report.scores)} episodes"
    yield "Scores of an evaluation", (histogram(report), says)
    if report.calibration is not None:
        from tfmeta.evaluation.reliability import plot_reliability

        yield "Calibration", (plot_reliability(report.calibration), "Accuracy against confidence")


def histogram(report):
    """A figure of how the scores of the episodes are spread."""
    from tfmeta.evaluation.pictures.plots import COLORS, figure_class

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
