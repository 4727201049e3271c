"""Studies side by side as one web page, and the figure of it that is shown to others as a picture.

render("runs/architectures")      # PosixPath('runs/architectures/report.html'), from its verdict.json
"""

import os
import pathlib
from types import ModuleType
from typing import Any

from jaxscale import files
from jaxscale.page import pictures
from jaxscale.studies.compare import study

# Where no picture can be drawn.
INSTEAD = "leave --plot out: the page has the figure too"


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` from the `verdict.json` of a comparison, whole or not at all, and returns its path."""
    path = pathlib.Path(folder) / "report.html"
    verdict = files.read_json(path.with_name("verdict.json"))
    files.write_text(path, _pages(verdict).page(verdict))
    return path


def draw(verdict: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes the figure of a comparison that says most as a picture.

    Raises:
      RunError: if the disk is full, or the picture cannot be drawn.
    """
    figure = _pages(verdict).picture(verdict)
    pictures.write(path, figure, INSTEAD, figure.layout.width or 1000, figure.layout.height or 560)


def _pages(verdict: dict[str, Any]) -> ModuleType:
    # Until teachers could be compared too, no verdict said what it compared.
    return study.module(verdict.get("of_kind", "manifolds"), "_page")
