"""What estimators read from the points and labels of a study on a manifold, where the truth is known.

    dimension(study, problems)      # maximum likelihood and TwoNN, and against the number of neighbors
    smoothness(study, problems)     # β from noisy labels, and from labels without noise
    check(study, seed, problem)     # can they be read at all? Cheap, and asked before all else

Distances are in units of the root mean square distance of the manifold from the origin.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import dimension as estimators
from jaxscale.errors import InputError
from jaxscale.smoothness import Madogram, madogram, unidentified
from jaxscale.studies.manifolds.config import ManifoldStudy
from jaxscale.studies.manifolds.problem import Problem, in_space

# Points of each seed, and neighbors, that the dimension is read from.
CLOUD, NEIGHBORS, USUAL = 4096, (5, 10, 20, 40, 80), 20
# What a madogram needs.
FEWEST = 128


def dimension(study: ManifoldStudy, problems: Problem) -> dict[str, Any]:
    """At `USUAL` neighbors, with an interval over seeds, and against scale as means over seeds."""
    count = min(CLOUD, study.in_excess)
    read = jax.jit(lambda x: (estimators.by_k(x, NEIGHBORS), estimators.twonn(x).dimension))
    profile_SxK, twonn_S = jax.lax.map(read, in_space(study, problems.points[:, :count]))
    mle_S = profile_SxK.dimension[:, NEIGHBORS.index(USUAL)]
    by_scale = [
        {"k": k, "distance": float(distance) / math.sqrt(study.ambient), "dimension": float(found)}
        | {"standard_error": float(error)}
        for k, distance, found, error in zip(
            NEIGHBORS,
            jnp.mean(profile_SxK.scale, axis=0),
            jnp.mean(profile_SxK.dimension, axis=0),
            jnp.sqrt(jnp.mean(profile_SxK.standard_error**2, axis=0) / len(study.seeds)),
            strict=True,
        )
    ]
    usual = by_scale[NEIGHBORS.index(USUAL)]
    half = _quantile(study.level) * usual["standard_error"]
    return {
        "points": count,
        "mle": usual["dimension"],
        "interval": [usual["dimension"] - half, usual["dimension"] + half],
        "twonn": float(jnp.mean(twonn_S)),
        "per_seed": {"mle": mle_S.tolist(), "twonn": twonn_S.tolist()},
        "by_scale": by_scale,
    }


def smoothness(study: ManifoldStudy, problems: Problem) -> dict[str, dict[str, Any]]:
    """β by the madogram of each seed's first output, from its truth and, unless they are symbols, its labels.

    Means over seeds. The truth is smooth below its shortest waves, and read from so few points that most neighbors lie
    further apart; it still reads up to 0.06 too smooth.
    """
    count = min(CLOUD, study.in_excess)
    coarse = min(count, max(FEWEST, 2 ** ((study.target.octaves - 1) * study.dimension)))

    def read(values: jax.Array, count: int) -> dict[str, Any]:
        madograms = []
        for seed, x_NxD, values_NxO in zip(study.seeds, problems.points, values, strict=True):
            x_NxD = np.asarray(in_space(study, x_NxD), float)
            rows = _first_of_each(x_NxD)[:count] if study.manifold == "language" else slice(count)
            y_N = np.asarray(values_NxO[:, 0], float)
            madograms.append(madogram(x_NxD[rows], y_N[rows], key=jax.random.key(seed)))
        return {"points": madograms[0].points} | _smoothness_of(madograms, study)

    of_labels = {"labels": read(problems.labels, count)} if study.objective == "squared_error" else {}
    return of_labels | {"truth": read(problems.truth, coarse)}


def check(study: ManifoldStudy, seed: int, problem: Problem) -> None:
    """Raises InputError if the text of a language repeats itself so much that β cannot be read from its contexts."""
    if study.manifold != "language":
        return
    different = len(_first_of_each(np.asarray(problem.points)))
    if different < FEWEST:
        raise InputError(
            f"in_excess={study.in_excess} symbols of the text of seed {seed} have only {different} different contexts, "
            f"and {FEWEST} are needed. Give more, a larger ambient or another seed."
        )


def _first_of_each(x_NxD: np.ndarray) -> np.ndarray:
    """The rows where points come first: a text comes back to contexts, and their truth is the same."""
    return np.sort(np.unique(x_NxD, axis=0, return_index=True)[1])


def _smoothness_of(madograms: Sequence[Madogram], study: ManifoldStudy) -> dict[str, Any]:
    """Their mean, in an interval as wide as one reading's, which has it at 95%.

    No narrower for many seeds, since what estimator and shortest wave do to a reading they do to all alike. Each end by
    itself: under much noise an interval reaches further up than down.
    """
    betas = np.array([one.beta for one in madograms])
    ends = np.array([one.interval for one in madograms])
    half = np.mean(np.abs(ends - betas[:, None]), axis=0) * _quantile(study.level) / _quantile(0.95)
    beta, low, high = float(betas.mean()), float(betas.mean() - half[0]), float(betas.mean() + half[1])
    return {
        "beta": beta,
        "interval": [max(low, 0.01), high],
        "identified": not unidentified(beta, (low, high)),
        "noise": float(np.mean([one.noise for one in madograms])),
        "scales": (np.mean([one.scales for one in madograms], axis=0) / math.sqrt(study.ambient)).tolist(),
        "readings": betas.tolist(),
    }


def _quantile(level: float) -> float:
    return statistics.NormalDist().inv_cdf((1 + level) / 2)
