"""`jaxscale fit`: a scaling law from a table of runs."""

import argparse
import contextlib
import pathlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence

from jaxscale.commands.laws_by import fit_by
from jaxscale.commands.output import finite, print_json
from jaxscale.errors import InputError

# What arguments of Python are called here.
_FLAGS = {name: f"--{name}" for name in ("law", "delta", "bootstrap", "interval", "level", "resamples", "page", "map")}
_FLAGS |= {"d": "--dimension", "d_interval": "--dimension", "beta_interval": "--beta", "beta": "--beta", "file": "file"}
_FLAGS |= {"by": "--by", "where": "--where", "last": "--last", "after_warmup": "--after-warmup"}
# As in jaxscale.laws, which is not loaded to read the command line.
DECIMALS, DELIMITERS = ("auto", "comma", "point"), ("comma", "semicolon", "tab", "bar", "spaces")


def fit_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "file",
        nargs="+",
        metavar="FILE",
        help="a table with a row for each run, or several: text with any delimiter, JSON, Parquet, compressed or not; "
        "a chart of Weights & Biases; a folder of TensorBoard runs, or with a table for each run",
    )
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
    add = parser.add_argument_group("which rows, and how they are read").add_argument
    add("--where", metavar="CONDITIONS", help="rows to keep: \"dataset == 'c4' and N > 1e8\" (== != < <= > >= in, and)")
    add("--by", metavar="COLUMN", help="a fit for each value of a column, and a test of whether the exponents differ")
    add("--last", action="store_true", help="keep the last row of every run, by its step")
    add("--after-warmup", type=float, metavar="STEPS", help="leave out the rows up to this step")
    add("--decimal", default="auto", choices=DECIMALS, help="what decimals are written with (default %(default)s)")
    add("--delimiter", choices=DELIMITERS, help="what stands between the columns, where the rows do not tell")
    add = parser.add_argument_group("held against what theory predicts").add_argument
    add("--dimension", type=float, nargs="+", metavar="D", help="of the data; or D LOWER UPPER, with its interval")
    add("--beta", type=float, nargs="+", default=[1.0], metavar="B", help="smoothness (default 1); or B LOWER UPPER")


def fit(options: argparse.Namespace, _: Sequence[str]) -> None:
    with _in_flags(_FLAGS), warnings.catch_warnings():
        # What numbers beyond all bounds do to a fit is said by its caveats.
        warnings.simplefilter("ignore", RuntimeWarning)
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
    if options.by and options.compare:
        raise InputError(
            f"--by {options.by} fits one law to each part, and --compare others to all runs. Compare within a part: "
            f"--where \"{options.by} == '…'\" --compare {' '.join(options.compare)}"
        )
    watch = Stopwatch()
    with watch.stage("reading"):
        table = laws.read_table(
            options.file,
            options.map,
            where=options.where,
            last=options.last,
            after_warmup=options.after_warmup,
            decimal=options.decimal,
            delimiter=options.delimiter,
        )
    chosen = {
        "objective": objectives[options.objective](),
        "weights": options.weights,
        "groups": None if options.groups == "none" else options.groups,
        "bootstrap": options.bootstrap,
        "interval": options.interval,
        "level": options.level,
        "resamples": options.resamples,
    }
    if options.by:
        against = (lambda fit: laws.against_theory(fit, *dimension, *beta)) if dimension else lambda fit: None
        key = jax.random.key(options.seed)
        return fit_by(table, options.by, law, key, chosen, against, options.page, options.json, watch)
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

        write_law_page(said, options.page, ", ".join(pathlib.Path(file).name for file in options.file))
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
