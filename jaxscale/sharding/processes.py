"""One program on several processes: start-up, who speaks for all, and what ends them (see also `jaxscale.preemption`).

    processes.start()                                   # in every process, before anything is computed
    facts = processes.first_says(lambda: read(folder))  # the first process reads, all get its answer or its error

`launch/` starts the processes; how they find each other is in `clusters` and `rendezvous`.
"""

import contextlib
import json
import math
import os
import pathlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

from jaxscale import files, preemption
from jaxscale.errors import InputError, RunError
from jaxscale.sharding import clusters, rendezvous

T = TypeVar("T")

# Seconds without a sign of life after which a process counts as dead; then all end, within as many again.
HEARTBEAT_SECONDS = 25
# Seconds to wait for all processes to come together; and for a file that one of them wrote to be seen by the others.
STARTUP_SECONDS, SHARED_SECONDS = 120, 30


def start(startup_seconds: float | None = None) -> None:
    """Joins the processes of this program, if it was started as several; files are then written by the first alone.

    Args:
      startup_seconds: how long to wait for all to come together; default JAXSCALE_STARTUP_SECONDS, or 120.

    Raises:
      InputError: the variables contradict each other, or this process has no device.
      RunError: not all processes came.
    """
    if jax.distributed.is_initialized():
        return
    place = clusters.find()
    if place is None:
        return
    seconds = _startup_seconds() if startup_seconds is None else startup_seconds
    where: dict[str, Any] = {}
    if place.coordinator:
        rendezvous.meet(place, seconds)
        where = {
            "coordinator_address": place.coordinator,
            "num_processes": place.count,
            "process_id": place.index,
            "local_device_ids": place.devices,
            "cluster_detection_method": "deactivate",  # which would give each task of Slurm a single GPU
        }
    try:
        jax.distributed.initialize(
            **where,
            initialization_timeout=math.ceil(seconds),
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"jax did not join the processes at the coordinator {place.coordinator or 'of this cluster'}: "
            f"{str(error).splitlines()[0]}. Start all of them within {seconds:g} s."
        ) from None
    if jax.local_device_count() == 0:
        raise InputError(
            f"process {jax.process_index()} of {jax.process_count()} has no device. Start as many as there are devices."
        )
    preemption.share()
    files.only_read(jax.process_index() > 0)


def _startup_seconds() -> float:
    text = os.environ.get("JAXSCALE_STARTUP_SECONDS", str(STARTUP_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(f"JAXSCALE_STARTUP_SECONDS={text!r} must be a positive number of seconds.")
    return seconds


def refuse_several(command: str) -> None:
    """Raises InputError if this is one of several processes, for a command that does not share its work with others."""
    if clusters.find() is not None:
        raise InputError(
            f"`jaxscale {command}` is one process, and this was started as several. Start one; it uses all devices of "
            "its host, and with --cluster slurm those of others. `jaxscale train` shares one run among many."
        )


# Folders that all processes were seen to share.
_shared: set[pathlib.Path] = set()
# What the first process raises, all do.
_TOLD = (InputError, RunError, preemption.Leave)


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks to the user."""
    return jax.process_index() == 0


def first_says(function: Callable[[], T]) -> T:
    """`function()` as the first process finds it, in every process; its `InputError`, `RunError` and `Leave` too.

    For what is read from files or decided by them, so that no two processes go different ways. Any other error is
    raised as it is in the first process, and as a `RunError` in the others, which would else wait for an answer.

    Args:
      function: without arguments, returning what JSON can hold.
    """
    if jax.process_count() == 1:
        return function()
    said: dict[str, Any] = {}
    unforeseen = None
    if is_first():
        try:
            with preemption.first_works():
                said = {"value": function()}
        except (InputError, RunError, preemption.Leave) as error:
            kind = next(kind for kind in _TOLD if isinstance(error, kind))
            said = {"error": kind.__name__, "message": str(error)}
        except Exception as error:
            unforeseen = error
            said = {"error": "RunError", "message": f"process 0 failed: {type(error).__name__}: {error}"}
    answer = json.loads(_broadcast(json.dumps(said)))
    if unforeseen:
        raise unforeseen
    if "error" in answer:
        raise next(kind for kind in _TOLD if kind.__name__ == answer["error"])(answer["message"])
    value: T = answer["value"]
    return value


@contextlib.contextmanager
def workplace(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """`files.workplace`, entered by the first process for all: what keeps it out, keeps all of them out."""
    with contextlib.ExitStack() as held:
        first_says(lambda: held.enter_context(files.workplace(folder)) and None)
        yield pathlib.Path(folder)


def _broadcast(text: str) -> str:
    from jax.experimental import multihost_utils

    content = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    return bytes(multihost_utils.broadcast_one_to_all(np.resize(content, length))).decode()


def meet(name: str) -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def require_shared(folder: str | os.PathLike[str]) -> None:
    """Raises InputError, in every process, unless all of them see what the first writes in `folder`."""
    folder = pathlib.Path(folder).absolute()
    if jax.process_count() == 1 or folder in _shared:
        return
    from jax.experimental import multihost_utils

    name = first_says(lambda: _token_in(folder))
    seen = appears(folder / name)
    blind = np.flatnonzero(~multihost_utils.process_allgather(np.bool_(seen)))
    if is_first():
        with contextlib.suppress(OSError):
            (folder / name).unlink()
            if len(blind):
                folder.rmdir()  # if it is new: refused input leaves no folder
    if len(blind):
        others = f"process{'es' if len(blind) > 1 else ''} {', '.join(map(str, blind[:10]))}"
        raise InputError(
            f"workdir={str(folder)!r} on host {socket.gethostname()} is not shared: what process 0 of "
            f"{jax.process_count()} wrote in its own is not seen by {others}. Give a folder that all hosts share."
        )
    _shared.add(folder)


def appears(path: str | os.PathLike[str]) -> bool:
    """Waits until a file that another process wrote is seen here: a network's file system may take a while."""
    end = time.monotonic() + SHARED_SECONDS
    while not (seen := pathlib.Path(path).is_file()) and time.monotonic() < end:
        time.sleep(0.2)
    return seen


def _token_in(folder: pathlib.Path) -> str:
    name = f".shared-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    except OSError as error:
        raise InputError(
            f"workdir={str(folder)!r} cannot be used: {error.strerror}. Choose a folder you can write to."
        ) from None
    return name


@contextlib.contextmanager
def lost_peer_told() -> Iterator[None]:
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
