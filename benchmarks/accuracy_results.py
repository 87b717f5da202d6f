"""How new figures join those that `python -m benchmarks.accuracy` wrote before."""

import datetime

from benchmarks.machine import machine
from benchmarks.methods import CASES, METHODS, job_text

REFERENCE = "MAML"


def entry(case, rows, before=None):
    """What the results say of a case.

    A new row takes the place of an old one, unless it is of the same settings and fewer seeds:
    a part of the comparison, or a try with one seed, must not cost results that took hours. Only
    the rows of methods that no longer have a part in the case go.

    Args:
        case: its name in `benchmarks.methods.CASES`.
        rows: method -> figures, of the trainings that are there.
        before: what the results said of the case until now; None if nothing.

    Returns:
        A dict for the JSON file: date, machine and settings of the case, and its rows.
    """
    kept = _kept(case, rows, before) if before else {}
    merged = {m: {**rows, **kept}[m] for m in methods_of(case) if m in rows or m in kept}
    for method in of_other_settings(case, merged):
        print(f"{case}, {method}: of other settings than today's, train it again")
    return {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "settings": repr(CASES[case]),
        "methods": merged,
    }


def methods_of(case):
    """Those that have a part in a case."""
    return [m for m in METHODS if METHODS[m].arguments(case) is not None]


def of_other_settings(case, rows):
    """The methods whose rows say that they were made with other settings than today's."""
    known = methods_of(case)
    return [
        method
        for method, row in rows.items()
        if method not in known
        or row.get("settings", job_text(case, method)) != job_text(case, method)
    ]


def _kept(case, rows, before):
    """The old rows that stay, each with its own date and machine."""
    kept = {}
    for method, row in before["methods"].items():
        if method in rows and not _is_more(row, rows[method]):
            continue
        if method in rows:
            seeds, fewer = (", ".join(r["of_seeds"]) for r in (row, rows[method]))
            print(f"{case}, {method}: the row of seeds {seeds} stays, not that of seeds {fewer}")
        kept[method] = {"date": before["date"], "machine": before["machine"], **row}
    if REFERENCE in rows and not _same_settings(before["methods"].get(REFERENCE), rows[REFERENCE]):
        for row in kept.values():
            row.pop("minus_MAML", None)  # from a MAML that the results no longer have
    return kept


def _is_more(old, new):
    return _same_settings(old, new) and len(old["of_seeds"]) > len(new["of_seeds"])


def _same_settings(old, new):
    """Also where the old row, written before rows had them, does not say."""
    return old is not None and old.get("settings", new["settings"]) == new["settings"]
