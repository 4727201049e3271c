"""Where a process is among others, from the environment; and what jax is then told, in a real start."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from jaxscale.errors import InputError
from jaxscale.sharding import clusters

ROOT = pathlib.Path(__file__).parents[2]
# Of the first node of a step, as Slurm sets them.
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "gpu[007-008],big1",
    "SLURM_NODEID": "0",
    "SLURM_GPUS_ON_NODE": "8",
}
EIGHT = "0,1,2,3,4,5,6,7"


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "JAXSCALE_"))] + list(clusters.VISIBLE):
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


def step(tasks, per_node, process, local):
    return SLURM | {
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_TASKS_PER_NODE": per_node,
        "SLURM_PROCID": str(process),
        "SLURM_LOCALID": str(local),
    }


@pytest.mark.parametrize(
    ("tasks", "per_node", "local", "visible", "devices"),
    [
        (3, "1(x3)", 0, EIGHT, None),  # a task of eight GPUs
        (24, "8(x3)", 5, EIGHT, (5,)),  # eight tasks of one GPU
        (6, "2(x3)", 1, EIGHT, (4, 5, 6, 7)),
        (24, "8(x3)", 5, "0", None),  # --gpus-per-task=1: Slurm shows each task its own
        (6, "2(x3)", 1, "4,5,6,7", None),
        (24, "8(x3)", 5, None, (5,)),  # GPUs that Slurm does not know
    ],
)
def test_tasks_of_a_node_share_its_gpus(tasks, per_node, local, visible, devices, environment):
    environment(**step(tasks, per_node, local, local), **({"CUDA_VISIBLE_DEVICES": visible} if visible else {}))
    port = 4711 % 4096 + 61440
    assert clusters.find() == clusters.Place(f"gpu007:{port}", tasks, local, devices)


def test_a_step_may_have_some_gpus_of_its_node(environment):
    environment(**step(2, "2", 1, 1), CUDA_VISIBLE_DEVICES="0,1,2,3", SLURM_STEP_GPUS="2,3,6,7")
    assert clusters.find().devices == (2, 3)


def test_gpus_that_tasks_cannot_share_are_refused(environment):
    environment(**step(9, "3(x3)", 0, 0), CUDA_VISIBLE_DEVICES=EIGHT)
    with pytest.raises(InputError, match="8 GPUs of a node cannot be shared alike by its 3 tasks"):
        clusters.find()


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node1", "node1"), ("a1,b2", "a1"), ("n[001-015],x", "n001"), ("n[001,007-15]", "n001"), ("x-3,n[1-2]", "x-3")],
)
def test_the_coordinator_is_on_the_first_node_as_for_jax(nodes, first, environment):
    from jax._src.clusters import SlurmCluster

    environment(**step(2, "1(x2)", 0, 0) | {"SLURM_STEP_NODELIST": nodes})
    found = clusters.find().coordinator
    assert found.rpartition(":")[0] == first
    assert found == SlurmCluster.get_coordinator_address(timeout_secs=None, override_coordinator_port=None)


def test_a_task_alone_is_no_cluster(environment):
    assert clusters.find() is None
    environment(**step(1, "1", 0, 0))
    assert clusters.find() is None


STARTED = """
import json, jax
from jaxscale.sharding import processes
processes.start()
told = map(jax.config.read, ("jax_cuda_visible_devices", "jax_rocm_visible_devices"))
print(json.dumps([jax.process_count(), *told]))
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("per_node", "visible"), [("1(x2)", ["all", "all"]), ("2", ["0,1,2,3", "4,5,6,7"])])
def test_jax_is_told_of_all_gpus_of_a_task(per_node, visible, free_port):
    alike = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "JAXSCALE_"))}
    alike |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": EIGHT, "JAX_COORDINATOR_PORT": str(free_port)}
    started = []
    for process in range(2):
        node, local = (process, 0) if per_node == "1(x2)" else (0, process)
        said = step(2, per_node, process, local) | {"SLURM_STEP_NODELIST": "localhost,other", "SLURM_NODEID": str(node)}
        command = [sys.executable, "-c", STARTED]
        started.append(subprocess.Popen(command, env=alike | said, stdout=subprocess.PIPE, text=True))
    answers = [json.loads(process.communicate(timeout=240)[0]) for process in started]
    assert answers == [[2, gpus, gpus] for gpus in visible]
