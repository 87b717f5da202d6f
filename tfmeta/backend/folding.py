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
from tfmeta.backend.conversion import converts, same_op
from tfmeta.backend.features import again, constant, fold, is_folded, unfold
from tfmeta.backend.kernels import kernel_of

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


def _operand(value, of_one, tasks, channels):
    """What broadcasts against folded features: features, one number a channel, or one number.

    None if the value, which is `of_one` of a task, is neither.
    """
    if of_one.shape.rank == 0:
        return tf.repeat(value.t, channels) if value.is_stacked else value.t
    if of_one.shape[-1] != channels:
        return None
    return fold(value, tasks)


@converts(*_CHANNELWISE.split())
def _channelwise(op, tasks):
    if not any(map(is_folded, op.inputs)):
        return None
    channels = op.outputs[0].shape[-1]
    pairs = zip(op.inputs, op.op.inputs, strict=True)
    operands = [_operand(value, of_one, tasks, channels) for value, of_one in pairs]
    if any(operand is None for operand in operands):
        return None
    return [unfold(t, tasks) for t in same_op(op, operands)]


@converts("Identity", "IdentityN")
def _identities(op, tasks):
    """Also what a custom gradient leaves behind."""
    # One that has to wait for something, such as an assertion, is more than its input.
    return None if op.op.control_inputs else [again(value) for value in op.inputs]


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
        inputs.insert(sizes, _sizes_of_all(op, sizes, tasks))
    if has_grouped_kernels(inputs[-1].dtype):
        outputs = same_op(op, inputs)[0]
    else:
        outputs = _each_group(op, inputs, sizes, tasks)
    return unfold(outputs, tasks)


def _sizes_of_all(op, place, tasks):
    """The sizes of what a derivative of a convolution gives: for one task, an input at `place`."""
    static = tf.get_static_value(op.op.inputs[place])
    if static is not None:
        return constant((*static[:3], static[3] * tasks))
    sizes = op.inputs[place]
    return (sizes.t[0] if sizes.is_stacked else sizes.t) * [1, 1, 1, tasks]


def _each_group(op, inputs, sizes, tasks):
    """A grouped convolution, group by group."""
    parts = [
        [op.inputs[sizes].t] * tasks if i == sizes else tf.split(t, tasks, axis=-1)
        for i, t in enumerate(inputs)
    ]
    return tf.concat([same_op(op, group)[0] for group in zip(*parts, strict=True)], axis=-1)


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
    axes = tf.get_static_value(op.op.inputs[1])
    rank = op.op.inputs[0].shape.rank
    if not is_folded(op.inputs[0]) or axes is None or op.inputs[1].is_stacked:
        return None
    if any(axis % rank == rank - 1 for axis in axes.reshape(-1)):
        return None
    inputs = [fold(op.inputs[0], tasks), op.inputs[1].t]
    return [unfold(t, tasks) for t in same_op(op, inputs)]


@converts("Tile")
def _tile(op, tasks):
    """A number a channel repeated over the features, as the derivative of a bias is."""
    value, multiples = op.inputs
    repeats = None if multiples.is_stacked else tf.get_static_value(op.op.inputs[1])
    if not value.is_stacked or repeats is None or len(repeats) != 4 or repeats[-1] != 1:
        return None
    return unfold(tf.tile(fold(value, tasks), repeats), tasks)


@converts("FusedBatchNormV3")
def _batch_norm(op, tasks):
    if not op.get_attr("is_training") or op.get_attr("data_format") != b"NHWC":
        return None
    inputs = [fold(v, tasks) if v.is_stacked or v.t.shape[-1] else v.t for v in op.inputs]
    *outputs, reserved = same_op(op, inputs)
    return [*(unfold(t, tasks) for t in outputs), private.wrap(reserved, False)]


def convert_kernel(op, tasks):
    """A formula of `tfmeta.backend.kernels`: features, and a number a channel, in any place."""
    kernel = kernel_of(op.get_attr("f").name)
    if kernel is None:
        return None
    inputs = [fold(v, tasks) if v.is_stacked or v.t.shape.rank else v.t for v in op.inputs]
    return [unfold(t, tasks) for t in tf.nest.flatten(kernel(*inputs))]
