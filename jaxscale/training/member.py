"""A run of a sweep: what it has to do, how far it is, and its open files. It is told of steps and saves what is due."""

import contextlib
import dataclasses
import math
import pathlib
import warnings
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxscale import files
from jaxscale.sharding import processes
from jaxscale.training.checkpoints import Checkpoints
from jaxscale.training.metrics import Metrics
from jaxscale.training.stacked import StackedProgram
from jaxscale.training.step import State
from jaxscale.training.work import Progress, Stopped, Work, attempts, exhausted, speed, stride, summary


class Member:
    """One of several runs trained together.

    Args:
      name: of the run.
      work: its `work.Work`.
      folder: of the run; it goes on from the newest checkpoint there.
      many: the `stacked.StackedProgram` of the sweep.
      opened: an ExitStack for what stays open until the run ends.

    Attributes:
      state: on the way into or out of the devices, else None.
      place: of the run among the stacked.
    """

    def __init__(
        self, name: str, work: Work, folder: pathlib.Path, many: StackedProgram, opened: contextlib.ExitStack
    ) -> None:
        self.name, self.work, self.folder, self.open = name, work, folder, opened
        self.checkpoints = opened.enter_context(Checkpoints(folder / "checkpoints", warnings.warn))
        self.state: State | None
        restored = self.checkpoints.restore_newest(many.where_one())
        if restored is None:
            self.state, self.progress = many.one.init(jax.random.key(work.run.seed)), Progress([])
        else:
            self.state, self.progress = restored[0], Progress(**restored[1])
        self.place, self.best_is_saved = 0, True
        self.starts = processes.first_says(lambda: attempts(folder, self.progress.step))
        self.metrics = opened.enter_context(Metrics(folder, self.progress.step, work.run.training.wandb))

    @property
    def until(self) -> int:
        """The step of the next evaluation."""
        evaluated = self.progress.evaluated
        return min(evaluated + stride(self.work.run.training, evaluated), self.work.steps)

    @property
    def ended(self) -> Stopped:
        """Why the run is over: "patience" or "budget"; "" if it is not."""
        if exhausted(self.work.run.training, self.progress):
            return "patience"
        return "budget" if self.progress.evaluated >= self.work.steps else ""

    def log(self, step: int, values: Mapping[str, float], steps_per_second: float | None) -> None:
        """A line for `step`, if it is one that gets a line; `steps_per_second` is None while the compiler works."""
        if step % self.work.run.training.log_every == 0:
            # Of a step that was skipped there may be nothing else to tell than that.
            values = {name: value for name, value in values.items() if math.isfinite(value)}
            values |= speed(self.work, steps_per_second) if steps_per_second else {}
            values |= {"learning_rate": float(self.work.rates[step - 1]), "tokens": step * self.work.tokens_per_step}
            self.metrics.write(step, **values)

    def evaluated(self, step: int, loss: float) -> None:
        self.progress.step = step
        self.progress.history.append([step, loss])
        self.metrics.write(step, validation_loss=loss)
        self.best_is_saved &= self.progress.since_best > 0

    def save_best(self, fetch: Callable[[], State]) -> None:
        """Saves the state at the minimum, which `fetch` gets, unless that was done."""
        if not self.best_is_saved:
            step, loss = best = self.progress.best
            history = self.progress.history[: self.progress.history.index(best) + 1]
            then = dataclasses.replace(self.progress, history=history, step=step)
            self.checkpoints.save(step, fetch(), dataclasses.asdict(then), loss)
            self.best_is_saved = True

    def save_newest(self, fetch: Callable[[], State]) -> None:
        """Saves the state as it is, which `fetch` gets, unless that was done."""
        step, latest = self.progress.step, self.checkpoints.latest()
        if step > (latest or 0):
            # Between evaluations there is no measured loss: never the best.
            at_evaluation = step == self.progress.evaluated
            loss = self.progress.history[-1][1] if at_evaluation else float(np.finfo(np.float32).max)
            self.checkpoints.save(step, fetch(), dataclasses.asdict(self.progress), loss)

    def finish(self) -> None:
        """Waits for the files, then says that the run is done."""
        self.open.close()
        files.write_json(self.folder / "summary.json", summary(self.work, self.progress, self.ended, self.starts))
