"""One program on several processes: start-up, who speaks for all, and what ends them (see also `jaxscale.preemption`).

    processes.start()                                   # in every process, before anything is computed
    facts = processes.first_says(lambda: read(folder))  # the first process reads, all get its answer or its error

`launch/` starts the processes. On one host they find each other by three variables, JAXSCALE_COORDINATOR (host:port of
the first), JAXSCALE_PROCESSES and JAXSCALE_PROCESS; on Slurm and on TPU pods by what the system tells jax, of which
JAXSCALE_COORDINATOR=auto says that there is such a system where its variables do not.
"""

import contextlib
import json
import os
import socket
import time

import jax
import numpy as np

from jaxscale import files, preemption
from jaxscale.errors import InputError, RunError

# Seconds without a sign of life after which a process counts as dead; then all end, within as many again.
HEARTBEAT_SECONDS = 25
# Seconds to wait for all processes to come together.
STARTUP_SECONDS = 120


def start(startup_seconds: int = STARTUP_SECONDS) -> None:
    """Joins the processes of this program, if it was started as several; files are then written by the first alone.

    Raises:
      InputError: the variables contradict each other, the first process cannot be reached, or this one has no device.
    """
    if jax.distributed.is_initialized():
        return
    found = _from_variables()
    if found is None and not _is_on_cluster():
        return
    where = found or {}
    if where.get("process_id", 0) > 0:
        _await_coordinator(where["coordinator_address"], startup_seconds)
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=startup_seconds,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except RuntimeError as error:
        raise _unreachable(where.get("coordinator_address", "of this cluster"), error, startup_seconds) from None
    if jax.local_device_count() == 0:
        raise InputError(
            f"process {jax.process_index()} of {jax.process_count()} has no device. Start as many as there are devices."
        )
    preemption.share()
    files.only_read(jax.process_index() > 0)


def _await_coordinator(address, seconds):
    """Raises InputError unless the first process listens in time; jax would end this process without an exception."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=seconds).close()
            return
        except ValueError:
            raise InputError(f"JAXSCALE_COORDINATOR={address!r} must be host:port.") from None
        except OSError as error:
            if time.monotonic() > end:
                raise _unreachable(address, error, seconds) from None
            time.sleep(0.2)


def _unreachable(address, error, seconds):
    return InputError(
        f"the coordinator {address} cannot be reached: {str(error).splitlines()[0]}. Start all processes within "
        f"{seconds} s, and see that its port is free and open."
    )


def _from_variables():
    """Arguments of `jax.distributed.initialize` from the environment: {} if jax finds them, None if it says nothing."""
    names = ("JAXSCALE_COORDINATOR", "JAXSCALE_PROCESSES", "JAXSCALE_PROCESS")
    values = [os.environ.get(name, "") for name in names]
    if not any(values):
        return None
    if values[0] == "auto":
        return {}
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise InputError(f"{', '.join(missing)} must be set where {names[0]} or its like is. See launch/local.py.")
    address, *numbers = values
    try:
        count, index = map(int, numbers)
    except ValueError:
        raise InputError(f"{names[1]}={numbers[0]!r} and {names[2]}={numbers[1]!r} must be integers.") from None
    if not 0 <= index < count:
        raise InputError(f"{names[2]}={index} must lie between 0 and {names[1]} - 1 = {count - 1}.")
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def _is_on_cluster():
    """Whether this is one of several processes that Slurm or a TPU pod started; jax finds out the rest."""
    on_slurm = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return on_slurm or "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def refuse_several(command: str) -> None:
    """Raises InputError if this is one of several processes, for a command that does not share its work with others."""
    if _from_variables() is not None or _is_on_cluster():
        raise InputError(
            f"`jaxscale {command}` is one process, and this was started as several. Start one; it uses all devices of "
            "its host, and with --cluster slurm those of others. `jaxscale train` shares one run among many."
        )


# What the first process raises, all do.
_TOLD = (InputError, RunError, preemption.Leave)


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks to the user."""
    return jax.process_index() == 0


def first_says(function):
    """`function()` as the first process finds it, in every process; its `InputError`, `RunError` and `Leave` too.

    For what is read from files or decided by them, so that no two processes go different ways.

    Args:
      function: without arguments, returning what JSON can hold.
    """
    if jax.process_count() == 1:
        return function()
    said = {}
    if is_first():
        try:
            with preemption.first_works():
                said = {"value": function()}
        except (InputError, RunError, preemption.Leave) as error:
            kind = next(kind for kind in _TOLD if isinstance(error, kind))
            said = {"error": kind.__name__, "message": str(error)}
    answer = json.loads(_broadcast(json.dumps(said)))
    if "error" in answer:
        raise next(kind for kind in _TOLD if kind.__name__ == answer["error"])(answer["message"])
    return answer["value"]


def _broadcast(text):
    from jax.experimental import multihost_utils

    content = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    return bytes(multihost_utils.broadcast_one_to_all(np.resize(content, length))).decode()


def meet(name: str) -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def lost_peer_told():
    """Turns the runtime's ways of saying that another process is gone into a RunError with the remedy."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        first = str(error).splitlines()[0]
        raise RunError(
            f"process {jax.process_index()} of {jax.process_count()} lost the others: {first}. "
            "Start all of them again; they go on from the last checkpoint."
        ) from error
