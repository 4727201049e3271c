"""The study of position encodings as typed values, and what must fit together in them."""

import dataclasses
from typing import ClassVar

from jaxscale.config import Configuration, Decoder
from jaxscale.config.conditions import distinct, need, positive, resampled


@dataclasses.dataclass(frozen=True)
class PositionStudy(Configuration):
    """Which position encodings generalize in length? A decoder for every algorithmic task, encoding and seed."""

    kind: ClassVar[str] = "positions"
    command: ClassVar[str] = "length"

    tasks: tuple[str, ...] = ("bin_majority", "majority", "sort", "unique_copy", "repeat_copy", "parity")
    """Names in `jaxscale.lengths.ALGORITHMIC`."""
    encodings: tuple[str, ...] = ("none", "learned", "learned_regularized", "alibi", "rotary")
    """Names in `jaxscale.lengths.positions.ENCODINGS`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of parameters and prompts; a network for each."""
    longest_train: int = 50
    """Prompts of every length up to this are trained on, all alike."""
    test_bins: tuple[int, ...] = (50, 100, 150)
    """Ends of the ranges of prompt lengths that are tested: up to 50, 51 to 100, 101 to 150."""
    model: Decoder = dataclasses.field(default_factory=Decoder)
    """Its context and positions are replaced by what the tasks and the encodings need."""
    steps: int = 3000
    """Optimizer steps at most."""
    batch_size: int = 32
    """Prompts a step."""
    learning_rate: float = 1e-3
    """At the peak: after a warm-up of 5% of the steps, before a linear fall to a tenth."""
    checkpoint_every: int = 500
    """Steps between looks at the training range, at which a run that fits it stops."""
    regularizer: float = 1e-3
    """learned_regularized: weight of the predecessor's positional term; 1e-4 and 1e-3 are its authors' choices."""
    samples: int = 256
    """Prompts that each range is tested on."""
    fitted: float = 0.99
    """Share of prompts of the training range answered exactly from which a run counts as fitted."""
    level: float = 0.95
    """Of every interval."""
    resamples: int = 1000
    """Bootstrap resamples of runs and prompts."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        _check(self)


def _check(study: PositionStudy) -> None:
    from jaxscale.lengths.algorithmic import ALGORITHMIC as tasks  # loads jax
    from jaxscale.lengths.positions import ENCODINGS

    distinct(study, "tasks", "encodings", "seeds", "test_bins")
    for name in study.tasks:
        need(name in tasks, "tasks", name, f"is not one of {', '.join(tasks)}. Choose some of them.")
    for name in study.encodings:
        need(name in ENCODINGS, "encodings", name, f"is not one of {', '.join(ENCODINGS)}. Choose some of them.")
    positive(study, "", "longest_train steps batch_size learning_rate checkpoint_every samples")
    model = study.model
    positive(model, "model.", "layers width heads hidden")
    need(
        model.width % model.heads == 0 and ("rotary" not in study.encodings or model.width // model.heads % 2 == 0),
        "model.heads",
        model.heads,
        f"must divide model.width={model.width}, for rotary into heads of even width. Choose another number of heads.",
    )
    need(
        list(study.test_bins) == sorted(study.test_bins) and study.test_bins[0] == study.longest_train,
        "test_bins",
        study.test_bins,
        f"must increase and begin with longest_train={study.longest_train}, the range that is trained on.",
    )
    for name in study.tasks:
        task = tasks[name]
        need(
            study.longest_train > task.shortest,
            "longest_train",
            study.longest_train,
            f"must exceed {task.shortest}, the shortest prompt of {name}. Raise it.",
        )
        need(
            task.longest is None or study.test_bins[-1] <= task.longest,
            "test_bins",
            study.test_bins,
            f"exceed {task.longest}, the longest prompt of {name}. Lower the last one.",
        )
    need(0 < study.fitted <= 1, "fitted", study.fitted, "must lie in (0, 1]. 0.99 is usual.")
    need(study.regularizer >= 0, "regularizer", study.regularizer, "must be 0 or more. 1e-3 is usual.")
    resampled(study)
