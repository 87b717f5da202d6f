"""Several learners on the same episodes: a table and a plot, with paired intervals."""

import statistics

import numpy as np

from tfmeta.evaluation.pictures.plots import COLORS, figure_class, saved
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.score_words import is_higher_better, is_percent, shown
from tfmeta.hints import Figure, Path


class Comparison:
    """What `compare` returns; `str(comparison)` is a table in Markdown.

    Attributes:
        reports: dict from a name to its `EvaluationReport`, best mean first (errors: smallest).
        baseline: name of the report that the others are compared with.
        differences: dict from each other name to the `EvaluationReport` of `its - the baseline's`.
        intervals: dict from each other name to the half width of the interval of its difference,
            which holds for all of them together with 95 % (Bonferroni).
    """

    def __init__(self, reports: dict[str, EvaluationReport], baseline: str):
        higher = is_higher_better(next(iter(reports.values())).score_name)
        order = sorted(reports, key=lambda name: reports[name].mean, reverse=higher)
        self.reports = {name: reports[name] for name in order}
        self.baseline = baseline
        others = [name for name in order if name != baseline]
        self.differences = {n: reports[n].difference(reports[baseline]) for n in others}
        quantile = statistics.NormalDist().inv_cdf(1 - 0.025 / max(1, len(others)))
        self.intervals = {n: d.interval * quantile / 1.96 for n, d in self.differences.items()}

    def to_markdown(self) -> str:
        """A table, a row a learner: its score, and the difference from the baseline."""
        first = next(iter(self.reports.values()))
        lines = [
            f"| learner | {first.score_name} | minus {self.baseline} | |",
            "|---|---|---|---|",
        ]
        for name, report in self.reports.items():
            score = shown(report.mean, report.interval, report.score_name)
            if name == self.baseline:
                difference = verdict = "-"
            else:
                difference = shown(
                    self.differences[name].mean, self.intervals[name], report.score_name, sign=True
                )
                verdict = self._verdict(name)
            label = f"{name} (transductive)" if report.transductive else name
            lines.append(f"| {label} | {score} | {difference} | {verdict} |")
        return "\n".join(lines) + f"\n\n{self.caption()}\n"

    def caption(self):
        """What the intervals are."""
        episodes = len(next(iter(self.reports.values())).scores)
        number = len(self.differences)
        return (
            f"{episodes} episodes, the same for all. Scores: 95 % intervals. Differences: paired "
            f"by episode; their {number} intervals hold together with 95 % (Bonferroni)."
        )

    def _verdict(self, name):
        difference, interval = self.differences[name].mean, self.intervals[name]
        if not abs(difference) > interval:
            return "no difference shown"
        higher = is_higher_better(next(iter(self.reports.values())).score_name)
        return "better" if (difference > 0) == higher else "worse"

    def plot(
        self, path: Path | None = None, title: str = "Learners on the same episodes"
    ) -> Figure:
        """Draw the scores with their intervals, the best at the top.

        Args:
            path: file to write, in the format of its ending (.png, .pdf, .svg).
            title: title of the figure.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: matplotlib is missing.
        """
        names, reports = list(self.reports), list(self.reports.values())
        score_name = reports[0].score_name
        scale, unit = (100, " (%)") if is_percent(score_name) else (1, "")
        figure = figure_class()(figsize=(6.4, 1.4 + 0.36 * len(names)), layout="constrained")
        axes = figure.subplots()
        for place, (name, report) in enumerate(self.reports.items()):
            color = COLORS[1] if name == self.baseline else COLORS[0]
            axes.errorbar(
                scale * report.mean, place, xerr=scale * np.nan_to_num(report.interval),
                fmt="o", color=color, capsize=3,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"{score_name}{unit}, 95 % intervals, {len(reports[0].scores)} episodes")
        axes.set_title(title)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        return saved(figure, path)

    def __str__(self):
        return self.to_markdown()


def compare(reports: dict[str, EvaluationReport], baseline: str | None = None) -> Comparison:
    """Compare learners that were scored on the same episodes.

    The differences are paired by episode. With several of them at once one is soon large by chance:
    their intervals are wider, so that all of them hold together with 95 % (Bonferroni).

    Args:
        reports: dict from the name of a learner to its `EvaluationReport`, at least two.
        baseline: name that the others are compared with; by default the first.

    Returns:
        A `Comparison`: `print` it, or use `to_markdown()` and `plot(path)`.

    Raises:
        ValueError: fewer than two reports, reports of other scores or numbers of episodes, or no
            report of the baseline's name.

    Reference:
        Dunn, "Multiple comparisons among means", Journal of the American Statistical Association
        56 (1961).
    """
    if not isinstance(reports, dict) or len(reports) < 2:
        raise ValueError(
            "Expected a dict from the name of a learner to its EvaluationReport, at least two. "
            f"Received: {reports!r:.80}."
        )
    for name, report in reports.items():
        if not isinstance(report, EvaluationReport):
            raise ValueError(
                f"Expected an EvaluationReport for {name!r}. Received: {type(report).__name__}."
            )
    baseline = next(iter(reports)) if baseline is None else baseline
    if baseline not in reports:
        raise ValueError(f"Expected baseline in {list(reports)}. Received: {baseline!r}.")
    return Comparison(reports, baseline)
