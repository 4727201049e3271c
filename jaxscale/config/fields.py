"""What to do, as typed values: the frozen dataclasses that a run is made of, with every default."""

import dataclasses
from typing import ClassVar, Literal

from jaxscale.config.checks import check_run
from jaxscale.config.configuration import Configuration
from jaxscale.config.types import Values

Mixer = Literal["softmax", "window", "relu", "convolution", "state_space", "mlp"]


@dataclasses.dataclass(frozen=True)
class Corpus(Values):
    """Where the text comes from and how it is split into training and held-out documents."""

    kind: Literal["stdlib", "docstrings", "reference", "grammar", "installed", "files", "tfds", "hf", "python"] = (
        "stdlib"
    )
    """stdlib: this interpreter's standard library; docstrings: only their prose; reference: the language reference;
    grammar: strings of a random grammar; installed: source of the installed packages; files: local text; tfds, hf: a
    dataset by name; python: what a function of yours gives."""
    path: str = ""
    """files: a folder (every file below it), a file or a glob. tfds: the data_dir of a prepared dataset. hf: data
    files. python: a Python file."""
    name: str = ""
    """tfds: `dataset/config:version`; the first will do. hf: a repository id, or a builder such as `text` or `json`.
    python: the function in `path`, which takes nothing and gives an iterable of texts or (name, text) pairs."""
    subset: str = ""
    """hf: the dataset's configuration, where it has several."""
    split: str = "train"
    """tfds, hf: the split to read; held-out documents are taken from it."""
    text_field: str = "text"
    """tfds, hf: the feature that holds the text. files: that of JSON, table and Parquet records, "" to read JSON and
    tables as text. Where no record has the field "text", one called content, body or document, or the only one that
    holds text, is read and named."""
    separator: str = ""
    """files: what separates the documents of a file: "blank_line", or a text such as "<|endoftext|>" ("": a file is one
    document)."""
    separator_pattern: str = ""
    """files: the same as a regular expression, whose ^ and $ are ends of lines; what matches is left out."""
    passage_characters: int | None = None
    """Cut documents that are longer into passages of at most this many characters, each held out or not for itself
    (None: never). So a single long text can be split into training and held-out text."""
    gap: int | None = None
    """With passage_characters: characters left out around held-out passages (None: a tenth of a passage)."""
    encoding: str = "utf-8"
    """files: of text without a byte-order mark: a name such as "windows-1252", or "detect" to have it found."""
    line_ends: Literal["lf", "kept"] = "lf"
    """files: lf reads the line ends of Windows as one character; kept keeps them."""
    undecodable: Literal["error", "replace", "skip"] = "error"
    """What to do with text that is not UTF-8: refuse it, replace the bytes, or leave it out. skip also leaves out files
    that are binary, damaged or unreadable, and broken JSON lines; all are counted."""
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
class Tokenizer(Values):
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
class Decoder(Values):
    """Shape of the decoder language model (`jaxscale.models.Decoder`)."""

    layers: int = 2
    """Blocks of attention and MLP."""
    width: int = 128
    """Of the residual stream."""
    heads: int = 4
    """Attention heads; each is width / heads wide."""
    key_value_heads: int | None = None
    """Heads of keys and values, each shared by heads / key_value_heads of queries (None: as many as heads)."""
    hidden: int = 512
    """Width of the MLP between its two (GELU) or three (SwiGLU) matrices."""
    context: int = 128
    """Tokens a sequence holds."""
    activation: Literal["gelu", "swiglu"] = "gelu"
    """gelu: an MLP of two matrices; swiglu: of three, one of them a gate."""
    positions: Literal["rotary", "learned"] = "rotary"
    """rotary: queries and keys turned by their position; learned: a vector added to each position."""
    rotary_base: float = 10_000.0
    """rotary: ratio of the slowest turning to the fastest, nearly; larger for longer contexts."""
    tied: bool = True
    """Use the embedding table as output matrix too."""
    norm: Literal["rms", "layer"] = "rms"
    """rms: by the root mean square; layer: by mean and variance, with a learned shift (GPT-2)."""
    norm_epsilon: float | None = None
    """Added to the mean square or variance before its root is taken (None: 1e-6 for rms, 1e-5 for layer)."""
    bias: bool = False
    """Add a learned vector after every matrix but the output's."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of activations and matmul inputs; parameters, softmax, norms and losses stay float32."""
    attention: Literal["plain", "fused"] = "plain"
    """fused: by cuDNN on NVIDIA GPUs (bfloat16) and splash attention on TPUs, which never hold all weights."""
    scan: bool = False
    """Run the blocks as one scanned program: compile time does not grow with depth; parameters lie stacked."""


@dataclasses.dataclass(frozen=True)
class PointRegressor(Values):
    """Shape of the networks but for their width (`jaxscale.models.Regressor`)."""

    mixer: Mixer = "softmax"
    """What exchanges information between tokens; "mlp" has a single token, and nothing to exchange."""
    tokens: int = 4
    """That a point is made into; in a language the symbols of the context are the tokens."""
    layers: int = 2
    """Blocks of mixing and feed-forward."""
    heads: int = 2
    """Of the mixers that have heads; each width must be a multiple of it."""
    expansion: int = 2
    """Hidden width of the feed-forward part over the width."""


@dataclasses.dataclass(frozen=True)
class Optimizer(Values):
    """AdamW with gradient clipping and a warmed-up schedule."""

    learning_rate: float = 3e-3
    """At the peak of the schedule."""
    schedule: Literal["cosine", "wsd", "constant"] = "wsd"
    """cosine: warm-up, then half a cosine; wsd: warm-up, stable, linear decay; constant: warm-up, then flat."""
    warmup_steps: int = 20
    """From zero to the peak; cut to a fifth of a run that is short."""
    decay_fraction: float = 0.2
    """wsd: share of the steps spent decaying."""
    final_fraction: float = 0.1
    """cosine, wsd: last learning rate as a share of the peak."""
    b1: float = 0.9
    """Share of the running mean of gradients that a step keeps."""
    b2: float = 0.95
    """Share of the running mean of squared gradients that a step keeps."""
    weight_decay: float = 0.1
    """Applied to matrices only."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient."""


@dataclasses.dataclass(frozen=True)
class Training(Values):
    """How long to train, how often to look, when to stop."""

    steps: int = 1000
    """Optimizer steps at most."""
    epochs: float | None = None
    """Passes over the run's tokens at most (None: no limit); the schedule ends with whichever limit comes first."""
    batch_size: int = 32
    """Sequences a step, over all devices."""
    accumulation: int = 1
    """Gradients of this many equal parts of a batch are averaged before the update."""
    remat: Literal["none", "dots", "full"] = "none"
    """What the backward pass computes again: nothing; all of a block but its products with weights; whole blocks."""
    loss_chunks: int = 1
    """Logits are formed for this many parts of the vocabulary, one after the other, and never whole."""
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
    """Steps between lines of training metrics."""
    bad_steps: Literal["stop", "skip"] = "stop"
    """What to do about a step whose loss or result is not finite, or whose gradient spikes: stop, keeping the last good
    state; or leave its update out, log it, and go on."""
    spike: float = 0.0
    """A gradient with this many times the usual norm is a spike (0: none is)."""
    most_skipped: int = 10
    """Bad steps in a row after which a run that skips them stops all the same."""
    wandb: str = ""
    """Report to this Weights & Biases project too; needs the extra [wandb]."""


@dataclasses.dataclass(frozen=True)
class Mesh(Values):
    """Devices along each axis; one of them may be -1: all that remain."""

    replica: int = -1
    """Data parallel: parameters copied, batch divided."""
    fsdp: int = 1
    """Fully sharded data parallel: parameters and batch divided."""
    context: int = 1
    """Each sequence divided: activations of long contexts."""
    tensor: int = 1
    """Heads, hidden units and vocabulary divided."""
    slices: int = 1
    """Groups of devices that only a slower network joins (TPU slices, GPU nodes); they divide the replicas."""


@dataclasses.dataclass(frozen=True)
class Run(Configuration):
    """One training run: everything needed to repeat it."""

    kind: ClassVar[str] = "run"
    command: ClassVar[str] = "train"

    corpus: Corpus = Corpus()
    """The text."""
    tokenizer: Tokenizer = Tokenizer()
    """How it becomes integers."""
    model: Decoder = Decoder()
    """What is trained."""
    optimizer: Optimizer = Optimizer()
    """How it is updated."""
    training: Training = Training()
    """How long, and when to look and stop."""
    mesh: Mesh = Mesh()
    """On which devices."""
    tokens: int | None = None
    """Training tokens n (None: all). For one seed the smaller sets lie inside the larger ones."""
    seed: int = 0
    """Seeds the parameters, the place in the shuffled corpus where the n tokens begin, and the order of the batches."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        check_run(self)


@dataclasses.dataclass(frozen=True)
class Dimension(Values):
    """Which embeddings are measured, and how."""

    k: int = 20
    """Neighbors of each point that the estimator reads."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """cosine is the angle between embeddings."""
    points: int = 3600
    """Held-out tokens embedded, at most."""
    tokens_per_document: int = 32
    """Tokens a held-out document contributes, at most."""
    layer: int = -1
    """The layer the prediction rests on; 0 is the token embedding, -1 the last, after the final norm."""
