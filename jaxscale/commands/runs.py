"""`jaxscale train`, `compile`, `embed` and `export`: one run, before, while and after it is trained."""

import argparse
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxscale.commands.output import print_json
from jaxscale.errors import InputError


def train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", help="the run's folder; the same command goes on where it stopped")
    parser.add_argument(
        "--dry-run", action="store_true", help="print shapes, parameters and memory; compute and download nothing"
    )
    parser.add_argument(
        "--profile", action="store_true", help="write a trace of a few steps to WORKDIR/profile, for TensorBoard"
    )


def train(options: argparse.Namespace, overrides: list[str]) -> None:
    from jaxscale import config, progress, training
    from jaxscale.sharding import processes

    run = config.load(options.config, overrides, config.Run, f"jaxscale train {options.config}")
    if options.dry_run:
        facts = training.describe(run)
        return print_json(facts) if options.json else _print_dry_run(facts)
    if not options.workdir:
        raise InputError("--workdir is needed to train: the folder for checkpoints and metrics. Or use --dry-run.")
    processes.start()
    folder = pathlib.Path(options.workdir)
    processes.first_says(lambda: config.refuse_other(folder, run))
    processes.require_shared(folder)
    with progress.OnTerminal() if processes.is_first() else progress.Silent() as bars:
        with processes.workplace(folder):
            store = training.prepare(run, folder / "corpus", bars.say)
        summary = training.train(run, store, folder, bars.run(folder.name, 0, 1), options.profile)
    if not processes.is_first():
        return
    if options.json:
        return print_json(summary | {"corpus": store.facts})
    print("\n".join(f"{name:12} {value}" for name, value in summary.items()))
    print(f"{'metrics':12} {folder / 'metrics.jsonl'} (tensorboard --logdir {folder})")
    if options.profile:
        print(f"{'profile':12} {folder / 'profile'}")


def _print_dry_run(facts: Mapping[str, Any]) -> None:
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


def compile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--topology", required=True, help="tpu:v5e:4x4, tpu:v5p:4x4x4:2 (slices), gpu:h100:2x8 (nodes x GPUs) or cpu:8"
    )
    parser.add_argument(
        "--search", action="store_true", help="try meshes, recomputation, chunks of the loss; best first"
    )
    parser.add_argument(
        "--choices",
        type=int,
        default=4,
        metavar="N",
        help="of --search: compile till so many fit (default %(default)s)",
    )


def compile_run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the devices compiled for are only described
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # so they are no other process's
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # a compiler's remarks on one mesh of many
    from rich.console import Console

    from jaxscale import config, progress
    from jaxscale.ahead import page as ahead
    from jaxscale.ahead import topologies
    from jaxscale.ahead.mesh_search import search
    from jaxscale.ahead.step import compile_ahead

    run = config.load(options.config, overrides, config.Run, f"jaxscale compile {options.config}")
    topology = topologies.describe(options.topology)
    if options.search:
        with progress.OnTerminal() as bars:
            facts = search(run, topology, options.choices, bars.run(f"meshes of {topology.name}", 0, 1, "search"))
    else:
        facts = compile_ahead(run, topology)
    if options.json:
        return print_json(facts)
    (ahead.print_choices if options.search else ahead.print_step)(facts, Console())


def embed_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdir", help="folder of a run made by `jaxscale train`")
    parser.add_argument("--out", required=True, help="a .npy file: (points, width) float32")
    parser.add_argument(
        "--layer", type=int, default=-1, help="0: token embedding; -1: last, after the final norm (default)"
    )
    parser.add_argument("--points", type=int, default=3600, help="tokens at most (default %(default)s)")
    parser.add_argument("--tokens-per-document", type=int, default=32, help="at most (default %(default)s)")


def embed(options: argparse.Namespace, _: Sequence[str]) -> None:
    import numpy as np

    from jaxscale import config, data, files
    from jaxscale.studies import geometry

    folder, out = _finished_run(options.workdir), pathlib.Path(options.out)
    for name in ("points", "tokens_per_document"):
        if getattr(options, name) < 1:
            raise InputError(
                f"--{name.replace('_', '-')} {getattr(options, name)} must be positive. Give a larger value."
            )
    if (out.exists() and not out.is_file()) or not out.parent.is_dir():
        raise InputError(f"--out {options.out!r} cannot be a file there. Give a file in a folder that exists.")
    run = config.of_folder(folder, config.Run)
    layers = run.model.layers + 1
    if not -layers <= options.layer < layers:
        raise InputError(f"--layer {options.layer} is not one of the {layers} layers. Give 0 to {layers - 1}, or -1.")
    measured = config.Dimension(points=options.points, tokens_per_document=options.tokens_per_document)
    summary = files.read_json(folder / "summary.json", fields=("step",))
    embeddings = geometry.embeddings_of_run(run, data.open_store(_corpus_of(folder)), folder, summary, measured)
    points = np.asarray(embeddings.layers[options.layer])
    files.write_array(out, points)
    facts = {"file": str(out), "points": points.shape[0], "width": points.shape[1], "layer": options.layer % layers}
    if options.json:
        return print_json(facts)
    print(f"{facts['points']} × {facts['width']} embeddings of layer {facts['layer']}: {out}")


def export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workdir", help="folder of a run made by `jaxscale train`")
    parser.add_argument("--out", required=True, help="a folder: config.json, model.safetensors, tokenizer.json")


def export(options: argparse.Namespace, _: Sequence[str]) -> None:
    from jaxscale.training.export import export

    folder = _finished_run(options.workdir)
    facts = export(folder, _corpus_of(folder), options.out)
    if options.json:
        return print_json(facts)
    print(f"{facts['parameters']:,} parameters of step {facts['step']} in the format of GPT-2: {facts['folder']}")


def _finished_run(workdir: str) -> pathlib.Path:
    """The folder of a run that is done. Raises InputError, saying which command makes one, for any other."""
    from jaxscale import files

    folder = pathlib.Path(workdir)
    if (folder / "table.jsonl").is_file():
        run = files.read_json_lines(folder / "table.jsonl")[-1]["run"]
        raise InputError(f"workdir={workdir!r} is a study. Name one of its runs: '{folder / 'runs' / run}'.")
    if not (folder / "summary.json").is_file():
        raise InputError(
            f"workdir={workdir!r} holds no finished run. Make one: jaxscale train CONFIG --workdir {workdir}"
        )
    return folder


def _corpus_of(folder: pathlib.Path) -> pathlib.Path:
    """The folder of a run's corpus: its own, or that of the study it belongs to."""
    for place in (folder / "corpus", folder.resolve().parents[1] / "corpus"):
        if (place / "facts.json").is_file():
            return place
    raise InputError(f"workdir={str(folder)!r} has no corpus folder, nor has its study. Run it again to prepare one.")
