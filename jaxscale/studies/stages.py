"""What all studies share: a folder that belongs to one configuration, and is only read once every file is there."""

import contextlib
import pathlib
import time

from jaxscale import config as configs
from jaxscale import files
from jaxscale.errors import InputError
from jaxscale.progress import Silent

LAST = ("table.jsonl", "verdict.json", "report.html")


class Clock:
    """Seconds that each stage of a study took over all starts; kept in `seconds.json` of its folder.

    Not counted are what a kill leaves of a stage since the last `save`, and what was spent on a study that was refused:
    the folder is not its own.
    """

    def __init__(self, workdir):
        self._path = pathlib.Path(workdir) / "seconds.json"
        self.seconds = files.read_json(self._path) if self._path.is_file() else {}
        self._stage = None

    @contextlib.contextmanager
    def stage(self, name):
        """Counts the time until it is left, by an error too unless it refuses the study."""
        self._stage, self._begun = name, time.monotonic()
        refused = False
        try:
            yield
        except InputError:
            refused = True
            raise
        finally:
            if not refused:
                self.save()
            self._stage = None

    def save(self):
        """Counts what the stage under way took until now."""
        now = time.monotonic()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._begun
        self._begun = now
        files.write_json(self._path, self.seconds)


def finish(study, workdir, progress, work, stages=LAST):
    """The content of `verdict.json`, after `work(study, workdir, progress)` if one of the files `stages` is missing.

    `work` goes on from what is there, and calls `config.claim` once nothing can be refused any more.

    Raises:
      InputError: the configuration contradicts itself, or `workdir` holds another study.
    """
    configs.validate(study)
    progress, workdir = progress or Silent(), pathlib.Path(workdir)
    with files.workplace(workdir):
        configs.refuse_other(workdir, study)
        if not all((workdir / name).is_file() for name in stages):
            work(study, workdir, progress)
        return files.read_json(workdir / "verdict.json")
