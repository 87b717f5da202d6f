"""The files of docs/cluster, run here as far as they can be: srun and scontrol are ten lines."""

import os
import pathlib
import subprocess
import sys

import pytest
from distribution.processes import free_ports

ROOT = pathlib.Path(__file__).parents[2]
CLUSTER = ROOT / "docs" / "cluster"

# Two tasks on one node, as srun starts them; the first that fails ends the other.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for i in $(seq 0 $((SLURM_NTASKS - 1))); do SLURM_PROCID=$i "$@" & done
code=0
for i in $(seq "$SLURM_NTASKS"); do wait -n || code=1; done
exit $code
"""
SCONTROL = """#!/bin/bash
if [ "$1" = requeue ]; then echo "requeued $2"; exit; fi
for i in $(seq "$SLURM_NTASKS"); do echo localhost; done
"""


@pytest.fixture
def slurm(tmp_path):
    """A function that runs a batch script with two tasks, and returns what it said."""
    # A link to the interpreter would leave its virtual environment behind.
    python = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "python": python}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(script, *arguments, tasks=2, **environment):
        path = f"{tmp_path}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {
            "PATH": path, "PYTHONPATH": str(ROOT), "SLURM_NTASKS": str(tasks), "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n[1-2]", "FOLDER": str(tmp_path / "run"),
            "FIRST_PORT": str(free_ports(1)[0]), "TF_CPP_MIN_LOG_LEVEL": "3",
        }  # fmt: skip
        result = subprocess.run(
            ["bash", CLUSTER / script, *arguments], env=variables | environment, cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800,
        )  # fmt: skip
        return result.returncode, result.stdout

    (tmp_path / "run").mkdir()
    return run


@pytest.mark.slow
def test_slurm_train(slurm, tmp_path):
    few = ["--tasks", "4", "--epochs", "1", "--steps", "3"]
    code, said = slurm("slurm_train.sh", *few)
    assert code == 0, said[-3000:]
    assert (tmp_path / "run" / "learner.keras").exists()
    assert said.count("val_accuracy: ") == 1, "the chief alone reports"
    # A number of tasks that two workers cannot share ends both, and the job is queued again.
    code, said = slurm("slurm_train.sh", "--tasks", "3")
    assert (code, said.count("multiple of the 2 workers")) == (1, 2), said[-3000:]
    assert "requeued 7" in said
    code, said = slurm("slurm_train.sh", "--tasks", "3", SLURM_RESTART_COUNT="5")
    assert (code, "requeued" in said) == (1, False)


@pytest.mark.slow
def test_slurm_tune(slurm, tmp_path):
    pytest.importorskip("keras_tuner")
    pytest.importorskip("tensorboard", reason="keras-tuner imports it in every trial")
    port = str(free_ports(1)[0])
    code, said = slurm(
        "slurm_tune.sh", "--trials", "2", "--steps", "2", KERASTUNER_ORACLE_PORT=port
    )
    assert code == 0, said[-3000:]
    assert len(list((tmp_path / "run" / "search").glob("trial_*/trial.json"))) == 2


@pytest.mark.parametrize("name", ["train", "tune"])
def test_kubernetes_files_name_what_there_is(name):
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((CLUSTER / f"kubernetes_{name}.yaml").read_text())
    spec = job["spec"]
    container = spec["template"]["spec"]["containers"][0]
    command = " ".join(container["command"])
    variables = {v["name"]: v.get("value") for v in container["env"]}
    domain = service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert spec["template"]["spec"]["subdomain"] == domain
    assert spec["parallelism"] == spec["completions"]
    for file in (word for word in command.split() if word.startswith("docs/")):
        assert (ROOT / file).exists()
    job_name = job["metadata"]["name"]
    if name == "train":
        hosts = variables["HOSTS"].split()
        assert hosts == [f"{job_name}-{i}.{domain}:2222" for i in range(spec["completions"])]
    else:
        assert variables["KERASTUNER_ORACLE_IP"] == f"{job_name}-0.{domain}"


def test_worker_sh_writes_tf_config():
    result = subprocess.run(
        ["sh", CLUSTER / "worker.sh", sys.executable, "-c",
         "import os, json; print(json.loads(os.environ['TF_CONFIG'])['cluster']['worker'])"],
        env={"HOSTS": "a:1 b:2 ", "INDEX": "1", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == "['a:1', 'b:2']\n"


# In the place of Python: what it is called with, and what it is told by the environment.
PRINTS = """#!/bin/sh
echo "$@"
env | grep ^KERASTUNER_ | sort
"""


@pytest.mark.parametrize(("index", "name"), [("0", "chief"), ("1", "worker1")])
def test_the_pods_of_a_search_know_who_they_are(index, name, tmp_path):
    yaml = pytest.importorskip("yaml")
    _, job = yaml.safe_load_all((CLUSTER / "kubernetes_tune.yaml").read_text())
    container = job["spec"]["template"]["spec"]["containers"][0]
    (tmp_path / "python").write_text(PRINTS)
    (tmp_path / "python").chmod(0o755)
    variables = {v["name"]: v["value"] for v in container["env"] if "value" in v}
    result = subprocess.run(
        [*container["command"], *container.get("args", [])],
        env=variables | {"INDEX": index, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.splitlines() == [
        "docs/cluster/tune.py --folder /shared/search_1",
        "KERASTUNER_ORACLE_IP=tuner-0.tuner",
        "KERASTUNER_ORACLE_PORT=2221",
        f"KERASTUNER_TUNER_ID={name}",
    ]
