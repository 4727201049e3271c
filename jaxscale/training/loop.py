"""A training run from a configuration and a prepared corpus to a summary, in a folder, resumable at any moment.

    summary = train(config.Run(tokens=65536), store, "runs/one")
    summary["loss"]                                     # minimum of the validation curve, nats per token

The folder holds `config.json`, `metrics.jsonl`, `tensorboard/`, `checkpoints/` and, when done, `summary.json`. Giving
the same run again goes on from the latest checkpoint, on the same trajectory to the last bit; a finished one is read.
"""

import dataclasses
import math
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import files, sharding
from jaxscale.data import Batches, evaluation_windows
from jaxscale.errors import RunError
from jaxscale.training import optimizer, throughput
from jaxscale.training.checkpoints import Checkpoints
from jaxscale.training.metrics import Metrics
from jaxscale.training.step import Program, program


class NonFiniteLoss(RunError):
    """Loss, gradient or parameters became NaN or infinite; the run's newest checkpoint is the last good state."""


def train(run, store, folder, report=lambda **progress: None):
    """Trains until the steps are done or the held-out loss stops falling.

    Args:
      run: a `config.Run`.
      store: a prepared corpus (`data.Store`).
      folder: the run's folder.
      report: called after every logged step and every evaluation with `step`, `steps` and what was logged.

    Returns:
      The run's summary, the content of `summary.json`: minimum of the validation curve (`loss`, nats per token) and its
      `step`; planned `steps`, passes over the data at the minimum (`epochs`), why it `stopped` ("patience" or
      "budget"), the `edge` of the search at which the minimum lies (see `_edge`), `parameters`, `seconds`.

    Raises:
      InputError: the run needs more tokens than the corpus has, does not fit the mesh, or the folder is another's.
      NonFiniteLoss: naming the step.
      RunError: the disk is full.
    """
    folder = pathlib.Path(folder)
    mesh = sharding.make_mesh(run.mesh)
    check(run, store, mesh)
    with files.workplace(folder):
        configs.claim(folder, run)
        if not (folder / "summary.json").is_file():
            files.write_json(folder / "summary.json", _run(_prepare(run, store, mesh), folder, report))
        return files.read_json(folder / "summary.json")


def _run(work, folder, report):
    """Goes on from the latest checkpoint to the end; returns the summary."""
    with Checkpoints(folder / "checkpoints") as checkpoints:
        state, progress = _start(work, checkpoints)
        with Metrics(folder, progress.step) as metrics:
            stopped = _continue(work, state, progress, checkpoints, metrics, report)
    return _summary(work, progress, stopped)


def check(run, store, mesh):
    """Raises InputError if the corpus or the mesh cannot serve the run."""
    configs.validate(run)
    sharding.check_fits(mesh, run)
    Batches.of(store.train, run.tokens, run.model.context, run.training.batch_size, run.seed)


@dataclasses.dataclass(frozen=True)
class _Work:
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
    def tokens_per_step(self):
        return self.run.training.batch_size * self.run.model.context


@dataclasses.dataclass
class _Progress:
    """What a run carries beside its state: evaluations so far, as [step, loss], and seconds spent."""

    history: list[list]
    seconds: float = 0.0

    @property
    def step(self):
        return self.history[-1][0] if self.history else 0

    @property
    def best(self):
        """[step, loss] of the minimum of the validation curve, the earliest where there are several."""
        return min(self.history, key=lambda point: point[1])

    @property
    def since_best(self):
        """Evaluations after the minimum."""
        return len(self.history) - 1 - self.history.index(self.best)


def _prepare(run, store, mesh):
    context, rows = run.model.context, run.training.batch_size
    batches = Batches.of(store.train, run.tokens, context, rows, run.seed)
    steps = run.training.steps
    if run.training.epochs is not None:
        steps = min(steps, math.ceil(run.training.epochs * batches.size / (rows * context)))
    windows = evaluation_windows(store.held_out.tokens, context, run.training.evaluation_sequences)
    part = rows // run.training.accumulation  # evaluated in parts of the size that training holds in memory
    return _Work(
        run,
        program(run, store.vocab_size, mesh),
        batches,
        steps,
        optimizer.learning_rates(run.optimizer, steps),
        _evaluation_batches(windows, part, mesh),
        throughput.training_flops(run, store.vocab_size),
        throughput.peak_flops(mesh.devices.ravel()),
    )


def _evaluation_batches(windows, rows, mesh):
    """Windows in batches of `rows`, (N, rows, T+1), the last filled up with weightless ones; and weights (N, rows)."""
    padding = -len(windows) % rows
    tokens = np.concatenate([windows, np.repeat(windows[:1], padding, axis=0)]).reshape(-1, rows, windows.shape[1])
    weights = (np.arange(len(windows) + padding) < len(windows)).astype(np.float32).reshape(-1, rows)
    spec = jax.sharding.PartitionSpec(None, *sharding.batch_sharding(mesh).spec)
    where = jax.sharding.NamedSharding(mesh, spec)
    place = lambda array: jax.make_array_from_callback(array.shape, where, lambda index: array[index])
    return place(tokens), place(weights)


def _start(work, checkpoints):
    latest = checkpoints.latest()
    if latest is None:
        return work.program.init(jax.random.key(work.run.seed)), _Progress([])
    state, progress = checkpoints.restore(latest, work.program.abstract)
    return state, _Progress(**progress)


def _continue(work, state, progress, checkpoints, metrics, report):
    """Steps, logs, evaluates and saves until the run ends; `progress` is brought up to date. Returns why it ended."""
    training, begun, spent = work.run.training, time.perf_counter(), progress.seconds
    rows = sharding.batch_sharding(work.program.mesh)
    first = logged_step = progress.step
    logged_at = begun
    while progress.step < work.steps and not _exhausted(training, progress):
        for step in range(progress.step, min(progress.step + _stride(training, progress.step), work.steps)):
            state, values = work.program.step(state, work.batches.on_device(step, rows), work.rates[step])
            if step == first:  # it includes the compiler's time
                jax.block_until_ready(values)
                logged_step, logged_at = step + 1, time.perf_counter()
            if (step + 1) % training.log_every == 0 and step > first:
                values = {name: float(value) for name, value in values.items()}
                if int(state.failed) >= 0:
                    break
                elapsed = time.perf_counter() - logged_at
                values |= _speed(work, (step + 1 - logged_step) / elapsed)
                values |= {"learning_rate": float(work.rates[step]), "tokens": (step + 1) * work.tokens_per_step}
                metrics.write(step + 1, **values)
                report(step=step + 1, steps=work.steps, **values)
                logged_step, logged_at = step + 1, time.perf_counter()
        loss = float(work.program.evaluate(state.params, *work.held_out))
        if int(state.failed) >= 0 or not math.isfinite(loss):
            _fail(work, state, progress, loss, checkpoints)
        done = int(state.step)
        progress.history.append([done, loss])
        progress.seconds = spent + time.perf_counter() - begun
        metrics.write(done, validation_loss=loss)
        report(step=done, steps=work.steps, validation_loss=loss)
        last = done == work.steps or _exhausted(training, progress)
        if last or progress.since_best == 0 or len(progress.history) % training.checkpoint_every == 0:
            checkpoints.save(done, state, dataclasses.asdict(progress), loss)
        logged_at = time.perf_counter()  # evaluations and checkpoints do not count against the speed of training
        logged_step = done
    return "patience" if _exhausted(training, progress) else "budget"


def _stride(training, step):
    """Steps from an evaluation to the next."""
    return max(training.evaluate_every, round(training.evaluate_growth * step))


def _exhausted(training, progress):
    return 0 < training.patience <= len(progress.history) and progress.since_best >= training.patience


def _speed(work, steps_per_second):
    speed = {"tokens_per_second": steps_per_second * work.tokens_per_step}
    if work.peak:
        speed["model_flops_utilization"] = steps_per_second * work.flops / work.peak
    return speed


def _fail(work, state, progress, loss, checkpoints):
    """Keeps the last good state and raises NonFiniteLoss."""
    good, failed = int(state.step), int(state.failed)
    if good and checkpoints.latest() != good and math.isfinite(loss):
        state = dataclasses.replace(state, failed=jnp.full_like(state.failed, -1))
        progress.history.append([good, loss])
        checkpoints.save(good, state, dataclasses.asdict(progress), loss)
    latest = checkpoints.latest()
    kept = "no state was saved" if latest is None else f"the state after step {latest} is kept in {checkpoints.folder}"
    raise NonFiniteLoss(
        f"loss, gradient or parameters are not finite at step {failed if failed >= 0 else good}; {kept}. "
        f"Lower optimizer.learning_rate={work.run.optimizer.learning_rate} "
        f"or optimizer.clip_norm={work.run.optimizer.clip_norm}."
    )


def _summary(work, progress, stopped):
    best_step, best_loss = progress.best
    return {
        "loss": best_loss,
        "step": best_step,
        "steps": work.steps,
        "epochs": best_step * work.tokens_per_step / work.batches.size,
        "stopped": stopped,
        "edge": _edge(work.run.training, progress, stopped),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(work.program.abstract.params)),
        "seconds": progress.seconds,
    }


def _edge(training, progress, stopped):
    """At which edge the minimum may not be one: "late" (the loss may still be falling when the budget ends), "early"
    (it lies at the first evaluation, a lower one may lie before), or "" (it lies inside).
    """
    if stopped == "budget" and (training.patience > 0 or progress.since_best == 0):
        return "late"
    return "early" if progress.since_best == len(progress.history) - 1 else ""
