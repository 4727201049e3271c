"""`jaxscale fit`: a scaling law from a table of runs."""

import argparse
import contextlib
import pathlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxscale.commands.laws_by import fit_by
from jaxscale.commands.output import finite, print_json
from jaxscale.errors import InputError

if TYPE_CHECKING:
    from jax import Array

    from jaxscale.laws import Fit, Law, Objective
    from jaxscale.laws.runs import Table

# What arguments of Python are called here.
_FLAGS = {
    name: f"--{name}"
    for name in (
        *("law", "delta", "quantile", "bootstrap", "interval", "level", "resamples", "page", "map"),
        *("predict", "budget", "flops", "beta", "by", "where", "last", "target"),
    )
}
_FLAGS |= {"fixed": "--fix", "sizes": "--predict", "compute": "--budget", "file": "file"}
_FLAGS |= {"d": "--dimension", "d_interval": "--dimension", "beta_interval": "--beta", "after_warmup": "--after-warmup"}
_FLAGS |= {"settings": "--best"}
# As in jaxscale.laws, which is not loaded to read the command line.
BOOTSTRAPS = ("auto", "wild-cluster", "components", "mixed", "pairs-cluster", "pairs")
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
    add(
        "--law",
        default="data",
        help="data, chinchilla, kaplan_floor, farseer, additive:N,D,width, product:N,D, m4:n, … (default %(default)s)",
    )
    add(
        "--target",
        default="loss",
        metavar="COLUMN",
        help="fit this column in place of the loss, such as the best learning rate (default %(default)s)",
    )
    add(
        "--map",
        nargs="+",
        default=[],
        metavar="COLUMN=SOURCE",
        help="what the file calls a column, with a factor if need be: D=step*491520",
    )
    add("--compare", nargs="+", default=[], metavar="LAW", help="other laws: AICc and back-tests side by side")
    objectives = ("huber", "least-squares", "absolute", "asymmetric")
    add("--objective", default="huber", choices=objectives, help="of log residuals")
    add("--delta", type=float, default=1e-3, help="of --objective huber and asymmetric (default %(default)s)")
    add("--quantile", type=float, metavar="T", help="of --objective asymmetric: the share of runs below the curve")
    add(
        "--fix",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="hold parameters; intervals of the others are conditional on it",
    )
    add("--weights", metavar="COLUMN", help="multiplies each run's term of the objective")
    add("--groups", default="auto", metavar="COLUMN", help="runs that err together; or none (default %(default)s)")
    add("--bootstrap", default="auto", choices=BOOTSTRAPS)
    add("--interval", default="percentile", choices=("percentile", "bca"), help="(default %(default)s)")
    add("--level", type=float, default=0.95, help="of the intervals (default %(default)s)")
    add("--resamples", type=int, default=2000, help="behind the intervals; 0 for none (default %(default)s)")
    add("--seed", type=int, default=0, help="of the bootstrap (default %(default)s)")
    add("--page", metavar="OUT.html", help="write every figure to a web page")
    add = parser.add_argument_group("which rows, and how they are read").add_argument
    add("--where", metavar="CONDITIONS", help="rows to keep: \"dataset == 'c4' and N > 1e8\" (== != < <= > >= in, and)")
    add("--by", metavar="COLUMN", help="a fit for each value of a column, and a test of whether the exponents differ")
    add(
        "--best",
        metavar="SETTINGS",
        help="lr, or lr,batch: of a sweep, keep for each size the settings of the lowest loss",
    )
    add("--last", action="store_true", help="keep the last row of every run, by its step")
    add("--after-warmup", type=float, metavar="STEPS", help="leave out the rows up to this step")
    add("--decimal", default="auto", choices=DECIMALS, help="what decimals are written with (default %(default)s)")
    add("--delimiter", choices=DELIMITERS, help="what stands between the columns, where the rows do not tell")
    add = parser.add_argument_group("what the fit is asked").add_argument
    add(
        "--predict",
        nargs="+",
        action="extend",
        default=[],
        metavar="N=7B,D=2T",
        help="the loss there with its interval, and the interval of one new run",
    )
    add(
        "--budget",
        nargs="+",
        action="extend",
        default=[],
        metavar="C",
        help="1e24: the best N, D and loss, and the range of N that loses hardly anything",
    )
    add(
        "--isoflop",
        nargs="?",
        const="akima",
        choices=("akima", "parabola"),
        help="the bottom of each budget's curve beside the fitted surface (default method %(const)s)",
    )
    add("--flops", metavar="HOW", help="how C counts: 6ND, with-embeddings, with-attention, or a column")
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
    from jaxscale.commands.laws_progress import Told, steps
    from jaxscale.laws.holding import checked
    from jaxscale.laws.theory_check import checked_prediction
    from jaxscale.verdict import Stopwatch, complete

    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed {options.seed} must lie between 0 and 2**63. Give another.")
    if options.page:
        from jaxscale.laws.page import check_law_page

        check_law_page(options.page)
    law = laws.named(options.law)
    _refuse_beside_target(options)
    dimension = options.dimension and _with_interval("--dimension", options.dimension)
    beta = _with_interval("--beta", options.beta)
    if dimension:
        checked_prediction(law, *dimension, *beta, held=_fixed(options.fix))
    with _in_flags({"law": "--compare"}):
        others = [law, *map(laws.named, options.compare)]
    objective, fixed = _objective(options), _fixed(options.fix)
    for one in others:
        checked(one, fixed)
    asked = _asked(options, law)
    _refuse_beside_by(options)
    watch = Stopwatch()
    with watch.stage("reading"):
        table = _table(options, asked, others)
    chosen = {
        "objective": objective,
        "weights": options.weights,
        "groups": None if options.groups == "none" else options.groups,
        "bootstrap": options.bootstrap,
        "interval": options.interval,
        "level": options.level,
        "resamples": options.resamples,
        "fixed": fixed,
        "target": options.target,
    }
    if options.by:
        against = (lambda fit: laws.against_theory(fit, *dimension, *beta)) if dimension else lambda fit: None
        key = jax.random.key(options.seed)
        return fit_by(table, options.by, law, key, chosen, against, options.page, options.json, watch)
    fit_key, compare_key, document_key = jax.random.split(jax.random.key(options.seed), 3)
    with Told(steps(options.resamples, compared=len(others) if options.compare else 0)) as told:
        with watch.stage("fit and bootstrap"):
            fit = laws.fit(table, law, key=fit_key, progress=told, **chosen)
        check = laws.against_theory(fit, *dimension, *beta) if dimension else None
        comparison = None
        if options.compare:
            with watch.stage("comparison"):
                comparison = laws.compare(table, others, key=compare_key, progress=told, **chosen)
        answer_key = jax.random.fold_in(jax.random.key(options.seed), 1)
        with watch.stage("answers"):
            answers = _answers(fit, table, asked, answer_key)
        with watch.stage("profiles and back-test"):
            said = laws.document(fit, check, comparison, key=document_key, progress=told, **answers)
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


def _table(options: argparse.Namespace, asked: dict[str, Any], read_by: "Sequence[Law]") -> "Table":
    """The rows that were asked for, of a sweep the best, with C by `--flops`, which is put among what is asked."""
    from jaxscale import laws
    from jaxscale.laws.runs import TableRows

    table = laws.read_table(
        options.file,
        options.map,
        where=options.where,
        last=options.last,
        after_warmup=options.after_warmup,
        decimal=options.decimal,
        delimiter=options.delimiter,
    )
    if options.flops:
        asked["flops"] = laws.count_flops(table, options.flops)
        columns = asked["flops"].table
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        table = TableRows(rows, table.findings)
    if options.best is None:
        return table
    settings = [name.strip() for name in options.best.split(",")]
    cell = dict.fromkeys(name for law in read_by for name in law.columns)
    return laws.best_settings(table, settings, [*cell, *([options.by] if options.by else ())])


def _objective(options: argparse.Namespace) -> "Objective":
    from jaxscale import laws

    asymmetric = options.objective == "asymmetric"
    if (options.quantile is not None) != asymmetric:
        raise InputError(
            f"--objective asymmetric and --quantile go together; given are --objective {options.objective} and "
            f"{'no --quantile' if options.quantile is None else f'--quantile {options.quantile:g}'}. Write for example "
            "--objective asymmetric --quantile 0.1."
        )
    if asymmetric:
        return laws.asymmetric(options.quantile, options.delta)
    simple = {"least-squares": laws.least_squares, "absolute": laws.least_absolute_deviations}
    return simple[options.objective]() if options.objective in simple else laws.huber(options.delta)


def _fixed(entries: Sequence[str]) -> dict[str, float]:
    """Values by name from NAME=VALUE."""
    found: dict[str, float] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"--fix {entry} is not NAME=NUMBER. Write for example --fix E=1.6.") from None
        if found.setdefault(name.strip(), number) != number:
            raise InputError(f"--fix {name.strip()} is given two values. Give one.")
    return found


def _asked(options: argparse.Namespace, law: "Law") -> dict[str, Any]:
    """What the fit is to be asked, refused before anything is read if the law cannot answer it."""
    from jaxscale.laws import answers
    from jaxscale.laws.compute_optimal import check_law_of_both

    predictions = [answers.parse_sizes(text) for text in options.predict]
    for sizes in predictions:
        answers.checked_sizes(law, sizes)
    budgets = [answers.parse_number("budget", text) for text in options.budget]
    if budgets or options.isoflop:
        check_law_of_both(law)
    if options.flops and not {"C", "M"} & set(law.columns) and sorted(law.columns) != ["D", "N"]:
        raise InputError(
            f"--flops {options.flops} counts C, which law {law.name!r} does not depend on. Leave it out, or choose a "
            "law of C, or of N and D."
        )
    return {"predictions": predictions, "budgets": budgets, "isoflop": options.isoflop}


def _answers(fit: "Fit", table: "Table", asked: Mapping[str, Any], key: "Array") -> dict[str, Any]:
    """What `laws.document` takes, of what was asked."""
    import jax

    from jaxscale import laws

    keys = jax.random.split(key, 2 + len(asked["predictions"]))
    flops = {"flops": asked["flops"]} if "flops" in asked else {}
    found: dict[str, Any] = flops | {
        "predictions": [
            laws.predict_run(fit, sizes, key=one) for sizes, one in zip(asked["predictions"], keys[2:], strict=True)
        ]
    }
    if asked["budgets"]:
        found["split"] = laws.split_budget(fit, asked["budgets"], **flops)
    if asked["isoflop"]:
        name = {"flops": "C"} if flops else {}
        found["isoflop"] = laws.isoflop(table, asked["isoflop"], key=keys[0], level=fit.level, surface=fit, **name)
    return found


def _refuse_beside_target(options: argparse.Namespace) -> None:
    """Raises InputError for what is asked of a loss where something else is fitted."""
    for name in ("budget", "isoflop", "dimension"):
        if options.target != "loss" and getattr(options, name):
            raise InputError(f"--{name} is asked of the loss, and --target {options.target} is fitted. Leave one out.")


def _refuse_beside_by(options: argparse.Namespace) -> None:
    """Raises InputError for what is asked of one fit where there is one for each part."""
    if not options.by:
        return
    for name in ("compare", "predict", "budget", "isoflop"):
        given = getattr(options, name)
        if given:
            words = given if isinstance(given, str) else " ".join(given)
            raise InputError(
                f"--by {options.by} fits one law to each part, and --{name} is of one fit. Ask within a part: "
                f"--where \"{options.by} == '…'\" --{name} {words}"
            )


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
