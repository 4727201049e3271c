"""Intrinsic dimension of the held-out embeddings of trained runs, layer by layer."""

import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale import dimension, sharding, training
from jaxscale.config import Dimension, Run
from jaxscale.data import Store
from jaxscale.errors import InputError
from jaxscale.models import Embeddings, embed
from jaxscale.studies import target_smoothness
from jaxscale.studies.scaling.config import DataScaling

Summary = Mapping[str, Any]  # of a finished run, its `summary.json`
Reading = dict[str, float]  # a dimension with its standard error, and what it was read from


def measure(study: DataScaling, store: Store, folders: Mapping[str, tuple[pathlib.Path, Summary]]) -> dict[str, Any]:
    """Dimension by layer of some of a study's runs, at the minimum of their validation curves.

    Args:
      study: a `studies.DataScaling`; its `dimension` says how to measure.
      store: the prepared corpus.
      folders: run folder and summary by run name.

    Returns:
      A dict of plain values: `estimate`, `standard_error` and `interval` at the study's layer, pooled over runs; the
      same per run; and by layer. Standard errors treat documents, not tokens, as independent; that of the pooled
      estimate adds the spread between runs. `smoothness` is that of next-token probabilities over the first run's
      embeddings, see `target_smoothness.measure`.
    """
    layer = study.dimension.layer % (study.run.model.layers + 1)
    smoothness = None
    per_run: dict[str, dict[int, Reading]] = {}
    for name, (folder, summary) in folders.items():
        embeddings = embeddings_of_run(study.run, store, folder, summary, study.dimension)
        if not per_run:
            smoothness = target_smoothness.measure(
                embeddings.layers[layer],
                embeddings.next_token,
                key=jax.random.key(0),
                metric=study.dimension.metric,
                level=study.level,
            )
        per_run[name] = _of_embeddings(study, embeddings, layer)
    measured = sorted(set.intersection(*(set(run) for run in per_run.values())))
    by_layer = {at: pooled([run[at] for run in per_run.values()]) for at in measured}
    first = next(iter(per_run.values()))[layer]
    estimate, error = by_layer[layer]["dimension"], by_layer[layer]["standard_error"]
    half = statistics.NormalDist().inv_cdf((1 + study.level) / 2) * error
    return {
        "estimate": estimate,
        "standard_error": error,
        "interval": [estimate - half, estimate + half],
        "layer": layer,
        "k": study.dimension.k,
        "metric": study.dimension.metric,
        "points": first["points"],
        "documents": first["documents"],
        "duplicates_collapsed": first["duplicates_collapsed"],
        "scale": first["scale"],
        "per_seed": [{"run": name, **run[layer]} for name, run in per_run.items()],
        "smoothness": smoothness,
        "by_layer": [{"layer": at, **values} for at, values in by_layer.items()],
    }


def check(study: DataScaling, store: Store) -> None:
    """Raises InputError, before anything is trained, if the held-out documents have too few tokens to measure."""
    measured, points = study.dimension, points_available(study.dimension, store)
    if points <= measured.k:
        raise InputError(
            f"dimension.k={measured.k} needs more than {measured.k} points; {len(store.held_out.starts) - 1} held-out "
            f"documents give {points}. Raise corpus.held_out_fraction or dimension.tokens_per_document, or lower "
            "dimension.k."
        )


def points_available(measured: Dimension, store: Store) -> int:
    """Tokens of the held-out documents that a `config.Dimension` embeds."""
    lengths = np.diff(store.held_out.starts) - 1
    return min(int(np.minimum(lengths, measured.tokens_per_document).sum()), measured.points)


def embeddings_of_run(
    run: Run, store: Store, folder: pathlib.Path, summary: Summary | None, measured: Dimension
) -> Embeddings:
    """`models.Embeddings` of a finished run at its validation minimum; with no summary, before its first step.

    `measured` is a `config.Dimension`.
    """
    program = training.program(run, store.vocab_size, sharding.make_mesh(run.mesh))
    if summary is None:
        params = program.init(jax.random.key(run.seed)).params
    else:
        params = training.restore_params(folder / "checkpoints", summary["step"], program.abstract.params)
    return embed(
        program.model,
        params,
        store.held_out,
        measured.points,
        measured.tokens_per_document,
        key=run.corpus.seed,
        batch_size=run.training.batch_size // run.training.accumulation,
        sharding=sharding.batch_sharding(program.mesh),
    )


def _of_embeddings(study: DataScaling, embeddings: Embeddings, chosen: int) -> dict[int, Reading]:
    """Readings by layer; the chosen one must have one."""
    documents, measured = int(embeddings.document.max()) + 1, {}
    for layer, points in enumerate(embeddings.layers):
        try:
            measured[layer] = of_layer(points, embeddings.document, documents, study.dimension)
        except InputError:  # too few distinct points, as in the embedding of a small vocabulary
            if layer == chosen:
                raise
    return measured


def of_layer(points: jax.Array, document: jax.Array | np.ndarray, documents: int, measured: Dimension) -> Reading:
    """The dimension of (N, D) points of some documents, as plain values; `measured` is a `config.Dimension`."""
    estimate = dimension.mle(points, k=measured.k, metric=measured.metric)
    clustered = float(dimension.clustered_standard_error(estimate, document, documents))
    return {
        "dimension": float(estimate.dimension),
        # Two ways in which tokens depend on each other; the larger allows for both.
        "standard_error": max(float(estimate.standard_error), clustered if math.isfinite(clustered) else 0.0),
        "points": int(estimate.points_used),
        "documents": documents,
        "duplicates_collapsed": int(estimate.duplicates_collapsed),
        "scale": float(estimate.scale),
    }


def pooled(estimates: Sequence[Mapping[str, float]]) -> Reading:
    """Mean over runs. They share their held-out documents, so averaging does not shrink that part of the error."""
    values = np.array([e["dimension"] for e in estimates])
    between = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
    within = np.mean([e["standard_error"] ** 2 for e in estimates])
    return {"dimension": float(values.mean()), "standard_error": float(np.sqrt(within + between))}
