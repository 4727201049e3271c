"""Intrinsic dimension from how near the nearest of k neighbors is, relative to the one after them.

mind_ml(x, k=10)                                  # x: (n, D), or neighborhoods of at least 11
mind_ml(x, k=10, integer=True)                    # the likeliest integer
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxscale import arguments
from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.estimators.ratios import gride
from jaxscale.dimension.gradients import without_gradient
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric


def mind_ml(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 10,
    integer: bool = False,
    max_dimension: int | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension by maximum likelihood from minimum neighbor distances (MiND_ML, Rozza et al. 2012).

    With T_j the distance from a point to its j-th nearest neighbor, r = T_1 / T_(k+1) is the least of k independent
    radii in the unit ball of dimension d, where the density is constant across the neighborhood:

        g(r; k, d) = k d r^(d-1) (1 - r^d)^(k-1)

    The logarithm of Π g(r_i; k, d) is concave in d. Its maximum over 0 < d ≤ max_dimension is MiND_MLk; `integer=True`
    takes the maximum over the integers from 1 instead, MiND_MLi. As 1/r is the ratio of `gride` at n1=1, n2=k+1, the
    continuous maximum without the bound is that estimate (Denti et al. 2022), and its standard errors and local
    dimensions are given here: they know neither of the bound nor of the rounding.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least k+1; integers and half precision are taken as float32. May
        be sharded.
      k: neighbors of which the nearest is taken; one more is looked up. Static.
      integer: whether the dimension must be an integer. Static.
      max_dimension: upper bound; D if None. Static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance T_(k+1). Differentiable in `x` wherever distances are distinct and positive;
        with `integer` taking the gradient raises `InputError`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than k+1 when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Rozza, Lombardi, Ceruti, Casiraghi & Campadelli, Novel high intrinsic dimensionality estimators, Machine Learning
        89, 2012, Section 3.
    """
    k = arguments.integer("k", k, 1)
    max_dimension = None if max_dimension is None else arguments.integer("max_dimension", max_dimension, 1)
    hoods = neighborhoods(x, k + 1, metric, nonfinite, duplicates)
    likeliest = gride(hoods, n1=1, n2=k + 1)
    dimension = _bounded(hoods, likeliest.dimension, integer, max_dimension or hoods.width)
    estimate = dataclasses.replace(likeliest, dimension=dimension, estimator="mind_ml")
    if not integer:
        return estimate
    return without_gradient(estimate, hoods, "mind_ml with integer=True takes steps", "Pass integer=False")


@functools.partial(jax.jit, static_argnames=("integer", "max_dimension"))
def _bounded(hoods: Neighborhoods, maximum: jax.Array, integer: bool, max_dimension: int) -> jax.Array:
    if not integer:
        return jnp.minimum(maximum, max_dimension)
    # A concave likelihood is greatest over the integers at one of the two around its maximum.
    below = jnp.clip(jnp.floor(maximum), 1, max_dimension)
    above = jnp.minimum(below + 1, max_dimension)
    gain = _log_likelihood(hoods, above) - _log_likelihood(hoods, below)
    return jnp.where(jnp.isnan(maximum), jnp.nan, jnp.where(gain > 0, above, below))


def _log_likelihood(hoods: Neighborhoods, d: jax.Array) -> jax.Array:
    """Σ log g(r_i; k, d) up to a term without d."""
    k = hoods.k - 1
    nearest, farthest = hoods.distances[:, 0], hoods.distances[:, -1]
    used = hoods.used & (nearest > 0) & (farthest < jnp.inf)
    exponent = d * (jnp.log(jnp.where(used, farthest, 1)) - jnp.log(jnp.where(used, nearest, 1)))
    # log((1 - r^d) / -log r^d), which vanishes with log r: a tie T_1 = T_(k+1) does not speak for one d over another.
    spread = exponent > 0
    share = jnp.where(spread, -jnp.expm1(-exponent) / jnp.where(spread, exponent, 1), 1)
    return jnp.sum(jnp.where(used, k * jnp.log(d) - exponent + (k - 1) * jnp.log(share), 0))
