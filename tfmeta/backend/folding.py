"""Convolutions with weights of each task's own, all tasks in one kernel.

The tasks are folded into the channels: features `[B, rows, height, width, C]` become
`[rows, height, width, B C]`, and a kernel for each task is a grouped convolution with `B` groups.
What works channel by channel in between (normalisation, rectifier, pooling, sums over rows) is the
same op with more channels, so that one transposition at either end of the network is enough.

`tf.vectorized_map` converts the graph of one task op by op. Here its converters of the ops above
are replaced within a `with`; every other op is converted by TensorFlow's own, with the tasks in
the leading axis. TensorFlow's loops over the tasks at each Conv2DBackpropFilter.
"""

import contextlib
import contextvars
import functools
from unittest import mock

import tensorflow as tf
from tensorflow.python.ops.parallel_for import pfor

from tfmeta.backend.kernels import kernel_of

_FOLDED = "_tfmeta_folded"  # of a tensor [B, ..., C]: the same as [..., B C]
_constants = contextvars.ContextVar("constants")
_CHANNELWISE = """
    AddN AddV2 Cast Elu EluGrad Exp LeakyRelu LeakyReluGrad Maximum Minimum Mul Neg Pow RealDiv
    Reciprocal Relu Relu6 Relu6Grad ReluGrad Rsqrt RsqrtGrad Selu SeluGrad Sigmoid SigmoidGrad
    Softplus SoftplusGrad Sqrt SqrtGrad Square SquaredDifference StopGradient Sub Tanh TanhGrad
    ZerosLike AvgPool MaxPool MaxPoolGrad MaxPoolGradGrad
"""


@functools.cache
def has_grouped_kernels(dtype):
    """True if TensorFlow has derivatives of grouped convolutions here: on a CPU, with oneDNN."""
    with tf.init_scope():
        x, grads = tf.zeros((1, 2, 2, 2), dtype), tf.zeros((1, 2, 2, 2), dtype)
        try:
            tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=[1, 1, 1, 2], out_backprop=grads,
                strides=[1] * 4, padding="SAME",
            )  # fmt: skip
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


@contextlib.contextmanager
def folded_tasks():
    """Within it `tf.vectorized_map` folds the tasks of convolutions into the channels."""
    registry = pfor._pfor_converter_registry
    ours = {
        "BiasAdd": _bias_add,
        "BiasAddGrad": _bias_add_grad,
        "Conv2D": _conv,
        "Conv2DBackpropFilter": _conv,
        "Conv2DBackpropInput": _conv,
        "FusedBatchNormV3": _batch_norm,
        **dict.fromkeys(("Identity", "IdentityN"), _identities),
        "Mean": _reduce,
        "PartitionedCall": _kernel,
        "StatefulPartitionedCall": _kernel,
        "Sum": _reduce,
        "Tile": _tile,
        **dict.fromkeys(_CHANNELWISE.split(), _channelwise),
    }
    ours = {
        name: functools.partial(_convert, converter, registry[name])
        for name, converter in ours.items()
    }
    token = _constants.set({})
    try:
        with mock.patch.dict(registry, ours):
            yield
    finally:
        _constants.reset(token)


@tf.autograph.experimental.do_not_convert
def _convert(converter, otherwise, op):
    """Convert an op by `converter`, or, where that gives None, by TensorFlow's."""
    tasks = tf.get_static_value(op.pfor.loop_len_vector)
    # In the branches of a condition the number of tasks is not known.
    outputs = None if tasks is None else converter(op, int(tasks[0]))
    return otherwise(op) if outputs is None else outputs


def _is_folded(value):
    """True for features or kernels that came out of an op of folded tasks."""
    return getattr(value.t, _FOLDED, None) is not None and value.t.shape.rank == 5


def _fold(value, tasks):
    """`[..., B C]` of a value of the conversion: `[B, ..., C]`, or `[..., C]` for all tasks."""
    t = value.t
    if not value.is_stacked:
        return tf.tile(t, [1] * (t.shape.rank - 1) + [tasks])
    if getattr(t, _FOLDED, None) is None:
        rank = t.shape.rank
        last = t if rank == 2 else _transpose(t, (*range(1, rank - 1), 0, rank - 1))
        folded = _reshape(last, (*last.shape[: rank - 2], tasks * t.shape[-1]))
        setattr(t, _FOLDED, folded)
    return getattr(t, _FOLDED)


def _unfold(folded, tasks):
    """The value `[B, ..., C]`, which also keeps what it was made of: often nothing else is used."""
    rank = folded.shape.rank
    value = _reshape(folded, (*folded.shape[:-1], tasks, folded.shape[-1] // tasks))
    if rank > 1:
        value = _transpose(value, (rank - 1, *range(rank - 1), rank))
    setattr(value, _FOLDED, folded)
    return pfor.wrap(value, True)


# Thousands of them: a third of the time of a trace would go into their constants and checks.


def _reshape(t, shape):
    return tf.raw_ops.Reshape(tensor=t, shape=_constant(shape))


def _transpose(t, axes):
    return tf.raw_ops.Transpose(x=t, perm=_constant(axes))


def _constant(numbers):
    key = (tf.compat.v1.get_default_graph(), numbers)
    known = _constants.get()
    if key not in known:
        known[key] = tf.constant(numbers, tf.int32)
    return known[key]


def _operand(value, tasks, channels):
    """What broadcasts against folded features: features, one number a channel, or one number.

    None if the value is neither.
    """
    rank = value.t.shape.rank - value.is_stacked
    if rank == 0:
        return tf.repeat(value.t, channels) if value.is_stacked else value.t
    if value.t.shape[-1] != channels:
        return None
    return _fold(value, tasks)


def _channelwise(op, tasks):
    if not any(map(_is_folded, op.inputs)):
        return None
    channels = op.outputs[0].shape[-1]
    operands = [_operand(value, tasks, channels) for value in op.inputs]
    if any(operand is None for operand in operands):
        return None
    return [_unfold(t, tasks) for t in _same_op(op, operands)]


def _same_op(op, inputs):
    dtypes = [t.dtype for t in op.outputs]
    return pfor._create_op(op.op_type, inputs, dtypes, op.op.node_def.attr).outputs


def _identities(op, tasks):
    """Also what a custom gradient leaves behind."""
    # One that has to wait for something, such as an assertion, is more than its input.
    return None if op.op.control_inputs else list(op.inputs)


def _conv(op, tasks):
    """A convolution, and its derivatives, which are convolutions again."""
    sizes = {"Conv2D": None, "Conv2DBackpropInput": 0, "Conv2DBackpropFilter": 1}[op.op_type]
    tensors = [value for i, value in enumerate(op.inputs) if i != sizes]
    own_filter = op.op_type == "Conv2DBackpropFilter" or op.inputs[1].is_stacked
    if op.get_attr("data_format") != b"NHWC" or not (own_filter or any(map(_is_folded, tensors))):
        return None
    inputs = [_fold(value, tasks) for value in tensors]
    if sizes is not None:
        shape = op.inputs[sizes]
        shape = shape.t[0] if shape.is_stacked else shape.t
        inputs.insert(sizes, shape * [1, 1, 1, tasks])
    if has_grouped_kernels(inputs[-1].dtype):
        outputs = _same_op(op, inputs)[0]
    else:
        outputs = _each_group(op, inputs, sizes, tasks)
    return _unfold(outputs, tasks)


def _each_group(op, inputs, sizes, tasks):
    """A grouped convolution, group by group."""
    parts = [
        [op.inputs[sizes].t] * tasks if i == sizes else tf.split(t, tasks, axis=-1)
        for i, t in enumerate(inputs)
    ]
    return tf.concat([_same_op(op, group)[0] for group in zip(*parts, strict=True)], axis=-1)


def _bias_add(op, tasks):
    if not _is_folded(op.inputs[0]):
        return None
    x, bias = (_fold(value, tasks) for value in op.inputs)
    return _unfold(tf.nn.bias_add(x, bias), tasks)


def _bias_add_grad(op, tasks):
    if not _is_folded(op.inputs[0]):
        return None
    return _unfold(tf.reduce_sum(_fold(op.inputs[0], tasks), (0, 1, 2)), tasks)


def _reduce(op, tasks):
    """A sum or mean over any axes but the channels."""
    axes = tf.get_static_value(op.inputs[1].t)
    rank = op.op.inputs[0].shape.rank
    if not _is_folded(op.inputs[0]) or axes is None or op.inputs[1].is_stacked:
        return None
    if any(axis % rank == rank - 1 for axis in axes.reshape(-1)):
        return None
    inputs = [_fold(op.inputs[0], tasks), op.inputs[1].t]
    return [_unfold(t, tasks) for t in _same_op(op, inputs)]


def _tile(op, tasks):
    """A number a channel repeated over the features, as the derivative of a bias is."""
    value, multiples = op.inputs
    repeats = None if multiples.is_stacked else tf.get_static_value(multiples.t)
    if not value.is_stacked or repeats is None or len(repeats) != 4 or repeats[-1] != 1:
        return None
    return _unfold(tf.tile(_fold(value, tasks), repeats), tasks)


def _batch_norm(op, tasks):
    if not op.get_attr("is_training") or op.get_attr("data_format") != b"NHWC":
        return None
    inputs = [_fold(v, tasks) if v.is_stacked or v.t.shape[-1] else v.t for v in op.inputs]
    *outputs, reserved = _same_op(op, inputs)
    return [*(_unfold(t, tasks) for t in outputs), pfor.wrap(reserved, False)]


def _kernel(op, tasks):
    """A kernel of `tfmeta.backend.kernels`: features, and a number a channel, in any of its places."""
    kernel = kernel_of(op.get_attr("f").name)
    if kernel is None:
        return None
    inputs = [_fold(v, tasks) if v.is_stacked or v.t.shape.rank else v.t for v in op.inputs]
    return [_unfold(t, tasks) for t in tf.nest.flatten(kernel(*inputs))]
