"""Real text with a known truth: a teacher's probabilities are learned from labels drawn from them, and a verdict.

verdict = run(studies.TeacherStudy(), "runs/teacher")

own_teacher/             the run that made the teacher, where it is the study's own
contexts/                windows of the corpus as the teacher's tokens
teacher/part_<i>.npz     what the teacher says of them: probabilities, states by layer
geometry.json            dimension and smoothness in the coordinates of each measured layer
training_<width>.npz     students of one width under way, replaced at every checkpoint
candidates/<width>.jsonl a row for each trained student of that width; its errors by document in <width>.npz beside it
references.json          errors of nearest neighbors and kernel regression in each layer's coordinates
table.jsonl              the rows of the students that validation chose for each n, with their errors against the truth
verdict.json             exponents, their intervals and predictions
report.html              the same as a page
"""

import concurrent.futures
import dataclasses
import functools
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import files
from jaxscale.config.conditions import need
from jaxscale.errors import RunError
from jaxscale.models import LanguageModel
from jaxscale.processor import cores
from jaxscale.progress import Silent
from jaxscale.studies.stages import Clock, finish
from jaxscale.studies.teacher import contexts, exponents, forward, own, readings, references, students, verdict
from jaxscale.studies.teacher.config import TeacherStudy, labeled, soft_windows
from jaxscale.studies.teacher.contexts import Windows
from jaxscale.studies.teacher.forward import Truth
from jaxscale.studies.teacher.verdict import Row

STAGES = ("geometry.json", "references.json", "table.jsonl", "verdict.json", "report.html")
# Training windows on which it is measured how far students can fit the truth at all.
FITTED = 64
# Layers measured side by side, each with its distances in memory.
MOST_AT_ONCE = 4
# The column of a row that chooses a setting, by the error that is reported.
VALIDATION = {"squared": "validation", "divergence": "divergence_validation"}

Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class Material:
    """All that students and references learn from and are held against."""

    windows: Windows
    truth: Truth
    spelled: np.ndarray  # (V, J), how students read tokens
    outcomes: tuple[str, ...]

    def truth_of(self, part: str) -> np.ndarray:
        """Probabilities of a part's windows, (w, P, K); of those to train on, of as many as they are kept of."""
        return self.truth.probabilities_at(np.intersect1d(self.windows.of(part), self.truth.kept))

    def spelled_of(self, part: str) -> np.ndarray:
        """A part's windows as students read them, (w, T, J)."""
        spelled: np.ndarray = self.spelled[self.windows.tokens[self.windows.of(part), :-1]]
        return spelled


def run(study: TeacherStudy, workdir: str | os.PathLike[str], progress: Silent | None = None) -> dict[str, Any]:
    """`studies.run` of a `TeacherStudy`.

    Raises:
      InputError: the teacher, or a package it needs, cannot be had; or the corpus is too small.
      RunError: no student of some size trained to a finite error, or the disk is full; what was finished stays.
    """
    return finish(study, workdir, progress, _run, STAGES)


def _run(study: TeacherStudy, workdir: pathlib.Path, progress: Silent, clock: Clock) -> dict[str, Any]:
    each, devices = study.training.devices_each, len(jax.devices())
    need(devices % each == 0, "training.devices_each", each, f"must divide the {devices} devices there are.")
    material, facts = _material(study, workdir, progress, clock)
    with clock.stage("geometry"):
        progress.say("measuring dimension and smoothness in the coordinates of each layer")
        geometry = _kept(workdir / "geometry.json", lambda: _geometry(study, material))
    with clock.stage("students"):
        rows, errors = _candidates(study, material, workdir, progress, clock)
    with clock.stage("references"):
        progress.say("nearest neighbors and kernel regression in the coordinates of each layer")
        beside = _kept(workdir / "references.json", lambda: _references(study, material))
    with clock.stage("exponents"):
        progress.say("fitting the exponents and writing the page")
        table, chosen = _chosen(study, rows, errors)
        files.write_json_lines(workdir / "table.jsonl", table)
        documents = material.windows.document[material.windows.of("test")]
        found = verdict.verdict(study, rows, table, chosen, documents, geometry, beside, facts)
    return found


def _material(
    study: TeacherStudy, workdir: pathlib.Path, progress: Silent, clock: Clock
) -> tuple[Material, dict[str, Any]]:
    if study.teacher.name == "language":
        with clock.stage("teacher"):
            progress.say("drawing texts of known geometry")
            windows, truth, spelled = forward.of_language(study)
            configs.claim(workdir, study)
        names = tuple(map(str, range(truth.probabilities.shape[-1])))
    else:
        with clock.stage("contexts"):
            progress.say(f"loading the teacher {study.teacher.name!r}")
            teacher = forward.load(study, workdir, progress)
            folder = workdir / "contexts"
            if (folder / "facts.json").is_file():
                windows = contexts.load(folder)
            else:
                progress.say(f"reading corpus {study.corpus.kind!r}")
                windows = contexts.of_text(study, functools.partial(_encode, teacher))
                found = forward.outcomes(study, teacher, windows)  # refuses what it cannot spell
                configs.claim(workdir, study)
                folder.mkdir(exist_ok=True)
                windows.save(folder)
            found = forward.outcomes(study, teacher, windows)
        with clock.stage("teacher"):
            (workdir / "teacher").mkdir(exist_ok=True)
            report = progress.run(f"teacher {study.teacher.name}", 0, 1, "pass")
            truth = forward.read(study, teacher, windows, found, workdir / "teacher", report)
        spelled, names = forward.spelled(teacher), found.names
    material = Material(windows, truth, spelled, names)
    return material, verdict.facts_of(material.windows, truth, names, own.is_begun(workdir))


def _encode(teacher: LanguageModel, text: str) -> list[int]:
    ids: list[int] = teacher.tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def _sampled(study: TeacherStudy, material: Material, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a part and the few positions measured in each."""
    positions = np.unique(np.linspace(0, labeled(study) - 1, study.contexts.positions).round().astype(int))
    return material.windows.of(part), positions


def _geometry(study: TeacherStudy, material: Material) -> list[Row]:
    windows, positions = _sampled(study, material, "geometry")
    truth_NxK = material.truth.probabilities_at(windows, positions).reshape(-1, len(material.outcomes))
    document_N = np.repeat(material.windows.document[windows], len(positions))

    def of_layer(layer: int) -> Row:
        states = material.truth.states_at(layer, windows, positions)
        points_NxD = states.reshape(-1, states.shape[-1]).astype(np.float32)
        reading = readings.layer(study, points_NxD, truth_NxK, document_N)
        return {"layer": layer} | reading | {"predicted": readings.predictions(study, reading)}

    return _by_layer(material.truth, of_layer)


def _by_layer(truth: Truth, of_layer: Callable[[int], Found]) -> list[Found]:
    """What `of_layer` says of each layer, in their order; a core works on each."""
    with concurrent.futures.ThreadPoolExecutor(min(cores(), MOST_AT_ONCE)) as pool:
        return list(pool.map(of_layer, truth.states))


def grid(study: TeacherStudy) -> list[Row]:
    """What the students of one width differ in, a dictionary for each, in the order of the lanes.

    Besides every n with its labels there are students of all contexts whose probabilities are kept, which learn these.
    """
    training = study.training
    largest = soft_windows(study) * labeled(study)
    return [
        {"n": n, "noisy": noisy, "seed": seed, "learning_rate": rate, "weight_decay": decay}
        for (n, noisy), seed, rate, decay in itertools.product(
            [*((n, True) for n in sorted(study.sizes)), (largest, False)],
            study.seeds,
            training.learning_rates,
            training.weight_decays,
        )
        if noisy or seed == study.seeds[0]
    ]


def _candidates(
    study: TeacherStudy, material: Material, workdir: pathlib.Path, progress: Silent, clock: Clock
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of all students, and their errors at each test document: "squared" and "divergence", (rows, documents)."""
    (workdir / "candidates").mkdir(exist_ok=True)
    rows, errors = [], []
    widths = sorted(study.training.widths)
    for index, width in enumerate(widths):
        report = progress.run(f"width {width}, {len(grid(study))} students", index, len(widths), "sweep")
        path, part = workdir / "candidates" / f"{width}.jsonl", workdir / f"training_{width}.npz"
        if not path.is_file():
            trained, found = _train(study, material, width, part, report)
            files.write_arrays(path.with_suffix(".npz"), found)
            files.write_json_lines(path, trained)
        remedy = f"Delete {path}: these students are trained again."
        kept = files.read_json_lines(path)
        if not all(VALIDATION["divergence"] in row for row in kept):
            raise RunError(f"{path} is of an older version, which stopped students by cross-entropy alone. {remedy}")
        rows += kept
        errors.append(files.read_arrays(path.with_suffix(".npz"), remedy))
        part.unlink(missing_ok=True)
        clock.save()
    return rows, {name: np.concatenate([one[name] for one in errors]) for name in errors[0]}


def _train(
    study: TeacherStudy, material: Material, width: int, part: pathlib.Path, report: Callable[..., None]
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows and errors of all students of one width, trained from the checkpoint `part` on."""
    training, cells = study.training, grid(study)
    net = students.network(study, width, len(material.outcomes), int(material.spelled.max()) + 1)
    on_device: Callable[..., tuple[jax.Array, ...]] = lambda *arrays: tuple(map(jnp.asarray, arrays))
    lesson = students.Lesson(
        *on_device(material.spelled_of("training"), material.truth.labels, material.truth_of("training")),
        *on_device(material.spelled_of("validation"), material.truth_of("validation")),
    )
    column: Callable[[str, Any], jax.Array] = lambda name, dtype: jnp.asarray([cell[name] for cell in cells], dtype)
    place = {seed: index for index, seed in enumerate(study.seeds)}
    lanes = students.StudentLanes(
        place=jnp.asarray([place[cell["seed"]] for cell in cells], jnp.int32),
        seed=column("seed", jnp.int32),
        size=column("n", jnp.int32),
        noisy=column("noisy", bool),
        learning_rate=column("learning_rate", jnp.float32),
        weight_decay=column("weight_decay", jnp.float32),
    )
    runs, seconds = students.train(net, training, lesson, lanes, part, report)
    test = material.windows.of("test")
    held = on_device(material.spelled_of("test"), material.truth_of("test"), material.truth.next_outcome[test])
    squared, _, _ = students.errors_of_all(net, training, runs.best["squared"], *held)
    _, divergence, text = students.errors_of_all(net, training, runs.best["divergence"], *held)
    fitted_to = min(FITTED, len(lesson.truth))
    seen = lesson.spelled[:fitted_to], lesson.truth[:fitted_to], lesson.labels[0, :fitted_to]
    fitted, _, _ = students.errors_of_all(net, training, runs.average, *seen)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(runs.params)) // len(cells)
    columns = {
        "step": runs.best_step["squared"].tolist(),
        "validation": runs.validation["squared"],
        "squared_error": squared.mean(axis=(1, 2)),
        "divergence_step": runs.best_step["divergence"].tolist(),
        "divergence_validation": runs.validation["divergence"],
        "loss": divergence.mean(axis=(1, 2)),
        "text_loss": text.mean(axis=(1, 2)),
        "squared_error_on_training_windows": fitted.mean(axis=(1, 2)),
    }
    shared = {"width": width, "parameters": parameters, "steps": training.steps, "seconds": seconds / len(cells)}
    rows = [
        cell | shared | {name: _finite(values[place]) for name, values in columns.items()}
        for place, cell in enumerate(cells)
    ]
    of_documents = functools.partial(exponents.by_document, document_W=material.windows.document[test])
    return rows, {"squared": of_documents(squared)[0], "divergence": of_documents(divergence)[0]}


def _finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _chosen(
    study: TeacherStudy, rows: Sequence[Row], errors: dict[str, np.ndarray]
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows that validation chose, one setting for each n and all seeds, and errors by (n, seed, document).

    Of each error those of the students that do best by it: the rows are of the squared one.
    """
    table: list[Row] = []
    places: dict[str, list[list[int]]] = {name: [] for name in VALIDATION}
    for n, noisy in [*((n, True) for n in sorted(study.sizes)), (None, False)]:
        alike = [i for i, row in enumerate(rows) if row["noisy"] == noisy and (row["n"] == n or not noisy)]
        best = {name: _best_setting(rows, alike, column) for name, column in VALIDATION.items()}
        table += [rows[i] for i in best["squared"]]
        if noisy:
            for name in places:
                places[name].append(best[name])
    return table, {name: errors[name][np.array(those)] for name, those in places.items()}


def _best_setting(rows: Sequence[Row], alike: Sequence[int], column: str) -> list[int]:
    """Places of the rows, one for each seed, of the setting whose mean in a column is least."""
    settings: dict[tuple[Any, ...], list[int]] = {}
    for i in alike:
        settings.setdefault(tuple(rows[i][name] for name in verdict.SETTINGS), []).append(i)
    finite = [some for some in settings.values() if all(rows[i][column] is not None for i in some)]
    if not finite:
        n = rows[alike[0]]["n"]
        raise RunError(f"every setting diverged with some seed at n={n}. Add lower training.learning_rates, elsewhere.")
    return min(finite, key=lambda some: float(np.mean([rows[i][column] for i in some])))


def _references(study: TeacherStudy, material: Material) -> list[Row]:
    """By layer and reference: errors by size, seed and document (as lists), and the settings that validation chose."""
    if not study.references:
        return []
    of_layers = _by_layer(material.truth, lambda layer: _references_of(study, material, layer))
    return [row for rows in of_layers for row in rows]


def _references_of(study: TeacherStudy, material: Material, layer: int) -> list[Row]:
    truth, train = material.truth, material.windows.of("training")
    labels_SxWxP, count = truth.labels, len(material.outcomes)
    found = []
    states = truth.states_at(layer, train)
    points_NxD = states.reshape(-1, states.shape[-1]).astype(np.float32)
    queries, truths, documents = [], [], []
    for part in ("validation", "test"):
        windows, positions = _sampled(study, material, part)
        asked = truth.states_at(layer, windows, positions)
        queries.append(asked.reshape(-1, asked.shape[-1]).astype(np.float32))
        truths.append(truth.probabilities_at(windows, positions).reshape(-1, count))
        documents.append(np.repeat(material.windows.document[windows], len(positions)))
    squared_QxN = references.squared_distances(np.concatenate(queries), points_NxD)
    for name, largest in (("neighbors", None), ("kernel", study.largest_kernel)):
        sizes = [n for n in sorted(study.sizes) if largest is None or n <= largest]
        if len(sizes) < verdict.FEWEST:
            continue
        errors, chosen, variances = [], [], []
        for n in sizes:
            of_seeds = []
            for place in range(len(study.seeds)):
                rows_N = _rows(study, place, n)
                labels_N = labels_SxWxP[place].reshape(-1)[rows_N]
                across = squared_QxN[:, rows_N]
                if name == "neighbors":
                    by_setting = references.nearest_neighbors(across, labels_N, count)
                else:
                    within = references.squared_distances(points_NxD[rows_N], points_NxD[rows_N])
                    by_setting = references.kernel_regression(within, across, labels_N, count)
                of_seeds.append(by_setting)
            split = len(truths[0])
            error = {
                setting: [references.squared_error(one[setting][:split], truths[0]).mean() for one in of_seeds]
                for setting in of_seeds[0]
            }
            best = min(error, key=lambda setting: float(np.mean(error[setting])))
            chosen.append(best)
            tested = np.stack([references.squared_error(one[best][split:], truths[1]) for one in of_seeds])
            errors.append(exponents.by_document(tested[..., None], documents[1])[0].tolist())
            if name == "neighbors":
                k = max(best, 2.0)
                variances.append(np.mean([references.label_variance(one[k][:split], k) for one in of_seeds]))
        row = {"layer": layer, "reference": name, "sizes": sizes, "settings": chosen, "errors": errors}
        found.append(row | ({"variances": [float(one) for one in variances]} if variances else {}))
    return found


def _rows(study: TeacherStudy, place: int, n: int) -> np.ndarray:
    """Which contexts the first n labels of a seed are of, as places among those of all training windows."""
    windows, positions = study.contexts.training, labeled(study)
    first = place * (windows // len(study.seeds)) * positions
    rows: np.ndarray = (first + np.arange(n)) % (windows * positions)
    return rows


def _kept(path: pathlib.Path, make: Callable[[], Any]) -> Any:
    if not path.is_file():
        files.write_json(path, make())
    return files.read_json(path)
