"""The contract of a study, and the registry of all of them.

A study is a folder of this package and a line in `FOLDERS`. The folder holds

    __init__.py     binds `STUDY`, a `Study`; imports nothing that is slow
    config.py       the configuration, a `config.Configuration` with its `kind` and `check()`
    study.py        `run(config, workdir, progress=None)`: does the work, or goes on with it, and returns the verdict
    page.py         `render(folder)`: writes `report.html` from the files of a finished study
    table.py        where a sentence is not enough on a terminal: `show(folder, verdict)` prints what was found
    dry_run.py      where what it would take can be told: `describe(config, workdir)` does as plain values, without
                    doing anything, and `show(facts)` prints them

and whatever else only it needs. The command line, `--help`, the files' `kind` and the page all follow from that.
"""

import dataclasses
import functools
import importlib
import importlib.util
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jaxscale import config as configs
from jaxscale import files
from jaxscale.errors import InputError

if TYPE_CHECKING:
    from jaxscale.progress import Silent

FOLDERS = (
    "jaxscale.studies.teacher",
    "jaxscale.studies.scaling",
    "jaxscale.studies.manifolds",
    "jaxscale.studies.ablation",
    "jaxscale.studies.lengths",
    "jaxscale.studies.positions",
    "jaxscale.studies.compare",
)

Document = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Study:
    """One kind of study.

    Attributes:
      kind: its name in `config.json` and `verdict.json`.
      folder: the package that holds it.
      config: the class of its configurations; None for one that only reads other studies.
      one_per_core: whether its networks train one to a device, so that a processor should be as many as it has cores.
    """

    kind: str
    folder: str
    config: type[configs.Configuration] | None = None
    one_per_core: bool = False

    def run(
        self,
        config: configs.Configuration,
        workdir: str | os.PathLike[str],
        progress: "Silent | None" = None,
        **options: Any,
    ) -> Document:
        """What `run` of the folder's study.py returns."""
        document: Document = self._member("study", "run")(config, workdir, progress, **options)
        return document

    def render(self, folder: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the page and returns its path."""
        page: pathlib.Path = self._member("page", "render")(folder)
        return page

    def print(self, folder: str | os.PathLike[str], verdict: Document) -> None:
        """Prints on a terminal what the study found: its sentence, or what a `table.py` of the folder prints."""
        if importlib.util.find_spec(f"{self.folder}.table"):
            self._member("table", "show")(folder, verdict)
        else:
            print(verdict["sentence"])

    def dry_run(
        self, config: configs.Configuration, workdir: str | os.PathLike[str] | None, **options: Any
    ) -> Document:
        """What `run` would do, as plain values; nothing is read, computed or written.

        Raises:
          InputError: the configuration contradicts itself, or this kind of study has no dry run.
        """
        if not importlib.util.find_spec(f"{self.folder}.dry_run"):
            raise InputError(f"--dry-run: there is none of a {type(config).__name__}, which runs here. Leave it out.")
        configs.validate(config)
        facts: Document = self._member("dry_run", "describe")(config, workdir, **options)
        return facts

    def print_dry_run(self, facts: Document) -> None:
        """Prints on a terminal what `dry_run` returned."""
        self._member("dry_run", "show")(facts)

    def _member(self, module: str, name: str) -> Callable[..., Any]:
        member: Callable[..., Any] = getattr(importlib.import_module(f"{self.folder}.{module}"), name)
        return member


@functools.cache
def _found(folders: tuple[str, ...]) -> Mapping[str, Study]:
    studies = [importlib.import_module(folder).STUDY for folder in folders]
    return {study.kind: study for study in studies}


def registry() -> Mapping[str, Study]:
    """Every study by its kind."""
    return _found(FOLDERS)


def of_config(config: configs.Configuration) -> Study:
    """The study that a configuration is of."""
    return registry()[config.kind]


def run(
    config: configs.Configuration, workdir: str | os.PathLike[str], progress: "Silent | None" = None, **options: Any
) -> Document:
    """Runs, or goes on with, a study in `workdir`; a finished one is only read.

    Args:
      config: of any kind of study.
      workdir: the study's folder, made if need be.
      progress: told of what happens (`progress.Silent`, `progress.OnTerminal`).
      **options: of that kind of study, such as `cluster` of a `DataScaling`.

    Returns:
      The verdict, the content of `verdict.json` (docs/verdict.md).

    Raises:
      InputError: the configuration contradicts itself, its data or the devices; or `workdir` holds another study.
      RunError: a part of it failed; what was finished stays, and the same call goes on from there.
    """
    return of_config(config).run(config, workdir, progress, **options)


def config_classes(command: str) -> tuple[type[configs.Configuration], ...]:
    """The classes of configurations that `jaxscale <command>` takes."""
    classes = [study.config for study in registry().values() if study.config is not None]
    return tuple(one for one in classes if one.command == command)


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into a study's folder, whole or not at all.

    Args:
      folder: a finished study, as `jaxscale study`, `compare` or `length` leaves it.

    Returns:
      The path of the page.

    Raises:
      InputError: if a file of the study is missing or cannot be read, or names no kind of study.
      RunError: if the page cannot be written.
    """
    path = pathlib.Path(folder) / "verdict.json"
    if not path.is_file():
        raise InputError(f"{path} does not exist. Run the study first: jaxscale study CONFIG --workdir {folder}")
    kind = files.read_json(path, ()).get("kind")
    if kind not in registry():
        was = "names no kind of study" if kind is None else f"has kind={kind!r}"
        raise InputError(
            f"{path} {was}; known are {', '.join(registry())}. Give the study's own command again: it writes the "
            "verdict anew and trains nothing again."
        )
    return registry()[kind].render(folder)
