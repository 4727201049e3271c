"""What a run reports while it works: lines of JSON and TensorBoard scalars, cut back to the checkpoint on a restart."""

import json
import pathlib
from typing import Any

from jaxscale import files


class Metrics:
    """Appends to `metrics.jsonl` and TensorBoard event files in `folder`. A context manager.

    Args:
      folder: the run's folder.
      step: the checkpoint the run goes on from; lines of later steps are dropped, for they will be written again.
      active: False on all processes but the first, which then write nothing.
    """

    def __init__(self, folder, step, active=True):
        self._file: Any = None
        self._board: Any = None
        if not active:
            return
        import tensorboardX

        self.path = pathlib.Path(folder) / "metrics.jsonl"
        if self.path.is_file():
            kept = [row for row in files.read_json_lines(self.path) if row["step"] <= step]
            files.write_json_lines(self.path, kept)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  closed by the one who holds it
        self._board = tensorboardX.SummaryWriter(str(pathlib.Path(folder) / "tensorboard"), purge_step=step + 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._file:
            with files.full_disk_told(self.path):
                self._board.close()
                self._file.close()

    def write(self, step, **values):
        """One line: the step and the values (floats)."""
        if self._file:
            with files.full_disk_told(self.path):
                self._file.write(json.dumps({"step": step, **values}) + "\n")
                self._file.flush()
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)
