"""Intrinsic dimension from how much farther one must go to double the neighbors.

est = mada(x, k=20)
"""

import jax
import jax.numpy as jnp

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric


def mada(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Manifold-adaptive dimension estimation (Farahmand, Szepesvári & Audibert 2007).

    The mass of a ball grows as r^d, and T_k is the radius of mass k / N. With h = ⌈k/2⌉ the local dimension is

        log(k / h) / log(T_k / T_h),

    log 2 in the numerator for even k, as published, and the estimate is the mean of the local dimensions, each cut at
    the width D of the points, which no dimension exceeds. The paper rounds that mean to a whole number; here it stays
    as it is. Points whose T_h is zero in this precision are left out.

    The mean of local dimensions is larger than the truth, as 1 / log is convex, and the cut makes it smaller where D is
    near d; `gride` with n1 = h and n2 = k reads the same two distances without either bias. The standard error adds the
    products of influences over the edges of the neighbor graph; see `graph_variance`. The analytic one is that of
    independent points.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point, at least 2; static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor. Differentiable in `x` wherever distances are distinct
        and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Farahmand, Szepesvári & Audibert, Manifold-adaptive dimension estimation, ICML 2007.
    """
    k = integer("k", k, 2)
    return refuse_if_none_used(_mada(neighborhoods(x, k, metric, nonfinite, duplicates)), k)


@jax.jit
def _mada(hoods: Neighborhoods) -> Estimate:
    dimension, used_N, local_N = _read(hoods)
    influence_N = jnp.where(used_N, local_N - dimension, 0)
    return from_influence(
        "mada",
        hoods,
        dimension,
        influence_N,
        used_N,
        local=jnp.where(used_N, local_N, jnp.nan),
        read=lambda part: _read(part)[0],
    )


def _read(hoods: Neighborhoods) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Dimension, points used and local dimensions."""
    half = -(-hoods.k // 2)
    near_N, far_N = hoods.distances[:, half - 1], hoods.distances[:, -1]
    used_N = hoods.used & (near_N > 0) & (far_N < jnp.inf)
    log_ratio_N = jnp.log(jnp.where(used_N, far_N, 1)) - jnp.log(jnp.where(used_N, near_N, 1))
    log_ratio_N = jnp.where(hoods.sound, log_ratio_N, jnp.nan)
    growth, width = jnp.log(hoods.k / half), hoods.width
    within_N = log_ratio_N * width > growth
    cut_N = jnp.where(jnp.isnan(log_ratio_N), jnp.nan, width)
    local_N = jnp.where(within_N, growth / jnp.where(within_N, log_ratio_N, 1), cut_N)
    return jnp.sum(jnp.where(used_N, local_N, 0)) / jnp.sum(used_N), used_N, local_N
