"""The study on a terminal: its runs, the mean of each size, the verdict and what to hold against it.

print_table(rows, verdict, rich.console.Console())
"""

import itertools
import os
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxscale import files
from jaxscale.page.numerals import UNKNOWN, number
from jaxscale.studies.scaling.folder import Row, by_size


def show(folder: str | os.PathLike[str], verdict: dict[str, Any]) -> None:
    """Prints the table of a finished study's folder, its verdict and caveats on standard output."""
    print_table(files.read_json_lines(pathlib.Path(folder) / "table.jsonl"), verdict, Console())


def print_table(rows: Iterable[Row], verdict: dict[str, Any], console: Console) -> None:
    """Prints the runs by n and seed, the mean loss of every n with several seeds, the verdict and its caveats.

    Args:
      rows: the study's table; each has at least `run`, `n`, `seed`, `loss`.
      verdict: the study's verdict; `sentence`, `agreement` and, where there are any, `caveats`.
      console: where to print; the caller chooses standard output, width and color.
    """
    console.print(runs_table(by_size(list(rows))))
    console.print(Text.assemble((f"{verdict['agreement']}: ", "bold"), verdict["sentence"]))
    for caveat in verdict.get("caveats", []):
        console.print(Text.assemble("- ", (caveat["code"], "bold"), f": {caveat['text']}"))


def runs_table(rows: list[Row]) -> Table:
    """One line for each run, ruled by n; `rows` are sorted by n."""
    table = Table(header_style="bold")
    table.add_column("run", overflow="fold")
    for heading in ("n", "loss", "step", "epochs"):
        table.add_column(heading, justify="right")
    table.add_column("stopped by")
    for n, group in itertools.groupby(rows, key=lambda row: row["n"]):
        runs = list(group)
        for row in runs:
            table.add_row(*_cells(row))
        if len(runs) > 1:
            mean = statistics.fmean(row["loss"] for row in runs)
            table.add_row("mean", number(n), number(mean, 4), "", "", "", style="bold")
        table.add_section()
    return table


def _cells(row: Row) -> list[Text]:
    """As `Text`, so that a run named `[red]` is a name and not a color."""
    cells = [
        row["run"],
        number(row["n"]),
        number(row["loss"], 4),
        number(row.get("step")),
        number(row.get("epochs")),
        stopped_by(row),
    ]
    return [Text(cell) for cell in cells]


def stopped_by(row: Row) -> str:
    """What ended the run; says so when the minimum lies at an edge of its evaluations, for then it is only a bound."""
    reason, edge = row.get("stopped", UNKNOWN), row.get("edge")
    return f"{reason}, {edge} minimum" if edge else reason
