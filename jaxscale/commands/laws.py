"""`jaxscale fit`: a scaling law from a table of runs."""

import argparse
import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from jaxscale.commands.output import finite, print_json
from jaxscale.errors import InputError

# What arguments of Python are called here.
_FLAGS = {name: f"--{name}" for name in ("law", "delta", "bootstrap", "interval", "level", "resamples", "page", "map")}
_FLAGS |= {"d": "--dimension", "d_interval": "--dimension", "beta_interval": "--beta", "beta": "--beta", "file": "file"}


def fit_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", help=".csv, .tsv, .json, .jsonl or .parquet with a row for each run, or a folder of TensorBoard runs")
    add("--law", default="data", help="data, chinchilla, additive:N,D,width, m4:n, … (default %(default)s)")
    add(
        "--map",
        nargs="+",
        default=[],
        metavar="COLUMN=SOURCE",
        help="what the file calls a column, with a factor if need be: D=step*491520",
    )
    add("--compare", nargs="+", default=[], metavar="LAW", help="other laws: AICc and back-tests side by side")
    add("--objective", default="huber", choices=("huber", "least-squares", "absolute"), help="of log residuals")
    add("--delta", type=float, default=1e-3, help="of --objective huber (default %(default)s)")
    add("--weights", metavar="COLUMN", help="multiplies each run's term of the objective")
    add("--groups", default="auto", metavar="COLUMN", help="runs that err together; or none (default %(default)s)")
    add("--bootstrap", default="auto", choices=("auto", "wild-cluster", "pairs-cluster", "pairs"))
    add("--interval", default="percentile", choices=("percentile", "bca"), help="(default %(default)s)")
    add("--level", type=float, default=0.95, help="of the intervals (default %(default)s)")
    add("--resamples", type=int, default=2000, help="behind the intervals; 0 for none (default %(default)s)")
    add("--seed", type=int, default=0, help="of the bootstrap (default %(default)s)")
    add("--page", metavar="OUT.html", help="write every figure to a web page")
    add = parser.add_argument_group("held against what theory predicts").add_argument
    add("--dimension", type=float, nargs="+", metavar="D", help="of the data; or D LOWER UPPER, with its interval")
    add("--beta", type=float, nargs="+", default=[1.0], metavar="B", help="smoothness (default 1); or B LOWER UPPER")


def fit(options: argparse.Namespace, _: Sequence[str]) -> None:
    with _in_flags(_FLAGS):
        _fit(options)


def _fit(options: argparse.Namespace) -> None:
    import jax

    from jaxscale import laws
    from jaxscale.laws.theory_check import checked_prediction
    from jaxscale.verdict import Stopwatch, complete

    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed {options.seed} must lie between 0 and 2**63. Give another.")
    if options.page:
        from jaxscale.laws.page import check_law_page

        check_law_page(options.page)
    law = laws.named(options.law)
    dimension = options.dimension and _with_interval("--dimension", options.dimension)
    beta = _with_interval("--beta", options.beta)
    if dimension:
        checked_prediction(law, *dimension, *beta)
    with _in_flags({"law": "--compare"}):
        others = [law, *map(laws.named, options.compare)]
    objectives = {
        "huber": lambda: laws.huber(options.delta),
        "least-squares": laws.least_squares,
        "absolute": laws.least_absolute_deviations,
    }
    watch = Stopwatch()
    with watch.stage("reading"):
        table = laws.read_table(options.file, options.map)
    chosen = {
        "objective": objectives[options.objective](),
        "weights": options.weights,
        "groups": None if options.groups == "none" else options.groups,
        "bootstrap": options.bootstrap,
        "interval": options.interval,
        "level": options.level,
        "resamples": options.resamples,
    }
    fit_key, compare_key, document_key = jax.random.split(jax.random.key(options.seed), 3)
    with watch.stage("fit and bootstrap"):
        fit = laws.fit(table, law, key=fit_key, **chosen)
    check = laws.against_theory(fit, *dimension, *beta) if dimension else None
    comparison = None
    if options.compare:
        with watch.stage("comparison"):
            comparison = laws.compare(table, others, key=compare_key, **chosen)
    with watch.stage("profiles and back-test"):
        said = laws.document(fit, check, comparison, key=document_key)
    said = finite(complete(said, watch))
    if options.page:
        from jaxscale.laws.page import write_law_page

        write_law_page(said, options.page, pathlib.Path(options.file).name)
    if options.json:
        return print_json(said)
    from rich.console import Console

    from jaxscale.laws.page import print_law

    console = Console()
    print_law(said, console)
    if options.page:
        console.print(f"Page: {options.page}", highlight=False, soft_wrap=True)


def _with_interval(name: str, values: Sequence[float]) -> tuple[float, tuple[float, ...] | None]:
    """(estimate, its interval or None) from one number or three."""
    given = " ".join(f"{value:g}" for value in values)
    if len(values) not in (1, 3):
        raise InputError(f"{name} {given} must be one number, or three: the estimate, and its interval's ends.")
    if len(values) == 3 and not values[1] <= values[0] <= values[2]:
        raise InputError(f"{name} {given}: the interval does not hold the estimate. Give ESTIMATE LOWER UPPER.")
    return values[0], tuple(values[1:]) or None


@contextlib.contextmanager
def _in_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Errors that speak of an argument of Python speak of the flag that it comes from."""
    try:
        yield
    except InputError as error:
        flag = lambda match: f"{match[1]}{flags[match[2]]} " if match[2] in flags else match[0]
        said = re.sub(r"(^|Pass )(\w+)=", flag, str(error))
        raise InputError(re.sub(r"(Pass a finite )(\w+) ", flag, said)) from None
