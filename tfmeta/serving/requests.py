"""Bodies of requests, in both forms of TensorFlow Serving: by rows, and by columns."""

import json


def parse(body, names):
    """The values of a request by name, and whether they came by rows.

    By rows it is `{"instances": [row, ...]}`, where a row is a dict of the inputs, or the one input
    itself; by columns `{"inputs": {name: values, ...}}`, or the values of the one input.

    Args:
        body: bytes of JSON.
        names: of the inputs that there are, the mask, which may be left out, among them.

    Returns:
        `(values, by_rows)`, a dict and a bool.

    Raises:
        ValueError: it is none of these.
    """
    content = read_json(body)
    wanted = [name for name in names if name != "mask"]
    if not isinstance(content, dict) or len({"instances", "inputs"} & set(content)) != 1:
        raise ValueError(
            'Expected {"instances": [...]}, a row each, or {"inputs": {...}}, a name each. '
            f"Received: {_kind(content)}."
        )
    if set(content) - {"instances", "inputs", "signature_name"}:
        raise ValueError(f"Expected nothing beside them. Received: {_kind(content)}.")
    if "inputs" in content:
        values = content["inputs"]
        if not isinstance(values, dict) and len(wanted) == 1:
            values = {wanted[0]: values}
        if not isinstance(values, dict):
            raise ValueError(f"Expected the inputs {', '.join(names)}. Received: {_kind(values)}.")
        return values, False
    return _columns(content["instances"], names, wanted), True


def _columns(rows, names, wanted):
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"Expected a list of rows, at least one. Received: {_kind(rows)}.")
    if len(wanted) == 1 and not isinstance(rows[0], dict):
        return {wanted[0]: rows}
    first = set(rows[0]) if isinstance(rows[0], dict) else None
    if first is None or not all(isinstance(row, dict) and set(row) == first for row in rows):
        raise ValueError(f"Expected rows of the inputs {', '.join(names)}. Received: other rows.")
    return {name: [row[name] for row in rows] for name in rows[0]}


def read_json(body):
    """The value of a body, bytes of JSON; a ValueError unless it is JSON of finite numbers."""

    def refuse(name):
        raise ValueError(f"Expected finite numbers. Received: {name}.")

    try:
        return json.loads(body.decode(), parse_constant=refuse)
    except UnicodeDecodeError:
        raise ValueError("Expected JSON in UTF-8. Received: other bytes.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"Expected JSON. Received: {error.msg}, at byte {error.pos}.") from None
    except RecursionError:
        raise ValueError("Expected JSON. Received: lists in lists without end.") from None


def _kind(value):
    return f"keys {sorted(value)[:5]}" if isinstance(value, dict) else type(value).__name__
