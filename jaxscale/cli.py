"""The `jaxscale` command: a thin skin over the library.

Every sub-command: results on standard output, progress on standard error; `--json` prints one JSON document and nothing
else on standard output; exit code 0 done, 1 failed while working, 2 bad input, 75 asked to leave by the system and
saved: start it again.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jaxscale import files, preemption
from jaxscale.commands import clouds, constructions, laws, plan, runs, studies
from jaxscale.errors import InputError, RunError
from jaxscale.memory import use_huge_pages

# Name, what it takes, what it does, the same in words, and an example.
COMMANDS = (
    (
        "study",
        studies.study_arguments,
        studies.study,
        "train a grid of runs, measure d, compare exponents",
        "study configs/quickstart.py --workdir runs/quickstart",
    ),
    (
        "compare",
        studies.compare_arguments,
        studies.compare,
        "finished studies of one kind, on manifolds or with a teacher, side by side",
        "compare runs/softmax runs/relu runs/mlp --workdir runs/architectures",
    ),
    (
        "length",
        studies.length_arguments,
        studies.length,
        "train networks on short strings, test them at every length: how long is long enough?",
        "length configs/lengths_simple.py --workdir runs/simple",
    ),
    (
        "train",
        runs.train_arguments,
        runs.train,
        "one training run",
        "train configs/text_loss.py --workdir runs/one --tokens 65536",
    ),
    (
        "construct",
        constructions.construct_arguments,
        constructions.construct,
        "a function as a transformer whose weights are written down, with a certificate of its error",
        "construct cone --dim 2 --epsilon 0.1 --out cone2",
    ),
    (
        "compile",
        runs.compile_arguments,
        runs.compile_run,
        "a run's step compiled for devices that need not be there: memory, FLOPs, collectives, time",
        "compile configs/gpt2_small.py --topology tpu:v5e:4x4 --mesh.replica 4",
    ),
    (
        "embed",
        runs.embed_arguments,
        runs.embed,
        "held-out token embeddings of a finished run",
        "embed runs/one --out embeddings.npy",
    ),
    (
        "export",
        runs.export_arguments,
        runs.export,
        "a finished run of GPT-2's shape as a folder that transformers reads",
        "export runs/gpt2 --out gpt2-mine",
    ),
    (
        "dimension",
        clouds.dimension_arguments,
        clouds.dimension,
        "intrinsic dimension of points in files, or of a pretrained model's hidden states",
        "dimension embeddings.npy --estimators mle,twonn,gride --plot scales.html",
    ),
    (
        "fit",
        laws.fit_arguments,
        laws.fit,
        "a scaling law with intervals and diagnostics, from a table of runs",
        "fit runs.csv --law chinchilla --map N=params D=tokens loss=val/loss --page fit.html",
    ),
    (
        "plan",
        plan.plan_arguments,
        plan.plan,
        "which runs to train next, so that an interval becomes as narrow as wanted for the least compute",
        "plan pilot.csv --law chinchilla --want alpha_C=0.01 --max-compute 1e22 --write-runs next.csv",
    ),
    (
        "report",
        studies.report_arguments,
        studies.report,
        "write a study's report.html again",
        "report runs/quickstart",
    ),
)
# These take a config file, and flags for each of its fields.
CONFIGURED = ("study", "length", "train", "compile")
# These go on where they stopped: SIGTERM and SIGHUP ask them to leave. The others have nothing to keep.
RESUMED = ("study", "length", "train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    if arguments is None:
        use_huge_pages(keep=sys.argv[1:2] in (["train"], ["study"]))
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _work(arguments)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _work(arguments: Sequence[str]) -> int:
    parser = _parser()
    options, overrides = parser.parse_known_args(arguments)
    if overrides and not options.configured:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}. See jaxscale {options.command} --help")
    resumed = options.command in RESUMED
    try:
        _refuse_addresses(options, arguments)
        with preemption.orders() if resumed else contextlib.nullcontext():
            options.work(options, overrides)
    except BrokenPipeError:
        raise
    except InputError as error:
        print(f"jaxscale {options.command}: {error}", file=sys.stderr)
        return 2
    except (RunError, OSError) as error:
        print(f"jaxscale {options.command}: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print(f"jaxscale {options.command}: interrupted{_goes_on(options) if resumed else ''}", file=sys.stderr)
        return 1
    except preemption.Leave as order:
        print(f"jaxscale {options.command}: asked to leave by {order}{_goes_on(options)}", file=sys.stderr)
        return preemption.Preempted.exit_code
    return 0


def _refuse_addresses(options: argparse.Namespace, arguments: Iterable[str]) -> None:
    """Raises InputError if a file or folder is given as gs://…: no command reads or writes such."""
    given = {argument.partition("=")[0] for argument in arguments}
    for name, value in vars(options).items():
        flag = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list) else [value]:
            files.refuse_address(flag if flag in given else name, one)


def _goes_on(options: argparse.Namespace) -> str:
    where = f" in {options.workdir}" if options.workdir else ""
    return f"; what is finished is kept{where}, and the same command goes on from there"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxscale", description="How will my transformer scale, and why?", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, arguments, work, summary, example in COMMANDS:
        arguments(_command(commands, name, work, summary, example))
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    work: Callable[[argparse.Namespace, list[str]], None],
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """A sub-command with `--json`; a configured one takes a config file and flags for each of its fields."""
    configured = name in CONFIGURED
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

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.print_help()
        if getattr(namespace, "config", None):
            from jaxscale import config
            from jaxscale.studies.study import config_classes

            command = parser.prog.split()[-1]
            kind = config_classes(command) if command in ("study", "length") else config.Run
            try:
                config.load(namespace.config, ["--help"], kind, f"jaxscale {command} {namespace.config}")
            except InputError as error:
                parser.error(str(error))
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
