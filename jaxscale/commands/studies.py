"""`jaxscale study`, `compare`, `length` and `report`: grids of networks, and their pages."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxscale.commands.output import print_json
from jaxscale.errors import InputError

if TYPE_CHECKING:
    from jaxscale.studies.scaling.cluster import Cluster


def study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", help="the study's folder; the same command goes on where it stopped")
    parser.add_argument(
        "--cluster", choices=("slurm",), help="train the runs as an array of jobs, on nodes that share WORKDIR"
    )
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of --cluster slurm: an option of sbatch, such as gpus-per-node=1; may be given several times",
    )
    parser.add_argument("--at-once", type=int, default=256, help="jobs of the array at a time (default %(default)s)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be trained, what it takes, or what sbatch would be given; compute and submit nothing",
    )


def study(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    from jaxscale import config, ensembles, progress
    from jaxscale.sharding import processes
    from jaxscale.studies import study as studies
    from jaxscale.studies.scaling.config import DataScaling

    study = config.load(options.config, overrides, studies.config_classes("study"), f"jaxscale study {options.config}")
    processes.refuse_several("study")
    where = _cluster(options)
    kind, name = studies.of_config(study), type(study).__name__
    if where and not isinstance(study, DataScaling):
        raise InputError(f"--cluster is for a DataScaling; {options.config} holds a {name}. Leave it out.")
    if options.workdir is None and (where or not options.dry_run):
        raise InputError("--workdir is needed: the folder of the study. Or use --dry-run.")
    extra = {"cluster": where} if where else {}
    if options.dry_run:
        facts = kind.dry_run(study, options.workdir, **extra)
        return print_json(facts) if options.json else kind.print_dry_run(facts)
    if kind.one_per_core:
        ensembles.core_devices()
    with progress.OnTerminal() as bars:
        verdict = studies.run(study, options.workdir, bars, **extra)
    _show(study.kind, options, verdict)


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "studies", nargs="+", metavar="STUDY", help="folders of one kind; of manifolds all are held against the first"
    )
    parser.add_argument("--workdir", required=True, help="folder for verdict.json and report.html, written anew")
    parser.add_argument("--plot", metavar="OUT.png", help="draw the figure that says most as a picture too")


def compare(options: argparse.Namespace, _: Sequence[str]) -> None:
    from jaxscale import files
    from jaxscale.page import pictures
    from jaxscale.studies import render
    from jaxscale.studies.compare import page
    from jaxscale.studies.compare.study import compare
    from jaxscale.verdict import check

    if options.plot:
        pictures.check(options.plot, page.INSTEAD)
    verdict = compare(options.studies)
    folder = pathlib.Path(options.workdir)
    with files.workplace(folder):
        if (folder / "config.json").is_file():
            raise InputError(f"workdir={options.workdir} is the folder of a study or run. Give another one.")
        check(verdict)
        files.write_json(folder / "verdict.json", verdict)
        render(folder)
    if options.plot:
        page.draw(verdict, options.plot)
    _show("compare", options, verdict)


def length_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir", required=True, help="the study's folder; the same command goes on where it stopped"
    )


def length(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    from jaxscale import config, progress
    from jaxscale.studies import study as studies

    study = config.load(
        options.config, overrides, studies.config_classes("length"), f"jaxscale length {options.config}"
    )
    with progress.OnTerminal() as bars:
        verdict = studies.run(study, options.workdir, bars)
    _show(study.kind, options, verdict)


def _show(kind: str, options: argparse.Namespace, verdict: dict[str, Any]) -> None:
    """Prints what a study's verdict says, and where its page is."""
    from jaxscale.studies import registry

    if options.json:
        return print_json(verdict)
    registry()[kind].print(options.workdir, verdict)
    print(f"Page: {pathlib.Path(options.workdir) / 'report.html'}")


def _cluster(options: argparse.Namespace) -> Cluster | None:
    """The `Cluster` that the options of a study speak of, or None."""
    from jaxscale.studies.scaling import cluster

    if options.at_once < 1:
        raise InputError(f"at_once={options.at_once} must be positive. Give 1 or more.")
    if options.cluster:
        return cluster.Cluster(cluster.parse(options.sbatch), options.at_once)
    if options.sbatch:
        raise InputError(f"sbatch={options.sbatch[0]!r} is for a cluster. Say --cluster slurm too.")
    return None


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdir", help="a study's folder")


def report(options: argparse.Namespace, _: Sequence[str]) -> None:
    from jaxscale.studies import render

    path = str(render(options.workdir))
    print_json({"page": path}) if options.json else print(path)
