"""What can be wrong with a family of Gymnasium before an environment is made."""

import math

from tfmeta.arguments import check_integer, is_number


def check_gymnasium():
    """Raise an ImportError unless there is a Gymnasium that is new enough."""
    try:
        import gymnasium as package
    except ImportError as error:
        raise ImportError(
            "Expected gymnasium, for environments of it: pip install tfmeta[rl]"
        ) from error
    version = getattr(package, "__version__", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < (1, 1):
        raise ImportError(
            f"Expected gymnasium >= 1.1. Received: {version}. pip install --upgrade tfmeta[rl]"
        )


def check_parameters(id, parameters):
    """The parameters that differ, as a dict of tuples and lists of floats."""
    if parameters is None:
        raise ValueError(
            f"Expected parameters, as nothing is made ready for {id}: a dict of attributes and "
            'their (low, high), such as {"gravity": (5.0, 15.0)}. Received: None. {} gives a '
            "family of one task."
        )
    found = {}
    for name, values in parameters.items():
        if not (_is_range(values) or _is_choice(values)):
            raise ValueError(
                f"Expected {name!r} to be (low, high) with low < high, or a list of two numbers or "
                f"more. Received: {values!r}. parameters={{}} gives a family of one task."
            )
        found[name] = type(values)(float(v) for v in values)
    return found


def _is_range(values):
    return _are_numbers(values, tuple) and len(values) == 2 and values[0] < values[1]


def _is_choice(values):
    return _are_numbers(values, list) and len(set(values)) > 1


def _are_numbers(values, kind):
    return isinstance(values, kind) and all(is_number(v) and math.isfinite(v) for v in values)


def time_limit(id, given, made):
    """Steps of an episode: what is given, or what the environment has."""
    limit = made.spec.max_episode_steps if given is None else given
    if limit is None:
        raise ValueError(
            f"Expected horizon, the number of steps of an episode, as {id} has no time limit. "
            "Received: None."
        )
    return check_integer("horizon", limit, 1)
