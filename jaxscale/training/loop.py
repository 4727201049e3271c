"""A training run from a configuration and a prepared corpus to a summary, in a folder, resumable at any moment.

    summary = train(config.Run(tokens=65536), store, "runs/one")
    summary["loss"]                                     # minimum of the validation curve, nats per token

The folder holds `config.json`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`, `attempts.jsonl` (a line for each
start) and, when done, `summary.json`. Giving the same run again goes on from the latest checkpoint, on the same
trajectory to the last bit; a finished one is read. Several processes may train together: see `sharding.processes`.
"""

import dataclasses
import math
import os
import pathlib
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import data, files, preemption, sharding
from jaxscale.data import Batches, Store
from jaxscale.errors import RunError
from jaxscale.memory import out_of_memory_told
from jaxscale.sharding import processes
from jaxscale.training import throughput
from jaxscale.training.checkpoints import Checkpoints
from jaxscale.training.feeding import Feed
from jaxscale.training.less_memory import less_memory
from jaxscale.training.metrics import Metrics
from jaxscale.training.step import State, program
from jaxscale.training.work import (
    Progress,
    Stopped,
    Work,
    attempts,
    exhausted,
    held_out,
    plan,
    speed,
    stride,
    summary,
)

# Steps that a profile shows, counted from the start of the process; those before compile and warm up.
PROFILED = (5, 10)


class NonFiniteLoss(RunError):
    """Loss, gradient or parameters became NaN or infinite; the run's newest checkpoint is the last good state."""


def prepare(run: configs.Run, folder: str | os.PathLike[str], say: Callable[[str], None] = lambda text: None) -> Store:
    """The corpus of a run as a `data.Store` in `folder`, made by the first process and read by all.

    The folder in which it lies must be one that all processes share, else InputError.
    """
    configs.validate(run)
    sharding.check_fits(sharding.make_mesh(run.mesh), run)  # before a corpus is read that cannot serve
    processes.require_shared(pathlib.Path(folder).parent)
    processes.first_says(lambda: data.prepare(run.corpus, run.tokenizer, folder, say) and None)
    processes.appears(pathlib.Path(folder) / "facts.json")
    return data.open_store(folder)


def train(
    run: configs.Run,
    store: Store,
    folder: str | os.PathLike[str],
    report: Callable[..., None] = lambda **progress: None,
    profile: bool = False,
) -> dict[str, Any]:
    """Trains until the steps are done or the held-out loss stops falling.

    Args:
      run: a `config.Run`.
      store: a prepared corpus (`data.Store`).
      folder: the run's folder.
      report: called after every logged step and every evaluation with `step`, `steps` and what was logged.
      profile: write a trace of a few steps to `folder`/profile, for TensorBoard or Perfetto.

    Returns:
      The run's summary, the content of `summary.json`: minimum of the validation curve (`loss`, nats per token) and its
      `step`; planned `steps`, passes over the data at the minimum (`epochs`), why it `stopped` ("patience" or
      "budget"), the `edge` of the search at which the minimum lies (see `work.edge`), `parameters`, `seconds` at work,
      `attempts`, and `goodput`, the share that training steps have of the time since the first of them began.

    Raises:
      InputError: the run needs more tokens than the corpus has, does not fit the mesh, or the folder is another's.
      NonFiniteLoss: naming the step.
      Preempted: SIGTERM or SIGHUP came; the state is saved.
      RunError: the disk is full, the memory of a device does not suffice, or another process of this run is gone.
    """
    configs.validate(run)
    folder = pathlib.Path(folder)
    mesh = sharding.make_mesh(run.mesh)
    check(run, store, mesh)
    processes.require_shared(folder)
    with processes.workplace(folder), processes.lost_peer_told():
        processes.first_says(lambda: configs.claim(folder, run))
        if not processes.first_says((folder / "summary.json").is_file):
            with out_of_memory_told(less_memory(run, mesh)):
                work = _prepare(run, store, mesh)
                files.write_json(folder / "summary.json", _run(work, folder, report, profile))
        return processes.first_says(lambda: files.read_json(folder / "summary.json", fields=("loss", "step")))


def _run(work: Work, folder: pathlib.Path, report: Callable[..., None], profile: bool) -> dict[str, Any]:
    """Goes on from the latest checkpoint to the end; returns the summary."""
    with preemption.notice() as notice, Checkpoints(folder / "checkpoints", warnings.warn) as checkpoints:
        state, progress = _start(work, checkpoints)
        starts = processes.first_says(lambda: attempts(folder, progress.step))
        with (
            Metrics(folder, progress.step, work.run.training.wandb) as metrics,
            Feed(work.batches, sharding.batch_sharding(work.program.mesh)) as feed,
            _Trace(folder / "profile" if profile else None) as trace,
        ):
            loop = _Loop(work, checkpoints, metrics, feed, notice, trace, report)
            stopped = loop.run(state, progress)
    return summary(work, progress, stopped, starts)


def check(run: configs.Run, store: Store, mesh: jax.sharding.Mesh | None = None) -> None:
    """Raises InputError if the corpus, or the mesh where one is given, cannot serve the run."""
    configs.validate(run)
    if mesh is not None:
        sharding.check_fits(mesh, run)
    Batches.of(store.train, run.tokens, run.model.context, run.training.batch_size, key=run.seed)


def _prepare(run: configs.Run, store: Store, mesh: jax.sharding.Mesh) -> Work:
    shared = program(run, store.vocab_size, mesh)
    sequences = held_out(run, store, mesh, sharding.batch_sharding(mesh).spec)
    return plan(run, store, shared, sequences, throughput.peak_flops(mesh.devices.ravel()))


def _start(work: Work, checkpoints: Checkpoints) -> tuple[State, Progress]:
    restored = checkpoints.restore_newest(work.program.abstract)
    if restored is None:
        return work.program.init(jax.random.key(work.run.seed)), Progress([])
    state, progress = restored
    return state, Progress(**progress)


class _Loop:
    """Steps, logs, evaluates and saves until the run ends."""

    def __init__(
        self,
        work: Work,
        checkpoints: Checkpoints,
        metrics: Metrics,
        feed: Feed,
        notice: preemption.Notice,
        trace: "_Trace",
        report: Callable[..., None],
    ) -> None:
        self.work, self.training = work, work.run.training
        self.checkpoints, self.metrics, self.feed = checkpoints, metrics, feed
        self.notice, self.trace, self.report = notice, trace, report

    def run(self, state: State, progress: Progress) -> Stopped:
        """Brings `progress` up to date and returns why the run ended."""
        self.progress, self.begun, self.spent = progress, time.perf_counter(), progress.seconds
        self.first, self.clock, self.before = progress.step, _Clock(self.feed), progress.productive
        work, training = self.work, self.training
        while progress.step < work.steps and not exhausted(training, progress):
            evaluated = progress.evaluated
            until = min(evaluated + stride(training, evaluated), work.steps)
            state = self._steps(state, until)
            state = self._evaluation(state)
        return "patience" if exhausted(training, progress) else "budget"

    def _steps(self, state: State, until: int) -> State:
        """Goes on to step `until`, or to the one that broke down."""
        for step in range(self.progress.step, until):
            self.trace.at(step - self.first)
            tokens = self.feed.batch(step)
            state, values = self.work.program.step(state, tokens, self.work.rates[step])
            self.clock.tick(values["train_loss"])
            self.progress.step = step + 1
            if step == self.first:  # it includes the compiler's time
                self.clock.restart()
            elif (step + 1) % self.training.log_every == 0:
                if int(state.failed) >= 0:
                    break
                self._log(step, values)
            if self.notice.given():
                if step + 1 == until:  # else what goes on from here would owe an evaluation, and save this step twice
                    state = self._evaluation(state)
                self._leave(state)
        self.clock.settle()
        return state

    def _log(self, step: int, values: Mapping[str, jax.Array]) -> None:
        work = self.work
        told = {name: float(value) for name, value in values.items()}
        # Of a step that was skipped there may be nothing else to tell than that.
        told = {name: value for name, value in told.items() if math.isfinite(value)}
        seconds = self.clock.window()
        told |= speed(work, seconds.pop("steps_per_second")) | seconds
        told |= {"learning_rate": float(work.rates[step]), "tokens": (step + 1) * work.tokens_per_step}
        self.metrics.write(step + 1, **told)
        self.report(step=step + 1, steps=work.steps, **told)

    def _evaluation(self, state: State) -> State:
        """Evaluates, logs and saves; raises `NonFiniteLoss` for a run that broke down."""
        work, training, progress = self.work, self.training, self.progress
        loss = float(work.program.evaluate(state.params, *work.held_out))
        if int(state.failed) >= 0 or not math.isfinite(loss):
            fail(work, state, progress, loss, self.checkpoints)
        progress.step = int(state.step)
        progress.history.append([progress.step, loss])
        self.metrics.write(progress.step, validation_loss=loss)
        self.report(step=progress.step, steps=work.steps, validation_loss=loss)
        last = progress.step == work.steps or exhausted(training, progress)
        if last or progress.since_best == 0 or len(progress.history) % training.checkpoint_every == 0:
            self._save(state, loss)
        self.clock.restart()  # evaluations and checkpoints do not count against the speed of training
        return state

    def _save(self, state: State, loss: float) -> None:
        self.progress.seconds = self.spent + time.perf_counter() - self.begun
        self.progress.productive = self.before + self.clock.productive
        self.checkpoints.save(self.progress.step, state, dataclasses.asdict(self.progress), loss)

    def _leave(self, state: State) -> NoReturn:
        """Saves the state and raises `Preempted`; a run that broke down says so instead."""
        progress = self.progress
        self.clock.settle()
        if int(state.failed) >= 0:
            self._evaluation(state)
        if self.checkpoints.latest() != progress.step:
            # No measured loss: never the best.
            self._save(state, progress.history[-1][1] if progress.history else float(np.finfo(np.float32).max))
        self.checkpoints.wait()
        raise preemption.Preempted(
            f"asked to leave by the system; the state after step {progress.step} is saved in "
            f"{self.checkpoints.folder}. The same command goes on from there."
        )


class _Clock:
    """How long steps take, seen one step behind so that the devices always have the next one waiting.

    Attributes:
      productive: seconds in all steps so far, without those that compiled.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._pending: jax.Array | None = None
        self._seconds: list[float] = []
        self._since, self._waited, self.productive = time.perf_counter(), feed.waited, 0.0

    def tick(self, value: jax.Array) -> None:
        """After a step was handed to the devices whose result is `value`."""
        self.settle()
        self._pending = value

    def settle(self) -> None:
        """Waits for the step under way."""
        if self._pending is not None:
            jax.block_until_ready(self._pending)
            now = time.perf_counter()
            self._seconds.append(now - self._since)
            self.productive += now - self._since
            self._since, self._pending = now, None

    def restart(self) -> None:
        """Leaves out the time until now, and the step under way."""
        jax.block_until_ready(self._pending)
        self._pending, self._seconds = None, []
        self._since, self._waited = time.perf_counter(), self._feed.waited

    def window(self) -> dict[str, float]:
        """Of the steps since the last window: how many a second, median and 95th percentile, share of waiting."""
        self.settle()
        total, waited = sum(self._seconds), self._feed.waited - self._waited
        said = {
            "steps_per_second": len(self._seconds) / total,
            "step_seconds": float(np.median(self._seconds)),
            "step_seconds_95": float(np.percentile(self._seconds, 95)),
            "input_wait": min(1.0, waited / total),
        }
        self._seconds, self._waited = [], self._feed.waited
        return said


class _Trace:
    """A profile of the steps `PROFILED`, if a folder is given for it. A context manager."""

    def __init__(self, folder: pathlib.Path | None) -> None:
        self._folder, self._running = folder, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def at(self, step: int) -> None:
        """Before `step`, counted from the start of this process."""
        if self._folder is not None and step == PROFILED[0]:
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        elif step == PROFILED[1]:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False


def fail(work: Work, state: State, progress: Progress, loss: float, checkpoints: Checkpoints) -> NoReturn:
    """Keeps the last good state and raises NonFiniteLoss."""
    good, failed = int(state.step), int(state.failed)
    if good and checkpoints.latest() != good and math.isfinite(loss):
        state = dataclasses.replace(state, failed=jnp.full_like(state.failed, -1))
        progress.history.append([good, loss])
        progress.step = good
        checkpoints.save(good, state, dataclasses.asdict(progress), loss)
    checkpoints.wait()
    latest = checkpoints.latest()
    kept = "no state was saved" if latest is None else f"the state after step {latest} is kept in {checkpoints.folder}"
    raise NonFiniteLoss(
        f"loss, gradient or parameters are not finite at step {failed if failed >= 0 else good}; {kept}. "
        f"Lower optimizer.learning_rate={work.run.optimizer.learning_rate} "
        f"or optimizer.clip_norm={work.run.optimizer.clip_norm}."
    )
