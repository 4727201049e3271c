"""The study of length generalization: networks for every task parameter, train length and seed; losses at every length.

verdict = run(studies.LengthStudy(), "runs/simple")

training.npz       all networks under way, replaced at every checkpoint; networks.npz once they are trained
losses/<T>.json    a file for each test length
hard.json          errors on strings to fail on, by kind and length
table.jsonl        a row per network
verdict.json       plateaus, thresholds, bounds, certificates
report.html        the same as a page
"""

import functools
import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import files
from jaxscale.ensembles import load_tree, save_tree
from jaxscale.errors import RunError
from jaxscale.lengths import evaluation, sweep
from jaxscale.lengths.kgram import KGramTask
from jaxscale.lengths.tasks import ModPTask, SimpleTask
from jaxscale.lengths.transformer import LimitTransformer
from jaxscale.progress import Silent
from jaxscale.studies.lengths import verdict
from jaxscale.studies.lengths.config import LengthStudy, complexities
from jaxscale.studies.lengths.verdict import Column, Row, Task
from jaxscale.studies.stages import Clock, finish

# Steps of a call of the compiled program: progress shows between them.
STRIDE = 100
# Longest strings on which networks are tried to fail.
HARD_LENGTHS = {"simple": 1_000_000, "mod_p": 1_000_000, "k_gram": 4096}


def run(study: LengthStudy, workdir: str | os.PathLike[str], progress: Silent | None = None) -> dict[str, Any]:
    """`studies.run` of a `LengthStudy`.

    Raises:
      RunError: training diverged; what was finished stays.
    """
    return finish(study, workdir, progress, _run)


def _run(study: LengthStudy, workdir: pathlib.Path, progress: Silent, clock: Clock) -> dict[str, Any]:
    configs.claim(workdir, study)
    net, cells, names = grid(study)
    with clock.stage("training"):
        params, seconds = _trained(study, net, cells, workdir, progress)
    with clock.stage("losses"):
        columns = _losses(study, net, cells, params, workdir, progress)
    with clock.stage("strings to fail on"):
        progress.say("trying to make the networks fail")
        hard = _kept(workdir / "hard.json", lambda: _hard(study, net, cells, params))
    rows = [
        name | {"losses": {length: column["losses"][i] for length, column in columns.items()}} | looks
        for i, (name, looks) in enumerate(zip(names, _looks(study, net, cells, params), strict=True))
    ]
    files.write_json_lines(workdir / "table.jsonl", rows)
    with clock.stage("bounds"):
        progress.say("thresholds, bounds, certificates, and the page")
        found = verdict.verdict(study, rows, columns, hard, net, params, tasks(study, cells))
    wall, processor = map(float, seconds)
    return found | {"training_seconds": wall, "training_processor_seconds": processor}


def grid(study: LengthStudy) -> tuple[LimitTransformer, sweep.Cells, list[Row]]:
    """The network of a study, the `sweep.Cells` of its grid, and what is said of each cell: a row of its parameters."""
    names = [
        parameters | {"train_length": length, "seed": seed}
        for parameters in complexities(study)
        for length in study.train_lengths
        for seed in study.seeds
    ]

    def column(key: str, dtype: jax.typing.DTypeLike = jnp.int32) -> jax.Array:
        return jnp.asarray([name[key] for name in names], dtype)

    shape: dict[str, Any] = {
        "width": study.network.width,
        "heads": study.network.heads,
        "hidden": study.network.hidden,
    }
    task: Task
    if study.task == "simple":
        task = SimpleTask(omega=column("omega", jnp.float32))
        net = LimitTransformer(alphabet=2, biased=False, **shape)
    elif study.task == "mod_p":
        rows = max(study.periods)
        task = ModPTask(column("period"), jnp.zeros(len(names), jnp.int32), rows)
        net = LimitTransformer(alphabet=2, period=rows, biased=False, **shape)
    else:
        alphabet, order = max(study.alphabets), max(study.orders)
        task = KGramTask(column("order"), column("symbols"), alphabet, order)
        net = LimitTransformer(alphabet=alphabet, outputs=alphabet, layers=2, locality=order, **shape)
    return net, sweep.Cells(task, column("train_length"), column("seed")), names


def tasks(study: LengthStudy, cells: sweep.Cells) -> list[Task]:
    """The task of every cell by itself."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], cells.task) for i in range(len(cells.seed))]


def _trained(
    study: LengthStudy, net: LimitTransformer, cells: sweep.Cells, workdir: pathlib.Path, progress: Silent
) -> tuple[Any, np.ndarray]:
    """Parameters of all networks, and what their training took over all starts: (2,) seconds, wall and processor."""
    done, part = workdir / "networks.npz", workdir / "training.npz"
    runs = sweep.start(net, cells)
    if done.is_file():
        kept: tuple[Any, np.ndarray] = load_tree(done, (runs.params, np.zeros(2)))
        return kept
    before = np.zeros(2)
    if part.is_file():
        runs, before = load_tree(part, (runs, before))
    training, started = study.training, _clocks()
    spent: Callable[[], np.ndarray] = lambda: before + _clocks() - started
    report = progress.run(f"{len(cells.seed)} networks", 0, 1, "sweep")
    size = max(study.train_lengths)
    while (step := int(runs.step)) < training.steps:
        until = min(training.steps, (step // training.checkpoint_every + 1) * training.checkpoint_every)
        runs, losses_C = sweep.advance(
            net, training, study.train_on, size, cells, runs, steps=min(STRIDE, until - step)
        )
        failed = np.flatnonzero(~np.isfinite(np.asarray(losses_C)))
        if len(failed):
            raise RunError(
                f"the loss of network {int(failed[0])} is not finite at step {int(runs.step)}. "
                "Lower training.learning_rate and use another folder."
            )
        report(step=int(runs.step), steps=training.steps, train_loss=float(jnp.mean(losses_C)))
        if int(runs.step) == until:
            save_tree(part, (runs, spent()))
    save_tree(done, (runs.params, spent()))
    return runs.params, spent()


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def _losses(
    study: LengthStudy, net: LimitTransformer, cells: sweep.Cells, params: Any, workdir: pathlib.Path, progress: Silent
) -> dict[str, Column]:
    """By test length the losses of all networks and the shares of strings with a target.

    The lengths of the configuration, each network's own N, ten times that, and infinity. Ten times N is the nearest
    length at the residue of N, as infinity is taken at: a query at another residue is another query.
    """
    lengths_C = np.asarray(cells.length)
    columns = {str(length): np.full(len(lengths_C), length) for length in sorted(study.test_lengths)}
    ten_C = 10 * lengths_C
    if study.task == "mod_p":
        ten_C -= (ten_C - lengths_C) % np.asarray(cells.task.period)
    columns |= {"own": lengths_C, "ten": ten_C, "inf": np.full(len(lengths_C), math.inf)}
    (workdir / "losses").mkdir(exist_ok=True)
    key, found = jax.random.fold_in(jax.random.key(0), 7), {}
    for index, (name, column) in enumerate(columns.items()):
        progress.run(f"T = {name}", index, len(columns), "test length")
        found[name] = _kept(
            workdir / "losses" / f"{name}.json",
            functools.partial(_column, net, cells, params, column, key, study.samples),
        )
    return found


def _column(
    net: LimitTransformer, cells: sweep.Cells, params: Any, lengths_C: np.ndarray, key: jax.Array, samples: int
) -> Column:
    """Losses at a length for each network; k-gram networks of one length together, as strings have one shape."""
    if not isinstance(cells.task, KGramTask):
        found = evaluation.losses(net, cells, params, lengths_C, samples, key=key)
        return {name: np.asarray(each_C).tolist() for name, each_C in zip(("losses", "valid"), found, strict=True)}
    losses_C, valid_C = np.zeros(len(lengths_C)), np.zeros(len(lengths_C))
    for length in np.unique(lengths_C):
        those = np.flatnonzero(lengths_C == length)
        cells_there, params_there = jax.tree.map(lambda leaf, those=those: leaf[those], (cells, params))
        losses_C[those], valid_C[those] = evaluation.losses(
            net, cells_there, params_there, lengths_C[those], samples, key=key
        )
    return {"losses": losses_C.tolist(), "valid": valid_C.tolist()}


def _hard(
    study: LengthStudy, net: LimitTransformer, cells: sweep.Cells, params: Any
) -> dict[str, dict[str, list[Any]]]:
    """The largest and the mean error |f - f*| by kind of string and length, of every network."""
    longest = HARD_LENGTHS[study.task]
    lengths = sorted({max(study.train_lengths), 10 * max(study.train_lengths), longest})
    key = jax.random.fold_in(jax.random.key(0), 11)
    return {
        str(length): evaluation.hard_errors(net, cells, params, length, key=key)
        for length in lengths
        if length <= longest
    }


def _looks(study: LengthStudy, net: LimitTransformer, cells: sweep.Cells, params: Any) -> list[Row]:
    """Where every network looks: collapse and mass on the residue, or the offsets of its heads."""
    if study.task == "k_gram":
        offset_CxH, largest_CxH, next_CxH = jax.vmap(evaluation.head_offsets)(params)
        return [
            {"head_offsets": offset.tolist(), "largest_bias": largest.tolist(), "next_bias": after.tolist()}
            for offset, largest, after in zip(*map(np.asarray, (offset_CxH, largest_CxH, next_CxH)), strict=True)
        ]
    ends_C = cells.length % cells.task.period
    collapse_C = jax.jit(jax.vmap(lambda *cell: evaluation.collapse(net, *cell)))(params, cells.task, ends_C)
    looks = [{"collapse": float(c), "collapsed": bool(c > evaluation.COLLAPSED)} for c in collapse_C]
    if study.task == "mod_p":
        mass_C = jax.jit(jax.vmap(lambda *cell: evaluation.mass_on_residue(net, *cell)))(params, cells.task, ends_C)
        looks = [look | {"mass_on_residue": float(mass)} for look, mass in zip(looks, mass_C, strict=True)]
    return looks


def _kept(path: pathlib.Path, make: Callable[[], Any]) -> Any:
    """The JSON document at `path`, made if it is not there."""
    if not path.is_file():
        files.write_json(path, make())
    return files.read_json(path)
