"""What `diagnose` has found, in words and as a figure."""

import functools

import numpy as np

from tfmeta.evaluation.pictures.plots import COLORS, figure_class, saved
from tfmeta.evaluation.report import EvaluationReport
from tfmeta.evaluation.score_words import is_higher_better, is_percent, shown
from tfmeta.hints import Figure, Path

FEW, MOST = 0.2, 0.8  # shares below and above which a verdict is clear
SAME = 0.95  # similarity from which on a layer says nearly the same
WITH_FEWER = {
    "shots": {
        "worse": "it learns from more examples of a task",
        "same": "more examples of a task show no gain",
        "better": "more examples of a task make it worse, so look at how it adapts",
    },
    "ways": {
        "worse": "fewer classes should be easier: it is used to the ways that it is trained on",
        "same": "fewer classes are no easier for it",
        "better": "fewer classes are easier, by chance alone, too",
    },
}


class Diagnosis:
    """What a learner relies on when it meets a new task; `print` it.

    The verdict is one of these, in this order:

    - `"learns nothing"`: not better than `chance`, or the `support mean`;
    - `"memorises"`: with the support set left out it keeps 80 % or more of what it is better by;
    - `"reuses features"`: the head alone gains 80 % or more of what adaptation gains;
    - `"adapts features"`: the head alone gains less;
    - `"uses the support set"`: none of these, of a learner whose inner loop has no head and body.

    Attributes:
        scores: dict from `"adapted"`, `"support left out"`, ... (`diagnose` has the list) to an
            `EvaluationReport`.
        similarity: dict from the name of a layer to the report of the linear CKA of its outputs
            before and after adaptation; empty where no layer adapts, or none can be asked.
        by_shots, by_ways: dict from a number of shots, or of ways, to a report; the largest is
            `adapted`, and not in them.
        alignment: report of the mean cosine of a task's outer gradient with those of others, None
            if there is no outer gradient of a task.
        verdict: str.
        sentences: list of str, one for each finding.
    """

    def __init__(
        self,
        scores: dict[str, EvaluationReport],
        similarity: dict[str, EvaluationReport],
        by_shots: dict[int, EvaluationReport],
        by_ways: dict[int, EvaluationReport],
        alignment: EvaluationReport | None,
    ):
        self.scores, self.similarity, self.alignment = scores, similarity, alignment
        self.by_shots, self.by_ways = by_shots, by_ways
        self.score_name = scores["adapted"].score_name
        self._sign = 1 if is_higher_better(self.score_name) else -1
        self._floor = next((n for n in ("chance", "support mean") if n in scores), None)
        self.verdict = self._verdict()
        self.sentences = [words for words in self._sentences() if words]

    def gain(self, name: str, over: str) -> EvaluationReport:
        """By how much a score is better than another one, an `EvaluationReport` of differences."""
        better, other = self.scores[name], self.scores[over]
        return better.difference(other) if self._sign > 0 else other.difference(better)

    def share(self, name: str, start: str, end: str = "adapted") -> float:
        """The share of the way from one score to another at which `name` stands: 0 to 1, or nan."""
        whole = self.gain(end, start).mean
        return self.gain(name, start).mean / whole if whole > 0 else np.nan

    def _verdict(self):
        if self._floor is not None:
            known = self.gain("adapted", self._floor)
            # 1 / 3 of 32 bits is not better than 1 / 3.
            if known.mean <= max(np.nan_to_num(known.interval), 1e-6):
                return "learns nothing"
            if self.share("support left out", self._floor) >= MOST:
                return "memorises"
        if "head alone" not in self.scores:
            return "uses the support set"
        alone = self.share("head alone", "support left out")
        return "reuses features" if alone >= MOST else "adapts features"

    def _sentences(self):
        yield self._known()
        yield self._left_out()
        yield self._shuffled()
        yield self._head()
        yield self._layers()
        yield self._sizes("shots", self.by_shots)
        yield self._sizes("ways", self.by_ways)
        yield self._aligned()

    def _shown(self, name):
        report = self.scores[name]
        return shown(report.mean, report.interval, self.score_name)

    def _known(self):
        words = f"After adaptation: {self.score_name} {self._shown('adapted')}"
        if self._floor is None:
            return words + "."
        floor = self.scores[self._floor]
        floor = shown(floor.mean, np.nan, self.score_name)
        verdict = ", which it is not better than" if self.verdict == "learns nothing" else ""
        return f"{words}; {self._floor}: {floor}{verdict}."

    def _left_out(self):
        words = f"Support set left out: {self._shown('support left out')}"
        if self._floor is None or self.verdict == "learns nothing":
            return words + "."
        kept = np.clip(self.share("support left out", self._floor), 0, 1)
        says = (
            "it has the answers in its weights and hardly looks at the support set (memorisation)"
            if kept >= MOST
            else "what it knows of a task comes from the support set"
            if kept <= FEW
            else "a part of the answers is in its weights"
        )
        return f"{words}, {100 * kept:.0f} % of what it knows: {says}."

    def _shuffled(self):
        if self._floor is None or self.verdict == "learns nothing":
            return None
        kept = np.clip(self.share("labels shuffled", self._floor), 0, 1)
        says = (
            "which input has which label is what it learns from"
            if kept <= FEW
            else "it hardly matters which input has which label"
            if kept >= MOST
            else "which input has which label matters in part"
        )
        return f"Support labels shuffled: {self._shown('labels shuffled')}; {says}."

    def _head(self):
        if "head alone" not in self.scores or self.verdict in ("learns nothing", "memorises"):
            return None
        share = self.share("head alone", "support left out")
        gains = f"{100 * np.clip(share, 0, 1):.0f} % of what adaptation gains"
        says = (
            "the layers below are features for all tasks, which ANIL adapts as well for less time"
            if share >= MOST
            else "the layers below have to move, too"
        )
        return f"Head alone: {self._shown('head alone')}, {gains}: {says}."

    def _layers(self):
        if not self.similarity:
            return None
        means = {name: report.mean for name, report in self.similarity.items()}
        least, most = min(means, key=means.get), max(means, key=means.get)
        words = f"Outputs of the layers before and after adaptation: CKA {means[least]:.2f}"
        if least != most:
            words += f" in {least}, which changes most, to {means[most]:.2f} in {most}"
        *below, _ = means
        moved = [name for name in below if means[name] < SAME]
        says = (
            f"adaptation changes what layers below the last say ({', '.join(moved)})"
            if moved
            else "all say nearly what they said before"
            if means[least] >= SAME
            else "those below the last say nearly what they said before"
            if below
            else "it says something else"
        )
        return f"{words}; {says}."

    def _sizes(self, kind, reports):
        if not reports:
            return None
        sizes = {
            f"{number} {kind.removesuffix('s') if number == 1 else kind}": reports[number]
            for number in sorted(reports)
        } | {"all": self.scores["adapted"]}
        listed = [
            f"with {size}: {shown(report.mean, report.interval, self.score_name)}"
            for size, report in sizes.items()
        ]
        says = WITH_FEWER[kind][self._fewest(reports[min(reports)])]
        return f"{', '.join(listed).capitalize()}; {says}."

    def _fewest(self, few):
        """How the score of the smallest size is, by the interval of the paired difference."""
        lost = self.scores["adapted"].difference(few)
        if not abs(lost.mean) > lost.interval:
            return "same"
        return "worse" if self._sign * lost.mean > 0 else "better"

    def _aligned(self):
        if self.alignment is None:
            return None
        mean, interval = self.alignment.mean, self.alignment.interval
        says = (
            "they pull in no common direction"
            if not abs(mean) > interval
            else "what helps one task helps another"
            if mean > 0
            else "what helps one task harms another"
        )
        return f"Outer gradients of two tasks: cosine {mean:.2f} ± {interval:.2f}; {says}."

    def plot(self, path: Path | None = None, title: str = "What the learner relies on") -> Figure:
        """Draw the scores, the similarity of layers, and the scores by shots and ways.

        Args:
            path: file to write, in the format of its ending (.png, .pdf, .svg).
            title: title of the figure.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: matplotlib is missing.
        """
        sizes = {"shots": self.by_shots, "ways": self.by_ways}
        panels = [self._draw_scores]
        panels += [self._draw_layers] if self.similarity else []
        panels += [functools.partial(self._draw_sizes, *pair) for pair in sizes.items() if pair[1]]
        figure = figure_class()(figsize=(4.6 * len(panels), 3.6), layout="constrained")
        for axes, draw in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
            draw(axes)
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(f"{title}: {self.verdict}")
        return saved(figure, path)

    def _scaled(self, reports):
        scale = 100 if is_percent(self.score_name) else 1
        return scale * np.array([(r.mean, np.nan_to_num(r.interval)) for r in reports]).T

    def _label(self):
        return self.score_name + (" (%)" if is_percent(self.score_name) else "")

    def _draw_scores(self, axes):
        mean, interval = self._scaled(self.scores.values())
        places = range(len(mean))
        axes.barh(places, mean, xerr=interval, color=COLORS[0], capsize=3)
        axes.set_yticks(places, list(self.scores))
        axes.invert_yaxis()
        axes.set_xlabel(self._label())

    def _draw_layers(self, axes):
        mean = [report.mean for report in self.similarity.values()]
        interval = [np.nan_to_num(report.interval) for report in self.similarity.values()]
        axes.errorbar(range(len(mean)), mean, interval, fmt="o-", color=COLORS[1], capsize=3)
        axes.set_xticks(range(len(mean)), list(self.similarity), rotation=30, ha="right")
        axes.set(ylabel="CKA before and after", ylim=(0, 1.05))

    def _draw_sizes(self, kind, reports, axes):
        mean, interval = self._scaled([*reports.values(), self.scores["adapted"]])
        places = range(len(mean))
        axes.errorbar(places, mean, interval, fmt="s-", color=COLORS[2], capsize=3)
        axes.set_xticks(places, [*map(str, reports), "all"])
        axes.set(xlabel=kind, ylabel=self._label())

    def __str__(self):
        return "\n".join([f"{self.verdict.capitalize()}.", *self.sentences])

    def __repr__(self):
        return f"<Diagnosis: {self.verdict}>"
