"""Maximum likelihood intrinsic dimension from distances to nearest neighbors, with error bars.

est = mle(x, k=20)                                # x: (n, D), sharded or not
est.dimension, est.standard_error, est.local      # scalar, scalar, (n,)
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.neighborhoods import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric, check_choice
from jaxscale.errors import InputError

Pooling = Literal["harmonic", "arithmetic"]
Normalization = Literal["k-2", "k-1"]


def mle(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    metric: Metric = "euclidean",
    pooling: Pooling = "harmonic",
    normalization: Normalization = "k-2",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
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
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point; static; at least 3, or 2 with normalization="k-1".
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      pooling: "harmonic" or "arithmetic", as above. Static.
      normalization: "k-2" or "k-1", as above. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor. Differentiable in `x` wherever distances are distinct
        and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Levina & Bickel, Maximum likelihood estimation of intrinsic dimension, NeurIPS 2004 (2005).
      MacKay & Ghahramani, Comments on "Maximum likelihood estimation of intrinsic dimension", 2005.
    """
    check_choice("pooling", pooling, Pooling)
    check_choice("normalization", normalization, Normalization)
    least = 3 if normalization == "k-2" else 2
    if k < least:
        raise InputError(f"normalization={normalization!r} needs k of at least {least}; k={k}. Pass a larger k.")
    estimate = _mle(neighborhoods(x, k, metric, nonfinite, duplicates), pooling, normalization)
    return refuse_if_none_used(estimate, k)


@functools.partial(jax.jit, static_argnames=("pooling", "normalization"))
def _mle(hoods, pooling, normalization):
    log_sums, terms = _log_ratio_sums(hoods.distances)
    used = hoods.used & (terms >= (2 if normalization == "k-2" else 1))
    log_sums = jnp.where(hoods.sound, log_sums, jnp.nan)
    pool = _pool_harmonic if pooling == "harmonic" else _pool_arithmetic
    correction = 1 if normalization == "k-2" else 0
    local = _local(log_sums, terms - correction, used)
    dimension, influence, analytic_variance = pool(log_sums, terms, local, used, correction)
    return from_influence(
        "mle", hoods, dimension, influence, analytic_variance, used, scale=hoods.distances[:, -1], local=local
    )


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
