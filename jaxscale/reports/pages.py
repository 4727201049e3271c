"""The page of any finished study, whichever question it asks: chosen by what its verdict holds."""

import importlib
import os
import pathlib

from jaxscale import files

# By a key that no other verdict has: the module that writes the page.
MODULES = {
    "series": "manifolds",
    "studies": "manifold_comparison",
    "factors": "ablation",
    "plateaus": "lengths",
    "ranges": "position_encodings",
}


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into a study's folder, whole or not at all.

    Args:
      folder: a finished study, as `jaxscale study`, `compare` or `length` leaves it.

    Returns:
      The path of the page.

    Raises:
      InputError: if a file of the study is missing or cannot be read.
      RunError: if the page cannot be written.
    """
    verdict = pathlib.Path(folder) / "verdict.json"
    keys = files.read_json(verdict) if verdict.is_file() else {}
    name = next((name for key, name in MODULES.items() if key in keys), "page")
    return importlib.import_module(f"jaxscale.reports.{name}").render(folder)
