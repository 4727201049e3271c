"""Studies of length generalization as typed values: what to train on which lengths, and what to test on."""

import dataclasses
from typing import Any, ClassVar, Literal

from jaxscale.config import Configuration
from jaxscale.config.conditions import distinct, need, positive, resampled
from jaxscale.config.types import Values

# Of a task: keyword arguments by name, all numbers.
Parameters = dict[str, Any]
# How parameters of the tasks, and the train length, are written.
NAMES = {"omega": "ω", "period": "p", "order": "k", "symbols": "S", "train_length": "N"}


@dataclasses.dataclass(frozen=True)
class LimitNetwork(Values):
    """Shape of the limit transformers of a study (`jaxscale.lengths.LimitTransformer`); the task fixes the rest."""

    width: int = 16
    """Of the embeddings."""
    heads: int = 1
    """In every layer; for the k-gram at least as many as the largest order."""
    hidden: int = 64
    """Width of the ReLU network after attention."""


@dataclasses.dataclass(frozen=True)
class LengthTraining(Values):
    """Adam on strings drawn afresh at every step, with the learning rates of maximal update parametrization."""

    steps: int = 4000
    """Optimizer steps."""
    batch_size: int = 64
    """Strings a step; of a k-gram string every prefix counts as one."""
    learning_rate: float = 1e-2
    """At the peak: after a warm-up of 5% of the steps, before half a cosine down to zero."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, which an interrupted study goes on from."""


@dataclasses.dataclass(frozen=True)
class LengthStudy(Configuration):
    """How long is long enough? A limit transformer for every task parameter, train length and seed, all at once."""

    kind: ClassVar[str] = "lengths"
    command: ClassVar[str] = "length"

    task: Literal["simple", "mod_p", "k_gram"] = "simple"
    """simple: the sine of a difference of counts; mod_p: the mean over one residue; k_gram: the in-context k-gram."""
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
    """Of parameters and strings; a network for each."""
    test_lengths: tuple[int, ...] = (16, 64, 256, 1024, 8192, 65536, 1_000_000)
    """Tested besides every N, 10 N and the limit T = ∞."""
    samples: int = 8192
    """Strings (k_gram: at most) a test loss is the mean of; the simple task's are exact up to T = 4096."""
    epsilons: tuple[float, ...] = (0.03, 0.1)
    """Errors ε, root of the mean square, at which the least sufficient train length N*(ε) is read."""
    network: LimitNetwork = LimitNetwork()
    """Its shape."""
    training: LengthTraining = LengthTraining()
    """How it is trained."""
    level: float = 0.95
    """Of every interval."""
    resamples: int = 1000
    """Bootstrap resamples of the seeds."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        _check(self)


def complexities(study: LengthStudy) -> list[Parameters]:
    """The task parameters of a `LengthStudy`'s grid, as keyword arguments of its task."""
    if study.task == "simple":
        return [{"omega": float(omega)} for omega in study.omegas]
    if study.task == "mod_p":
        return [{"period": period} for period in study.periods]
    return [{"order": order, "symbols": symbols} for order in study.orders for symbols in study.alphabets]


def _check(study: LengthStudy) -> None:
    distinct(study, "train_lengths", "seeds", "omegas", "periods", "orders", "alphabets", "epsilons", "test_lengths")
    positive(study.network, "network.", "width heads hidden")
    positive(study.training, "training.", "steps batch_size learning_rate checkpoint_every")
    need(study.samples >= 64, "samples", study.samples, "must be at least 64 for a mean.")
    need(all(e > 0 for e in study.epsilons), "epsilons", study.epsilons, "must be positive errors.")
    resampled(study)
    need(min(study.train_lengths) >= 1, "train_lengths", study.train_lengths, "must be positive.")
    need(
        min(study.test_lengths) >= 1 and max(study.test_lengths) <= 2**24,
        "test_lengths",
        study.test_lengths,
        "must lie between 1 and 2^24.",
    )
    if study.task == "simple":
        need(all(o > 0 for o in study.omegas), "omegas", study.omegas, "must be positive frequencies.")
        _shortest(study, 1, "omegas")
    elif study.task == "mod_p":
        need(min(study.periods) >= 1, "periods", study.periods, "must be positive. 2 is the least not trivial.")
        _shortest(study, max(study.periods), "periods")
        _congruent(study)
    else:
        need(min(study.orders) >= 1, "orders", study.orders, "must be at least 1.")
        need(
            min(study.alphabets) >= 2,
            "alphabets",
            study.alphabets,
            "must be at least 2: strings over one symbol are all alike.",
        )
        need(
            study.network.heads >= max(study.orders),
            "network.heads",
            study.network.heads,
            f"must be at least the largest order, {max(study.orders)}: a head looks one token back. Give more heads.",
        )
        _shortest(study, max(study.orders) + 1, "orders")


def _shortest(study: LengthStudy, least: int, field: str) -> None:
    length = min(study.train_lengths)
    need(
        length >= least,
        "train_lengths",
        length,
        f"is below {least}, the shortest string that every one of {field}={getattr(study, field)} speaks of. "
        "Train on longer strings.",
    )


def _congruent(study: LengthStudy) -> None:
    """With a fixed train length the query's residue is fixed too, and a test at another one asks for the untrained."""
    if study.train_on == "up_to":
        return
    for period in study.periods:
        for length in study.train_lengths:
            other = [test for test in study.test_lengths if test % period != length % period]
            need(
                not other,
                "test_lengths",
                other[0] if other else None,
                f"is {other[0] % period if other else 0} mod {period}, but strings of train_on='fixed' with N={length} "
                f"always end at residue {length % period}: the network has never seen that query. "
                "Choose congruent lengths, or train_on='up_to'.",
            )
