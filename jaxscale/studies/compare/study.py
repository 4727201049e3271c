"""Finished studies of one kind side by side.

    verdict = compare(["runs/softmax", "runs/relu", "runs/mlp"])      # the first is what the others are held against

A kind of study that can stand side by side has a line in `COMPARISONS` and two modules here: one whose `compare(paths)`
returns the verdict, and one named like it and `_page` whose `page(verdict)` returns the page and whose
`picture(verdict)` the figure of it that is shown to others.
"""

import importlib
import os
import pathlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from jaxscale.errors import InputError
from jaxscale.studies.compare import folders as of_studies

Verdict = dict[str, Any]

# The module that compares studies of a kind.
COMPARISONS = {"manifolds": "manifolds", "teacher": "teachers"}


def compare(folders: Sequence[str | os.PathLike[str]]) -> Verdict:
    """What finished studies of one kind say together, as plain values.

    Args:
      folders: two or more of finished `studies.ManifoldStudy`s of `series="data"`, or of `studies.TeacherStudy`s.

    Returns:
      The content of `verdict.json` (docs/verdict.md), with keys of the comparison's own: `manifolds.compare` and
      `teachers.compare` say which. `of_kind` is the kind of the studies, `studies` has an entry for each of them.

    Raises:
      InputError: a folder holds no finished study, or one of another kind than the first; or the studies have nothing
        in common that can be compared.
    """
    paths = [pathlib.Path(folder) for folder in folders]
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        raise InputError(f"folders of the same name cannot be told apart: {', '.join(sorted(names))}. Rename one.")
    if len(paths) < 2:
        raise InputError(f"folders={[str(path) for path in paths]} leaves nothing to compare. Give two or more.")
    kinds = [of_studies.kind(path) for path in paths]
    for path, kind in zip(paths, kinds, strict=True):
        if kind not in COMPARISONS:
            raise InputError(
                f"{path} holds a study of kind {kind!r}, which cannot be compared. Leave it out: give studies of kind "
                f"{' or '.join(COMPARISONS)}."
            )
        if kind != kinds[0]:
            raise InputError(
                f"{path} holds a study of kind {kind!r}, and {paths[0]} one of kind {kinds[0]!r}: only studies of one "
                "kind stand side by side. Leave one out, or compare each kind by itself."
            )
    found: Verdict = module(kinds[0]).compare(paths) | {"of_kind": kinds[0]}
    return found


def module(kind: str, part: str = "") -> ModuleType:
    """The module of `COMPARISONS` for a kind of studies; with `part="_page"` that of its page."""
    return importlib.import_module(f"jaxscale.studies.compare.{COMPARISONS[kind]}{part}")
