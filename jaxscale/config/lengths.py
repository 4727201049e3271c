"""Studies of length generalization as typed values: what to train on which lengths, and what to test on."""

import dataclasses
from typing import Literal

from jaxscale.config.fields import Decoder
from jaxscale.errors import InputError

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
class LimitNetwork:
    """Shape of the limit transformers of a study (`jaxscale.lengths.LimitTransformer`); the task fixes the rest."""

    width: int = 16
    heads: int = 1
    """In every layer; for the k-gram at least as many as the largest order."""
    hidden: int = 64
    """Width of the ReLU network after attention."""


@dataclasses.dataclass(frozen=True)
class LengthTraining:
    """Adam on strings drawn afresh at every step, with the learning rates of maximal update parametrization."""

    steps: int = 4000
    batch_size: int = 64
    """Strings a step; of a k-gram string every prefix counts as one."""
    learning_rate: float = 1e-2
    """At the peak: after a warm-up of 5% of the steps, before half a cosine down to zero."""
    checkpoint_every: int = 1000
    """Steps between checkpoints, which an interrupted study goes on from."""


@dataclasses.dataclass(frozen=True)
class LengthStudy:
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
class PositionStudy:
    """Which position encodings generalize in length? A decoder for every algorithmic task, encoding and seed."""

    tasks: tuple[str, ...] = ("bin_majority", "majority", "sort", "unique_copy", "repeat_copy", "parity")
    """Names in `jaxscale.lengths.ALGORITHMIC`."""
    encodings: tuple[Encoding, ...] = ("none", "learned", "learned_regularized", "alibi", "rotary")
    seeds: tuple[int, ...] = (0, 1, 2)
    longest_train: int = 50
    """Prompts of every length up to this are trained on, all alike."""
    test_bins: tuple[int, ...] = (50, 100, 150)
    """Ends of the ranges of prompt lengths that are tested: up to 50, 51 to 100, 101 to 150."""
    model: Decoder = Decoder(layers=2, width=64, heads=4, hidden=256)
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


def validate_lengths(study):
    """Raises InputError if a `LengthStudy` contradicts itself."""
    _distinct(study, "train_lengths", "seeds", "omegas", "periods", "orders", "alphabets", "epsilons", "test_lengths")
    _positive(study.network, "network.", "width", "heads", "hidden")
    _positive(study.training, "training.", "steps", "batch_size", "learning_rate", "checkpoint_every")
    _need(study.samples >= 64, "samples", study.samples, "must be at least 64 for a mean.")
    _need(all(e > 0 for e in study.epsilons), "epsilons", study.epsilons, "must be positive errors.")
    _interval(study)
    _need(min(study.train_lengths) >= 1, "train_lengths", study.train_lengths, "must be positive.")
    _need(max(study.test_lengths, default=1) <= 2**24, "test_lengths", study.test_lengths, "must not exceed 2^24.")
    if study.task == "simple":
        _need(all(o > 0 for o in study.omegas), "omegas", study.omegas, "must be positive frequencies.")
        _shortest(study, 1, "omegas")
    elif study.task == "mod_p":
        _need(min(study.periods) >= 1, "periods", study.periods, "must be positive. 2 is the least not trivial.")
        _shortest(study, max(study.periods), "periods")
        _congruent(study)
    else:
        _need(min(study.orders) >= 1, "orders", study.orders, "must be at least 1.")
        _need(
            min(study.alphabets) >= 2,
            "alphabets",
            study.alphabets,
            "must be at least 2: strings over one symbol are all alike.",
        )
        _need(
            study.network.heads >= max(study.orders),
            "network.heads",
            study.network.heads,
            f"must be at least the largest order, {max(study.orders)}: a head looks one token back. Give more heads.",
        )
        _shortest(study, max(study.orders) + 1, "orders")


def validate_positions(study, tasks):
    """Raises InputError if a `PositionStudy` contradicts itself; `tasks` are the algorithmic ones by name."""
    _distinct(study, "tasks", "encodings", "seeds", "test_bins")
    for name in study.tasks:
        _need(name in tasks, "tasks", name, f"is not one of {', '.join(tasks)}. Choose some of them.")
    _positive(study, "", "longest_train", "steps", "batch_size", "learning_rate", "checkpoint_every", "samples")
    _need(
        list(study.test_bins) == sorted(study.test_bins) and study.test_bins[0] == study.longest_train,
        "test_bins",
        study.test_bins,
        f"must increase and begin with longest_train={study.longest_train}, the range that is trained on.",
    )
    for name in study.tasks:
        task = tasks[name]
        _need(
            study.longest_train > task.shortest,
            "longest_train",
            study.longest_train,
            f"must exceed {task.shortest}, the shortest prompt of {name}. Raise it.",
        )
        _need(
            task.longest is None or study.test_bins[-1] <= task.longest,
            "test_bins",
            study.test_bins,
            f"exceed {task.longest}, the longest prompt of {name}. Lower the last one.",
        )
    _need(0 < study.fitted <= 1, "fitted", study.fitted, "must lie in (0, 1]. 0.99 is usual.")
    _need(study.regularizer >= 0, "regularizer", study.regularizer, "must be 0 or more. 1e-3 is usual.")
    _interval(study)


def _shortest(study, least, field):
    length = min(study.train_lengths)
    _need(
        length >= least,
        "train_lengths",
        length,
        f"is below {least}, the shortest string that every one of {field}={getattr(study, field)} speaks of. "
        "Train on longer strings.",
    )


def _congruent(study):
    """With a fixed train length the query's residue is fixed too, and a test at another one asks for the untrained."""
    if study.train_on == "up_to":
        return
    for period in study.periods:
        for length in study.train_lengths:
            other = [test for test in study.test_lengths if test % period != length % period]
            _need(
                not other,
                "test_lengths",
                other[0] if other else None,
                f"is {other[0] % period if other else 0} mod {period}, but strings of train_on='fixed' with N={length} "
                f"always end at residue {length % period}: the network has never seen that query. "
                "Choose congruent lengths, or train_on='up_to'.",
            )


def _distinct(study, *names):
    for name in names:
        values = getattr(study, name)
        _need(len(set(values)) == len(values) and values, name, values, "needs at least one value, none twice.")


def _interval(study):
    _need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    _need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")
    for seed in study.seeds:
        _need(0 <= seed < 2**31, "seeds", study.seeds, "must lie between 0 and 2**31.")


def _positive(config, prefix, *names):
    for name in names:
        value = getattr(config, name)
        _need(value > 0, f"{prefix}{name}", value, "must be positive. Give a larger value.")


def _need(condition, field, value, sentence):
    if not condition:
        raise InputError(f"{field}={value!r} {sentence}")
