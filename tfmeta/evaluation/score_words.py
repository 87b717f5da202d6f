"""How scores are called, and shown."""

import math


def is_percent(score_name):
    """Whether scores of this name are shown in percent."""
    return score_name in ("accuracy", "difference in accuracy")


def is_higher_better(score_name):
    """False for errors and losses, by the words of their names."""
    return not any(word in score_name for word in ("error", "loss", "negative"))


def shown(mean, interval, score_name, sign=False):
    """A score as a table shows it, "98.12 ± 0.31 %"; an interval that is nan is left out."""
    unit, decimals = "", _decimals(mean, interval)
    if is_percent(score_name):
        mean, interval, unit, decimals = 100 * mean, 100 * interval, " %", 2
    code = f".{decimals}f" if decimals <= 6 else ".2e"
    text = f"{mean:{'+' * sign}{code}}"
    return text + ("" if math.isnan(interval) else f" ± {interval:{code}}") + unit


def _decimals(mean, interval):
    """Digits after the point that show two digits of the interval (three of a bare mean)."""
    value, digits = (interval, 2) if interval > 0 else (abs(mean), 3)
    if not (math.isfinite(value) and value > 0):
        return 3
    return max(0, digits - 1 - math.floor(math.log10(value)))
