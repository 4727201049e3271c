"""`jaxscale plan`: which runs to train next, before the money is spent."""

from __future__ import annotations

import argparse
import csv
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jaxscale.commands.output import finite, print_json
from jaxscale.errors import InputError

if TYPE_CHECKING:
    from jaxscale.laws import RunPlan


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", nargs="?", help="the runs there are, as `jaxscale fit` reads them; or none, with --prior")
    add("--law", default="chinchilla", help="what is to be fitted (default %(default)s)")
    add("--map", nargs="+", default=[], metavar="COLUMN=SOURCE", help="what the file calls a column: D=step*491520")
    add(
        "--want",
        nargs="+",
        required=True,
        metavar="QUANTITY=WIDTH",
        help="width of the interval: of a parameter, alpha_C, size_exponent, loss@N=7e9,D=2e12; or power=0.8",
    )
    add("--max-compute", type=float, metavar="C", help="what all runs may cost together, in FLOP (default: no limit)")
    add("--max-runs", type=int, default=40, help="(default %(default)s)")
    add("--prior", nargs="+", default=[], metavar="NAME=LOWER:UPPER", help="of every parameter and of noise; no file")
    add("--range", nargs="+", default=[], metavar="COLUMN=LOWER:UPPER", help="of the runs to choose from")
    add("--candidates", metavar="FILE", help="a table of the runs to choose from")
    add("--cost", metavar="COST", help="of a run: 6*N*D, 6*1.2e8*n, or a column of the file or of --candidates")
    add("--flops-per-second", type=float, metavar="F", help="of a device as training reaches it: prints device hours")
    add("--dimension", type=float, metavar="D", help="of the data, for --want power=…: tells D from 2 D")
    add("--beta", type=float, default=1.0, help="smoothness, for --want power=… (default %(default)s)")
    add("--groups", default="auto", metavar="COLUMN", help="runs that err together; or none (default %(default)s)")
    add("--level", type=float, default=0.95, help="of the intervals (default %(default)s)")
    add("--sequential", action="store_true", help="only the next batch: train it, add it to the file, plan again")
    add("--batch", type=int, default=4, help="runs of --sequential (default %(default)s)")
    add("--tables", type=int, default=32, help="simulated to check the promise; 0 for none (default %(default)s)")
    add("--resamples", type=int, default=100, help="behind the interval of each (default %(default)s)")
    add("--seed", type=int, default=0, help="of what is drawn (default %(default)s)")
    add("--page", metavar="OUT.html", help="write the plan to a web page")
    add("--write-runs", metavar="OUT.csv", help="write a row for every run to train")
    add("--write-config", metavar="OUT.py", help="for a law of n: write a configuration for `jaxscale study`")
    add("--base-config", metavar="FILE.py", help="the DataScaling whose runs --write-config goes on with")


def plan(options: argparse.Namespace, _: Sequence[str]) -> None:
    import jax

    from jaxscale import laws
    from jaxscale.laws.page import check_law_page
    from jaxscale.laws.planning.page import print_plan, write_plan_page
    from jaxscale.verdict import Stopwatch

    _check(options)
    if options.page:
        check_law_page(options.page)
    law = laws.named(options.law)
    want = dict(_pair("--want", entry) for entry in options.want)
    watch = Stopwatch()
    with watch.stage("reading"):
        pilot = laws.read_table(options.file, options.map) if options.file else None
        candidates = laws.read_table(options.candidates) if options.candidates else None
    with watch.stage("design and rehearsal"):
        planned = laws.plan(
            pilot,
            law,
            want=want,
            key=jax.random.key(options.seed),
            max_compute=options.max_compute,
            max_runs=options.max_runs,
            prior=_ranges("--prior", options.prior) or None,
            ranges=_ranges("--range", options.range),
            candidates=candidates,
            cost=options.cost,
            d=options.dimension,
            beta=options.beta,
            groups=None if options.groups == "none" else options.groups,
            level=options.level,
            tables=options.tables,
            resamples=options.resamples,
        )
    said = finite(laws.plan_document(planned, options.flops_per_second, watch))
    next_batch = _batch(planned, options.batch) if options.sequential else planned
    if options.sequential:
        said |= {"next_batch": [_row(next_batch, place) for place in range(len(next_batch))]}
    if options.page:
        write_plan_page(said, options.page, pathlib.Path(options.file).name if options.file else "a prior")
    written = [options.page] if options.page else []
    if options.write_runs and len(next_batch):
        _write_runs(next_batch, options.write_runs)
        written.append(options.write_runs)
    if options.write_config and len(next_batch):
        _write_config(next_batch, options.write_config, options.base_config, pilot)
        written.append(options.write_config)
    if options.json:
        return print_json(said)
    from rich.console import Console

    console = Console()
    print_plan(said, console)
    say: Callable[[str], None] = lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)
    if options.sequential and len(next_batch):
        rows = [_row(next_batch, place) for place in range(len(next_batch))]
        for row in rows:
            say("Next: " + ", ".join(f"{name} = {value:.3g}" for name, value in row.items()))
        say("Add them to the file with their losses, and give the same command.")
    for path in written:
        say(f"Written: {path}")


def _check(options: argparse.Namespace) -> None:
    """Raises InputError for what can be told before anything is read."""
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed {options.seed} must lie between 0 and 2**63. Give another.")
    if bool(options.file) == bool(options.prior):
        raise InputError("give either a file with the runs there are, or --prior NAME=LOWER:UPPER for all parameters.")
    if options.flops_per_second is not None and not options.flops_per_second > 0:
        raise InputError(f"--flops-per-second {options.flops_per_second:g} must be positive. Give for example 4e14.")
    if options.batch < 1:
        raise InputError(f"--batch {options.batch} must be at least 1. Give for example 4.")
    if options.base_config and not options.write_config:
        raise InputError("--base-config is for --write-config OUT.py. Give that too.")
    if options.write_config and options.law.partition(":")[0] != "data":
        raise InputError(
            f"--write-config is for --law data, whose runs `jaxscale study` trains. For {options.law} take "
            "--write-runs OUT.csv."
        )


def _pair(flag: str, entry: str) -> tuple[str, float]:
    name, _, value = entry.rpartition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise InputError(f"{flag} {entry!r} is not QUANTITY=WIDTH. Write for example alpha=0.05.") from None


def _ranges(flag: str, entries: Sequence[str]) -> dict[str, tuple[float, float]]:
    found = {}
    for entry in entries:
        name, _, ends = entry.partition("=")
        lower, _, upper = ends.partition(":")
        try:
            found[name.strip()] = float(lower), float(upper or lower)
        except ValueError:
            raise InputError(f"{flag} {entry!r} is not NAME=LOWER:UPPER. Write for example alpha=0.2:0.5.") from None
    return found


def _batch(planned: RunPlan, count: int) -> RunPlan:
    """The first runs of a plan."""
    import dataclasses

    columns = {name: x[:count] for name, x in planned.columns.items()}
    return dataclasses.replace(planned, columns=columns, cost=planned.cost[:count])


def _row(planned: RunPlan, place: int) -> dict[str, float]:
    return {name: float(x[place]) for name, x in planned.columns.items()} | {"cost": float(planned.cost[place])}


def _write_runs(planned: RunPlan, path: str) -> None:
    """A row for each run; `seed` counts the runs of a size."""
    from jaxscale import files

    seen: dict[tuple[float, ...], int] = {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*planned.columns, "seed", "cost"])
    for place in range(len(planned)):
        *sizes, cost = _row(planned, place).values()
        seed = seen.setdefault(tuple(sizes), 0)
        seen[tuple(sizes)] += 1
        writer.writerow([*(f"{size:.12g}" for size in sizes), seed, f"{cost:.6g}"])
    files.write_text(path, text.getvalue())


_FEWEST_SIZES = 4  # of a DataScaling
_CONFIG = '''"""The runs of a plan, for `jaxscale study`: {sentence}"""

{imports}

config = {base}
'''


def _write_config(planned: RunPlan, path: str, base: str | None, pilot: Any) -> None:
    """A `DataScaling` over the sizes of a plan, with seeds that the pilot has not used.

    It trains every seed at every size, the most that any size wants.
    """
    from jaxscale import files

    columns, seeds, _ = planned.grouped()
    used = [int(row["seed"]) for row in pilot or () if str(row.get("seed", "")).replace(".0", "").isdigit()]
    first = max(used, default=-1) + 1
    if len(seeds) < _FEWEST_SIZES:
        raise InputError(
            f"--write-config {path}: the plan has {len(seeds)} sizes, and a study trains at least {_FEWEST_SIZES}. "
            "Take --write-runs OUT.csv."
        )
    sizes = tuple(round(size) for size in next(iter(columns.values())))
    grid = f"sizes={sizes}, seeds={tuple(range(first, first + int(seeds.max())))}"
    wanted = f"{len(planned)} runs of {len(sizes)} sizes; the grid trains {len(sizes) * int(seeds.max())}."
    if base is None:
        imports = "from jaxscale.studies import DataScaling"
        made = f"DataScaling({grid})"
    else:
        imports = "import dataclasses\nimport runpy"
        made = f'dataclasses.replace(runpy.run_path({str(pathlib.Path(base).resolve())!r})["config"], {grid})'
    files.write_text(path, _CONFIG.format(sentence=wanted, imports=imports, base=made))
