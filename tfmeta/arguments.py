"""Checks of arguments: one number, one flag, in words."""

import math
import numbers

import numpy as np


def check_integer(name, value, minimum=None):
    """An argument's value as a Python int; a ValueError unless it is one, of at least `minimum`."""
    bound = "" if minimum is None else f" of at least {minimum}"
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or (minimum is not None and value < minimum):
        raise ValueError(f"Expected {name} to be an integer{bound}. Received: {name}={value!r}.")
    return int(value)


def check_bounds(name, value, minimum):
    """An integer or a pair of integers, of at least `minimum`, as a pair `(low, high)`."""
    if not isinstance(value, tuple | list):
        value = (value, value)
    elif len(value) != 2 or value[0] > value[1]:
        raise ValueError(
            f"Expected {name} to be an integer or a pair (low, high) with low <= high. "
            f"Received: {name}={value!r}."
        )
    return tuple(check_integer(name, bound, minimum) for bound in value)


def is_number(value):
    """True for a real number, which a bool is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_number(name, value, zero=False):
    """An argument's value as a float; a ValueError unless it is finite and > 0, or 0 if allowed."""
    if not is_number(value) or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        bound = ">= 0" if zero else "> 0"
        raise ValueError(f"Expected {name} {bound}, a finite number. Received: {value!r}.")
    return float(value)


def check_flag(name, value):
    """An argument's value as a Python bool; a ValueError unless it is one."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"Expected {name} to be True or False. Received: {value!r}.")
    return bool(value)
