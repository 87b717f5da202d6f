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
