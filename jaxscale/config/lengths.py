"""Studies of length generalization as typed values: what to train on which lengths, and what to test on."""

import dataclasses
from typing import Literal

from jaxscale.config.fields import Decoder
from jaxscale.config.types import Values

Encoding = Literal[
    "none",
    "learned",
    "learned_regularized",
    "periodic",
    "local_bias",
    "t5",
    "alibi",
    "rotary",
    "fire",
    "randomized",
]


@dataclasses.dataclass(frozen=True)
class LimitNetwork(Values):
    """Shape of the limit transformers of a study (`jaxscale.lengths.LimitTransformer`); the task fixes the rest."""

    width: int = 16
    heads: int = 1
    """In every layer; for the k-gram at least as many as the largest order."""
    hidden: int = 64
    """Width of the ReLU network after attention."""


@dataclasses.dataclass(frozen=True)
class LengthTraining(Values):
    """Adam on strings drawn afresh at every step, with the learning rates of maximal update parametrization."""

    steps: int = 4000
    batch_size: int = 64
    """Strings a step; of a k-gram string every prefix counts as one."""
    learning_rate: float = 1e-2
    """At the peak: after a warm-up of 5% of the steps, before half a cosine down to zero."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, which an interrupted study goes on from."""


@dataclasses.dataclass(frozen=True)
class LengthStudy(Values):
    """How long is long enough? A limit transformer for every task parameter, train length and seed, all at once."""

    task: Literal["simple", "mod_p", "k_gram"] = "simple"
    omegas: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    """simple: frequencies ω of the target sin(ω (c_0 - c_1)/(c_0 + c_1))."""
    periods: tuple[int, ...] = (2, 3, 5, 8)
    """mod_p: periods p of the target, the mean of the tokens at positions t = 0 mod p."""
    orders: tuple[int, ...] = (1, 2)
    """k_gram: orders k; every order is trained with every alphabet."""
    alphabets: tuple[int, ...] = (2, 3)
    """k_gram: numbers of symbols S."""
    train_lengths: tuple[int, ...] = (8, 16, 32, 64, 128)
    """N; a network for each."""
    train_on: Literal["fixed", "up_to"] = "fixed"
    """fixed: strings of N tokens; up_to: of every length the task has up to N, all alike."""
    seeds: tuple[int, ...] = (0, 1, 2)
    test_lengths: tuple[int, ...] = (16, 64, 256, 1024, 8192, 65536, 1_000_000)
    """Tested besides every N, 10 N and the limit T = ∞."""
    samples: int = 8192
    """Strings (k_gram: at most) a test loss is the mean of; the simple task's are exact up to T = 4096."""
    epsilons: tuple[float, ...] = (0.03, 0.1)
    """Errors ε, root of the mean square, at which the least sufficient train length N*(ε) is read."""
    network: LimitNetwork = LimitNetwork()
    training: LengthTraining = LengthTraining()
    level: float = 0.95
    """Of every interval."""
    resamples: int = 1000
    """Bootstrap resamples of the seeds."""


@dataclasses.dataclass(frozen=True)
class PositionStudy(Values):
    """Which position encodings generalize in length? A decoder for every algorithmic task, encoding and seed."""

    tasks: tuple[str, ...] = ("bin_majority", "majority", "sort", "unique_copy", "repeat_copy", "parity")
    """Names in `jaxscale.lengths.ALGORITHMIC`."""
    encodings: tuple[Encoding, ...] = ("none", "learned", "learned_regularized", "alibi", "rotary")
    seeds: tuple[int, ...] = (0, 1, 2)
    longest_train: int = 50
    """Prompts of every length up to this are trained on, all alike."""
    test_bins: tuple[int, ...] = (50, 100, 150)
    """Ends of the ranges of prompt lengths that are tested: up to 50, 51 to 100, 101 to 150."""
    model: Decoder = dataclasses.field(default_factory=Decoder)
    """Its context and positions are replaced by what the tasks and the encodings need."""
    steps: int = 3000
    batch_size: int = 32
    learning_rate: float = 1e-3
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


def complexities(study):
    """The task parameters of a `LengthStudy`'s grid, as keyword arguments of its task."""
    if study.task == "simple":
        return [{"omega": float(omega)} for omega in study.omegas]
    if study.task == "mod_p":
        return [{"period": period} for period in study.periods]
    return [{"order": order, "symbols": symbols} for order in study.orders for symbols in study.alphabets]
