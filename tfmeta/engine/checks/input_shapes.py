"""Inputs of episodes beside those that a network was made for: told before a step is traced."""


def check_input_shapes(network, x, leading):
    """A ValueError unless inputs have the shape that a network was made for, if it says one.

    Args:
        network: a `keras.Model`.
        x: a nest of anything with a shape.
        leading: the number of leading axes of x, of tasks and rows.
    """
    for name, symbolic, part in named_inputs(network, x):
        wanted, received = tuple(symbolic.shape[1:]), tuple(part.shape[leading:])
        if not _fits(received, wanted):
            raise ValueError(
                f"Expected {name} of shape {wanted} a row, which the network {network.name!r} was "
                f"made for. Received: {received}. {_advice(received, wanted)}"
            )


def named_inputs(network, x):
    """`(name, symbolic input, part of x)` where it is certain which belongs to which."""
    inputs = getattr(network, "inputs", None) or ()
    if isinstance(x, dict):
        return [(f"x[{i.name!r}]", i, x[i.name]) for i in inputs if i.name in x]
    if isinstance(x, tuple):
        matches = len(x) == len(inputs) and all(hasattr(part, "shape") for part in x)
        return (
            [(f"x[{i}]", *p) for i, p in enumerate(zip(inputs, x, strict=True))] if matches else []
        )
    return [("x", inputs[0], x)] if len(inputs) == 1 else []


def _fits(received, wanted):
    if len(wanted) < 3 and ((*received, 1) == wanted or received == (*wanted, 1)):
        return True  # Keras adds and drops the axis, and a row of numbers is no picture
    pairs = zip(received, wanted, strict=False)
    return len(received) == len(wanted) and all(a == b or None in (a, b) for a, b in pairs)


def _advice(received, wanted):
    if received == wanted[:-1]:
        return "Add the axis of channels: x[..., None]."
    if received[:-1] == wanted[:-1] and {received[-1], wanted[-1]} == {1, 3}:
        kind = "grey" if wanted[-1] == 1 else "colour"
        return (
            f"The network is one of {kind} pictures: read them with channels={wanted[-1]}, or make "
            f"the network for {received}."
        )
    return f"Make the network for {received}, or the data of shape {wanted} a row."
