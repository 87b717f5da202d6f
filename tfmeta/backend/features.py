"""Values of a conversion whose tasks are folded into the channels.

TensorFlow's conversion wants every value with the tasks in the leading axis, and nearly always
nobody reads it there: the next operation takes the folded one. So the transposition is made when it
is asked for, and not before: of a convolutional network a third of all operations.
"""

import numpy as np
import tensorflow as tf

from tfmeta.backend import private
from tfmeta.backend.conversion import FOLDED, VECTORIZED, constants, converts

_FOLDED = "_tfmeta_folded"  # of a tensor [B, ..., C]: the same as [..., B C]


# Many of them: a third of the time of a trace would go into their constants and checks.


def reshape(t, shape):
    """A tensor in another shape, a tuple of numbers."""
    return tf.raw_ops.Reshape(tensor=t, shape=constant(shape))


def transpose(t, axes):
    """A tensor with its axes in another order, a tuple of numbers."""
    return tf.raw_ops.Transpose(x=t, perm=constant(axes))


def constant(numbers):
    """A tuple of whole numbers as a tensor, once in a graph."""
    return _constant(np.array(numbers, np.int32))


def zeros(shape, dtype):
    """Zeros, once in a graph."""
    return _constant(np.zeros(shape, dtype.as_numpy_dtype))


def _constant(array):
    graph = tf.compat.v1.get_default_graph()
    key = (graph, array.dtype.name, array.shape, array.tobytes())
    known = constants()
    if key not in known:
        known[key] = tf.constant(array)
    return known[key]


class _Place:
    """A folded tensor, and once it is asked for the same with the tasks in the leading axis."""

    def __init__(self, folded, tasks):
        self.folded, self.tasks, self.unfolded = folded, tasks, None
        self.dtype = folded.dtype

    def set_shape(self, shape):
        """What TensorFlow does to each new value; the folded one knows its shape."""

    def unfold(self):
        """The tensor `[B, ..., C]`."""
        if self.unfolded is None:
            # Who asks may stand in a loop's body, and the next one outside of it.
            with self.folded.graph.as_default(), tf.control_dependencies(None):
                self.unfolded = _unfolded(self.folded, self.tasks)
        return self.unfolded


class _Late(private.WrappedTensor):  # type: ignore[misc, valid-type]
    """A value of TensorFlow's conversion whose tensor `t` is made where it is asked for."""

    def __iter__(self):
        return iter((self.t, self.is_stacked, False))

    def __getitem__(self, i):
        return tuple(self)[i]

    def settled(self):
        """The value as TensorFlow's own conversion has it."""
        return private.wrap(self.t, self.is_stacked)


class Features(_Late):
    """A value `[B, ..., C]` of the conversion, known as `[..., B C]`.

    TensorFlow looks at the type and the shape of a new value before it keeps it; that must not
    count as asking, so that `t` is not a tensor yet until `is_kept`.
    """

    def __new__(cls, place):
        """A value not kept yet."""
        return super().__new__(cls, place, True, False)

    def __init__(self, place):
        self.place, self.is_kept = place, False

    @property
    def t(self):
        """The tensor `[B, ..., C]`."""
        return self.place.unfold() if self.is_kept else self.place

    def settled(self):
        self.is_kept = True
        return super().settled()


class Constant(_Late):
    """A constant of the graph of one task, made in the graph of all where it is asked for."""

    def __new__(cls, tensor):
        """The value of a tensor whose operation is "Const"."""
        return super().__new__(cls, None, False, False)

    def __init__(self, tensor):
        self.of_one = tensor

    @property
    def t(self):
        """The tensor."""
        return _constant(tf.get_static_value(self.of_one))


class Conversion(private.Converter):
    """TensorFlow's conversion of the operations of one task, with values that are unfolded late."""

    settles_late = True

    def __init__(self, *args, **kwargs):
        self.late = set()  # ids of tensors of one task, which the conversion keeps
        super().__init__(*args, **kwargs)
        for op in self.pfor_ops:
            if op.type == "Const" and op.outputs[0].dtype != tf.string:
                self.note(op.outputs[0], Constant(op.outputs[0]))

    def noted(self, of_one, of_all):
        if isinstance(of_all, _Late):
            self.late.add(id(of_one))
        if isinstance(of_all, Features):
            of_all.is_kept = True

    def surely_differs(self, of_one):
        return id(of_one) in self.late


def is_folded(value):
    """True for features or kernels that came out of an op of folded tasks."""
    if isinstance(value, Features):
        return value.place.folded.shape.rank == 4
    return getattr(value.t, _FOLDED, None) is not None and value.t.shape.rank == 5


def folded(value):
    """The folded form of a value of which `is_folded` is true."""
    return value.place.folded if isinstance(value, Features) else getattr(value.t, _FOLDED)


def again(value):
    """The value, for another operation that gives it."""
    return Features(value.place) if isinstance(value, Features) else value


def fold(value, tasks):
    """`[..., B C]` of a value of the conversion: `[B, ..., C]`, or `[..., C]` for all tasks."""
    if isinstance(value, Features):
        return value.place.folded
    t = value.t
    if not value.is_stacked:
        return tf.tile(t, [1] * (t.shape.rank - 1) + [tasks])
    if getattr(t, _FOLDED, None) is None:
        rank = t.shape.rank
        last = t if rank == 2 else transpose(t, (*range(1, rank - 1), 0, rank - 1))
        folded = reshape(last, (*last.shape[: rank - 2], tasks * t.shape[-1]))
        setattr(t, _FOLDED, folded)
    return getattr(t, _FOLDED)


def unfold(folded, tasks):
    """The value `[B, ..., C]` of the conversion."""
    return Features(_Place(folded, tasks))


def _unfolded(folded, tasks):
    rank = folded.shape.rank
    t = reshape(folded, (*folded.shape[:-1], tasks, folded.shape[-1] // tasks))
    if rank > 1:
        t = transpose(t, (rank - 1, *range(rank - 1), rank))
    setattr(t, _FOLDED, folded)
    return t


@converts(
    *("If", "StatelessIf", "Case", "StatelessCase", "While", "StatelessWhile"),
    *("PartitionedCall", "StatefulPartitionedCall"),
    modes=(VECTORIZED, FOLDED),
)
def _call_of_a_function(op, tasks):
    """TensorFlow's converters hand the values themselves to a function: they must be its own."""
    for i, value in enumerate(op.inputs):
        if isinstance(value, _Late):
            op.inputs[i] = value.settled()
