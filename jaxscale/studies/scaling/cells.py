"""The cells of a study's grid: which runs there are, whether they can be trained, and their training.

    for names in groups(study):
        summaries |= train(study, names, store, workdir / "runs")

A cell is a folder that ends with its summary; one that is done is only read, one that was left goes on. So cells may be
trained in any order, in any process, any number of times.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from jaxscale import sharding, training
from jaxscale.config import Run
from jaxscale.data import Store
from jaxscale.studies.scaling.config import DataScaling, cell


def cells(study: DataScaling) -> list[tuple[str, int, int]]:
    """(name, n, seed) of every run, the cheapest first."""
    return [(f"n={n}_seed={seed}", n, seed) for n in sorted(study.sizes) for seed in study.seeds]


def groups(study: DataScaling) -> list[list[str]]:
    """Names of cells that are trained together, as one program: `study.together` at a time, the cheapest first."""
    names = [name for name, *_ in cells(study)]
    return [names[start : start + study.together] for start in range(0, len(names), study.together)]


def check(study: DataScaling, store: Store, elsewhere: bool = False) -> None:
    """Raises InputError if a cell cannot be trained on `store`, or not on the devices here unless `elsewhere`."""
    runs = _runs(study, [name for name, *_ in cells(study)])
    if study.together > 1 and not elsewhere:
        training.check_together(runs, store)
        return
    mesh = None if elsewhere else sharding.make_mesh(study.run.mesh)
    for run in runs.values():
        training.check(run, store, mesh)


def train(
    study: DataScaling,
    names: Sequence[str],
    store: Store,
    folder: pathlib.Path,
    report: Callable[..., None] = lambda **progress: None,
) -> dict[str, dict[str, Any]]:
    """Trains some cells: one as `training.train` does, several as one program.

    Args:
      study: a `studies.DataScaling`.
      names: of the cells, as `groups` gives them.
      store: the prepared corpus.
      folder: the cells' folders lie in it.
      report: as of `training.train`.

    Returns:
      Summaries by name.

    Raises:
      InputError, NonFiniteLoss, Preempted, RunError: as `training.train`.
    """
    runs = _runs(study, names)
    if study.together > 1:
        return training.train_together(runs, store, folder, report)
    return {name: training.train(run, store, folder / name, report) for name, run in runs.items()}


def _runs(study: DataScaling, names: Sequence[str]) -> dict[str, Run]:
    """`config.Run` by name."""
    return {name: cell(study, n, seed) for name, n, seed in cells(study) if name in names}
