"""What all studies share: a folder that belongs to one configuration, and is only read once every file is there."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from jaxscale import config as configs
from jaxscale import files, verdict
from jaxscale.errors import InputError
from jaxscale.progress import Silent
from jaxscale.studies.study import of_config

S = TypeVar("S", bound=configs.Configuration)

LAST = ("table.jsonl", "verdict.json", "report.html")


class Clock(verdict.Stopwatch):
    """Wall and processor time that each stage of a study took over all starts; kept in `seconds.json` of its folder.

    Not counted are what a kill leaves of a stage since the last `save`, what other processes spent, and what was spent
    on a study that was refused: the folder is not its own.
    """

    def __init__(self, workdir: pathlib.Path) -> None:
        super().__init__()
        self._path = pathlib.Path(workdir) / "seconds.json"
        there = files.read_json(self._path) if self._path.is_file() else {}
        # Wall time alone is what version 0.1 kept.
        self._spent: dict[str, list[float]] = {
            name: list(spent) if isinstance(spent, list) else [spent, 0.0] for name, spent in there.items()
        }
        self._stage: str | None = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time until it is left, by an error too unless it refuses the study."""
        self._stage, self._begun = name, verdict.now()
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

    def save(self) -> None:
        """Counts what the stage under way took until now."""
        if self._stage is None:
            return
        self._begun = self.count(self._stage, self._begun)
        files.write_json(self._path, self._spent)


def finish(
    study: S,
    workdir: str | os.PathLike[str],
    progress: Silent | None,
    work: Callable[[S, pathlib.Path, Silent, Clock], dict[str, Any]],
    stages: Sequence[str] = LAST,
) -> dict[str, Any]:
    """The content of `verdict.json`, after `work(study, workdir, progress, clock)` if a file of `stages` is missing.

    `work` goes on from what is there, calls `config.claim` once nothing can be refused any more, and returns what it
    found: question, sentence, agreement, numbers, caveats and limits of a `verdict.Verdict`, and keys of the study's
    own. The rest of the verdict is added here, and the page is written.

    Raises:
      InputError: the configuration contradicts itself, or `workdir` holds another study.
    """
    configs.validate(study)
    progress, workdir = progress or Silent(), pathlib.Path(workdir)
    with files.workplace(workdir):
        configs.refuse_other(workdir, study)
        if not _is_done(study, workdir, stages):
            clock = Clock(workdir)
            found = {"kind": study.kind} | work(study, workdir, progress, clock)
            files.write_json(workdir / "verdict.json", verdict.complete(found, clock))
            of_config(study).render(workdir)
        written: dict[str, Any] = files.read_json(workdir / "verdict.json")
        return written


def _is_done(study: configs.Configuration, workdir: pathlib.Path, stages: Sequence[str]) -> bool:
    """Whether all files are there, and the verdict is of today's shape: version 0.1 stored no kind."""
    there = all((workdir / name).is_file() for name in stages)
    return there and files.read_json(workdir / "verdict.json", ()).get("kind") == study.kind
