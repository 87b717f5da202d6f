"""Learners on the same episodes: paired differences, more than one at once."""

import numpy as np
import pytest

from tfmeta.evaluation import EvaluationReport, compare


def reports(name="accuracy"):
    rng = np.random.default_rng(0)
    base = rng.random(400)
    return {
        "a": EvaluationReport(base, name),
        "as a": EvaluationReport(base + 0.001 * rng.standard_normal(400), name),
        "above": EvaluationReport(base + 0.1 + 0.01 * rng.standard_normal(400), name, True),
        "below": EvaluationReport(base - 0.1 + 0.01 * rng.standard_normal(400), name),
    }


def test_the_table_is_paired_and_sorted_and_says_what_its_intervals_are():
    comparison = compare(reports())
    means = [report.mean for report in comparison.reports.values()]
    assert means == sorted(means, reverse=True)
    lines = str(comparison).splitlines()
    assert lines[0] == "| learner | accuracy | minus a | |"
    verdicts = {line.split(" |")[0][2:]: line.split("| ")[-1][:-2] for line in lines[2:6]}
    assert verdicts == {
        "above (transductive)": "better",
        "a": "-",
        "as a": "no difference shown",
        "below": "worse",
    }
    assert "+9.9" in next(line for line in lines if line.startswith("| above"))
    assert "Bonferroni" in lines[-1]
    # Three intervals at once: the quantile of 1 - 0.05 / 6 in the place of 0.975.
    found = comparison.intervals["below"] / comparison.differences["below"].interval
    np.testing.assert_allclose(found, 2.3940 / 1.96, rtol=1e-4)


def test_smaller_errors_are_better_and_another_baseline_can_be_named():
    comparison = compare(reports("mean squared error"), baseline="below")
    assert next(iter(comparison.reports)) == "below"
    rows = {line.split(" |")[0][2:]: line for line in str(comparison).splitlines()[2:6]}
    assert "| worse |" in rows["a"]
    assert "| - | - |" in rows["below"]


def test_the_plot_has_a_mark_for_each(tmp_path):
    pytest.importorskip("matplotlib")
    figure = compare(reports()).plot(tmp_path / "compared.png")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(compare(reports()).reports)
    assert (tmp_path / "compared.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "at least two"),
        ([EvaluationReport([1.0])], {}, "Expected a dict"),
        ({"a": EvaluationReport([1.0]), "b": 0.5}, {}, "Expected an EvaluationReport for 'b'"),
        (reports(), {"baseline": "c"}, "Expected baseline in"),
        (reports() | {"e": EvaluationReport([1.0, 2.0], "accuracy")}, {}, "the same episodes"),
    ],
)
def test_bad_input(given, options, message):
    with pytest.raises(ValueError, match=message):
        compare(given, **options)
