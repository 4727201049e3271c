"""What a run has to do, how far it has come, and what came of it."""

import dataclasses
import itertools
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np

from jaxscale import config as configs
from jaxscale import files
from jaxscale.data import Batches, Store, evaluation_windows
from jaxscale.training import optimizer, throughput
from jaxscale.training.step import Program

# Why a run is over; "" while it is not.
Stopped = Literal["patience", "budget", ""]


@dataclasses.dataclass(frozen=True)
class Work:
    """All that a run needs and does not change."""

    run: configs.Run
    program: Program
    batches: Batches
    steps: int
    rates: np.ndarray
    held_out: tuple[jax.Array, jax.Array]
    flops: float
    peak: float | None

    @property
    def tokens_per_step(self) -> int:
        return self.run.training.batch_size * self.run.model.context


@dataclasses.dataclass
class Progress:
    """What a run carries beside its state: evaluations, [step, loss], steps done, seconds spent, and those in steps."""

    history: list[list[Any]]
    step: int = 0
    seconds: float = 0.0
    productive: float = 0.0

    @property
    def evaluated(self) -> int:
        """Step of the last evaluation."""
        return self.history[-1][0] if self.history else 0

    @property
    def best(self) -> list[Any]:
        """[step, loss] of the minimum of the validation curve, the earliest where there are several."""
        return min(self.history, key=lambda point: point[1])

    @property
    def since_best(self) -> int:
        """Evaluations after the minimum."""
        return len(self.history) - 1 - self.history.index(self.best)


def plan(
    run: configs.Run, store: Store, shared: Program, held_out: tuple[jax.Array, jax.Array], peak: float | None
) -> Work:
    """The `Work` of a `config.Run` on a prepared corpus.

    Args:
      run: a `config.Run`.
      store: a `data.Store`.
      shared: the `Program` of the run's shape.
      held_out: what `held_out` returned; runs of one corpus and shape share it.
      peak: FLOP/s of all devices, or None.
    """
    context, rows = run.model.context, run.training.batch_size
    batches = Batches.of(store.train, run.tokens, context, rows, key=run.seed)
    steps = run.training.steps
    if run.training.epochs is not None:
        steps = min(steps, math.ceil(run.training.epochs * batches.n / (rows * context)))
    rates, flops = optimizer.learning_rates(run.optimizer, steps), throughput.training_flops(run, store.vocab_size)
    return Work(run, shared, batches, steps, rates, held_out, flops, peak)


def held_out(
    run: configs.Run, store: Store, mesh: jax.sharding.Mesh, rows: jax.sharding.PartitionSpec
) -> tuple[jax.Array, jax.Array]:
    """Held-out windows of a run in batches, (N, B, T+1), the last filled up with weightless ones; and weights (N, B).

    Args:
      run: a `config.Run`.
      store: a `data.Store`.
      mesh: of the run.
      rows: `PartitionSpec` of the B sequences of a batch: as many as training holds in memory at once.
    """
    windows = evaluation_windows(store.held_out.tokens, run.model.context, run.training.evaluation_sequences)
    size = run.training.batch_size // run.training.accumulation
    padding = -len(windows) % size
    tokens = np.concatenate([windows, np.repeat(windows[:1], padding, axis=0)]).reshape(-1, size, windows.shape[1])
    weights = (np.arange(len(windows) + padding) < len(windows)).astype(np.float32).reshape(-1, size)
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, *rows))
    place: Callable[[np.ndarray], jax.Array] = lambda array: jax.make_array_from_callback(
        array.shape, where, lambda index: array[index]
    )
    return place(tokens), place(weights)


def stride(training: configs.Training, step: int) -> int:
    """Steps from an evaluation to the next."""
    return max(training.evaluate_every, round(training.evaluate_growth * step))


def exhausted(training: configs.Training, progress: Progress) -> bool:
    """Whether the run has waited long enough for a new minimum."""
    return 0 < training.patience <= len(progress.history) and progress.since_best >= training.patience


def speed(work: Work, steps_per_second: float) -> dict[str, float]:
    """Tokens a second, and the share of the devices' peak where that is known."""
    said = {"tokens_per_second": steps_per_second * work.tokens_per_step}
    if work.peak:
        said["model_flops_utilization"] = steps_per_second * work.flops / work.peak
    return said


def attempts(folder: pathlib.Path, step: int) -> dict[str, float]:
    """Notes a start of this run in its folder.

    Returns:
      `count`: starts, this one included; `before`: seconds from the first one to this one; `begun`: when this one was,
      by a clock that cannot be set.
    """
    path = folder / "attempts.jsonl"
    rows = files.read_log(path, ("time", "step")) if path.is_file() else []
    rows.append({"time": time.time(), "step": step})
    files.write_json_lines(path, rows)
    times = [row["time"] for row in rows]
    # The clock on the wall may have been set back meanwhile.
    before = sum(max(0.0, after - earlier) for earlier, after in itertools.pairwise(times))
    return {"count": len(rows), "before": before, "begun": time.monotonic()}


def summary(work: Work, progress: Progress, stopped: Stopped, starts: Mapping[str, float]) -> dict[str, Any]:
    """The content of `summary.json`: see `loop.train`; `starts` is what `attempts` returned."""
    best_step, best_loss = progress.best
    elapsed = max(starts["before"] + time.monotonic() - starts["begun"], progress.seconds)
    return {
        "loss": best_loss,
        "step": best_step,
        "steps": work.steps,
        "epochs": best_step * work.tokens_per_step / work.batches.n,
        "stopped": stopped,
        "edge": edge(work.run.training, progress, stopped),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(work.program.abstract.params)),
        "seconds": progress.seconds,
        "attempts": starts["count"],
        "goodput": min(1.0, progress.productive / elapsed),
    }


def edge(training: configs.Training, progress: Progress, stopped: Stopped) -> Literal["late", "early", ""]:
    """At which edge the minimum may not be one: "late" (the loss may still be falling when the budget ends), "early"
    (it lies at the first evaluation, a lower one may lie before), or "" (it lies inside).
    """
    if stopped == "budget" and (training.patience > 0 or progress.since_best == 0):
        return "late"
    return "early" if progress.since_best == len(progress.history) - 1 else ""
