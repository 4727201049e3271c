"""Does the dimension around a point change with scale, as it cannot on a manifold?

found = dimension_change(x, k=64)
found.rejected                                    # (n,) the points around which it grows
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc

from jaxscale.arguments import integer
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric, check_choice
from jaxscale.errors import InputError

Alternative = Literal["increase", "decrease", "different"]

# Where a change is looked for if nothing is said, as shares of k.
SHARES = (0.25, 0.5, 0.75)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DimensionChange:
    """A test at each point of whether one dimension holds over its neighborhood.

    Attributes:
      p_value: (n,) for the hypothesis of no change at this point, corrected for the number of breaks but not for the
        number of points; nan where the point was dropped, repeats another one, or has neighbors at distance zero.
      rejected: (n,) booleans, the points at which a change is found at the false-discovery rate that was asked for.
      inner, outer: (n,) the dimensions nearer than the break of least p-value, and beyond it; unbiased if each is one.
      radius: (n,) distance of that break.
      threshold: scalar, the largest p-value that is rejected; zero if none is.
      points_used: int32 scalar, the tests made.
    """

    p_value: jax.Array
    rejected: jax.Array
    inner: jax.Array
    outer: jax.Array
    radius: jax.Array
    threshold: jax.Array
    points_used: jax.Array

    @property
    def share(self) -> jax.Array:
        """Scalar: of the points used, those rejected."""
        return jnp.sum(self.rejected) / self.points_used


def dimension_change(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 64,
    breaks: Sequence[int] | None = None,
    alternative: Alternative = "increase",
    false_discovery_rate: float = 0.1,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> DimensionChange:
    """Tests at each point whether its `k` neighbors are consistent with one dimension over all their distances.

    On a manifold the number of neighbors within a small radius r grows as r^d with one d, and noise around it makes d
    fall with distance. Where parts of different dimensions meet, as a line and a sheet, a point of the line sees d = 1
    up to the distance of the sheet and more beyond it. Robinson, Dey & Chiang (2025) found that growth at tokens of
    language models, where it speaks against a manifold and a fiber bundle alike. The test here is another one, exact at
    each point for a Poisson process of constant density. With T_j the distance to the j-th neighbor, the k-1 numbers

        E_j = j log(T_(j+1) / T_j)

    are independent exponentials of rate d then. For a break at the m-th neighbor, S = Σ_{j<m} E_j and R = Σ_{j≥m} E_j
    give the likelihood ratio of two dimensions, (m-1)/S below it and (k-m)/R beyond, against one; the ratio depends on
    S / (S + R) alone, which under one dimension, whatever it is, has the distribution Beta(m-1, k-m). The p-value of a
    point is the least over its breaks, times their number (Bonferroni). Over the points the false-discovery rate is
    that of Benjamini & Hochberg (1995), valid for tests that are independent or positively dependent; those of
    neighbors share distances.

    What is rejected is the model, of which one dimension is a part. Curvature, noise, the ends of the data and an
    uneven density bend the growth of neighbor counts too: most of them make the dimension *fall* with distance, which
    "increase" does not look for, but a density that rises outwards makes it grow. `docs/dimension` says how often.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least k.
      k: neighbors per point, at least 4; static. With more of them smaller changes are seen, of the model too.
      breaks: orders m of neighbors, from 2 to k-1; static. A quarter, half, and three quarters of k if None.
      alternative: "increase" of the dimension with distance, "decrease", or "different". Static.
      false_discovery_rate: share of the rejected points that may be wrong on average, in (0, 1).
      metric, nonfinite, duplicates: see `neighborhoods`. Static.

    Returns:
      `DimensionChange`. For `jit` and `vmap`; it has no useful derivative.

    Raises:
      InputError: if an argument cannot be used, or as `neighborhoods` does.

    References:
      Robinson, Dey & Chiang, Token embeddings violate the manifold hypothesis, arXiv:2504.01002, 2025.
      Benjamini & Hochberg, Controlling the false discovery rate, Journal of the Royal Statistical Society B 57, 1995.
    """
    k = integer("k", k, 4)
    check_choice("alternative", alternative, Alternative)
    orders = [round(share * k) for share in SHARES] if breaks is None else [integer("breaks", m) for m in breaks]
    orders = sorted({min(max(m, 2), k - 1) for m in orders}) if breaks is None else orders
    if not orders or min(orders) < 2 or max(orders) > k - 1:
        raise InputError(f"breaks must be neighbors from 2 to k-1={k - 1}; they are {breaks}.")
    if not 0 < false_discovery_rate < 1:
        raise InputError(f"false_discovery_rate must lie between 0 and 1; it is {false_discovery_rate}.")
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    found: DimensionChange = _dimension_change(hoods, tuple(orders), alternative, false_discovery_rate)
    return found


@functools.partial(jax.jit, static_argnames=("orders", "alternative"))
def _dimension_change(
    hoods: Neighborhoods, orders: tuple[int, ...], alternative: Alternative, rate: jax.Array
) -> DimensionChange:
    k = hoods.k
    used_N = hoods.used & (hoods.distances[:, 0] > 0) & (hoods.distances[:, -1] < jnp.inf) & hoods.sound
    logs_Nxk = jnp.log(jnp.where(used_N[:, None], hoods.distances, 1))
    terms_Nxk = jnp.arange(1, k) * (logs_Nxk[:, 1:] - logs_Nxk[:, :-1])
    sums_Nxk = jnp.cumsum(terms_Nxk, axis=1)
    # A neighborhood on a sphere around its center says nothing.
    used_N = used_N & (sums_Nxk[:, -1] > 0)
    p_values, inner, outer = [], [], []
    for m in orders:
        near_N = sums_Nxk[:, m - 2]
        far_N = jnp.sum(terms_Nxk[:, m - 1 :], axis=1)
        total_N = jnp.where(used_N, near_N + far_N, 1)
        # Each tail by the sum that is small there, so that no p-value is a difference from one.
        more_N = betainc(float(k - m), float(m - 1), far_N / total_N)
        fewer_N = betainc(float(m - 1), float(k - m), near_N / total_N)
        both_N = jnp.minimum(1, 2 * jnp.minimum(more_N, fewer_N))
        p_values.append({"increase": more_N, "decrease": fewer_N, "different": both_N}[alternative])
        inner.append(_unbiased(m - 1, near_N))
        outer.append(_unbiased(k - m, far_N))
    p_NxB = jnp.stack(p_values, axis=1)
    best_N = jnp.argmin(p_NxB, axis=1)

    def of_best(values_NxB: jax.Array) -> jax.Array:
        return jnp.where(used_N, jnp.take_along_axis(values_NxB, best_N[:, None], axis=1)[:, 0], jnp.nan)

    p_value_N = jnp.minimum(1, of_best(p_NxB) * len(orders))
    threshold = _highest_rejected(p_value_N, used_N, rate)
    return DimensionChange(
        p_value=p_value_N,
        rejected=used_N & (p_value_N <= threshold),
        inner=of_best(jnp.stack(inner, axis=1)),
        outer=of_best(jnp.stack(outer, axis=1)),
        radius=of_best(hoods.distances[:, jnp.array(orders) - 1]),
        threshold=threshold,
        points_used=jnp.sum(used_N, dtype=jnp.int32),
    )


def _unbiased(terms: int, sum_N: jax.Array) -> jax.Array:
    """The dimension for a sum of exponentials of that rate: (terms - 1) / sum, or the likeliest of a single one."""
    spread_N = sum_N > 0
    return jnp.where(spread_N, max(terms - 1, 1) / jnp.where(spread_N, sum_N, 1), jnp.inf)


def _highest_rejected(p_value_N: jax.Array, used_N: jax.Array, rate: jax.Array) -> jax.Array:
    """The largest of the ordered p-values p_(i) ≤ rate · i / N (Benjamini & Hochberg 1995); zero if there is none."""
    ordered_N = jnp.sort(jnp.where(used_N, p_value_N, jnp.inf))
    bound_N = rate * jnp.arange(1, len(ordered_N) + 1) / jnp.sum(used_N)
    return jnp.max(jnp.where(ordered_N <= bound_N, ordered_N, 0))
