"""The study of what a measured dimension depends on: the model, its text, and the measurement itself.

verdict = run(studies.DimensionAblation(), "runs/ablation")

corpora/<kind>/         tokens and tokenizer of each corpus
runs/<name>/            a training run for each model and seed
measured/<name>.json    what was read from its embeddings
table.jsonl             a row for each reading
verdict.json            each factor's readings beside the base's
report.html             the same as a page
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale import config as configs
from jaxscale import dimension, files, sharding, training
from jaxscale.config import Corpus, Run
from jaxscale.data import Store, prepare
from jaxscale.dimension.summary import summary
from jaxscale.errors import InputError
from jaxscale.models import Embeddings
from jaxscale.progress import Silent
from jaxscale.studies import geometry
from jaxscale.studies.ablation.config import DimensionAblation, variant_name, variants
from jaxscale.studies.ablation.verdict import Row, verdict
from jaxscale.studies.stages import Clock, finish


def run(study: DimensionAblation, workdir: str | os.PathLike[str], progress: Silent | None = None) -> dict[str, Any]:
    """`studies.run` of a `DimensionAblation`."""
    return finish(study, workdir, progress, _run)


def _run(study: DimensionAblation, workdir: pathlib.Path, progress: Silent, clock: Clock) -> dict[str, Any]:
    mesh = sharding.make_mesh(study.run.mesh)
    models = variants(study)
    for _, _, one in models:
        sharding.check_fits(mesh, one)  # before any corpus is read
    stores, places = {}, {one.corpus: workdir / "corpora" / _folder_of(one.corpus) for _, _, one in models}
    with clock.stage("corpora"):
        for _, _, one in models:
            if one.corpus not in stores:
                stores[one.corpus] = prepare(one.corpus, one.tokenizer, places[one.corpus], progress.say)
            training.check(one, stores[one.corpus], mesh)
        for store in stores.values():
            _check(study, store)
        configs.claim(workdir, study)  # only now: what is refused above does not take the folder
    with clock.stage("training and measuring"):
        rows = _rows(study, models, stores, workdir, progress)
    files.write_json_lines(workdir / "table.jsonl", rows)
    read = {store_folder.name: stores[corpus].facts for corpus, store_folder in places.items()}
    return verdict(study, rows) | {"corpora": read}


def _rows(
    study: DimensionAblation,
    models: Sequence[tuple[str, int | str, Run]],
    stores: Mapping[Corpus, Store],
    workdir: pathlib.Path,
    progress: Silent,
) -> list[Row]:
    """What was read from every model and seed, trained and measured if that is not done yet."""
    (workdir / "measured").mkdir(exist_ok=True)
    cells = [
        (factor, value, dataclasses.replace(one, seed=seed)) for factor, value, one in models for seed in study.seeds
    ]
    rows = []
    for index, (factor, value, one) in enumerate(cells):
        name = variant_name(factor, value, one.seed)
        path = workdir / "measured" / f"{name}.json"
        report = progress.run(name, index, len(cells))
        if not path.is_file():
            store, folder = stores[one.corpus], workdir / "runs" / name
            finished = training.train(one, store, folder, report)
            readings = list(_readings(study, factor, value, one, store, folder, finished))
            shared = {"run": name, "seed": one.seed} | {c: finished[c] for c in ("loss", "parameters", "seconds")}
            files.write_json(path, [shared | reading for reading in readings])
        rows += files.read_json(path)
    return rows


def _check(study: DimensionAblation, store: Store) -> None:
    """Raises InputError if the held-out documents have too few tokens for the study's largest number of neighbors."""
    points = min([geometry.points_available(study.dimension, store), *study.points]) // study.positions
    most = max([study.dimension.k, *study.ks])
    if points <= most:
        raise InputError(
            f"ks={study.ks} or dimension.k={study.dimension.k}: {most} neighbors need more than {most} points, and the "
            f"smallest sample of the {store.facts['kind']!r} corpus has {points}. "
            "Raise corpus.held_out_fraction or dimension.tokens_per_document, or lower ks or positions."
        )


def _folder_of(corpus: Corpus) -> str:
    return re.sub(r"\W+", "-", f"{corpus.kind} {corpus.path or corpus.name}").strip("-")


def _readings(
    study: DimensionAblation,
    factor: str,
    value: int | str,
    one: Run,
    store: Store,
    folder: pathlib.Path,
    summary: geometry.Summary,
) -> Iterator[Row]:
    """Readings of one trained run: of the base all that the measurement can change, of others the one."""
    measured = study.dimension
    embeddings = geometry.embeddings_of_run(one, store, folder, summary, measured)
    layer = measured.layer % len(embeddings.layers)
    label: Callable[[geometry.Reading, str, Any], Row] = lambda reading, factor, value: (
        {"factor": factor, "value": value} | reading
    )

    def read(points: jax.Array, chosen: slice | np.ndarray = slice(None), **changes: Any) -> geometry.Reading:
        of_document = np.unique(np.asarray(embeddings.document)[chosen], return_inverse=True)[1]
        how = dataclasses.replace(measured, **changes)
        return geometry.of_layer(points[chosen], of_document, int(of_document.max()) + 1, how)

    last = embeddings.layers[layer]
    yield label(read(last), factor, value)
    if factor != "base":
        return
    untrained = geometry.embeddings_of_run(one, store, folder, None, measured)
    yield label(read(untrained.layers[layer]), "training", "none")
    for at, points in enumerate(embeddings.layers):
        if at not in (0, layer):  # the embedding of a small vocabulary has too few distinct points
            yield label(read(points), "layer", at)
    for k in study.ks:
        yield label(read(last, k=k), "k", k)
    for metric in study.metrics:
        if metric != measured.metric:
            yield label(read(last, metric=metric), "metric", metric)
    order = np.asarray(jax.random.permutation(jax.random.key(one.seed), len(last)))
    for count in study.points:
        yield label(read(last, np.sort(order[:count])), "points", count)
    yield from _by_position(study, embeddings, last)
    yield from _by_estimator(study, embeddings.document, last)


def _by_position(study: DimensionAblation, embeddings: Embeddings, points: jax.Array) -> Iterator[Row]:
    """By the place of a token in its document, all at the scale of the whole cloud."""
    place = np.asarray(embeddings.position)
    borders = np.unique(np.quantile(place, np.linspace(0, 1, study.positions + 1)[1:-1]))
    group = np.searchsorted(borders, place, side="left")
    measured = study.dimension
    documents = np.asarray(embeddings.document)
    places = dimension.by_group(points, group, clusters=documents, k=measured.k, metric=measured.metric)
    for at in np.unique(group):
        inside = place[group == at]
        yield {
            "factor": "position",
            "value": f"{inside.min()} to {inside.max()}",
            "dimension": float(places.dimension[at]),
            "standard_error": float(places.standard_error[at]),
            "points": int(places.points[at]),
        }


def _by_estimator(study: DimensionAblation, documents: jax.Array, points: jax.Array) -> Iterator[Row]:
    measured = study.dimension
    clusters = np.asarray(documents)
    found = summary(points, study.estimators, k=measured.k, metric=measured.metric, clusters=clusters)
    for estimate in found["estimates"]:
        yield {
            "factor": "estimator",
            "value": estimate["estimator"],
            "dimension": estimate["dimension"],
            "standard_error": estimate["standard_error"],
            "points": estimate["points_used"],
        }
