"""Where this process is among those started with it, from what launchers say in the environment.

    place = find()          # None: this is the only one

`launch/local.py` and whoever starts processes by hand set JAXSCALE_COORDINATOR (host:port of the first),
JAXSCALE_PROCESSES and JAXSCALE_PROCESS. Slurm tells each task of a step. JAXSCALE_COORDINATOR=auto leaves it to jax,
which asks the machines of a TPU pod.
"""

import dataclasses
import os
import re
from collections.abc import Sequence

from jaxscale.errors import InputError

VARIABLES = ("JAXSCALE_COORDINATOR", "JAXSCALE_PROCESSES", "JAXSCALE_PROCESS")
# Where Slurm lists the GPUs that a task may use.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


@dataclasses.dataclass(frozen=True)
class Place:
    """Of one process among several.

    Attributes:
      coordinator: host:port, where the first process is met; "" if jax finds it.
      count: number of processes.
      index: of this one; 0 is the first.
      devices: numbers of the GPUs it takes, of those that it may see; None for all.
    """

    coordinator: str = ""
    count: int = 0
    index: int = 0
    devices: tuple[int, ...] | None = None


def find() -> Place | None:
    """The `Place` of this process, or None if it was started alone.

    Raises:
      InputError: the variables contradict each other.
    """
    values = [os.environ.get(name, "") for name in VARIABLES]
    if any(values) and values[0] != "auto":
        return _from_variables(values)
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return _from_slurm()
    return Place() if values[0] == "auto" or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "") else None


def _from_variables(values: Sequence[str]) -> Place:
    missing = [name for name, value in zip(VARIABLES, values, strict=True) if not value]
    if missing:
        raise InputError(f"{', '.join(missing)} must be set where {VARIABLES[0]} or its like is. See launch/local.py.")
    address, *numbers = values
    try:
        count, index = map(int, numbers)
    except ValueError:
        raise InputError(f"{VARIABLES[1]}={numbers[0]!r} and {VARIABLES[2]}={numbers[1]!r} must be integers.") from None
    if not 0 <= index < count:
        raise InputError(f"{VARIABLES[2]}={index} must lie between 0 and {VARIABLES[1]} - 1 = {count - 1}.")
    if not re.fullmatch(r".+:\d+", address):
        raise InputError(f"{VARIABLES[0]}={address!r} must be host:port.")
    return Place(address, count, index)


def _from_slurm() -> Place:
    """Of a task among those of its step. The port is the one that jax would choose."""
    said = os.environ
    port = said.get("JAX_COORDINATOR_PORT") or str(int(said["SLURM_JOB_ID"]) % 2**12 + 65536 - 2**12)
    place = Place(
        f"{_first_host(said['SLURM_STEP_NODELIST'])}:{port}",
        int(said["SLURM_STEP_NUM_TASKS"]),
        int(said["SLURM_PROCID"]),
    )
    tasks = _tasks_of_node(said["SLURM_STEP_TASKS_PER_NODE"], int(said["SLURM_NODEID"]))
    return dataclasses.replace(place, devices=_share(tasks, int(said["SLURM_LOCALID"])))


def _first_host(nodes: str) -> str:
    """`node7` of `node[7-9,12],other3`."""
    return re.sub(r"^([^\[,]+)(?:\[([^\],-]+))?.*", r"\1\2", nodes)


def _tasks_of_node(counts: str, node: int) -> int:
    """How many tasks a node has, of `8(x3),2`: three nodes with eight and one with two."""
    each = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
        each += [int(count)] * int(times or 1)
    return each[node]


def _share(tasks: int, local: int) -> tuple[int, ...] | None:
    """The GPUs of the task `local` among the `tasks` of a node; None for all that it sees.

    jax would give every task the one GPU of its own number, be it the only task of a node with eight.
    """
    if tasks == 1:
        return None
    lists = [os.environ[name].split(",") for name in VISIBLE if os.environ.get(name)]
    if not lists:
        return (local,)  # not told of any: as jax does
    seen = len(lists[0])
    of_step = os.environ.get("SLURM_STEP_GPUS")  # those of all its tasks here, such as 0,1,4
    whole = len(of_step.split(",")) if of_step else int(os.environ.get("SLURM_GPUS_ON_NODE", 0))
    if seen < max(tasks, whole):
        return None  # Slurm has bound GPUs to the task (--gpus-per-task)
    if seen % tasks:
        raise InputError(
            f"{seen} GPUs of a node cannot be shared alike by its {tasks} tasks. Give --ntasks-per-node a divisor of "
            f"{seen}, such as 1: a task uses all GPUs that it gets."
        )
    each = seen // tasks
    return tuple(range(local * each, (local + 1) * each))
