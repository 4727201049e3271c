"""What a run reports while it works: lines of JSON and TensorBoard scalars, cut back to the checkpoint on a restart."""

import hashlib
import json
import math
import os
import pathlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from jaxscale import files
from jaxscale.errors import InputError

if TYPE_CHECKING:
    import wandb


class Metrics:
    """Appends to `metrics.jsonl` and a TensorBoard event file in `folder`. A context manager.

    Args:
      folder: the run's folder.
      step: the checkpoint the run goes on from; lines of later steps are dropped, for they will be written again;
        so are damaged ones, with a warning.
      wandb: a Weights & Biases project to report to as well; "" for none.

    Of several processes the one that writes files does all this, the others nothing.

    Raises:
      InputError: if `wandb` is asked for and not installed.
      RunError: from every method, if the disk is full.
    """

    def __init__(self, folder: str | os.PathLike[str], step: int, wandb: str = "") -> None:
        self.path = pathlib.Path(folder) / "metrics.jsonl"
        self._wandb = _wandb_run(wandb, folder) if wandb and files.writes() else None
        if not files.writes():
            return
        if self.path.is_file():
            files.write_json_lines(self.path, [row for row in files.read_log(self.path) if row["step"] <= step])
        with files.full_disk_told(self.path):
            self._board = _Board(self.path.with_name("tensorboard"), step)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._wandb is not None:
            self._wandb.finish()
        if files.writes():
            with files.full_disk_told(self.path):
                self._board.close()
                self._file.close()

    def write(self, step: int, **values: float) -> None:
        """One line: the step and the values (floats); null for those that are not finite, which JSON does not have."""
        if not files.writes():
            return
        if self._wandb is not None:
            self._wandb.log(values, step=step)
        with files.full_disk_told(self.path):
            row = {name: value if math.isfinite(value) else None for name, value in values.items()}
            self._file.write(json.dumps({"step": step, **row}) + "\n")
            self._file.flush()
            self._board.write(step, values)


def _wandb_run(project: str, folder: str | os.PathLike[str]) -> "wandb.Run":
    """A Weights & Biases run that a restart in the same folder goes on with."""
    try:
        import wandb
    except ImportError:
        raise InputError(
            f"training.wandb={project!r} needs the package 'wandb'. Install it with: pip install 'jaxscale[wandb]'."
        ) from None
    place = pathlib.Path(folder).absolute()
    identity = hashlib.sha256(str(place).encode()).hexdigest()[:16]
    return wandb.init(project=project, name=place.name, id=identity, dir=str(place), resume="allow")


class _Board:
    """A TensorBoard event file, written in this thread: tensorboardX's own hangs once it meets a full disk."""

    def __init__(self, folder: pathlib.Path, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        folder.mkdir(exist_ok=True)
        self._event, self._scalar = Event, scalar
        self._writer = EventsWriter(str(folder / "events"))
        # TensorBoard forgets what earlier files say of this step and later ones.
        restart = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=step + 1, session_log=restart))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            event = self._event(wall_time=time.time(), step=step, summary=self._scalar(name, value))
            self._writer.write_event(event)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
