"""The `jaxscale` command: a thin skin over the library.

Every sub-command: results on standard output, progress on standard error; `--json` prints one JSON document and nothing
else on standard output; exit code 0 done, 1 failed while working, 2 bad input.
"""

import argparse
import json
import math
import os
import pathlib
import sys

from jaxscale.errors import InputError, RunError


def main(arguments=None):
    """Runs the command line and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _work(arguments)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _work(arguments):
    parser = _parser()
    options, overrides = parser.parse_known_args(arguments)
    if overrides and not options.configured:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}. See jaxscale {options.command} --help")
    try:
        options.work(options, overrides)
    except BrokenPipeError:
        raise
    except InputError as error:
        print(f"jaxscale {options.command}: {error}", file=sys.stderr)
        return 2
    except (RunError, OSError) as error:
        print(f"jaxscale {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        goes_on = "; the same command goes on from the last checkpoint" if options.configured else ""
        print(f"jaxscale {options.command}: interrupted{goes_on}", file=sys.stderr)
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="jaxscale", description="How will my transformer scale, and why?", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = lambda *names, **kwargs: _command(commands, *names, **kwargs)

    study = add(
        "study",
        _study,
        "train a grid of runs, measure d, compare exponents",
        "study configs/quickstart.py --workdir runs/quickstart",
        True,
    )
    study.add_argument("--workdir", required=True, help="the study's folder; the same command goes on where it stopped")

    train = add(
        "train", _train, "one training run", "train configs/quickstart.py --workdir runs/one --tokens 65536", True
    )
    train.add_argument("--workdir", help="the run's folder; the same command goes on where it stopped")
    train.add_argument(
        "--dry-run", action="store_true", help="print shapes, parameters and memory; compute and download nothing"
    )

    embed = add("embed", _embed, "held-out token embeddings of a finished run", "embed runs/one --out embeddings.npy")
    embed.add_argument("workdir", help="folder of a run made by `jaxscale train`")
    embed.add_argument("--out", required=True, help="a .npy file: (points, width) float32")
    embed.add_argument(
        "--layer", type=int, default=-1, help="0: token embedding; -1: last, after the final norm (default)"
    )
    embed.add_argument("--points", type=int, default=3600, help="tokens at most (default %(default)s)")
    embed.add_argument("--tokens-per-document", type=int, default=32, help="at most (default %(default)s)")

    measure = add(
        "dimension", _dimension, "intrinsic dimension of points", "dimension embeddings.npy --k 20 --metric cosine"
    )
    measure.add_argument("file", help="a .npy file with an (n, D) array")
    measure.add_argument("--k", type=int, default=20, help="nearest neighbours (default %(default)s)")
    measure.add_argument("--metric", default="euclidean", choices=("euclidean", "cosine"), help="cosine is the angle")

    fit = add(
        "fit", _fit, "a scaling law with intervals, from a table of runs", "fit runs/quickstart/table.jsonl --law data"
    )
    fit.add_argument("file", help=".jsonl or .csv with a column `loss` and the law's: `n` (data) or `N` (model)")
    fit.add_argument("--law", default="data", help="data or model (default %(default)s)")
    fit.add_argument("--seed", type=int, default=0, help="of the bootstrap (default %(default)s)")

    report = add("report", _report, "write a study's report.html again", "report runs/quickstart")
    report.add_argument("workdir", help="a study's folder")
    return parser


def _command(commands, name, work, summary, example, configured=False):
    """A sub-command with `--json`; a configured one takes a config file and flags for each of its fields."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: jaxscale {example}",
        add_help=not configured,
        allow_abbrev=False,
    )
    if configured:
        parser.add_argument("config", help="a Python file that binds `config`; further flags override its fields")
        parser.add_argument(
            "-h", "--help", action=_Help, help="this text; after a config file: every field and default too"
        )
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    parser.set_defaults(work=work, configured=configured)
    return parser


class _Help(argparse.Action):
    """Prints the command's own help and, if a config file was named, that of its fields; then exits."""

    def __init__(self, option_strings, dest, help):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_help()
        if getattr(namespace, "config", None):
            from jaxscale import config

            kind = {"study": config.DataScaling, "train": config.Run}[parser.prog.split()[-1]]
            try:
                config.load(
                    namespace.config, ["--help"], kind, f"jaxscale {parser.prog.split()[-1]} {namespace.config}"
                )
            except InputError as error:
                parser.error(str(error))
        parser.exit()


def _study(options, overrides):
    from rich.console import Console

    from jaxscale import config, files, progress, reports
    from jaxscale.studies import data_scaling

    study = config.load(options.config, overrides, config.DataScaling, f"jaxscale study {options.config}")
    with progress.OnTerminal() as bars:
        verdict = data_scaling.run(study, options.workdir, bars)
    if options.json:
        return _print_json(verdict)
    folder = pathlib.Path(options.workdir)
    console = Console()
    reports.print_table(files.read_json_lines(folder / "table.jsonl"), verdict, console)
    console.print(f"Page: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def _train(options, overrides):
    from jaxscale import config, data, files, progress, training

    run = config.load(options.config, overrides, config.Run, f"jaxscale train {options.config}")
    if options.dry_run:
        facts = training.describe(run)
        return _print_json(facts) if options.json else _print_dry_run(facts)
    if not options.workdir:
        raise InputError("--workdir is needed to train: the folder for checkpoints and metrics. Or use --dry-run.")
    folder = pathlib.Path(options.workdir)
    config.refuse_other(folder, run)
    with progress.OnTerminal() as bars:
        with files.workplace(folder):
            store = data.prepare(run.corpus, run.tokenizer, folder / "corpus", bars.say)
        summary = training.train(run, store, folder, bars.run(folder.name, 0, 1))
    if options.json:
        return _print_json(summary)
    print("\n".join(f"{name:12} {value}" for name, value in summary.items()))
    print(f"{'metrics':12} {folder / 'metrics.jsonl'} (tensorboard --logdir {folder})")


def _embed(options, _):
    import numpy as np

    from jaxscale import config, files
    from jaxscale.studies import geometry

    folder, out = pathlib.Path(options.workdir), pathlib.Path(options.out)
    for name in ("points", "tokens_per_document"):
        if getattr(options, name) < 1:
            raise InputError(f"{name}={getattr(options, name)} must be positive. Give a larger value.")
    if (folder / "table.jsonl").is_file():
        run = files.read_json_lines(folder / "table.jsonl")[-1]["run"]
        raise InputError(f"workdir={options.workdir!r} is a study. Name one of its runs: '{folder / 'runs' / run}'.")
    if not (folder / "summary.json").is_file():
        raise InputError(
            f"workdir={options.workdir!r} holds no finished run. "
            f"Make one: jaxscale train CONFIG --workdir {options.workdir}"
        )
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"out={options.out!r} cannot be a file there. Give a file in a folder that exists.")
    run = config.from_json((folder / "config.json").read_text(encoding="utf-8"), config.Run)
    layers = run.model.layers + 1
    if not -layers <= options.layer < layers:
        raise InputError(f"layer={options.layer} is not one of the {layers} layers. Give 0 to {layers - 1}, or -1.")
    measured = config.Dimension(points=options.points, tokens_per_document=options.tokens_per_document)
    summary = files.read_json(folder / "summary.json")
    embeddings = geometry.embeddings_of_run(run, _store_of(folder), folder, summary, measured)
    points = np.asarray(embeddings.layers[options.layer])
    with files.full_disk_told(out), open(out, "wb") as file:
        np.save(file, points)
    facts = {"file": str(out), "points": points.shape[0], "width": points.shape[1], "layer": options.layer % layers}
    if options.json:
        return _print_json(facts)
    print(f"{facts['points']} × {facts['width']} embeddings of layer {facts['layer']}: {out}")


def _store_of(folder):
    """The corpus of a run: its own, or that of the study it belongs to."""
    from jaxscale import data

    for place in (folder / "corpus", folder.resolve().parents[1] / "corpus"):
        if (place / "facts.json").is_file():
            return data.open_store(place)
    raise InputError(f"workdir={str(folder)!r} has no corpus folder, nor has its study. Run it again to prepare one.")


def _dimension(options, _):
    import numpy as np

    from jaxscale import dimension

    try:
        points = np.load(options.file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a saved array of numbers"
        raise InputError(
            f"file={options.file!r} cannot be read as .npy: {reason}. Give an (n, D) array saved by numpy.save."
        ) from None
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiub":
        kind = points.dtype if isinstance(points, np.ndarray) else "an archive"
        raise InputError(
            f"file={options.file!r} holds {kind}. Give one (n, D) array of real numbers, saved by numpy.save."
        )
    estimate = dimension.mle(points, k=options.k, metric=options.metric)
    names = ("dimension", "standard_error", "analytic_standard_error", "scale")
    counts = ("points_used", "duplicates_collapsed", "zero_distances", "nonfinite_dropped")
    facts = {name: getattr(estimate, name).item() for name in (*names, *counts)}
    facts |= {"k": options.k, "metric": options.metric}
    if options.json:
        return _print_json(facts)
    for name, value in facts.items():
        print(f"{name:24} {value:.6g}" if isinstance(value, float) else f"{name:24} {value}")


def _fit(options, _):
    import jax

    from jaxscale import laws

    if not 0 <= options.seed < 2**63:
        raise InputError(f"seed={options.seed} must lie between 0 and 2**63. Give another.")
    fit = laws.fit(_rows(options.file), law=options.law, key=jax.random.key(options.seed))
    summary = fit.summary()
    if options.json:
        return _print_json(summary)
    print(
        f"{summary['formula']}, {summary['runs']} runs, {summary['sizes']} sizes; intervals at {summary['level']:.0%}"
    )
    for name, value in summary["parameters"].items():
        print(f"{name:18} {value['estimate']:.4g}  [{value['lower']:.4g}, {value['upper']:.4g}]")
    for warning in summary["warnings"]:
        print(f"- {warning['code']}: {warning['sentence']}")


def _rows(name):
    """Rows of a table of runs; numbers where the text is one."""
    import csv

    path = pathlib.Path(name)
    try:
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                return [{column: _number(value) for column, value in row.items()} for row in csv.DictReader(file)]
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is not a JSON object")
        return rows
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"file={name!r} cannot be read as a table: {error}. Give a .csv with a header, or JSON lines."
        ) from None


def _number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def _report(options, _):
    from jaxscale import reports

    path = str(reports.render(options.workdir))
    _print_json({"page": path}) if options.json else print(path)


def _print_json(value):
    """One JSON document; numbers that JSON does not have become null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value):
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_dry_run(facts):
    from rich.console import Console
    from rich.table import Table

    table = Table("parameter", "shape", "sharding", header_style="bold")
    for row in facts["table"]:
        table.add_row(row["parameter"], " × ".join(map(str, row["shape"])), row["sharding"])
    console = Console()
    console.print(table)
    print(f"{facts['parameters']:,} parameters, vocabulary {facts['vocab_size']:,}")
    print(f"{facts['tokens_per_step']:,} tokens and {facts['flops_per_step']:.3g} FLOPs a step")
    print(f"mesh {' × '.join(f'{axis} {size}' for axis, size in facts['mesh'].items())}")
    print("memory per device: " + ", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in facts["memory"].items()))


if __name__ == "__main__":
    sys.exit(main())
