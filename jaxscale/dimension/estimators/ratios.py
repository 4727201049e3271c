"""Intrinsic dimension from the ratio of two neighbor distances, which the density drops out of.

twonn(x)                                          # T_2 / T_1, the smallest scale there is
gride(x, n1=16)                                   # T_32 / T_16, a larger one

Where the density is constant over a ball of the n2 nearest neighbors, the T_j^d are arrival times of a Poisson process:
μ = T_n2 / T_n1 depends on the dimension alone, and μ^-d is Beta(n1, n2 - n1).
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric, check_choice
from jaxscale.errors import InputError

Method = Literal["mle", "fit"]

# Newton's steps for GRIDE. From zero the distance to the root squares at each step after the third or so.
NEWTON_STEPS = 20


def twonn(
    x: jax.typing.ArrayLike | Neighborhoods,
    method: Method = "mle",
    discard: float = 0.1,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension from the ratios μ_i = T_2 / T_1 of each point's two nearest distances (Facco et al. 2017).

    P(μ > m) = m^-d, where the density is constant over two neighbors. Hence, over N points:

        "mle"   (N-1) / Σ log μ_i, unbiased were the μ_i independent; maximum likelihood has N (Denti et al. 2022)
        "fit"   slope through the origin of -log(1 - i/N) on log μ_(i), the i-th smallest, least squares; the largest
                `discard` N of them left out, where noise and a varying density bend the line (Facco et al. 2017)

    "mle" equals the harmonic `mle` at k = 2. Points whose T_1 is zero in this precision have no ratio and are left
    out.

    The standard error is read off halves of the cloud, which share no neighbors; see `half_sample_variance`. For "fit"
    the analytic one takes the influence of the L-statistics Σ x_(i) y_i and Σ x_(i)² as if points were independent.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      method: "mle" or "fit", as above. Static.
      discard: share of the largest ratios left out by "fit", in [0, 1). The largest of all is always left out. Static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the second neighbor. `local` is 1 / log μ_i, too heavy-tailed for means:
        read it by medians. Differentiable in `x` wherever distances are distinct and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than two when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Facco, d'Errico, Rodriguez & Laio, Estimating the intrinsic dimension of datasets by a minimal neighborhood
        information, Scientific Reports 7, 2017.
      Denti, Doimo, Laio & Mira, The generalized ratios intrinsic dimension estimator, Scientific Reports 12, 2022.
    """
    check_choice("method", method, Method)
    if not 0 <= discard < 1:
        raise InputError(f"discard must lie in [0, 1); it is {discard}.")
    hoods = neighborhoods(x, 2, metric, nonfinite, duplicates)
    return refuse_if_none_used(_twonn(hoods, method, float(discard)), k=2)


def gride(
    x: jax.typing.ArrayLike | Neighborhoods,
    n1: int = 1,
    n2: int | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension from the ratios μ_i = T_n2 / T_n1, by maximum likelihood (GRIDE; Denti et al. 2022).

    The density of μ (their Theorem 1) is

        d (μ^d - 1)^(n2-n1-1) / (μ^((n2-1)d+1) B(n2-n1, n1)),    μ > 1

    and the estimate maximizes its product over the points. n1 = 1, 2, 4, … with n2 = 2 n1 reads the dimension at ever
    larger scale; n1 = 1, n2 = 2 is `twonn` without its factor (N-1)/N. Points whose T_n1 is zero in this precision have
    no ratio and are left out.

    The standard error is read off halves of the cloud, which share no neighbors; see `half_sample_variance`. The
    analytic one is from the observed Fisher information, as if points were independent.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      n1: order of the nearer neighbor, at least 1; static.
      n2: order of the farther one, above n1; 2 n1 if None. Static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the n2-th neighbor. `local` is the likeliest dimension for one ratio, too
        heavy-tailed for means at n1 = 1. Differentiable in `x` wherever distances are distinct and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than n2 when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Denti, Doimo, Laio & Mira, The generalized ratios intrinsic dimension estimator, Scientific Reports 12, 2022.
    """
    n1 = integer("n1", n1, 1)
    n2 = 2 * n1 if n2 is None else integer("n2", n2)
    if n2 <= n1:
        raise InputError(f"n2 must be above n1; they are n1={n1} and n2={n2}.")
    hoods = neighborhoods(x, n2, metric, nonfinite, duplicates)
    return refuse_if_none_used(_gride(hoods, n1), k=n2)


@functools.partial(jax.jit, static_argnames=("method", "discard"))
def _twonn(hoods: Neighborhoods, method: Method, discard: float) -> Estimate:
    log_ratios, used = _log_ratios(hoods, 1)
    fit = _fit_exponential if method == "mle" else functools.partial(_fit_line, discard=discard)
    dimension, influence, analytic_variance = fit(log_ratios, used)
    return from_influence(
        "twonn",
        hoods,
        dimension,
        influence,
        used,
        analytic_variance,
        local=_local(log_ratios, used, 1),
        read=lambda part: fit(*_log_ratios(part, 1))[0],
    )


@functools.partial(jax.jit, static_argnames="n1")
def _gride(hoods: Neighborhoods, n1: int) -> Estimate:
    log_ratios, used = _log_ratios(hoods, n1)
    dimension, influence, analytic_variance = _fit_ratios(log_ratios, used, n1, hoods.k)
    one_ratio_of_e, _, _ = _fit_ratios(jnp.ones(1, log_ratios.dtype), jnp.ones(1, bool), n1, hoods.k)

    def read(part: Neighborhoods) -> jax.Array:
        log_ratios, used = _log_ratios(part, n1)
        return _fit_ratios(log_ratios, used, n1, part.k)[0]

    return from_influence(
        "gride",
        hoods,
        dimension,
        influence,
        used,
        analytic_variance,
        local=_local(log_ratios, used, one_ratio_of_e),
        read=read,
    )


def _log_ratios(hoods: Neighborhoods, n1: int) -> tuple[jax.Array, jax.Array]:
    """log(T_k / T_n1), zero where a point has no ratio, and which points have one; nan in unsound neighborhoods."""
    near_N, far_N = hoods.distances[:, n1 - 1], hoods.distances[:, -1]
    used_N = hoods.used & (near_N > 0) & (far_N < jnp.inf)
    log_ratios_N = jnp.log(jnp.where(used_N, far_N, 1)) - jnp.log(jnp.where(used_N, near_N, 1))
    return jnp.where(hoods.sound, log_ratios_N, jnp.nan), used_N


def _local(log_ratios: jax.Array, used: jax.Array, numerator: jax.typing.ArrayLike) -> jax.Array:
    """numerator / log μ_i; infinite where both neighbors are equally far, nan where the point is not used."""
    spread = used & (log_ratios != 0)
    return jnp.where(used, jnp.where(spread, numerator / jnp.where(spread, log_ratios, 1), jnp.inf), jnp.nan)


def _fit_exponential(log_ratios_N: jax.Array, used_N: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(N-1) / Σ log μ_i with its influences and Fisher variance."""
    count = jnp.sum(used_N)
    total = jnp.where(count > 0, jnp.sum(log_ratios_N), jnp.nan)
    dimension = (count - 1) / total
    influence_N = jnp.where(used_N, (1 - dimension * log_ratios_N) * count / total, 0)
    return dimension, influence_N, dimension**2 / count


def _fit_line(log_ratios_N: jax.Array, used_N: jax.Array, discard: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Slope of y_i = -log(1 - i/N) on x_(i), the sorted log ratios, through the origin.

    The influence of a point at x on ∫ h(Q(u)) J(u) du, Q the quantile function of the x_i, is ∫ (F(q) - [x ≤ q]) h'(q)
    J(F(q)) dq. With J = y, h = x in the numerator and J = 1, h = x² in the denominator, both cut at the last x kept,
    the slope's influence is the mean of G less G(x), over the sum of kept x² by N, where G(x) is the integral of
    y(F(q)) - 2 d q from x to that cut.
    """
    count = jnp.sum(used_N)
    order_N = jnp.argsort(jnp.where(used_N, log_ratios_N, jnp.inf))
    x_N = log_ratios_N[order_N]
    rank_N = jnp.arange(1, len(x_N) + 1)
    kept_N = rank_N <= jnp.minimum(jnp.floor((1 - discard) * count), count - 1)
    y_N = -jnp.log1p(-jnp.where(kept_N, rank_N / jnp.maximum(count, 1), 0).astype(x_N.dtype))
    x_N = jnp.where(kept_N, x_N, 0)
    square = jnp.where(jnp.any(kept_N), jnp.sum(x_N**2), jnp.nan)
    slope = jnp.sum(x_N * y_N) / square
    # G over the gap from each x kept to the next one, where F = i/N; none from the last on.
    next_N = jnp.where(jnp.roll(kept_N, -1).at[-1].set(False), jnp.roll(x_N, -1), x_N)
    gaps_N = jnp.where(kept_N, y_N * (next_N - x_N) - slope * (next_N**2 - x_N**2), 0)
    beyond_N = jnp.cumsum(gaps_N[::-1])[::-1]
    influence_N = (jnp.sum(beyond_N) / count - beyond_N) * count / square
    influence_N = jnp.zeros_like(influence_N).at[order_N].set(jnp.where(used_N[order_N], influence_N, 0))
    return slope, influence_N, jnp.sum(influence_N**2) / count**2


def _fit_ratios(log_ratios_N: jax.Array, used_N: jax.Array, n1: int, n2: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The dimension of greatest GRIDE likelihood, its influences and the inverse of the observed Fisher information.

    With z = d log μ and m = n2-n1-1, the score of one point times d is 1 + m φ(z) - (n2-1) z, φ(z) = z / (1 - e^-z).
    φ is convex and φ' < 1, so the sum g(d) is convex and falls at a slope no flatter than -n1 Σ log μ: Newton's steps
    from d = 0, where g > 0, rise to the only root without passing it, and need no safeguard.
    """
    m = n2 - n1 - 1
    count = jnp.sum(used_N)
    total = jnp.where(count > 0, jnp.sum(log_ratios_N), jnp.nan)

    def scores(dimension: jax.Array) -> tuple[jax.Array, jax.Array]:
        """d times the score of each point, and the derivative of that in d."""
        ratio_N, slope_N = _phi(dimension * log_ratios_N)
        score_N = 1 + m * ratio_N - (n2 - 1) * dimension * log_ratios_N
        derivative_N = (m * slope_N - (n2 - 1)) * log_ratios_N
        return jnp.where(used_N, score_N, 0), jnp.where(used_N, derivative_N, 0)

    def step(_: jax.Array, dimension: jax.Array) -> jax.Array:
        score_N, derivative_N = scores(dimension)
        return dimension - jnp.sum(score_N) / jnp.sum(derivative_N)

    root = lax.stop_gradient(lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros_like(total)))
    # One more step at a root that does not move has the derivative of the root itself (implicit function theorem).
    score_N, derivative_N = scores(root)
    slope = jnp.sum(derivative_N)
    dimension = root - jnp.sum(score_N) / lax.stop_gradient(slope)
    dimension = jnp.where(total == 0, jnp.inf, jnp.where(jnp.isnan(total), jnp.nan, dimension))
    return dimension, -score_N * count / slope, dimension / -slope


def _phi(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """φ(z) = z / (1 - e^-z) and φ'(z) for z ≥ 0; by their series where the quotients lose digits."""
    small = z < 0.1
    safe = jnp.where(small, 1, z)
    fall = -jnp.expm1(-safe)
    ratio = jnp.where(small, 1 + z / 2 + z**2 / 12 - z**4 / 720, safe / fall)
    slope = jnp.where(small, 1 / 2 + z / 6 - z**3 / 180, (fall - safe * jnp.exp(-safe)) / fall**2)
    return ratio, slope
