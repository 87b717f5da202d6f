"""PyTorch: `higher`, a loop over the tasks, `torch.func` with `vmap`; ProtoNet and R2D2."""

import importlib.metadata
import os

import higher
import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from benchmarks.workers.serve import LEARNING_RATE, Contender, serve
from benchmarks.workers.torch_network import BatchNorm, from_torch, network, to_torch, torch_name

VERSIONS = {
    "torch": torch.__version__,
    "higher": importlib.metadata.version("higher"),
    "numpy": np.__version__,
}


class TorchContender(Contender):
    batch_norm = nn.BatchNorm2d

    def __init__(self, case, arrays, options):
        torch.set_num_threads(os.cpu_count())
        self.case, self.names = case, [name for name in arrays if "/" in name]
        self.model = network(case, self.batch_norm)
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name in self.names:
                array = np.array(to_torch(case, name, arrays[name]), order="C")
                parameters[torch_name(name)].copy_(torch.from_numpy(array))
        batch = [arrays[name] for name in ("support_x", "support_y", "query_x", "query_y")]
        self.batch = [torch.from_numpy(self.prepared(array)) for array in batch]
        self.optimizer = torch.optim.Adam(parameters.values(), LEARNING_RATE, fused=True)

    @staticmethod
    def prepared(array):
        """Channels first, labels as int64."""
        if array.ndim == 5:
            return np.ascontiguousarray(array.transpose(0, 1, 4, 2, 3))
        return array.astype("int64") if array.dtype == np.int32 else array

    def loss(self, outputs, y):
        if self.case.classifies:
            return functional.cross_entropy(outputs, y)
        return functional.mse_loss(outputs, y)

    def step(self):
        self.optimizer.zero_grad()
        self.backward()
        self.optimizer.step()

    def backward(self):
        """Leave the outer gradient in `.grad` of the parameters."""
        raise NotImplementedError

    def first_moment(self):
        parameters = dict(self.model.named_parameters())
        moments = {
            name: self.optimizer.state[parameters[torch_name(name)]]["exp_avg"].numpy()
            for name in self.names
        }
        return {name: from_torch(self.case, name, m) for name, m in moments.items()}


class Higher(TorchContender):
    """As in the examples of `higher`: one task after another, gradients added up."""

    def __init__(self, case, arrays, options):
        super().__init__(case, arrays, options)
        self.inner = torch.optim.SGD(self.model.parameters(), case.inner_learning_rate)

    def backward(self):
        for support_x, support_y, query_x, query_y in zip(*self.batch, strict=True):
            with higher.innerloop_ctx(
                self.model, self.inner, copy_initial_weights=False, track_higher_grads=True
            ) as (model, inner):
                for _ in range(self.case.inner_steps):
                    inner.step(self.loss(model(support_x), support_y))
                (self.loss(model(query_x), query_y) / self.case.tasks).backward()


class Loop(TorchContender):
    """One task after another on functional weights, as learn2learn's cloned modules do."""

    def backward(self):
        start = dict(self.model.named_parameters())
        for support_x, support_y, query_x, query_y in zip(*self.batch, strict=True):
            weights = start
            for _ in range(self.case.inner_steps):
                loss = self.loss(functional_call(self.model, weights, (support_x,)), support_y)
                gradients = torch.autograd.grad(loss, weights.values(), create_graph=True)
                weights = {
                    k: w - self.case.inner_learning_rate * g
                    for (k, w), g in zip(weights.items(), gradients, strict=True)
                }
            loss = self.loss(functional_call(self.model, weights, (query_x,)), query_y)
            (loss / self.case.tasks).backward()


class Vmap(TorchContender):
    """As in the tutorials of `torch.func`: all tasks at once."""

    batch_norm = BatchNorm

    def backward(self):
        weights = dict(self.model.named_parameters())
        vmap(self.task_loss, (None, 0, 0, 0, 0))(weights, *self.batch).mean().backward()

    def task_loss(self, weights, support_x, support_y, query_x, query_y):
        def loss(weights, x, y):
            return self.loss(functional_call(self.model, weights, (x,)), y)

        for _ in range(self.case.inner_steps):
            gradients = grad(loss)(weights, support_x, support_y)
            weights = {
                k: w - self.case.inner_learning_rate * gradients[k] for k, w in weights.items()
            }
        return loss(weights, query_x, query_y)


class ProtoNet(TorchContender):
    """As in easyfsl, with squared distances; support and query are normalised apart."""

    def backward(self):
        (support_x, support_y, query_x, query_y) = (array[0] for array in self.batch)
        members = functional.one_hot(support_y, self.case.ways).to(support_x.dtype)
        prototypes = members.T @ self.model(support_x) / members.sum(0)[:, None]
        distances = torch.cdist(self.model(query_x), prototypes).square()
        self.loss(-distances, query_y).backward()


class R2D2(TorchContender):
    """The embedding of a ProtoNet, and a ridge regression of as many unknowns as support rows."""

    def backward(self):
        (support_x, support_y, query_x, query_y) = (array[0] for array in self.batch)
        head = self.model.r2d2
        x, query = (self.with_ones(self.model(x)) for x in (support_x, query_x))
        targets = functional.one_hot(support_y, self.case.ways).to(x.dtype)
        gram = x @ x.T + head.log_regularization.exp() * torch.eye(len(x))
        weights = x.T @ torch.linalg.solve(gram, targets)
        self.loss(head.output_scale * (query @ weights), query_y).backward()

    @staticmethod
    def with_ones(rows):
        return torch.cat([rows, torch.ones(len(rows), 1)], 1)


if __name__ == "__main__":
    contenders = {"higher": Higher, "loop": Loop, "torch.func vmap": Vmap}
    serve(contenders | {"protonet": ProtoNet, "r2d2": R2D2}, VERSIONS)
