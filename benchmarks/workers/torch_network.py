"""The networks of `benchmarks.cases` in PyTorch, and their weights from and to Keras's layouts."""

import collections

import torch
from torch import nn

from benchmarks.cases import EPSILON, layers

PARAMETERS = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
HEAD = ("log_regularization", "output_scale")  # of R2D2


class Mean(nn.Module):
    """The mean of each map."""

    def forward(self, x):
        return x.mean((2, 3))


class BatchNorm(nn.Module):
    """Written out: under `vmap`, the second derivative of PyTorch's own takes the statistics for
    constants (torch 2.13; 1 to 4 % of MAML's outer gradient here, in float64, too).
    """

    def __init__(self, channels, epsilon, **kwargs):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.zeros(channels)) for _ in range(2))
        self.epsilon = epsilon

    def forward(self, x):
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.epsilon)
        return (x - mean) * scale + self.bias[:, None, None]


def network(case, batch_norm=nn.BatchNorm2d):
    """The case's network; its parameters are called "conv1.weight", "norm1.bias", ..."""
    parts = collections.OrderedDict()
    if case.network == "conv4":
        _add_blocks(case, parts, batch_norm)
        parts["features"] = nn.Flatten() if case.downsample == "pool" else Mean()
    for layer in layers(case):
        if not layer.name.startswith("conv"):
            parts[layer.name] = nn.Linear(*layer.kernel)
            if layer.name != "head":
                parts[f"relu_{layer.name}"] = nn.ReLU()
    if case.learner == "r2d2":
        parts["r2d2"] = nn.Identity()
        for name in HEAD:
            parts["r2d2"].register_parameter(name, nn.Parameter(torch.zeros(())))
    return nn.Sequential(parts)


def _add_blocks(case, parts, batch_norm):
    pool, side = case.downsample == "pool", case.input_shape[0]
    for i, layer in enumerate(layers(case)[:4], start=1):
        *_, inputs, outputs = layer.kernel
        # At a stride of 2 TensorFlow's "same" pads an even side behind alone.
        behind = not pool and side % 2 == 0
        if behind:
            parts[f"pad{i}"] = nn.ZeroPad2d((0, 1, 0, 1))
        parts[f"conv{i}"] = nn.Conv2d(inputs, outputs, 3, layer.stride, 0 if behind else 1)
        # tfmeta's gradient learners keep no running statistics; ProtoNet and R2D2 do.
        running = case.learner in ("protonet", "r2d2")
        parts[f"norm{i}"] = batch_norm(outputs, EPSILON, track_running_stats=running)
        parts[f"relu{i}"] = nn.ReLU()
        if pool:
            parts[f"pool{i}"] = nn.MaxPool2d(2)
        side = layer.height // 2 if pool else layer.height


def torch_name(name):
    """ "conv1/kernel" -> "conv1.weight"."""
    layer, weight = name.split("/")
    return f"{layer}.{PARAMETERS.get(weight, weight)}"


def to_torch(case, name, array):
    """From Keras's layout to that of PyTorch's parameter."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if name == "head/kernel" and case.network == "conv4":
        # Keras flattens maps as [place, channel], PyTorch as [channel, place].
        array = array.reshape(-1, case.width, array.shape[-1]).swapaxes(0, 1)
        array = array.reshape(-1, array.shape[-1])
    return array.T


def from_torch(case, name, array):
    """The inverse of `to_torch`."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    array = array.T
    if name == "head/kernel" and case.network == "conv4":
        array = array.reshape(case.width, -1, array.shape[-1]).swapaxes(0, 1)
        array = array.reshape(-1, array.shape[-1])
    return array
