"""Checkpoints of a run: the latest to go on from, the best to measure; written by orbax in the background.

Arrays are saved with checksums, as is what lies beside them: a checkpoint in which a bit has changed since is like one
that cannot be read. One from before there were checksums is taken as it is.
"""

import json
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as managers

from jaxscale import files
from jaxscale.errors import RunError
from jaxscale.sharding import processes
from jaxscale.training import background
from jaxscale.training.checksums import checksums, differing

# What lies beside the state: the run's progress, and the checksums of both.
SAVED, CHECK = "progress", "checksums"
# What keeps a whole file from being read, in the words of the system and of tensorstore.
NO_ACCESS = re.compile(
    r"(PERMISSION_DENIED|UNAVAILABLE|DEADLINE_EXCEEDED|Permission denied|Operation not permitted|Too many open files"
    r"|Stale file handle|Connection timed out|Transport endpoint)"
)


class Checkpoints:
    """The checkpoints below a run's folder. A context manager: leaving it waits for the last write.

    Left by an exception it does not wait where there are several processes: call `wait` before saying that it is saved.

    Each holds the training state and the run's progress (a JSON document); a step's folder appears only when complete.
    The two newest are kept, in case one is damaged, and the best.

    Args:
      folder: where they lie.
      warn: called with a sentence when a damaged one is found.
    """

    def __init__(self, folder: str | os.PathLike[str], warn: Callable[[str], None] = lambda sentence: None) -> None:
        background.leave_out_raised_errors()
        self.folder, self._warn = pathlib.Path(folder).absolute(), warn
        # The earliest of equal losses is the best, as in the run's summary.
        order = lambda metrics: (metrics["loss"], metrics["step"])
        kept = [managers.LatestN(2), managers.BestN(get_metric_fn=order, reverse=True, n=1)]
        # Without best_fn orbax would forget the losses on a restart, and then keep every earlier checkpoint.
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(kept), best_fn=order, best_mode="min"
        )
        for step, error in processes.first_says(self._without_loss):
            self._put_aside(step, error)
        with files.full_disk_told(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # the others may be gone, and would be waited for
        self.wait()
        self._manager.close()

    def wait(self) -> None:
        """Until all that was saved is whole on the disk; all processes wait together. A full disk is a RunError."""
        with files.full_disk_told(self.folder):
            self._manager.wait_until_finished()

    def save(self, step: int, state: Any, progress: dict[str, Any], loss: float) -> None:
        """Saves in the background; `loss` decides which checkpoint is the best. A full disk is a RunError."""
        document = {SAVED: progress, CHECK: {"state": checksums(state), "progress": _checksum(progress)}}
        metrics: dict[str, float] = {"loss": loss, "step": step}
        metrics |= {CHECK: _checksum(metrics)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(document))
        with files.full_disk_told(self.folder):
            self._manager.save(step, args=items, metrics=metrics, force=True)

    def latest(self) -> int | None:
        """Step of the newest checkpoint, or None."""
        step: int | None = self._manager.latest_step()
        return step

    def restore_newest(self, abstract: Any) -> tuple[Any, dict[str, Any]] | None:
        """The state (shapes and shardings as in `abstract`) and the progress of the newest checkpoint that is whole.

        None if there is none. Those that cannot be read, or are not what was saved, are put aside, into `damaged`.

        Raises:
          RunError: the files cannot be got at now, which says nothing of what they hold.
        """
        while (step := self.latest()) is not None:
            handler, args = ocp.StandardCheckpointHandler(), ocp.args.StandardRestore(abstract)
            restored, damage = _read(self.folder / str(step), handler, args)
            if damage is None:
                return restored
            self._put_aside(step, damage)
            self._manager.reload()
        return None

    def _without_loss(self) -> list[list[Any]]:
        """[step, why] of those whose measured loss is not what was saved: orbax reads all of them to begin with."""
        found = []
        for path in sorted(self.folder.glob("*/metrics/metrics")):
            step = path.parents[1].name
            if step.isdigit():
                try:
                    metrics = dict(json.loads(path.read_text(encoding="utf-8")))
                    kept = metrics.pop(CHECK, None)
                    if kept not in (None, _checksum(metrics)) or set(metrics) != {"loss", "step"}:
                        found.append([int(step), "its measured loss is not what was saved"])
                except OSError as error:
                    raise _out_of_reach(path, _reason(error)) from None
                except (ValueError, TypeError) as error:
                    found.append([int(step), f"its measured loss: {_reason(error)}"])
        return found

    def _put_aside(self, step: int, reason: str) -> None:
        damaged = self.folder.with_name("damaged") / str(step)
        self._warn(f"the checkpoint of step {step} cannot be used and was moved to {damaged}: {reason}")
        if processes.is_first():
            damaged.parent.mkdir(exist_ok=True)
            shutil.rmtree(damaged, ignore_errors=True)
            (self.folder / str(step)).rename(damaged)
        processes.meet(f"put aside {step}")


def restore_params(folder: str | os.PathLike[str], step: int, abstract_params: Any) -> Any:
    """Parameters of the checkpoint at `step`, without the optimizer's moments.

    Raises:
      RunError: it is missing, cannot be read now or at all, or does not hold what was saved.
    """
    path = pathlib.Path(folder).absolute() / str(step)
    tree = {"params": abstract_params}
    how = ocp.checkpoint_utils.construct_restore_args(tree)
    args = ocp.args.PyTreeRestore(tree, restore_args=how, partial_restore=True)
    restored, damage = _read(path, ocp.PyTreeCheckpointHandler(), args)
    if restored is None:
        raise RunError(
            f"the checkpoint {str(path)!r} cannot be used: {damage}. "
            "Restore it from a copy, or delete the folder of the run and train it again."
        )
    return restored[0]["params"]


def _read(
    path: pathlib.Path, handler: ocp.CheckpointHandler, args: ocp.args.CheckpointArgs
) -> tuple[tuple[Any, dict[str, Any]] | None, str | None]:
    """((state, progress), None) of the checkpoint at `path`, or (None, damage), the same for all processes.

    `handler` is one of orbax's, which unlike its managers do not wait for the other processes: one of these may be
    unable to read its part.

    Raises:
      RunError: in every process, if one of them cannot get at the files now, which says nothing of what they hold.
    """
    state, damage = None, None
    try:
        progress, kept = _opened(json.loads((path / "progress" / "metadata").read_text(encoding="utf-8")))
        state = handler.restore(path / "state", args=args)
    except (jax.errors.JaxRuntimeError, MemoryError):  # of devices or other processes, not of files
        raise
    except Exception as error:  # whatever orbax and tensorstore say of a damaged file
        damage = _reason(error)
    damage = _of_any_process(path, damage)
    if damage is None and kept is not None:
        changed = differing(state, kept)
        others = f", {len(changed) - 1} more arrays neither" if len(changed) > 1 else ""
        damage = f"{changed[0]} is not what was saved{others}" if changed else None
    return (None, damage) if damage else ((state, progress), None)


def _of_any_process(path: pathlib.Path, damage: str | None) -> str | None:
    """`damage`, or if only another process has met one, that it has. RunError in all where one has no access."""
    met = np.array([0 if damage is None else 2 if NO_ACCESS.search(damage) else 1])
    if jax.process_count() > 1:
        met = np.asarray(multihost_utils.process_allgather(met[0]))
    damage = damage or (f"process {int(met.argmax())} cannot read its part" if met.any() else None)
    if met.max() == 2:
        raise _out_of_reach(path, cast(str, damage))
    return damage


def _out_of_reach(path: pathlib.Path, reason: str) -> RunError:
    remedy = "Nothing was changed. Give access to it, and then the same command again."
    return RunError(f"{str(path)!r} cannot be read now: {reason}. {remedy}")


def _opened(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int] | None]:
    """The progress and the state's checksums in what was saved beside a state; of an old one None for these."""
    if not {SAVED, CHECK} & set(document):
        return document, None
    progress, kept = document[SAVED], document[CHECK]
    if _checksum(progress) != kept["progress"]:
        raise ValueError("the run's progress is not what was saved")
    return progress, kept["state"]


def _checksum(document: Any) -> int:
    """Of what JSON can hold."""
    return zlib.crc32(json.dumps(document, sort_keys=True).encode())


def _reason(error: Exception) -> str:
    """The first line of what went wrong, with the error's kind where that alone says nothing."""
    first = str(error).strip().split("\n")[0].split(". See full TensorStore details")[0][:200]
    return first if " " in first else f"{type(error).__name__} {first}".strip()
