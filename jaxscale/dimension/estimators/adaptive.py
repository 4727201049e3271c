"""Intrinsic dimension from counts of neighbors in two balls, the outer as large as the density stays constant.

bide(x, k=20)                                     # the outer ball holds k neighbors everywhere
abide(x, k=100)                                   # or as many, up to k, as a test allows at each point
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import digamma, ndtri

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.estimators.ratios import twonn
from jaxscale.dimension.gradients import without_gradient
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, graph, neighborhoods
from jaxscale.dimension.points import Metric
from jaxscale.errors import InputError

# The share p of neighbors in the inner ball at which the error of d is least: it minimizes (1/p - 1) / log² p.
OPTIMAL_SHARE = 0.2032
# Where the counts are those of a power law, one step reaches the fixed point of the inner radius.
RADIUS_STEPS = 8
# The least k*: volumes of fewer neighbors say too little of the density.
FEWEST = 3


def bide(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    tau: float | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Binomial intrinsic dimension estimator (Macocco et al. 2023; continuous form of Di Noia et al. 2024).

    Where the density is constant over a ball of radius T_k, each of its k-1 inner neighbors lies within τ T_k with
    probability p = τ^d. With n_i of them there at point i, maximum likelihood is

        log(Σ n_i / Σ (k-1)) / log τ.

    Without `tau` it is the one of least error, τ = 0.2032^(1/d), found together with d by iteration. Counts need no
    logarithm of a distance: zeros do no harm.

    The standard error adds the products of influences over the edges of the neighbor graph; see `graph_variance`. The
    analytic one is the Cramér-Rao bound (1/p - 1) / (Σ (k-1) log² τ), as if neighborhoods were independent.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point, at least 2; static.
      tau: ratio of the inner to the outer radius, in (0, 1); the optimum if None.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the outer radius, T_k. `local` is the posterior mean under a flat prior on p, which is
        finite for any count. A count has no slope: taking the gradient in `x` raises `InputError`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Macocco, Glielmo, Grilli & Laio, Intrinsic dimension estimation for discrete metrics, Physical Review Letters 130,
        2023.
      Di Noia, Macocco, Glielmo, Laio & Mira, Beyond the noise: intrinsic dimension estimation with optimal
        neighborhood identification, arXiv:2405.15132, 2024.
    """
    k = integer("k", k, 2)
    if tau is not None and not 0 < tau < 1:
        raise InputError(f"tau must lie between 0 and 1; it is {tau}.")
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    estimate = refuse_if_none_used(_bide(hoods, tau), k)
    return without_gradient(estimate, hoods, "bide counts neighbors", "Use mle or gride")


def abide(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 100,
    significance: float = 0.01,
    steps: int = 10,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Adaptive binomial intrinsic dimension estimator (ABIDE; Di Noia et al. 2024).

    Starting from `twonn`, two steps alternate: given d, the outer ball of each point grows to the k* neighbors over
    which `constant_density` finds the density constant; given all k*, the next d is that of `bide` with k* in place of
    k and τ = 0.2032^(1/d). The estimate is the d reached after `steps` of these.

    The standard error is that of `bide` with the k* held fixed. That they were chosen on the same points is not in it.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: the largest k*, at least 4; static.
      significance: chance at which a test finds a constant density not to be one, in (0, 1).
      steps: iterations; static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the outer radius, T_k*. `local` is as for `bide`. Taking the gradient in
        `x` raises `InputError`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Di Noia, Macocco, Glielmo, Laio & Mira, Beyond the noise: intrinsic dimension estimation with optimal
        neighborhood identification, arXiv:2405.15132, 2024.
    """
    k, steps = integer("k", k, FEWEST + 1), integer("steps", steps, 1)
    if not 0 < significance < 1:
        raise InputError(f"significance must lie between 0 and 1; it is {significance}.")
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    graph(hoods, "abide")
    estimate = refuse_if_none_used(_abide(hoods, significance, steps), k)
    return without_gradient(estimate, hoods, "abide counts neighbors", "Use mle or gride")


def constant_density(
    hoods: Neighborhoods, dimension: jax.typing.ArrayLike, significance: jax.typing.ArrayLike = 0.01
) -> jax.Array:
    """How many neighbors k* (n,) of each point lie where the density is that of the point.

    Neighbor k+1 of a point, at k = 3, 4, …, is asked whether a ball of k neighbors around it has the volume of that
    around the point. With V the volumes, proportional to T_k^d, twice the log ratio of the likelihoods of two densities
    and of one is

        D_k = -2k (log V_i + log V_j - 2 log(V_i + V_j) + log 4) = 4k log cosh(d log(T_k(i) / T_k(j)) / 2),

    of which the first beyond the quantile of χ² with one degree of freedom ends the neighborhood: k* is that k, or all
    the neighbors there are (Rodriguez et al. 2018; Di Noia et al. 2024).

    Args:
      hoods: neighborhoods of at least 4 neighbors.
      dimension: d, scalar.
      significance: chance of such an end where densities are equal, in (0, 1).

    Returns:
      int32; without meaning for points not used.

    References:
      Rodriguez, d'Errico, Facco & Laio, Computing the free energy without collective variables, Journal of Chemical
        Theory and Computation 14, 2018.
    """
    distances_kxN, indices_kxN = hoods.distances.T, graph(hoods, "constant_density").T
    # Without the lower half of the probability, one minus which would be rounded to one.
    threshold = ndtri(jnp.asarray(significance, distances_kxN.dtype) / 2) ** 2
    log_distances_kxN = jnp.log(jnp.maximum(distances_kxN, jnp.finfo(distances_kxN.dtype).tiny))

    def is_constant(row: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        k, log_own_N, neighbor_N = row
        half = dimension * (log_own_N - log_distances_kxN[k - 1, neighbor_N]) / 2
        log_cosh = jnp.logaddexp(half, -half) - jnp.log(2)
        return (neighbor_N >= 0) & (4 * k * log_cosh <= threshold)

    tested = jnp.arange(FEWEST, hoods.k)
    constant = lax.map(is_constant, (tested, log_distances_kxN[FEWEST - 1 : -1], indices_kxN[FEWEST:]))
    return FEWEST + jnp.sum(jnp.cumprod(constant, axis=0, dtype=jnp.int32), axis=0, dtype=jnp.int32)


@jax.jit
def _bide(hoods: Neighborhoods, tau: jax.Array | None) -> Estimate:
    k_N = jnp.full(hoods.used.shape, hoods.k)
    if tau is None:
        start = _optimal_tau(twonn(hoods).dimension)
        tau = lax.fori_loop(0, RADIUS_STEPS, lambda _, tau: _optimal_tau(_pooled(hoods, k_N, tau)), start)
    return _binomial("bide", hoods, k_N, tau)


@functools.partial(jax.jit, static_argnames="steps")
def _abide(hoods: Neighborhoods, significance: jax.Array, steps: int) -> Estimate:
    def step(_: jax.Array, dimension: jax.Array) -> jax.Array:
        return _pooled(hoods, constant_density(hoods, dimension, significance), _optimal_tau(dimension))

    dimension = lax.fori_loop(0, steps - 1, step, twonn(hoods).dimension)
    k_N = constant_density(hoods, dimension, significance)
    # Points joined by an edge beyond k* share no part of what was read.
    within_Nxk = jnp.arange(hoods.k) < k_N[:, None]
    read = dataclasses.replace(hoods, indices=jnp.where(within_Nxk, graph(hoods, "abide"), -1))
    return _binomial("abide", read, k_N, _optimal_tau(dimension))


def _optimal_tau(dimension: jax.Array) -> jax.Array:
    # At one there would be no inner ball; 0.999 is the optimum for d = 1600.
    return jnp.minimum(OPTIMAL_SHARE ** (1 / dimension), 0.999)


def _counts(hoods: Neighborhoods, k_N: jax.Array, tau: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Neighbors within τ T_k, neighbors within T_k but the k-th, T_k, and which points have these balls."""
    outer_N = jnp.take_along_axis(hoods.distances, k_N[:, None] - 1, axis=1)[:, 0]
    used_N = hoods.used & (outer_N > 0) & (outer_N < jnp.inf)
    inner_N = jnp.sum(hoods.distances <= tau * outer_N[:, None], axis=1)
    return jnp.where(used_N, inner_N, 0), jnp.where(used_N, k_N - 1, 0), outer_N, used_N


def _pooled(hoods: Neighborhoods, k_N: jax.Array, tau: jax.Array) -> jax.Array:
    """log(Σ n_i / Σ (k_i - 1)) / log τ."""
    inner_N, all_N, _, _ = _counts(hoods, k_N, tau)
    return jnp.log(jnp.sum(inner_N) / jnp.sum(all_N)) / jnp.log(tau)


def _binomial(name: str, hoods: Neighborhoods, k_N: jax.Array, tau: jax.Array) -> Estimate:
    inner_N, all_N, outer_N, used_N = _counts(hoods, k_N, tau)
    count, total = jnp.sum(used_N), jnp.sum(all_N)
    share, log_tau = jnp.sum(inner_N) / total, jnp.log(tau)
    dimension = jnp.where(hoods.sound, jnp.log(share) / log_tau, jnp.nan)
    # The inner radius moves with the data too, but at the power law no τ reads another d than the next.
    influence_N = (inner_N - share * all_N) * count / (total * share * log_tau)
    local_N = (digamma(1.0 + inner_N) - digamma(2.0 + all_N)) / log_tau
    return from_influence(
        name,
        hoods,
        dimension,
        jnp.where(hoods.sound, influence_N, jnp.nan),
        used_N,
        (1 / share - 1) / (total * log_tau**2),
        scale=outer_N,
        local=jnp.where(used_N & hoods.sound, local_N, jnp.nan),
    )
