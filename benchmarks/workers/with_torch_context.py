"""PyTorch: the LSTM learner, CNP and TNP-D in its own layers, all tasks of a batch at once."""

import itertools
import math
import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import cases_context
from benchmarks.workers.serve import LEARNING_RATE, serve
from benchmarks.workers.with_torch import VERSIONS, TorchContender

MINIMUM_SCALE = {"cnp": 0.1, "tnp": 0.01}


def dense_layers(widths):
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*(part for x in layers for part in (x, nn.ReLU())))[:-1]


class LSTMLearner(nn.Module):
    """Rows with the label of the row before, read by an LSTM; a prediction of each row."""

    def __init__(self, case):
        super().__init__()
        self.head = nn.Linear(case.width, case.outputs)
        self.lstm = nn.LSTM(math.prod(case.input_shape) + case.outputs, case.width)
        nn.init.zeros_(self.lstm.bias_hh_l0)  # PyTorch's second bias, which Keras has not

    def forward(self, support, query):
        (x, y, _), (query_x, query_y, _) = support, query
        before = functional.one_hot(y, self.head.out_features).to(x.dtype)
        before = torch.cat([torch.zeros_like(before[:, :1]), before], 1)
        rows = torch.cat([torch.cat([x, query_x], 1), before], 2).transpose(0, 1)
        logits = self.head(self.lstm(rows)[0]).transpose(0, 1)
        return functional.cross_entropy(logits.flatten(0, 1), torch.cat([y, query_y], 1).flatten())


class NeuralProcess(nn.Module):
    """Negative log-likelihood of the targets, from what a subclass makes of context and inputs."""

    def __init__(self, case):
        super().__init__()
        self.minimum = MINIMUM_SCALE[case.learner]

    def forward(self, support, query):
        x, y, mask = query
        mean, raw = self.outputs(support, x).chunk(2, -1)
        scale = self.minimum + (1 - self.minimum) * functional.softplus(raw)
        values = -0.5 * ((y - mean) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
        return -(values.sum(-1) * mask).sum() / mask.sum()


class CNP(NeuralProcess):
    def __init__(self, case):
        super().__init__(case)
        given, width = case.input_shape[0], case.width
        self.encode = dense_layers((given + case.outputs, width, width, width))
        self.decode = dense_layers((width + given, width, width, 2 * case.outputs))

    def outputs(self, support, x):
        points = self.encode(torch.cat(support[:2], -1)) * support[2][..., None]
        mean = points.sum(1, keepdim=True) / support[2].sum(1)[:, None, None]
        return self.decode(torch.cat([mean.expand(-1, x.shape[1], -1), x], -1))


class Block(nn.Module):
    def __init__(self, width, heads=4):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.widen = nn.Linear(width, cases_context.FEEDFORWARD)
        self.narrow = nn.Linear(cases_context.FEEDFORWARD, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])

    def forward(self, rows, points, seen):
        """Rows `[B, S + M, D]`, the first S of which are the points that all rows look at."""
        context = rows[:, :points]
        found = functional.scaled_dot_product_attention(
            *(self.of_heads(t) for t in (self.query(rows), self.key(context), self.value(context))),
            attn_mask=seen,
        )
        rows = self.norms[0](rows + self.output(found.transpose(1, 2).flatten(2)))
        return self.norms[1](rows + self.narrow(functional.relu(self.widen(rows))))

    def of_heads(self, rows):
        return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class TNP(NeuralProcess):
    """As the authors' TNP-D, but nothing is computed for attention to targets, which are masked."""

    def __init__(self, case):
        super().__init__(case)
        width = case.width
        self.embed = dense_layers((case.input_shape[0] + case.outputs, *(width,) * 4))
        self.blocks = nn.ModuleList([Block(width) for _ in range(cases_context.BLOCKS)])
        self.decode = dense_layers((width, cases_context.FEEDFORWARD, 2 * case.outputs))

    def outputs(self, support, x):
        y = torch.cat([support[1], torch.zeros_like(x[..., :1])], 1)
        rows = self.embed(torch.cat([torch.cat([support[0], x], 1), y], -1))
        points, seen = support[0].shape[1], support[2][:, None, None].bool()
        for block in self.blocks:
            rows = block(rows, points, seen)
        return self.decode(rows[:, points:])


class Torch(TorchContender):
    def __init__(self, case, arrays, options):
        torch.set_num_threads(os.cpu_count())
        self.case, self.names = case, list(cases_context.shapes(case))
        self.model = {"lstm": LSTMLearner, "cnp": CNP, "tnp": TNP}[case.learner](case)
        named = self.model.named_parameters()
        # In the order of the names: both follow the order in which the layers are made.
        self.parameters = [p for name, p in named if not name.endswith("bias_hh_l0")]
        with torch.no_grad():
            for name, parameter in zip(self.names, self.parameters, strict=True):
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name].T)))
        self.batch = []
        for part in ("support", "query"):
            x, y = (torch.from_numpy(self.prepared(arrays[f"{part}_{axis}"])) for axis in "xy")
            self.batch.append((x, y, torch.ones(x.shape[:2])))
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE, fused=True)

    def backward(self):
        self.model(*self.batch).backward()

    def first_moment(self):
        state = self.optimizer.state
        pairs = zip(self.names, self.parameters, strict=True)
        return {name: state[p]["exp_avg"].numpy().T for name, p in pairs}


if __name__ == "__main__":
    serve({"torch": Torch}, VERSIONS)
