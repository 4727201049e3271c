"""Intrinsic dimension from the mean distance to neighbors in units of the farthest, without a logarithm.

est = mom(x, k=20)
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric, check_choice

MomentPooling = Literal["moments", "arithmetic"]
MomentNormalization = Literal["k-1", "k"]


def mom(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    metric: Metric = "euclidean",
    pooling: MomentPooling = "moments",
    normalization: MomentNormalization = "k-1",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension by the method of moments (Amsaleg et al. 2018).

    Where the density is constant, T_j / T_k for j < k is distributed as u^(1/d), u uniform, of mean m = d / (d + 1).
    Equating m with the mean m_i of these ratios at point i gives the local dimension m_i / (1 - m_i). Over the points:

        pooling="moments"      m / (1 - m) of the mean m of all m_i: nearly unbiased
        pooling="arithmetic"   mean of the local dimensions, as published: larger, as m / (1 - m) is convex

    normalization="k-1" is the above. "k" counts T_k among the distances whose mean is taken, as implementations of the
    paper do; every dimension d̂ then becomes (k d̂ + 1) / (k - 1), which is too large by (d̂ + 1) / (k - 1). MOM of
    scikit-dimension is pooling="arithmetic", normalization="k" and, unless told otherwise, k=100.

    The standard error adds the products of influences over the edges of the neighbor graph; see `graph_variance`. The
    analytic one is from the variance of u^(1/d) for "moments", and that of independent points for "arithmetic".

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point, at least 2; static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      pooling: "moments" or "arithmetic", as above. Static.
      normalization: "k-1" or "k", as above. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor. Differentiable in `x` wherever distances are distinct.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Amsaleg, Chelly, Furon, Girard, Houle, Kawarabayashi & Nett, Extreme-value-theoretic estimation of local intrinsic
        dimensionality, Data Mining and Knowledge Discovery 32, 2018.
    """
    check_choice("pooling", pooling, MomentPooling)
    check_choice("normalization", normalization, MomentNormalization)
    k = integer("k", k, 2)
    return refuse_if_none_used(_mom(neighborhoods(x, k, metric, nonfinite, duplicates), pooling, normalization), k)


@functools.partial(jax.jit, static_argnames=("pooling", "normalization"))
def _mom(hoods: Neighborhoods, pooling: MomentPooling, normalization: MomentNormalization) -> Estimate:
    dimension, influence_N, variance, used_N, local_N = _read(hoods, pooling, normalization)
    return from_influence(
        "mom",
        hoods,
        dimension,
        influence_N,
        used_N,
        variance,
        local=local_N,
        read=lambda part: _read(part, pooling, normalization)[0],
    )


def _read(
    hoods: Neighborhoods, pooling: MomentPooling, normalization: MomentNormalization
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Dimension, influences, their variance as if independent, points used and local dimensions."""
    farthest_N, k = hoods.distances[:, -1], hoods.k
    used_N = hoods.used & (farthest_N > 0) & (farthest_N < jnp.inf)
    nearer_Nxk, unit_N = jnp.where(used_N[:, None], hoods.distances[:, :-1], 0), jnp.where(used_N, farthest_N, 1)
    # 1 - m, which keeps its digits where d is large; zero, and d infinite, where all neighbors are equally far.
    gap_N = jnp.where(hoods.sound, jnp.mean(unit_N[:, None] - nearer_Nxk, axis=1) / unit_N, jnp.nan)
    count = jnp.sum(used_N)
    local_N = (1 - gap_N) / gap_N
    if pooling == "moments":
        gap = jnp.sum(jnp.where(used_N, gap_N, 0)) / count
        dimension = (1 - gap) / gap
        influence_N = (gap - gap_N) / gap**2
        variance = dimension * (dimension + 1) ** 2 / ((dimension + 2) * (k - 1) * count)
    else:
        dimension = jnp.sum(jnp.where(used_N, local_N, 0)) / count
        influence_N = local_N - dimension
        variance = jnp.sum(jnp.where(used_N, influence_N, 0) ** 2) / count**2
    if normalization == "k":
        slope = k / (k - 1)
        dimension, local_N = slope * dimension + 1 / (k - 1), slope * local_N + 1 / (k - 1)
        influence_N, variance = slope * influence_N, slope**2 * variance
    influence_N, local_N = jnp.where(used_N, influence_N, 0), jnp.where(used_N, local_N, jnp.nan)
    return dimension, influence_N, variance, used_N, local_N
