"""What there is to say about the dimension of one cloud, as plain values: for tables, JSON and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import integer
from jaxscale.dimension.calibration import calibrate, note_of_reading
from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.estimators.registry import LEAST_NEIGHBORS, at_all_neighbors
from jaxscale.dimension.half_samples import with_lists
from jaxscale.dimension.measurement import FEWEST_POINTS, measure
from jaxscale.dimension.neighborhood import Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric
from jaxscale.dimension.references.statistics import NEIGHBORS
from jaxscale.dimension.residuals import KS, Residuals
from jaxscale.dimension.scale import ScaleProfile, by_decimation, by_k
from jaxscale.dimension.scale_reading import ScaleEnd, ScaleReading, read_scales, residuals_of, tangent_dimension
from jaxscale.dimension.standard_errors import clustered_standard_error
from jaxscale.errors import InputError
from jaxscale.verdict import caveat

# Why an estimator may have no finite reading.
WITHOUT_A_READING = {
    "fisher_separability": "no pair of points is inseparable even at the smallest of its alphas, as happens in high "
    "dimension. In Python, pass smaller alphas.",
    "correlation_dimension": "no pair of points is closer than the smallest radius. Raise k.",
    "knn_graph": "its edges get no shorter as points are added: there are too few, or they are far from uniform.",
    "ph0": "its trees grow as fast as their points: there are too few, or they are far from uniform.",
}


def summary(
    x: jax.typing.ArrayLike,
    estimators: Sequence[str] = ("mle", "twonn", "gride"),
    k: int = 20,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    clusters: np.ndarray | None = None,
    ks: Sequence[int] = (),
    key: jax.Array | int | None = None,
    calibrated: bool = False,
    compared: bool = False,
    report: Callable[..., None] = lambda **values: None,
    into: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The dimension of `x` by several estimators, and if wanted against scale, from one neighbor search.

    Args:
      x: (n, D) points.
      estimators: names in `ESTIMATORS`.
      k: neighbors per point.
      metric, nonfinite: see `neighborhoods`.
      clusters: (n,) integers, the documents that tokens are from; errors then allow for their dependence too.
      ks: numbers of neighbors for profiles by `by_k`; none for no such profiles. An estimator is read at those that are
        enough for it.
      key: a JAX random key, or an int for `jax.random.key`. Profiles are then by `by_decimation` instead, which
        searches neighbors anew at each size.
      calibrated: also the dimensions that the readings stand for, by `calibrate`, which reads simulated clouds.
      compared: also the dimension by `measure`, with an interval that holds more than chance.
      report: called with `step` and `steps` as the work goes on.
      into: a dict to put what is returned into, piece by piece: after an error it holds what was measured.

    Returns:
      A dict: `measured` if asked for and there are points enough; `estimates`, each with its `estimator`, numbers and
      counts, a `note` if it is likely too low, and what is `calibrated` if asked for; `caveats`, as a verdict holds
      them, on what else is to be known of them; and `profiles`, each with its `plateau` and its `scales`, what
      `read_scales` says.

    Raises:
      InputError: as `neighborhoods` and the estimators do, or if an argument cannot be used.
    """
    readers = dict(map(at_all_neighbors, dict.fromkeys(estimators)))
    if ks and key is not None:
        raise InputError("ks and key ask for two kinds of profile. Pass one of them.")
    profiled = bool(ks) or key is not None
    check_neighbors(readers, k)
    compared_too = compared and np.shape(x)[0] >= FEWEST_POINTS
    done, steps = 0, 1 + compared_too + len(readers) * (1 + profiled + calibrated)

    def advance() -> None:
        nonlocal done
        done += 1
        report(step=done, steps=steps)

    k, ks = integer("k", k, 1), [integer("ks", value, 1) for value in ks]
    report(step=0, steps=steps)
    # Residuals of profiles reach as deep as they can, whatever k.
    wanted = [least for least in KS if least < np.shape(x)[0] / 4] if key is not None else []
    deepest = max([k, *ks, *wanted, NEIGHBORS if compared_too else 1])
    found = jax.block_until_ready(neighborhoods(x, deepest, metric, nonfinite))
    hoods = with_lists(found.nearest(max([k, *ks])))
    advance()
    said_of_all: dict[str, Any] = {} if into is None else into
    estimates: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    said_of_all.update({"estimates": estimates, "caveats": _caveats_of_cloud(hoods)})
    if profiled:
        said_of_all["profiles"] = profiles
    if compared:
        said_of_all |= _measured(found, clusters, said_of_all["caveats"])
    if compared_too:
        advance()
    for name, read in readers.items():
        estimate = read(hoods.nearest(k))
        said = _estimate(name, estimate, clusters)
        estimates.append(said)
        said_of_all["caveats"] += _caveats_of_estimate(name, estimate)
        advance()
        if calibrated:
            said |= _calibrated(hoods.nearest(k), name, k, said, estimate)
            advance()
    residuals: dict[int, Residuals | None] = {}
    for name, read in readers.items() if profiled else ():
        enough = [value for value in ks if value >= LEAST_NEIGHBORS.get(name, 1)]
        if key is None and not enough:
            advance()
            continue
        profile = by_k(hoods, enough, read) if key is None else by_decimation(hoods.nearest(k), k, read, key=key)
        d = int(tangent_dimension(profile))
        if d not in residuals:  # mostly all estimators agree
            residuals[d] = residuals_of(found, d)
        profiles.append(_profile(name, profile, read_scales(profile, residuals[d])))
        advance()
    return said_of_all


def _measured(
    hoods: Neighborhoods, clusters: np.ndarray | None, caveats: list[dict[str, str]]
) -> dict[str, dict[str, Any]]:
    """What `measure` says, and its caveats among the others; nothing where points are too few."""
    if (points := int(np.sum(hoods.used))) < FEWEST_POINTS:
        text = f"{points} distinct points are too few to compare with reference clouds, which takes {FEWEST_POINTS}."
        caveats.append(caveat("not_compared", text))
        return {}
    found = measure(hoods, clusters=clusters)
    caveats += [caveat(code, text) for code, text in found.caveats]
    value = {"dimension": float(found.dimension), "interval": [float(end) for end in found.interval]}
    return {"measured": value | {"most_alike": list(found.most_alike)}}


def check_neighbors(estimators: Iterable[str], k: int) -> None:
    """Raises `InputError` if `k` neighbors are too few for one of the estimators, which then need not be searched."""
    for name in estimators:
        if k < (least := LEAST_NEIGHBORS.get(name, 1)):
            raise InputError(f"k={k} is too few for {name!r}, which needs {least}. Raise k, or leave {name!r} out.")


def _caveats_of_cloud(hoods: Neighborhoods) -> list[dict[str, str]]:
    count, rows = int(hoods.rounding_collapsed), hoods.used.shape[0]
    if not count:
        return []
    text = f"{count} of {rows} rows repeat another row up to rounding; each point counts once."
    return [caveat("rounding_collapsed", text)]


def _caveats_of_estimate(name: str, estimate: Estimate) -> list[dict[str, str]]:
    """What the numbers of an estimate do not say for themselves."""
    value, error = float(estimate.dimension), float(estimate.standard_error)
    if not math.isfinite(value):
        why = WITHOUT_A_READING.get(name, "it could not be read: distances tell nothing here.")
        return [caveat("no_reading", f"{name}: {why}")]
    if math.isnan(error):
        text = (
            f"{name}: {value:.3g} has no interval: it was read alike all over the cloud, which shows no error and "
            "rules none out. Compare it at another k."
        )
        return [caveat("no_interval", text)]
    return []


def _estimate(name: str, estimate: Estimate, clusters: np.ndarray | None) -> dict[str, Any]:
    """Of two ways in which points depend on each other, neighbors and clusters, the larger error allows for both."""
    error = float(estimate.standard_error)
    if clusters is not None and estimate.influence is not None and estimate.local is not None:
        clustered = float(clustered_standard_error(estimate, clusters))
        error = max(error, clustered) if math.isfinite(clustered) else error
    value = float(estimate.dimension)
    numbers = {field: float(getattr(estimate, field)) for field in ("analytic_standard_error", "scale")}
    counts = ("points_used", "duplicates_collapsed", "rounding_collapsed", "zero_distances", "nonfinite_dropped")
    return {
        "estimator": name,
        "dimension": value,
        "standard_error": error,
        "interval": [value - 1.96 * error, value + 1.96 * error],
        **numbers,
        **{field: int(getattr(estimate, field)) for field in counts},
        "note": note_of_reading(estimate),
    }


def _calibrated(hoods: Neighborhoods, name: str, k: int, said: dict[str, Any], estimate: Estimate) -> dict[str, Any]:
    """The dimension a reading stands for, its error allowing for clusters as that of the reading does."""
    if not 0 < said["dimension"] < math.inf:
        return {
            "calibrated": dict.fromkeys(("dimension", "standard_error", "bias"), math.nan)
            | {"interval": [math.nan] * 2}
        }
    found = calibrate(hoods, name, k)
    value = float(found.dimension)
    beyond = (said["standard_error"] ** 2 - float(estimate.standard_error) ** 2) * (value / said["dimension"]) ** 2
    error = math.sqrt(float(found.standard_error) ** 2 + max(0.0, beyond))
    interval = [value - 1.96 * error, value + 1.96 * error]
    numbers = {"dimension": value, "standard_error": error, "interval": interval, "bias": float(found.bias)}
    return {"note": found.note, "calibrated": numbers}


def _profile(name: str, profile: ScaleProfile, reading: ScaleReading) -> dict[str, Any]:
    """Without scales that repeat the one before, as of an estimator that reads no more neighbors than it needs."""
    names = ("scale", "dimension", "standard_error", "spread", "points", "k")
    fields = {field: np.asarray(getattr(profile, field)) for field in names}
    new = np.append(True, np.diff(fields["scale"]) != 0)
    found = reading.plateau
    ends = ("dimension", "standard_error", "lower", "upper")
    moved = bool(np.sum(new) > 1 and found.found)
    value = {
        "estimator": name,
        **{field: values[new].tolist() for field, values in fields.items()},
        "plateau": {"found": moved, **{end: float(getattr(found, end)) if moved else math.nan for end in ends}},
    }
    return value | ({"scales": _scales(reading)} if np.sum(new) > 1 else {})


def _scales(reading: ScaleReading) -> dict[str, Any]:
    """At which scale to read a profile, and what disturbs it at others."""
    at = int(reading.recommended)
    end: Callable[[ScaleEnd], dict[str, Any]] = lambda end: {
        **{field: float(getattr(end, field)) for field in ("scale", "dimension", "standard_error")},
        "interval": [float(value) for value in end.interval()],
        **{field: int(getattr(end, field)) for field in ("k", "points")},
    }
    words = {-1: "falls", 0: "level", 1: "rises"}
    return {
        "small": end(reading.small),
        "large": end(reading.large),
        "fine_change": words[int(reading.fine_change)],
        "coarse_change": words[int(reading.coarse_change)],
        "noise": {
            "found": bool(reading.noise),
            "excluded": bool(reading.noise_excluded),
            "distance": float(reading.noise_distance),
            "deviation": float(reading.noise_deviation),
            "standard_error": float(reading.noise_deviation_error),
        },
        "curvature": {"found": bool(reading.curvature), "radius": float(reading.curvature_radius)},
        "recommended_k": int(reading.recommended_k) if at >= 0 else None,
        "recommended_scale": float(reading.profile.scale[at]) if at >= 0 else math.nan,
        "reason": reading.reason,
    }
