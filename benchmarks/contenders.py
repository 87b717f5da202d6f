"""The contenders of `python -m benchmarks.speed`, and the process that each one runs in."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.cases_context import LEARNERS, WITHOUT_PEERS

ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENT = {
    # The processor alone. No thread settings: workers whose turn it is not use no processor time
    # as they are, and OMP_WAIT_POLICY=PASSIVE makes PyTorch take up to twice as long.
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1"}
CHECKPOINT = {"learner": {"checkpoint_inner_steps": True}}
XLA = {"compile": {"jit_compile": True}}


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a contender is started: a worker's module, its name there, options, the cases it is in.

    `environment`: more variables of its process. `default` False: only if `--contenders` names it.
    """

    module: str
    name: str
    options: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)
    learners: tuple = ("maml",)
    default: bool = True

    @property
    def is_peer(self):
        """Needs the environment of benchmarks/requirements.txt."""
        return self.module.startswith(("with_torch", "with_jax"))


OF_CONTEXT = tuple(name for name in LEARNERS if name not in WITHOUT_PEERS)
ALL = ("maml", "protonet", "r2d2", "optimizer", *LEARNERS)
KINDS = {
    "tfmeta": Kind("with_tfmeta", "tfmeta", learners=ALL),
    # Each op on one core, which has to be chosen before TensorFlow starts.
    "tfmeta 1 thread": Kind("with_tfmeta", "tfmeta", environment=ONE_THREAD, default=False),
    "tfmeta checkpoint": Kind("with_tfmeta", "tfmeta", CHECKPOINT, default=False),
    "tfmeta xla": Kind("with_tfmeta", "tfmeta", XLA, learners=ALL, default=False),
    "tfmeta loop": Kind(
        "with_tfmeta", "tfmeta", {"learner": {"task_batching": "loop"}}, default=False
    ),
    "tfmeta vectorize": Kind(
        "with_tfmeta", "tfmeta", {"learner": {"task_batching": "vectorize"}}, default=False
    ),
    "tf eager loop": Kind("with_tensorflow", "eager loop"),
    "tf function loop": Kind("with_tensorflow", "function loop"),
    "higher": Kind("with_torch", "higher"),
    "torch loop": Kind("with_torch", "loop"),
    "torch.func vmap": Kind("with_torch", "torch.func vmap"),
    "torch protonet": Kind("with_torch", "protonet", learners=("protonet",)),
    "torch r2d2": Kind("with_torch", "r2d2", learners=("r2d2",)),
    "torch": Kind("with_torch_context", "torch", learners=OF_CONTEXT),
    "jax": Kind("with_jax_context", "jax", learners=OF_CONTEXT),
    "jax vmap": Kind("with_jax", "vmap", learners=("maml", "optimizer")),
    "jax map": Kind("with_jax", "map", learners=("maml", "optimizer")),
    "jax loop": Kind("with_jax", "loop"),
}
# Left out, and why: the graph of 1,000 unrolled tasks takes minutes to trace.
LEFT_OUT = {("sinusoid-1-1000", "tf function loop")}


def chosen(case_name, case, names=None, peers=True):
    """The contenders of a case: those of `names`, or the default ones."""
    return [
        name
        for name, kind in KINDS.items()
        if case.learner in kind.learners
        and (name in names if names else kind.default)
        and (peers or not kind.is_peer)
        and (case_name, name) not in LEFT_OUT
    ]


class WorkerError(RuntimeError):
    """A worker stopped; the message ends with what it printed last."""


class Worker:
    """A contender's process. `ask` sends a command and waits for the answer.

    `folder` holds the `benchmarks` and the `tfmeta` that it runs.
    """

    def __init__(self, name, peers_python, folder=ROOT):
        kind = KINDS[name]
        self.kind = kind
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [
                peers_python if kind.is_peer else sys.executable,
                "-m",
                f"benchmarks.workers.{kind.module}",
            ],
            cwd=folder,
            env={**os.environ, **ENVIRONMENT, **kind.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def load(self, case, file):
        """Give the worker its case; the versions of its libraries."""
        return self.ask(
            "load",
            case=dataclasses.asdict(case),
            file=str(file),
            contender=self.kind.name,
            options=self.kind.options,
        )["versions"]

    def ask(self, do, **arguments):
        try:
            print(json.dumps({"do": do, **arguments}), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.process.wait()
            self.log.seek(0)
            last = self.log.read()[-1500:]
            message = f"Stopped in {do!r}, exit status {self.process.returncode}:\n{last}"
            raise WorkerError(message) from None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        # The end of stdin is "quit"; one that is in the middle of something is ended.
        if error[0] is None:
            self.process.communicate()
        else:
            self.process.kill()
            self.process.wait()
        self.log.close()
