"""Regression where the truth is known: networks of every size, rate and decay on points of a manifold, and a verdict.

verdict = run(studies.ManifoldStudy(dimension=2), "runs/sphere2")

training_<width>.npz     networks of one width under way, replaced at every checkpoint
candidates/<width>.jsonl a row for each trained network of that width; all of them in candidates.jsonl
table.jsonl              the rows of those that the validation set chose for each n, with their errors against the truth
references.jsonl         a row for each setting of the other estimators on the same points
dimension.json           the dimension that estimators read from the points
smoothness.json          the smoothness that the madogram reads from labels, and from labels without noise
verdict.json             exponents, their intervals and predictions
report.html              the same as a page
"""

import functools
import itertools
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import files
from jaxscale.ensembles import going_on, load_tree, put, save_tree, spread, stretches
from jaxscale.errors import RunError
from jaxscale.models.regressor import Regressor
from jaxscale.progress import Silent
from jaxscale.studies.manifolds import problem as problems_of
from jaxscale.studies.manifolds import readings, references, sweep, verdict
from jaxscale.studies.manifolds.config import ManifoldStudy, points_width, symbols
from jaxscale.studies.manifolds.verdict import Row
from jaxscale.studies.stages import Clock, finish

# Label noise σ from which the best linear predictor is computed.
LEAST_NOISE = 0.05
STAGES = (
    "candidates.jsonl",
    "table.jsonl",
    "references.jsonl",
    "dimension.json",
    "smoothness.json",
    "verdict.json",
    "report.html",
)


def run(study: ManifoldStudy, workdir: str | os.PathLike[str], progress: Silent | None = None) -> dict[str, Any]:
    """`studies.run` of a `ManifoldStudy`.

    Raises:
      RunError: no candidate of some size and seed trained to a finite error; what was finished stays.
    """
    return finish(study, workdir, progress, _run, STAGES)


def _run(study: ManifoldStudy, workdir: pathlib.Path, progress: Silent, clock: Clock) -> dict[str, Any]:
    with clock.stage("points"):
        progress.say("drawing points and targets")
        problems = problems_of.stack([_problem(study, seed) for seed in study.seeds])
        configs.claim(workdir, study)  # only now: what is refused above does not take the folder
    with clock.stage("dimension and smoothness"):
        progress.say("measuring the dimension of the points and the smoothness of the labels")
        measured = _kept(workdir / "dimension.json", lambda: readings.dimension(study, problems))
        smoothness = _kept(workdir / "smoothness.json", lambda: readings.smoothness(study, problems))
    with clock.stage("training"):
        rows, seconds = _candidates(study, problems, workdir, progress, clock)
    files.write_json_lines(workdir / "candidates.jsonl", rows)
    table = chosen(study, rows)
    files.write_json_lines(workdir / "table.jsonl", table)
    with clock.stage("references"):
        progress.say("nearest neighbors and kernel regression on the same points")
        beside = _kept_lines(workdir / "references.jsonl", lambda: _references(study, problems))
    with clock.stage("laws"):
        progress.say("fitting the laws and writing the page")
        measured |= {"known": problems_of.known_dimension(study, problems)}
        found = verdict.verdict(study, rows, table, beside, measured, smoothness)
    return found | {"training_seconds": seconds}


def _problem(study: ManifoldStudy, seed: int) -> problems_of.Problem:
    """The problem of a seed. Refused as soon as it is drawn, before anything is measured or trained on it."""
    problem = problems_of.make_problem(study, seed)
    readings.check(study, seed, problem)
    return problem


def grid(study: ManifoldStudy) -> list[Row]:
    """What the networks of one width differ in, a dictionary for each, in the order of the lanes.

    Besides every n with its labels there is n = `in_excess` without label noise: what these networks and this budget
    reach where samples are no limit.
    """
    training = study.training
    sizes = [] if study.series == "parameters" else [(n, True) for n in sorted(study.sizes)]
    return [
        {"n": n, "noisy": noisy, "seed": seed, "learning_rate": rate, "weight_decay": decay}
        for (n, noisy), seed, rate, decay in itertools.product(
            [*sizes, (study.in_excess, False)], study.seeds, training.learning_rates, training.weight_decays
        )
    ]


def chosen(study: ManifoldStudy, rows: Sequence[Row]) -> list[Row]:
    """The networks that the validation set chose for each n, in the series over parameters for each width."""
    by = ("noisy", "width" if study.series == "parameters" else "n")
    table = verdict.best_of(rows, by)
    places: Callable[[Sequence[Row]], set[tuple[Any, ...]]] = lambda some: {
        tuple(row[name] for name in by) for row in some
    }
    if missing := places(rows) - places(table):
        named = dict(zip(by, min(missing), strict=True))
        raise RunError(
            f"every setting diverged with some seed at {named}. Add lower training.learning_rates, elsewhere."
        )
    return table


def _candidates(
    study: ManifoldStudy, problems: problems_of.Problem, workdir: pathlib.Path, progress: Silent, clock: Clock
) -> tuple[list[Row], float]:
    """Rows of all networks, and the seconds their training took over all starts."""
    (workdir / "candidates").mkdir(exist_ok=True)
    widths = sorted(study.training.widths)
    rows = []
    for index, width in enumerate(widths):
        report = progress.run(f"width {width}, {len(grid(study))} networks", index, len(widths), "sweep")
        path = workdir / "candidates" / f"{width}.jsonl"
        part = workdir / f"training_{width}.npz"
        rows += _kept_lines(path, functools.partial(_train, study, problems, width, part, report))
        part.unlink(missing_ok=True)
        clock.save()
    return rows, sum(row["seconds"] for row in rows)


def _train(
    study: ManifoldStudy, problems: problems_of.Problem, width: int, part: pathlib.Path, report: Callable[..., None]
) -> list[Row]:
    """Rows of all networks of one width, trained from the checkpoint `part` on."""
    net = Regressor(study.network, width, problems_of.outputs_of(study), symbols(study))
    cells, training = grid(study), study.training
    column: Callable[[str, jax.typing.DTypeLike], jax.Array] = lambda name, dtype: jnp.asarray(
        [cell[name] for cell in cells], dtype
    )
    place = {seed: index for index, seed in enumerate(study.seeds)}
    lanes = sweep.Lanes(
        problem=jnp.asarray([place[cell["seed"]] for cell in cells], jnp.int32),
        seed=column("seed", jnp.int32),
        size=column("n", jnp.int32),
        noisy=column("noisy", bool),
        learning_rate=column("learning_rate", jnp.float32),
        weight_decay=column("weight_decay", jnp.float32),
    )
    every = np.arange(len(cells))
    runs, before = sweep.start(net, lanes, study.ambient), np.zeros(1)
    started = time.perf_counter()
    if part.is_file():
        runs, before = load_tree(part, (runs, before))
    for since, until in stretches(training.checkpoint_every, training.steps):
        which = going_on(runs.best_step, since)
        if int(runs.step) >= until or not len(which):
            continue
        some_lanes, some = spread(lanes, which), spread(runs, which)
        while (step := int(some.step)) < until:
            some, losses_L = sweep.advance(
                net, training, study.objective, problems, some_lanes, some, steps=training.evaluate_every
            )
            step += training.evaluate_every
            report(step=step, steps=training.steps, train_loss=float(np.nanmean(losses_L[: len(which)])))
            if step % training.checkpoint_every == 0 and step < training.steps:
                runs = put(runs, which, some)
                save_tree(part, (runs, before + time.perf_counter() - started))
        runs = put(runs, which, some)
    everything = spread(lanes, every), spread(runs, every)
    errors = np.asarray(sweep.errors(net, study.objective, problems, *everything), float)
    seconds = float(before[0]) + time.perf_counter() - started
    parameters = sum(leaf.size for leaf in jax.tree.leaves(runs.params)) // len(cells)
    return [
        cell
        | {"width": width, "parameters": parameters, "step": int(step), "steps": training.steps}
        | {"validation": _finite(validation), "loss": _finite(error), "seconds": seconds / len(cells)}
        for cell, step, validation, error in zip(cells, runs.best_step, runs.validation, errors, strict=False)
    ]


def _finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return float(value) if math.isfinite(value) else None


def _references(study: ManifoldStudy, problems: problems_of.Problem) -> list[Row]:
    """A row for each reference, n, seed and setting: its validation error, and its error against the truth."""
    rows, covariance = [], _covariance(study, problems)
    for index, seed in enumerate(study.seeds):
        one = jax.tree.map(lambda leaf, index=index: np.asarray(leaf[index], float), problems)
        spelled: Callable[[np.ndarray], np.ndarray] = lambda points: np.asarray(
            problems_of.in_space(study, points), float
        )
        contexts = np.concatenate([one.validation_points, one.test_points])
        queries = spelled(contexts)
        for n in [] if study.series == "parameters" else sorted(study.sizes):
            x, y = spelled(one.points[:n]), one.labels[:n]
            mean = np.broadcast_to(y.mean(axis=0), (len(queries), y.shape[1]))
            found: dict[str, references.BySetting] = {"mean": {n: mean}}
            found["neighbors"] = references.nearest_neighbors(x, y, queries)
            if n <= study.largest_kernel:
                found["kernel"] = references.kernel_regression(x, y, queries)
            if n <= study.largest_kernel and covariance is not None:
                on_manifold = one.unit * x, y, one.unit * queries
                found["best"] = {n: references.best_linear(*on_manifold, covariance, study.target.noise)}
            if count := symbols(study):
                of: Callable[[np.ndarray], np.ndarray] = lambda points: points.reshape(len(points), -1, count)
                found["n_grams"] = references.n_grams(of(one.points[:n]), y, of(contexts))
            excess: Callable[[np.ndarray, np.ndarray], float] = lambda at, truth: references.excess(
                study.objective, at, truth
            )
            rows += [
                {"reference": name, "n": n, "seed": seed, "setting": setting}
                | {"validation": excess(at[: study.validation], one.validation_labels)}
                | {"loss": excess(at[study.validation :], one.test_truth)}
                for name, by_setting in found.items()
                for setting, at in by_setting.items()
            ]
    return rows


def _covariance(study: ManifoldStudy, problems: problems_of.Problem) -> references.Covariance | None:
    """That of the targets as a function of distance; None where labels are symbols or points lie off the manifold.

    None too where labels have next to no noise: the predictor's matrix is then singular.
    """
    if study.objective != "squared_error" or study.point_noise or study.target.noise < LEAST_NOISE:
        return None
    target, points = study.target, np.asarray(problems.points * problems.unit[:, None, None])
    reach = 2.1 * float(np.max(np.linalg.norm(points, axis=-1)))
    width = points_width(study)
    return references.wave_covariance(width, target.beta, target.octaves, target.waves, reach)


def _kept(path: pathlib.Path, make: Callable[[], Any]) -> Any:
    if not path.is_file():
        files.write_json(path, make())
    return files.read_json(path)


def _kept_lines(path: pathlib.Path, make: Callable[[], Sequence[Row]]) -> list[Row]:
    if not path.is_file():
        files.write_json_lines(path, make())
    return files.read_json_lines(path)
