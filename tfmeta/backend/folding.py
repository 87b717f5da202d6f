"""Convolutions with weights of each task's own, all tasks in one kernel.

The tasks are folded into the channels: features `[B, rows, height, width, C]` become
`[rows, height, width, B C]`, and a kernel for each task is a grouped convolution with `B` groups.
What works channel by channel in between (normalisation, rectifier, pooling, sums over rows) is the
same op with more channels, so that one transposition at either end of the network is enough.

`tf.vectorized_map` converts the graph of one task op by op. Here are converters of the ops above;
every other op is converted by TensorFlow's own, with the tasks in the leading axis. They are
registered once, by `tfmeta.backend.conversion`, and at rest unless this thread is inside
`folded_tasks`. TensorFlow's loops over the tasks at each Conv2DBackpropFilter.
"""

import functools

import tensorflow as tf

from tfmeta.backend import private
from tfmeta.backend.conversion import constants, converts
from tfmeta.backend.kernels import kernel_of

_FOLDED = "_tfmeta_folded"  # of a tensor [B, ..., C]: the same as [..., B C]
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


def is_folded(value):
    """True for features or kernels that came out of an op of folded tasks."""
    return getattr(value.t, _FOLDED, None) is not None and value.t.shape.rank == 5


def folded(value):
    """The folded form of a value of which `is_folded` is true."""
    return getattr(value.t, _FOLDED)


def fold(value, tasks):
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


def unfold(folded, tasks):
    """The value `[B, ..., C]`, which also keeps what it was made of: often nothing else is used."""
    rank = folded.shape.rank
    value = _reshape(folded, (*folded.shape[:-1], tasks, folded.shape[-1] // tasks))
    if rank > 1:
        value = _transpose(value, (rank - 1, *range(rank - 1), rank))
    setattr(value, _FOLDED, folded)
    return private.wrap(value, True)


# Thousands of them: a third of the time of a trace would go into their constants and checks.


def _reshape(t, shape):
    return tf.raw_ops.Reshape(tensor=t, shape=_constant(shape))


def _transpose(t, axes):
    return tf.raw_ops.Transpose(x=t, perm=_constant(axes))


def _constant(numbers):
    key = (tf.compat.v1.get_default_graph(), numbers)
    known = constants()
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
    return fold(value, tasks)


@converts(*_CHANNELWISE.split())
def _channelwise(op, tasks):
    if not any(map(is_folded, op.inputs)):
        return None
    channels = op.outputs[0].shape[-1]
    operands = [_operand(value, tasks, channels) for value in op.inputs]
    if any(operand is None for operand in operands):
        return None
    return [unfold(t, tasks) for t in _same_op(op, operands)]


def _same_op(op, inputs):
    dtypes = [t.dtype for t in op.outputs]
    return private.create_op(op.op_type, inputs, dtypes, op.op.node_def.attr).outputs


@converts("Identity", "IdentityN")
def _identities(op, tasks):
    """Also what a custom gradient leaves behind."""
    # One that has to wait for something, such as an assertion, is more than its input.
    return None if op.op.control_inputs else list(op.inputs)


@converts("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput")
def _conv(op, tasks):
    """A convolution, and its derivatives, which are convolutions again."""
    sizes = {"Conv2D": None, "Conv2DBackpropInput": 0, "Conv2DBackpropFilter": 1}[op.op_type]
    tensors = [value for i, value in enumerate(op.inputs) if i != sizes]
    own_filter = op.op_type == "Conv2DBackpropFilter" or op.inputs[1].is_stacked
    if op.get_attr("data_format") != b"NHWC" or not (own_filter or any(map(is_folded, tensors))):
        return None
    inputs = [fold(value, tasks) for value in tensors]
    if sizes is not None:
        shape = op.inputs[sizes]
        shape = shape.t[0] if shape.is_stacked else shape.t
        inputs.insert(sizes, shape * [1, 1, 1, tasks])
    if has_grouped_kernels(inputs[-1].dtype):
        outputs = _same_op(op, inputs)[0]
    else:
        outputs = _each_group(op, inputs, sizes, tasks)
    return unfold(outputs, tasks)


def _each_group(op, inputs, sizes, tasks):
    """A grouped convolution, group by group."""
    parts = [
        [op.inputs[sizes].t] * tasks if i == sizes else tf.split(t, tasks, axis=-1)
        for i, t in enumerate(inputs)
    ]
    return tf.concat([_same_op(op, group)[0] for group in zip(*parts, strict=True)], axis=-1)


@converts("BiasAdd")
def _bias_add(op, tasks):
    if not is_folded(op.inputs[0]):
        return None
    x, bias = (fold(value, tasks) for value in op.inputs)
    return unfold(tf.nn.bias_add(x, bias), tasks)


@converts("BiasAddGrad")
def _bias_add_grad(op, tasks):
    if not is_folded(op.inputs[0]):
        return None
    return unfold(tf.reduce_sum(fold(op.inputs[0], tasks), (0, 1, 2)), tasks)


@converts("Mean", "Sum")
def _reduce(op, tasks):
    """A sum or mean over any axes but the channels."""
    axes = tf.get_static_value(op.inputs[1].t)
    rank = op.op.inputs[0].shape.rank
    if not is_folded(op.inputs[0]) or axes is None or op.inputs[1].is_stacked:
        return None
    if any(axis % rank == rank - 1 for axis in axes.reshape(-1)):
        return None
    inputs = [fold(op.inputs[0], tasks), op.inputs[1].t]
    return [unfold(t, tasks) for t in _same_op(op, inputs)]


@converts("Tile")
def _tile(op, tasks):
    """A number a channel repeated over the features, as the derivative of a bias is."""
    value, multiples = op.inputs
    repeats = None if multiples.is_stacked else tf.get_static_value(multiples.t)
    if not value.is_stacked or repeats is None or len(repeats) != 4 or repeats[-1] != 1:
        return None
    return unfold(tf.tile(fold(value, tasks), repeats), tasks)


@converts("FusedBatchNormV3")
def _batch_norm(op, tasks):
    if not op.get_attr("is_training") or op.get_attr("data_format") != b"NHWC":
        return None
    inputs = [fold(v, tasks) if v.is_stacked or v.t.shape[-1] else v.t for v in op.inputs]
    *outputs, reserved = _same_op(op, inputs)
    return [*(unfold(t, tasks) for t in outputs), private.wrap(reserved, False)]


def convert_kernel(op, tasks):
    """A formula of `tfmeta.backend.kernels`: features, and a number a channel, in any place."""
    kernel = kernel_of(op.get_attr("f").name)
    if kernel is None:
        return None
    inputs = [fold(v, tasks) if v.is_stacked or v.t.shape.rank else v.t for v in op.inputs]
    return [unfold(t, tasks) for t in tf.nest.flatten(kernel(*inputs))]
