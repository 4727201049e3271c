"""Experiments: a grid, a table, a verdict, a page. Each is a folder here and a line in `study.FOLDERS`.

from jaxscale.studies import DataScaling, run

verdict = run(DataScaling(), "runs/quickstart")
render("runs/quickstart")      # writes runs/quickstart/report.html again
"""

import importlib
from typing import Any

_PLACES = {
    "DataScaling": "scaling.config",
    "DimensionAblation": "ablation.config",
    "LengthStudy": "lengths.config",
    "LengthTraining": "lengths.config",
    "LimitNetwork": "lengths.config",
    "ManifoldStudy": "manifolds.config",
    "ManifoldTarget": "manifolds.config",
    "PointTraining": "manifolds.config",
    "PositionStudy": "positions.config",
    "Study": "study",
    "registry": "study",
    "render": "study",
    "run": "study",
}
__all__ = list(_PLACES)  # loaded on first use: a configuration costs no jax


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
