"""What to do, as typed values: frozen dataclasses, loaded from one Python file per experiment, overridden by flags.

    config = load("configs/quickstart.py", ["--run.training.steps", "200"])

A config file is ordinary Python that binds `config` to a `Run` (one training run) or a `DataScaling` (a study).
"""

import dataclasses
import difflib
import importlib.util
import json
import pathlib
import re
import typing
from typing import Literal

from jaxscale import files
from jaxscale.errors import InputError

# --- what a run is made of ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Where the text comes from and how it is split into training and held-out documents."""

    kind: Literal["stdlib", "files", "tfds", "hf"] = "stdlib"
    """stdlib: this interpreter's standard library; files: local text; tfds, hf: a dataset by name."""
    path: str = ""
    """files: a folder (every file below it) or a glob. tfds: the data_dir of a prepared dataset."""
    name: str = ""
    """tfds: `dataset/config:version`; the first will do. hf: a repository id, or a builder such as `text` or `json`."""
    subset: str = ""
    """hf: the dataset's configuration, where it has several."""
    split: str = "train"
    """tfds, hf: the split to read; held-out documents are taken from it."""
    text_field: str = "text"
    """tfds, hf: the feature that holds the text."""
    undecodable: Literal["error", "replace", "skip"] = "error"
    """files: what to do with a file that is not UTF-8."""
    held_out_fraction: float = 0.1
    """Share of the documents held out for evaluation, chosen by a hash of their content."""
    passage: int | None = None
    """Cut training documents into passages of this many tokens before they are shuffled (None: whole documents), so
    that a small number of tokens n is a sample of the whole corpus, not of a few long documents."""
    max_documents: int | None = None
    """Read at most this many documents (None: all); for corpora larger than the study needs."""
    seed: int = 0
    """Seeds the split and the order of the documents."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """How text becomes integers; saved beside the run that used it."""

    kind: Literal["bytes", "bpe", "pretrained"] = "bpe"
    """bytes: the 256 bytes; bpe: byte-level, trained on the training documents; pretrained: from the Hugging Face"""
    vocab_size: int = 512
    """bpe: entries to train, end-of-text included. pretrained: entries it must have. bytes: ignored (257)."""
    name: str = ""
    """pretrained: the hub's name, such as `gpt2`."""
    training_documents: int = 100_000
    """bpe: train on at most this many documents."""


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Shape of the decoder language model (`jaxscale.models.Decoder`)."""

    layers: int = 2
    width: int = 128
    heads: int = 4
    hidden: int = 512
    """Width of the MLP between its two (GELU) or three (SwiGLU) matrices."""
    context: int = 128
    """Tokens a sequence holds."""
    activation: Literal["gelu", "swiglu"] = "gelu"
    positions: Literal["rotary", "learned"] = "rotary"
    tied: bool = True
    """Use the embedding table as output matrix too."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of activations and matmul inputs; parameters, softmax, norms and losses stay float32."""


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """AdamW with gradient clipping and a warmed-up schedule."""

    learning_rate: float = 3e-3
    schedule: Literal["cosine", "wsd", "constant"] = "wsd"
    """cosine: warm-up, then half a cosine; wsd: warm-up, stable, linear decay; constant: warm-up, then flat."""
    warmup_steps: int = 20
    decay_fraction: float = 0.2
    """wsd: share of the steps spent decaying."""
    final_fraction: float = 0.1
    """cosine, wsd: last learning rate as a share of the peak."""
    b1: float = 0.9
    b2: float = 0.95
    weight_decay: float = 0.1
    """Applied to matrices only."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How long to train, how often to look, when to stop."""

    steps: int = 1000
    """Optimizer steps at most."""
    epochs: float | None = None
    """Passes over the run's tokens at most (None: no limit); the schedule ends with whichever limit comes first."""
    batch_size: int = 32
    """Sequences a step, over all devices."""
    accumulation: int = 1
    """Gradients of this many equal parts of a batch are averaged before the update."""
    evaluate_every: int = 50
    """Steps between evaluations, at least."""
    evaluate_growth: float = 0.0
    """Share of the steps so far that lie between evaluations, at least: early minima are seen as finely as late."""
    evaluation_sequences: int = 256
    """Held-out sequences an evaluation reads, at most."""
    patience: int = 0
    """Stop after this many evaluations without a new minimum (0: never)."""
    checkpoint_every: int = 1
    """Evaluations between checkpoints of a run that is under way; a new minimum is always saved."""
    log_every: int = 10


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Devices along each axis; one of them may be -1: all that remain."""

    replica: int = -1
    """Data parallel: parameters copied, batch divided."""
    fsdp: int = 1
    """Fully sharded data parallel: parameters and batch divided."""
    tensor: int = 1
    """Heads, hidden units and vocabulary divided."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run: everything needed to repeat it."""

    corpus: Corpus = Corpus()
    tokenizer: Tokenizer = Tokenizer()
    model: Decoder = Decoder()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    mesh: Mesh = Mesh()
    tokens: int | None = None
    """Training tokens n (None: all). For one seed the smaller sets lie inside the larger ones."""
    seed: int = 0
    """Seeds the parameters, the place in the shuffled corpus where the n tokens begin, and the order of the batches."""


# --- studies --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Dimension:
    """Which embeddings are measured, and how."""

    k: int = 20
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """cosine is the angle between embeddings."""
    points: int = 3600
    """Held-out tokens embedded, at most."""
    tokens_per_document: int = 32
    """Tokens a held-out document contributes, at most."""
    layer: int = -1
    """The layer the prediction rests on; 0 is the token embedding, -1 the last, after the final norm."""


@dataclasses.dataclass(frozen=True)
class DataScaling:
    """A data-scaling study: train on n tokens for each of `sizes` and `seeds`, measure d, predict, compare."""

    run: Run = Run()
    """What all runs share; its `tokens` and `seed` are replaced by the grid's."""
    sizes: tuple[int, ...] = (4096, 8192, 16384, 32768, 65536, 131072)
    """Training tokens n of the grid."""
    seeds: tuple[int, ...] = (0, 1)
    beta: float = 1.0
    """Assumed Hölder smoothness of the target, in (0, 1]."""
    dimension: Dimension = Dimension()
    resamples: int = 2000
    """Bootstrap resamples behind the exponent's interval."""
    level: float = 0.95
    """Of every interval."""


Config = Run | DataScaling


# --- loading --------------------------------------------------------------------------------------------------------


def load(path, overrides=(), kind=None, prog=None):
    """The configuration that a file binds to `config`, with command-line overrides applied, checked.

    Args:
      path: a Python file.
      overrides: flags such as `["--run.training.steps", "200"]`; `--help` prints every field and default and exits.
      kind: `Run` or `DataScaling`; a study's file also serves where a `Run` is wanted: its largest, first-seed run.
      prog: name of the command in help and error texts.

    Returns:
      A frozen dataclass.

    Raises:
      InputError: no such file, the file fails, unknown or ill-typed fields (with the nearest valid name), values that
        contradict each other.
      SystemExit: with code 2 for bad flags, which are explained on standard error; with 0 after `--help`.
    """
    import tyro

    config = _from_file(pathlib.Path(path))
    check_types(config)
    validate(config)
    if kind is Run and isinstance(config, DataScaling):
        config = cell(config, max(config.sizes), config.seeds[0])
    if kind is not None and not isinstance(config, kind):
        raise InputError(
            f"config={str(path)!r} holds a {type(config).__name__}; this command needs a {kind.__name__}. "
            f"Use `jaxscale train` for a Run and `jaxscale study` for a study."
        )
    config = tyro.cli(type(config), default=config, args=list(overrides), prog=prog or f"… {path}")
    validate(config)
    return config


def cell(study, tokens, seed):
    """The run of a study's grid with `tokens` training tokens and `seed`."""
    return dataclasses.replace(study.run, tokens=tokens, seed=seed)


def to_json(config):
    """The configuration as indented JSON text, the content of `config.json`."""
    return json.dumps(dataclasses.asdict(config), indent=2, ensure_ascii=False) + "\n"


def from_json(text, kind):
    """The `kind` (`Run` or `DataScaling`) that `to_json` wrote. Raises InputError for a text it did not write."""
    import pydantic

    try:
        return pydantic.TypeAdapter(kind).validate_json(text)
    except pydantic.ValidationError as error:
        raise InputError(_explain(error, kind)) from None


def claim(folder, config):
    """Makes `folder` the folder of `config`: writes `config.json` there, or checks the one it holds.

    Raises:
      InputError: the folder holds another configuration (the differing fields are named).
    """
    refuse_other(folder, config)
    path = pathlib.Path(folder) / "config.json"
    if not path.is_file():
        files.write_text(path, to_json(config))


def refuse_other(folder, config):
    """Raises InputError, naming the fields that differ, if `folder` holds another configuration than `config`."""
    path = pathlib.Path(folder) / "config.json"
    if path.is_file():
        try:
            there = dataclasses.asdict(from_json(path.read_text(encoding="utf-8"), type(config)))
        except InputError as error:
            raise InputError(f"{str(path)!r} is no {type(config).__name__}: {error} Use another folder.") from None
        changed = [f"{name}={b!r} (there: {a!r})" for name, a, b in differences(there, dataclasses.asdict(config))]
        if changed:
            raise InputError(
                f"workdir={str(folder)!r} holds another configuration: {'; '.join(changed[:5])}. "
                "Use another folder, or delete this one."
            )


def differences(old, new, prefix=""):
    """Names, with both values, of the fields in which two configurations (as nested mappings) differ."""
    for name in sorted(set(old) | set(new)):
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name}", a, b


def _from_file(path):
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else pathlib.Path("configs")
        near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.py")], n=1)
        hint = f" Did you mean {folder / near[0]}?" if near else " Give the path of a config file."
        raise InputError(f"config={str(path)!r}: no such file.{hint}")
    spec = importlib.util.spec_from_file_location(f"jaxscale_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"config={str(path)!r} is not a Python file. Give a file ending in .py that binds `config`.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # whatever a user's file raises is told as that file's fault, with its cause
        raise InputError(f"config={str(path)!r} fails: {_nearest_field(error)}") from error
    config = getattr(module, "config", None)
    if not isinstance(config, typing.get_args(Config)):
        raise InputError(
            f"config={str(path)!r} must bind `config` to a Run or a DataScaling, not {type(config).__name__}."
        )
    return config


def _nearest_field(error):
    """The text of `error`; for a misspelt field of a config class, with the name that was probably meant."""
    match = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not match or match[1] not in globals():
        return f"{type(error).__name__}: {error}"
    return _unknown_field(globals()[match[1]], match[2])


def _unknown_field(kind, name):
    names = [f.name for f in dataclasses.fields(kind)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(names)}."
    return f"{kind.__name__} has no field {name!r}. {hint}"


def check_types(config):
    """Raises InputError if a field, at any depth, is not of its declared type (an int will do for a float)."""
    import pydantic

    try:
        # As JSON, because strict validation of a mapping wants instances where JSON has objects.
        text = json.dumps(dataclasses.asdict(config), default=repr)
        pydantic.TypeAdapter(type(config)).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise InputError(_explain(error, type(config))) from None


def _explain(error, kind):
    first = error.errors()[0]
    names = [part for part in first["loc"] if isinstance(part, str) and part.isidentifier()]
    if first["type"] == "unexpected_keyword_argument":
        for name in names[:-1]:
            kind = next(f.type for f in dataclasses.fields(kind) if f.name == name)
        return _unknown_field(kind, names[-1])
    field = ".".join(names)
    return (
        f"{field}={first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}. Change the field in the config file."
    )


# --- values that must fit together ----------------------------------------------------------------------------------


def validate(config):
    """Raises InputError, naming field, value and remedy, if values are out of range or contradict each other."""
    if isinstance(config, DataScaling):
        _validate_study(config)
    else:
        _validate_run(config, "")


def _need(condition, field, value, sentence):
    if not condition:
        raise InputError(f"{field}={value!r} {sentence}")


def _positive(config, prefix, names):
    for name in names.split():
        value = getattr(config, name)
        _need(value > 0, f"{prefix}{name}", value, "must be positive. Give a larger value.")


def _validate_run(run, at):
    model, training, optimizer, corpus = run.model, run.training, run.optimizer, run.corpus
    _positive(model, f"{at}model.", "layers width heads hidden context")
    _need(
        model.width % model.heads == 0,
        f"{at}model.heads",
        model.heads,
        f"must divide model.width={model.width}. Choose a divisor of the width.",
    )
    _need(
        model.positions == "learned" or (model.width // model.heads) % 2 == 0,
        f"{at}model.heads",
        model.heads,
        f"leaves an odd head width {model.width // model.heads}, which rotary positions cannot pair. "
        "Choose fewer or more heads, or positions='learned'.",
    )
    _positive(training, f"{at}training.", "steps batch_size accumulation evaluate_every evaluation_sequences")
    _positive(training, f"{at}training.", "checkpoint_every log_every")
    _need(
        0 <= training.evaluate_growth < 1,
        f"{at}training.evaluate_growth",
        training.evaluate_growth,
        "must lie between 0 and 1. 0.05 is usual.",
    )
    _need(training.patience >= 0, f"{at}training.patience", training.patience, "must be 0 (off) or more.")
    _need(
        training.batch_size % training.accumulation == 0,
        f"{at}training.accumulation",
        training.accumulation,
        f"must divide training.batch_size={training.batch_size}. Choose a divisor of the batch.",
    )
    if training.epochs is not None:
        _positive(training, f"{at}training.", "epochs")
    _positive(optimizer, f"{at}optimizer.", "learning_rate clip_norm")
    for name in ("b1", "b2", "decay_fraction", "final_fraction"):
        value = getattr(optimizer, name)
        _need(0 <= value <= 1, f"{at}optimizer.{name}", value, "must lie between 0 and 1.")
    _need(optimizer.warmup_steps >= 0, f"{at}optimizer.warmup_steps", optimizer.warmup_steps, "must be 0 or more.")
    _need(optimizer.weight_decay >= 0, f"{at}optimizer.weight_decay", optimizer.weight_decay, "must be 0 or more.")
    _need(
        0 < corpus.held_out_fraction < 1,
        f"{at}corpus.held_out_fraction",
        corpus.held_out_fraction,
        "must lie strictly between 0 and 1. A tenth is usual.",
    )
    _need(
        run.tokens is None or run.tokens > model.context,
        f"{at}tokens",
        run.tokens,
        f"must exceed model.context={model.context}. Train on more tokens or shorten the context.",
    )
    if run.tokenizer.kind == "bpe":
        _need(
            run.tokenizer.vocab_size > 257,
            f"{at}tokenizer.vocab_size",
            run.tokenizer.vocab_size,
            "must exceed 257, the bytes and end-of-text. Give a larger one, or tokenizer.kind='bytes'.",
        )
    for field, seed in (("seed", run.seed), ("corpus.seed", corpus.seed)):
        _need(0 <= seed < 2**63, f"{at}{field}", seed, "must lie between 0 and 2**63.")
    for field in ("passage", "max_documents"):
        if getattr(corpus, field) is not None:
            _positive(corpus, f"{at}corpus.", field)
    for kind, name in (("files", "path"), ("tfds", "name"), ("hf", "name")):
        if corpus.kind == kind:
            value = getattr(corpus, name)
            _need(value, f"{at}corpus.{name}", value, f"is needed for corpus.kind={kind!r}. Say what to read.")


def _validate_study(study):
    _need(
        len(study.sizes) >= 4 and len(set(study.sizes)) == len(study.sizes),
        "sizes",
        study.sizes,
        "needs at least 4 different numbers of tokens: the law has three parameters.",
    )
    _need(
        len(study.seeds) >= 1 and len(set(study.seeds)) == len(study.seeds),
        "seeds",
        study.seeds,
        "needs at least one seed, none twice.",
    )
    for seed in study.seeds:
        _need(seed >= 0, "seeds", study.seeds, "must not be negative.")
    _need(0 < study.beta <= 1, "beta", study.beta, "must lie in (0, 1], where the theorem holds.")
    _need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    _need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")
    _need(study.dimension.k >= 3, "dimension.k", study.dimension.k, "must be at least 3. 20 is usual.")
    _need(
        study.dimension.points > study.dimension.k,
        "dimension.points",
        study.dimension.points,
        f"must exceed dimension.k={study.dimension.k}. Measure more points.",
    )
    _positive(study.dimension, "dimension.", "tokens_per_document")
    layers = study.run.model.layers
    _need(
        -layers - 1 <= study.dimension.layer <= layers,
        "dimension.layer",
        study.dimension.layer,
        f"must lie between {-layers - 1} and run.model.layers={layers}.",
    )
    for size in study.sizes:
        _validate_run(cell(study, size, study.seeds[0]), "run.")
