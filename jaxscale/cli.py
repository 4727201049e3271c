"""The `jaxscale` command: a thin skin over the library.

Every sub-command: results on standard output, progress on standard error; `--json` prints one JSON document and nothing
else on standard output; exit code 0 done, 1 failed while working, 2 bad input, 75 asked to leave by the system and
saved: start it again.
"""

import argparse
import json
import math
import os
import pathlib
import sys

from jaxscale.errors import InputError, RunError
from jaxscale.memory import use_huge_pages


def main(arguments=None):
    """Runs the command line and returns its exit code."""
    if arguments is None:
        use_huge_pages(keep=sys.argv[1:2] in (["train"], ["study"]))
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
        return getattr(error, "exit_code", 1)
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
    study.add_argument(
        "--cluster", choices=("slurm",), help="train the runs as an array of jobs, on nodes that share WORKDIR"
    )
    study.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of --cluster slurm: an option of sbatch, such as gpus-per-node=1; may be given several times",
    )
    study.add_argument("--at-once", type=int, default=256, help="jobs of the array at a time (default %(default)s)")
    study.add_argument(
        "--dry-run", action="store_true", help="print the runs, or what sbatch would be given; train and submit nothing"
    )

    length = add(
        "length",
        _length,
        "train networks on short strings, test them at every length: how long is long enough?",
        "length configs/lengths_simple.py --workdir runs/simple",
        True,
    )
    length.add_argument(
        "--workdir", required=True, help="the study's folder; the same command goes on where it stopped"
    )

    train = add(
        "train", _train, "one training run", "train configs/quickstart.py --workdir runs/one --tokens 65536", True
    )
    train.add_argument("--workdir", help="the run's folder; the same command goes on where it stopped")
    train.add_argument(
        "--dry-run", action="store_true", help="print shapes, parameters and memory; compute and download nothing"
    )
    train.add_argument(
        "--profile", action="store_true", help="write a trace of a few steps to WORKDIR/profile, for TensorBoard"
    )

    _construct_arguments(
        add(
            "construct",
            _construct,
            "a function as a transformer whose weights are written down, with a certificate of its error",
            "construct cone --dim 2 --epsilon 0.1 --out cone2",
        )
    )

    ahead = add(
        "compile",
        _compile,
        "a run's step compiled for devices that need not be there: memory, FLOPs, collectives, time",
        "compile configs/gpt2_small.py --topology tpu:v5e:4x4 --mesh.replica 4",
        True,
    )
    ahead.add_argument(
        "--topology", required=True, help="tpu:v5e:4x4, tpu:v5p:4x4x4:2 (slices), gpu:h100:2x8 (nodes x GPUs) or cpu:8"
    )
    ahead.add_argument(
        "--search", action="store_true", help="try meshes, recomputation, chunks of the loss; best first"
    )
    ahead.add_argument(
        "--choices",
        type=int,
        default=4,
        metavar="N",
        help="of --search: compile till so many fit (default %(default)s)",
    )

    embed = add("embed", _embed, "held-out token embeddings of a finished run", "embed runs/one --out embeddings.npy")
    embed.add_argument("workdir", help="folder of a run made by `jaxscale train`")
    embed.add_argument("--out", required=True, help="a .npy file: (points, width) float32")
    embed.add_argument(
        "--layer", type=int, default=-1, help="0: token embedding; -1: last, after the final norm (default)"
    )
    embed.add_argument("--points", type=int, default=3600, help="tokens at most (default %(default)s)")
    embed.add_argument("--tokens-per-document", type=int, default=32, help="at most (default %(default)s)")

    export = add(
        "export",
        _export,
        "a finished run of GPT-2's shape as a folder that transformers reads",
        "export runs/gpt2 --out gpt2-mine",
    )
    export.add_argument("workdir", help="folder of a run made by `jaxscale train`")
    export.add_argument("--out", required=True, help="a folder: config.json, model.safetensors, tokenizer.json")

    _dimension_arguments(
        add(
            "dimension",
            _dimension,
            "intrinsic dimension of points in files, or of a pretrained model's hidden states",
            "dimension embeddings.npy --estimators mle,twonn,gride --plot scales.html",
        )
    )

    _fit_arguments(
        add(
            "fit",
            _fit,
            "a scaling law with intervals and diagnostics, from a table of runs",
            "fit runs.csv --law chinchilla --map N=params D=tokens loss=val/loss --page fit.html",
        )
    )

    report = add("report", _report, "write a study's report.html again", "report runs/quickstart")
    report.add_argument("workdir", help="a study's folder")
    return parser


def _dimension_arguments(parser):
    add = parser.add_argument
    add("file", nargs="*", help=".npy, .npz, .safetensors or .parquet with an (n, D) array; each is one cloud")
    add("--array", help="its name in a .npz or .safetensors file; in a .parquet file a column, or several: a,b,c")
    add("--estimators", default="mle,twonn,gride", help="names, apart by commas (default %(default)s)")
    add("--k", type=int, default=20, help="nearest neighbors (default %(default)s)")
    add("--metric", default="euclidean", choices=("euclidean", "cosine"), help="cosine is the angle")
    add(
        "--nonfinite",
        default="raise",
        choices=("raise", "drop"),
        help="rows with nan or infinity (default %(default)s)",
    )
    add("--max-points", type=int, help="draw so many rows at most (default: all); tokens, with --model (default 4000)")
    add("--seed", type=int, default=0, help="of every draw (default %(default)s)")
    add(
        "--calibrate",
        action="store_true",
        help="report the dimension each reading stands for too: simulated clouds of known dimension are read alike",
    )
    add("--plot", metavar="OUT", help="draw dimension against scale: a page OUT.html or a picture OUT.png")
    add(
        "--scales",
        choices=("neighbors", "decimation"),
        help="report dimension against scale: at 4, 8, … neighbors (default with --plot), or of n, n/2, … points",
    )
    add("--largest-k", type=int, default=64, help="of --scales neighbors (default %(default)s)")
    model = parser.add_argument_group("hidden states of a Hugging Face model, a cloud for each layer (extra [hf])")
    add = model.add_argument
    add("--model", metavar="NAME", help="on the hub, or a folder")
    add("--dataset", metavar="NAME", help="on the hub; or a file, folder or glob of texts; or stdlib")
    add("--subset", default="", help="the dataset's configuration, where it has several")
    add("--split", default="train", help="of the dataset (default %(default)s)")
    add("--text-field", default="text", help="of the dataset (default %(default)s)")
    add("--layers", help="apart by commas; 0 is the embedding, -1 the last (default: all)")
    add("--tokens-per-document", type=int, default=32, help="drawn at most (default %(default)s)")
    add("--context", type=int, default=512, help="tokens of a text the model sees (default %(default)s)")
    add("--batch-size", type=int, default=8, help="texts in a forward pass (default %(default)s)")


def _construct_arguments(parser):
    add = parser.add_argument
    add("target", help="cone (|x|^beta), waves (a sum of sines), or FILE.py:NAME of a function (n, D) -> (n,)")
    add(
        "--out",
        required=True,
        help="a folder: certificate.json, certificate.html, architecture.json, model.safetensors",
    )
    add("--dim", type=int, default=1, help="d of the cube, or of the sphere (default %(default)s)")
    add(
        "--on",
        default="cube",
        metavar="PLACE",
        help="circle, sphere, torus, swiss_roll, or a .npy cloud (default cube)",
    )
    add("--width", type=int, help="D of the space around a manifold (default: as small as it goes)")
    add("--grid", type=int, help="N, cells along a side; or give --epsilon")
    add("--epsilon", type=float, help="sup error to prove, from which N follows")
    add("--beta", type=float, default=1.0, help="Hölder exponent of the function (default %(default)s)")
    add("--constant", type=float, help="its Hölder constant; known for cone and waves, else no bound is proved")
    add("--backend", default="pairwise", choices=("pairwise", "structured"), help="default %(default)s")
    add(
        "--encoding",
        default="parabola",
        choices=("quarter_circle", "full_circle", "parabola", "binary"),
        help="of the pairwise back end (default %(default)s)",
    )
    add("--points", type=int, default=2000, help="of each kind at which errors are measured (default %(default)s)")
    add("--seed", type=int, default=0, help="of every draw (default %(default)s)")


def _fit_arguments(parser):
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

            command = parser.prog.split()[-1]
            kind = config.kinds(command) if command in ("study", "length") else config.Run
            try:
                config.load(namespace.config, ["--help"], kind, f"jaxscale {command} {namespace.config}")
            except InputError as error:
                parser.error(str(error))
        parser.exit()


def _study(options, overrides):
    from rich.console import Console

    from jaxscale import config, files, progress, reports
    from jaxscale.sharding import processes
    from jaxscale.studies import data_scaling

    study = config.load(options.config, overrides, config.kinds("study"), f"jaxscale study {options.config}")
    processes.refuse_several("study")
    where = _cluster(options)
    if not isinstance(study, config.DataScaling):
        if where or options.dry_run:
            raise InputError(
                f"--cluster and --dry-run are for a DataScaling; {options.config} holds a {type(study).__name__}, "
                "which runs here. Leave them out."
            )
        if isinstance(study, config.ManifoldStudy):
            from jaxscale.studies.manifold_regression import run
        else:
            from jaxscale.studies.dimension_ablation import run
        return _run_study(run, study, options, lambda verdict: verdict["sentence"])
    if options.dry_run:
        return _print_jobs(study, options, where)
    with progress.OnTerminal() as bars:
        verdict = data_scaling.run(study, options.workdir, bars, where)
    if options.json:
        return _print_json(verdict)
    folder = pathlib.Path(options.workdir)
    console = Console()
    reports.print_table(files.read_json_lines(folder / "table.jsonl"), verdict, console)
    console.print(f"Page: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def _length(options, overrides):
    from jaxscale import config

    study = config.load(options.config, overrides, config.kinds("length"), f"jaxscale length {options.config}")
    if isinstance(study, config.PositionStudy):
        from jaxscale.reports.position_encodings import sentence
        from jaxscale.studies.position_encodings import run
    else:
        from jaxscale.reports.lengths import sentence
        from jaxscale.studies.length_generalization import run
    _run_study(run, study, options, sentence)


def _run_study(run, study, options, sentence):
    """Runs a study with progress and prints what its verdict says."""
    from jaxscale import progress

    with progress.OnTerminal() as bars:
        verdict = run(study, options.workdir, bars)
    if options.json:
        return _print_json(verdict)
    print(sentence(verdict))
    print(f"Page: {pathlib.Path(options.workdir) / 'report.html'}")


def _cluster(options):
    """The `Cluster` that the options of a study speak of, or None."""
    from jaxscale.studies import cluster

    if options.at_once < 1:
        raise InputError(f"at_once={options.at_once} must be positive. Give 1 or more.")
    if options.cluster:
        return cluster.Cluster(cluster.parse(options.sbatch), options.at_once)
    if options.sbatch:
        raise InputError(f"sbatch={options.sbatch[0]!r} is for a cluster. Say --cluster slurm too.")
    return None


def _print_jobs(study, options, where):
    """What would be trained, and how a cluster would be told of it."""
    from jaxscale.studies import cells

    jobs = cells.groups(study)
    script = where.script(study, options.workdir) if where else None
    if options.json:
        return _print_json({"jobs": jobs, "script": script})
    for index, names in enumerate(jobs):
        print(f"# {index}: {' '.join(names)}")
    print(script or f"# {len(jobs)} one after the other on this host")


def _construct(options, _):
    from jaxscale.constructions import command

    document = command.construct(options)
    if options.json:
        return _print_json(document)
    sizes, measured = document["class"], document["measured"]
    print(
        f"{document['domain']}, N = {document['grid']}: {sizes['L_T']} blocks, {sizes['l']:,} tokens, "
        f"{sizes['m']:,} heads at most, d_embd = {sizes['d_embd']}, {sizes['parameters']:,} parameters"
    )
    bound = document["approximation_bound"]
    proved = "no bound proved" if bound is None else f"at most {bound:.4g} proved"
    print(f"sup error: {proved}, {measured['sup']:.4g} measured at {sum(measured['points'].values()):,} points")
    safe = [name for name, row in document["rounding"].items() if row["safe"]]
    print(f"safe in {', '.join(safe) or 'no format'}")
    print(f"Page: {pathlib.Path(options.out) / 'certificate.html'}")


def _train_construction(options, arguments):
    """Gradient descent from a folder of `jaxscale construct`."""
    from jaxscale import progress
    from jaxscale.constructions import command

    if options.dry_run or options.profile:
        raise InputError("--dry-run and --profile are for runs of a config file. Leave them out for a construction.")
    folder = pathlib.Path(options.config)
    with progress.OnTerminal() as bars:
        summary = command.train_from(folder, arguments, options.workdir, bars.run(folder.name, 0, 1))
    if options.json:
        return _print_json(summary)
    print("\n".join(f"{name:18} {value}" for name, value in summary.items()))


def _train(options, overrides):
    if pathlib.Path(options.config, "architecture.json").is_file():
        return _train_construction(options, overrides)
    from jaxscale import config, files, progress, training
    from jaxscale.sharding import processes

    run = config.load(options.config, overrides, config.Run, f"jaxscale train {options.config}")
    if options.dry_run:
        facts = training.describe(run)
        return _print_json(facts) if options.json else _print_dry_run(facts)
    if not options.workdir:
        raise InputError("--workdir is needed to train: the folder for checkpoints and metrics. Or use --dry-run.")
    processes.start()
    folder = pathlib.Path(options.workdir)
    processes.first_says(lambda: config.refuse_other(folder, run))
    with progress.OnTerminal() if processes.is_first() else progress.Silent() as bars:
        with files.workplace(folder):
            store = training.prepare(run, folder / "corpus", bars.say)
        summary = training.train(run, store, folder, bars.run(folder.name, 0, 1), options.profile)
    if not processes.is_first():
        return
    if options.json:
        return _print_json(summary)
    print("\n".join(f"{name:12} {value}" for name, value in summary.items()))
    print(f"{'metrics':12} {folder / 'metrics.jsonl'} (tensorboard --logdir {folder})")
    if options.profile:
        print(f"{'profile':12} {folder / 'profile'}")


def _compile(options, overrides):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the devices compiled for are only described
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # a compiler's remarks on one mesh of many
    from rich.console import Console

    from jaxscale import config, progress
    from jaxscale.reports import ahead
    from jaxscale.sharding import topologies
    from jaxscale.training.ahead import compile_ahead
    from jaxscale.training.search import search

    run = config.load(options.config, overrides, config.Run, f"jaxscale compile {options.config}")
    topology = topologies.describe(options.topology)
    if options.search:
        with progress.OnTerminal() as bars:
            facts = search(run, topology, options.choices, bars.run(f"meshes of {topology.name}", 0, 1, "search"))
    else:
        facts = compile_ahead(run, topology)
    if options.json:
        return _print_json(facts)
    (ahead.print_choices if options.search else ahead.print_step)(facts, Console())


def _embed(options, _):
    import numpy as np

    from jaxscale import config, data, files
    from jaxscale.studies import geometry

    folder, out = _finished_run(options.workdir), pathlib.Path(options.out)
    for name in ("points", "tokens_per_document"):
        if getattr(options, name) < 1:
            raise InputError(f"{name}={getattr(options, name)} must be positive. Give a larger value.")
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"out={options.out!r} cannot be a file there. Give a file in a folder that exists.")
    run = config.from_json((folder / "config.json").read_text(encoding="utf-8"), config.Run)
    layers = run.model.layers + 1
    if not -layers <= options.layer < layers:
        raise InputError(f"layer={options.layer} is not one of the {layers} layers. Give 0 to {layers - 1}, or -1.")
    measured = config.Dimension(points=options.points, tokens_per_document=options.tokens_per_document)
    summary = files.read_json(folder / "summary.json")
    embeddings = geometry.embeddings_of_run(run, data.open_store(_corpus_of(folder)), folder, summary, measured)
    points = np.asarray(embeddings.layers[options.layer])
    with files.full_disk_told(out), open(out, "wb") as file:
        np.save(file, points)
    facts = {"file": str(out), "points": points.shape[0], "width": points.shape[1], "layer": options.layer % layers}
    if options.json:
        return _print_json(facts)
    print(f"{facts['points']} × {facts['width']} embeddings of layer {facts['layer']}: {out}")


def _export(options, _):
    from jaxscale.training.export import export

    folder = _finished_run(options.workdir)
    facts = export(folder, _corpus_of(folder), options.out)
    if options.json:
        return _print_json(facts)
    print(f"{facts['parameters']:,} parameters of step {facts['step']} in the format of GPT-2: {facts['folder']}")


def _finished_run(workdir):
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


def _corpus_of(folder):
    """The folder of a run's corpus: its own, or that of the study it belongs to."""
    for place in (folder / "corpus", folder.resolve().parents[1] / "corpus"):
        if (place / "facts.json").is_file():
            return place
    raise InputError(f"workdir={str(folder)!r} has no corpus folder, nor has its study. Run it again to prepare one.")


def _dimension(options, _):
    if bool(options.file) == bool(options.model):
        raise InputError("name files of points, or --model NAME with --dataset NAME; one of the two.")
    if options.model and not options.dataset:
        raise InputError(f"model={options.model!r} needs texts to read. Give --dataset NAME, a folder, or stdlib.")
    if options.max_points is not None and options.max_points < 1:
        raise InputError(f"max_points={options.max_points} must be positive. Give a larger value.")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"seed={options.seed} must lie between 0 and 2**63. Give another.")
    if options.largest_k < 4:
        raise InputError(f"largest_k={options.largest_k} must be at least 4, where profiles begin. Give a larger one.")
    if options.plot:
        from jaxscale import reports

        reports.check_plot(options.plot)
    from jaxscale import progress

    with progress.OnTerminal() as bars:
        measured = _measured(options, bars)
    if options.plot:
        reports.write_plot(measured, options.plot)
    if options.json:
        return _print_json(measured)
    from rich.console import Console

    from jaxscale import reports

    console = Console()
    reports.print_clouds(measured, console)
    if options.plot:
        console.print(f"Plot: {options.plot}", highlight=False, soft_wrap=True)


def _measured(options, bars):
    """The document of `jaxscale dimension`: how it was measured, and every cloud's estimates and profiles."""
    import jax

    from jaxscale.dimension.registry import at_all_neighbors
    from jaxscale.dimension.summary import summary

    estimators = [name.strip() for name in options.estimators.split(",")]
    for name in estimators:
        at_all_neighbors(name)
    scales = options.scales or ("neighbors" if options.plot else None)
    ks = [4 << i for i in range((options.largest_k // 4).bit_length())] if scales == "neighbors" else []
    key = jax.random.key(options.seed) if scales == "decimation" else None
    clouds, sources = [], _clouds_of_model(options, bars) if options.model else _clouds_of_files(options)
    for index, total, name, points, documents in sources:
        report = bars.run(name, index, total, "cloud")
        try:
            said = summary(
                points,
                estimators,
                options.k,
                options.metric,
                options.nonfinite,
                documents,
                ks,
                key,
                options.calibrate,
                report,
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        clouds.append({"cloud": name, "shape": list(points.shape), **said})
    return {"k": options.k, "metric": options.metric, "seed": options.seed, "clouds": clouds}


def _clouds_of_files(options):
    """(index, total, name, points, no documents) for each file."""
    from jaxscale.data import point_files

    for index, path in enumerate(options.file):
        points = point_files.open_points(path, options.array)
        points = point_files.draw_rows(points, options.max_points, options.seed)
        yield index, len(options.file), path, points, None


def _clouds_of_model(options, bars):
    """(index, total, name, points, documents) for each layer."""
    from jaxscale import config, data
    from jaxscale.models import hidden_states

    try:
        layers = None if options.layers is None else [int(layer) for layer in options.layers.split(",")]
    except ValueError:
        raise InputError(f"layers={options.layers!r} must be numbers apart by commas, such as 0,6,-1.") from None
    model = hidden_states.pretrained(options.model)
    if options.dataset == "stdlib":
        corpus = config.Corpus(kind="stdlib")
    elif pathlib.Path(options.dataset).exists() or any(sign in options.dataset for sign in "*?["):
        corpus = config.Corpus(kind="files", path=options.dataset)
    else:
        corpus = config.Corpus(
            kind="hf",
            name=options.dataset,
            subset=options.subset,
            split=options.split,
            text_field=options.text_field,
        )
    states = hidden_states.hidden_states(
        model,
        (document.text for document in data.documents(corpus)),
        points=options.max_points or 4000,
        tokens_per_document=options.tokens_per_document,
        layers=layers,
        context=options.context,
        batch_size=options.batch_size,
        seed=options.seed,
        report=bars.run(f"tokens through {options.model}", 0, 1, "model"),
    )
    for index, (layer, points) in enumerate(states.layers.items()):
        yield index, len(states.layers), f"layer {layer}", points, states.document


def _fit(options, _):
    import jax

    from jaxscale import laws, reports

    if not 0 <= options.seed < 2**63:
        raise InputError(f"seed={options.seed} must lie between 0 and 2**63. Give another.")
    if options.page:
        reports.check_law_page(options.page)
    dimension = options.dimension and _with_interval("dimension", options.dimension)
    beta = _with_interval("beta", options.beta)
    objectives = {
        "huber": lambda: laws.huber(options.delta),
        "least-squares": laws.least_squares,
        "absolute": laws.least_absolute_deviations,
    }
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
    fit = laws.fit(table, options.law, key=fit_key, **chosen)
    check = laws.against_theory(fit, *dimension, *beta) if dimension else None
    others = [options.law, *options.compare]
    comparison = laws.compare(table, others, key=compare_key, **chosen) if options.compare else None
    said = _finite(laws.document(fit, document_key, check, comparison))
    if options.page:
        reports.write_law_page(said, options.page, pathlib.Path(options.file).name)
    if options.json:
        return _print_json(said)
    from rich.console import Console

    console = Console()
    reports.print_law(said, console)
    if options.page:
        console.print(f"Page: {options.page}", highlight=False, soft_wrap=True)


def _with_interval(name, values):
    """(estimate, its interval or None) from one number or three."""
    if len(values) not in (1, 3):
        raise InputError(f"{name}={values} must be one number, or three: the estimate, and its interval's ends.")
    return values[0], tuple(values[1:]) or None


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
