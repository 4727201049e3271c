"""Maximum likelihood intrinsic dimension from distances to nearest neighbors, with error bars.

est = mle(x, k=20)                                # x: (n, D), sharded or not
est.dimension, est.standard_error, est.local      # scalar, scalar, (n,)
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.duplicates import first_occurrence
from jaxscale.dimension.nearest import neighbors
from jaxscale.dimension.points import (
    Metric,
    as_points,
    check_choice,
    directions,
    has_direction,
    is_finite,
    is_traced,
    refuse_rows,
)
from jaxscale.dimension.standard_errors import graph_variance
from jaxscale.errors import InputError

Pooling = Literal["harmonic", "arithmetic"]
Normalization = Literal["k-2", "k-1"]
Nonfinite = Literal["raise", "drop"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Estimate:
    """An intrinsic dimension, how far to trust it, and what became of the points.

    Attributes:
      dimension: scalar.
      standard_error: scalar; allows for neighborhoods that overlap, and is never below `analytic_standard_error`.
      analytic_standard_error: scalar; as if neighborhoods were independent, which is too small (Fisher information).
      local: (n,) dimension around each point; nan where the point was dropped or repeats an earlier one.
      influence: (n,) first-order share of each point in the error of `dimension`, which is their mean over the points
        used; zero for the others.
      scale: scalar, mean distance to the k-th neighbor: the scale at which the dimension was read.
      points_used: int32 scalar, the N of the formulas.
      duplicates_collapsed: int32 scalar, rows that repeat an earlier one exactly (under "cosine", its direction
        to the last bit).
      zero_distances: int32 scalar, distances between *distinct* points too close for the precision; kept out of logs.
      nonfinite_dropped: int32 scalar, rows with nan or infinity and, under "cosine", rows of zeros.
    """

    dimension: jax.Array
    standard_error: jax.Array
    analytic_standard_error: jax.Array
    local: jax.Array
    influence: jax.Array
    scale: jax.Array
    points_used: jax.Array
    duplicates_collapsed: jax.Array
    zero_distances: jax.Array
    nonfinite_dropped: jax.Array


def mle(
    x: jax.typing.ArrayLike,
    k: int = 20,
    metric: Metric = "euclidean",
    pooling: Pooling = "harmonic",
    normalization: Normalization = "k-2",
    nonfinite: Nonfinite = "raise",
) -> Estimate:
    """Maximum likelihood intrinsic dimension of the points `x` (Levina & Bickel 2005).

    With T_j the distance from point i to its j-th nearest neighbor, the sum S_i = Σ_{j<k} log(T_k / T_j) is that of k-1
    exponentials of rate d, where the density is constant across the neighborhood. Hence, over N points:

        normalization   local          pooling="arithmetic"   pooling="harmonic"
        "k-2"           (k-2) / S_i    mean of local          (N(k-1) - 1) / Σ S_i
        "k-1"           (k-1) / S_i    mean of local          N(k-1) / Σ S_i

    "k-1" is maximum likelihood at each level: harmonic pooling is then exactly the inverse of the mean of the inverses
    (MacKay & Ghahramani 2005), while the arithmetic mean (Levina & Bickel 2005) is too large by (k-1)/(k-2). "k-2"
    corrects each level to be unbiased under the model above, were the S_i independent; for harmonic pooling the
    correction is one part in N(k-1). The inverse of the mean of the inverses of (k-2)/S_i, which is too small by
    (k-2)/(k-1), is not offered.

    Exact duplicates collapse to one point before neighbors are counted. Distinct points at computed distance zero enter
    as censored, at the smallest positive distance of their neighborhood, and do not count as terms of S_i.

    The standard error adds the products of influences over the edges of the neighbor graph; see `graph_variance`. As
    overlap can only make estimates agree, a value below the analytic one is chance and is replaced by it. It measures
    spread, not bias: curvature, boundaries and a varying density lower the estimate, more so for d above ten.

    Args:
      x: (n, D) points; integers and half precision are taken as float32. May be sharded over a mesh.
      k: neighbors per point; static; at least 3, or 2 with normalization="k-1".
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      pooling: "harmonic" or "arithmetic", as above. Static.
      normalization: "k-2" or "k-1", as above. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.

    Returns:
      `Estimate`. Differentiable in `x` wherever distances are distinct and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Levina & Bickel, Maximum likelihood estimation of intrinsic dimension, NeurIPS 2004 (2005).
      MacKay & Ghahramani, Comments on "Maximum likelihood estimation of intrinsic dimension", 2005.
    """
    points = as_points(x)
    _check_arguments(points, k, metric, pooling, normalization, nonfinite)
    if nonfinite == "raise" and not is_traced(points):
        refuse_rows(~is_finite(points), "x", "with nan or infinity", "Clean them, or pass nonfinite='drop'.")
    estimate = _mle(points, k, metric, pooling, normalization, nonfinite)
    _check_enough_points(estimate, k)
    return estimate


def _check_arguments(points, k, metric, pooling, normalization, nonfinite):
    check_choice("metric", metric, Metric)
    check_choice("pooling", pooling, Pooling)
    check_choice("normalization", normalization, Normalization)
    check_choice("nonfinite", nonfinite, Nonfinite)
    least = 3 if normalization == "k-2" else 2
    if k < least:
        raise InputError(f"normalization={normalization!r} needs k of at least {least}; k={k}. Pass a larger k.")
    if points.shape[0] <= k:
        raise InputError(
            f"k={k} needs more than {k} points; x has shape {points.shape}. Pass a smaller k or more points."
        )


def _check_enough_points(estimate, k):
    if is_traced(estimate.points_used) or int(estimate.points_used) > 0:
        return
    n = estimate.local.shape[0]
    distinct = n - int(estimate.duplicates_collapsed) - int(estimate.nonfinite_dropped)
    if distinct > k:
        raise InputError(
            f"x has {distinct} distinct points, but the distances to their k={k} neighbors are zero in "
            f"{estimate.scale.dtype}. Pass a larger k, or points of which fewer coincide."
        )
    raise InputError(
        f"k={k} needs more than {k} distinct points; of the {n} rows of x, {int(estimate.duplicates_collapsed)} repeat "
        f"an earlier one and {int(estimate.nonfinite_dropped)} were dropped, which leaves {distinct}. "
        "Pass a smaller k or more points."
    )


@functools.partial(jax.jit, static_argnames=("k", "metric", "pooling", "normalization", "nonfinite"))
def _mle(points, k, metric, pooling, normalization, nonfinite):
    finite = is_finite(points)
    valid = finite & has_direction(points) if metric == "cosine" else finite
    distinct = valid & _is_first(points, metric)
    # Rows left out stand at (1, ..., 1), where no nan of theirs can reach a gradient.
    near = neighbors(jnp.where(distinct[:, None], points, 1), k, metric=metric, mask=distinct)
    log_sums, terms = _log_ratio_sums(near.distances)
    used = distinct & (terms >= (2 if normalization == "k-2" else 1))
    if nonfinite == "raise":
        log_sums = jnp.where(jnp.all(finite), log_sums, jnp.nan)
    pool = _pool_harmonic if pooling == "harmonic" else _pool_arithmetic
    correction = 1 if normalization == "k-2" else 0
    local = _local(log_sums, terms - correction, used)
    dimension, influence, analytic_variance = pool(log_sums, terms, local, used, correction)
    count = jnp.sum(used)
    variance = jnp.maximum(graph_variance(influence, near.indices, count), analytic_variance)
    return Estimate(
        dimension=dimension,
        standard_error=jnp.sqrt(variance),
        analytic_standard_error=jnp.sqrt(analytic_variance),
        local=local,
        influence=influence,
        scale=jnp.sum(jnp.where(used, near.distances[:, -1], 0)) / count,
        points_used=count.astype(jnp.int32),
        duplicates_collapsed=jnp.sum(valid & ~distinct, dtype=jnp.int32),
        zero_distances=jnp.sum(distinct[:, None] & (near.distances == 0), dtype=jnp.int32),
        nonfinite_dropped=jnp.sum(~valid, dtype=jnp.int32),
    )


def _is_first(points, metric):
    rows = lax.stop_gradient(directions(points) if metric == "cosine" else points)
    return first_occurrence(rows) == jnp.arange(points.shape[0])


def _log_ratio_sums(distances_Nxk):
    """S_i = Σ_{j<k} log(T_k / T_j) and the number of its terms; no terms where T_k is zero or there are no k neighbors.

    A zero T_j is only known to lie below the smallest positive one, T_s. Taking T_s in its place without counting the
    term is maximum likelihood under censoring, and leaves S_i a sum of as many exponentials as are counted.
    """
    farthest_Nx1 = distances_Nxk[:, -1:]
    regular_Nx1 = (farthest_Nx1 > 0) & (farthest_Nx1 < jnp.inf)
    distances_Nxk = jnp.where(regular_Nx1, distances_Nxk, 1)
    positive_Nxk = distances_Nxk > 0
    smallest_Nx1 = jnp.min(jnp.where(positive_Nxk, distances_Nxk, jnp.inf), axis=1, keepdims=True)
    censored_Nxk = jnp.where(positive_Nxk, distances_Nxk, smallest_Nx1)
    log_sums = jnp.sum(jnp.log(censored_Nxk[:, -1:]) - jnp.log(censored_Nxk[:, :-1]), axis=1)
    terms = jnp.where(regular_Nx1[:, 0], jnp.sum(positive_Nxk[:, :-1], axis=1), 0)
    return log_sums, terms


def _local(log_sums, numerators, used):
    """numerators / S_i; infinite where all k neighbors are equally far, nan where the point is not used."""
    spread = used & (log_sums != 0)
    local = jnp.where(spread, numerators / jnp.where(spread, log_sums, 1), jnp.inf)
    return jnp.where(used, local, jnp.nan)


def _pool_harmonic(log_sums, terms, local, used, correction):
    """The dimension that is likeliest for all neighborhoods at once, its influences and its Fisher variance."""
    total_terms = jnp.sum(jnp.where(used, terms, 0))
    total = jnp.where(total_terms > 0, jnp.sum(jnp.where(used, log_sums, 0)), jnp.nan)
    dimension = (total_terms - correction) / total
    influence = jnp.where(used, (terms - dimension * log_sums) * jnp.sum(used) / total, 0)
    return dimension, influence, dimension**2 / total_terms


def _pool_arithmetic(log_sums, terms, local, used, correction):
    """The mean local dimension, its influences and its variance.

    1/S_i is inverse gamma, so a local dimension from m terms has variance d²/(m-2): infinite for m = 2, that is k = 3.
    """
    count = jnp.sum(used)
    dimension = jnp.sum(jnp.where(used, local, 0)) / count
    influence = jnp.where(used, local - dimension, 0)
    relative_variance = jnp.where(terms > 2, 1 / jnp.maximum(terms - 2, 1), jnp.inf)
    return dimension, influence, dimension**2 * jnp.sum(jnp.where(used, relative_variance, 0)) / count**2
