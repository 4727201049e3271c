"""Standard errors of a pooled dimension, whose pointwise estimates are not independent.

Every pooled estimator here is, to first order, the truth plus the mean of one *influence* ψ_i per point. What differs
is which pairs of points are taken to be correlated: neighbors in the cloud, or tokens of one document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.points import is_traced
from jaxscale.errors import InputError

if TYPE_CHECKING:
    from jaxscale.dimension.estimate import Estimate


def graph_variance(influence: jax.Array, indices: jax.Array, count: jax.Array) -> jax.Array:
    """Variance of the mean influence when points joined by a nearest-neighbor edge are correlated.

    N⁻² Σ ψ_i ψ_j over i = j and over every ordered pair with an edge from i to j or from j to i: the estimator of
    Conley 1999 for spatially dependent data, with the neighborhood graph in place of a radius. Can be negative.

    Args:
      influence: (n,) ψ, zero for points left out.
      indices: (n, k) neighbors of each point, -1 where there is none.
      count: N, the points not left out.
    """
    return (jnp.sum(influence**2) + jnp.sum(neighbor_products(influence, indices))) / count**2


def neighbor_products(influence: jax.Array, indices: jax.Array, label: jax.Array | None = None) -> jax.Array:
    """For each point (n,) its part of Σ ψ_i ψ_j over ordered pairs joined by an edge; pairs of one `label` (n,) alone.

    Args: as for `graph_variance`.
    """
    rows = jnp.arange(indices.shape[0])

    def add_column(total: jax.Array, neighbor: jax.Array) -> tuple[jax.Array, None]:
        alike = neighbor >= 0 if label is None else (neighbor >= 0) & (label[neighbor] == label)
        products = jnp.where(alike, influence * influence[neighbor], 0)
        # Both directions of an edge count once. A mutual edge is listed twice, from either end; another only once.
        mutual = jnp.any(indices[neighbor] == rows[:, None], axis=1)
        return total + jnp.where(mutual, products, 2 * products), None

    return lax.scan(add_column, jnp.zeros_like(influence), indices.T)[0]


def clustered_standard_error(
    estimate: Estimate, groups: jax.typing.ArrayLike, num_groups: int | None = None
) -> jax.Array:
    """Standard error of `estimate.dimension` when points of a group may depend on each other in any way.

    Tokens of one document share its topic, author and context, so a cloud of token embeddings holds as many independent
    draws as it has documents, not tokens, and `estimate.standard_error`, which knows the cloud alone, is too small.
    The cluster-robust variance (Liang & Zeger 1986) adds influences up within a group before squaring:

        G/(G-1) · N⁻² Σ_g (Σ_{i in g} ψ_i)²

    For harmonic pooling ψ is the delta method on the mean of the inverse local dimensions. With every point its own
    group this is the usual standard error of independent points. Trust it from about thirty groups on.

    Args:
      estimate: from `mle`.
      groups: (n,) integers in [0, num_groups), e.g. the document of each token; ids without points do no harm.
      num_groups: upper bound of the ids, static; needed under `jit`, otherwise read from `groups`.

    Returns:
      Scalar; nan if the points used come from fewer than two groups.

    Raises:
      InputError: if `groups` does not match the estimate, or `num_groups` is missing or too small for its values.
    """
    if estimate.influence is None or estimate.local is None:
        raise InputError(
            f"estimate has no influences; {estimate.estimator!r} speaks of the whole cloud alone. Use mle."
        )
    group_of = jnp.asarray(groups)
    num_groups = number_of_labels("groups", group_of, num_groups, estimate.influence.shape)
    used = ~jnp.isnan(estimate.local)
    sums = jax.ops.segment_sum(estimate.influence, group_of, num_groups)
    present = jnp.sum(jax.ops.segment_sum(used.astype(jnp.int32), group_of, num_groups) > 0)
    correction = jnp.where(present > 1, present / jnp.maximum(present - 1, 1), jnp.nan)
    return jnp.sqrt(correction * jnp.sum(sums**2)) / estimate.points_used


def number_of_labels(name: str, label: jax.Array, number: int | None, shape: tuple[int, ...]) -> int:
    """`number`, or one more than the largest concrete `label`; raises `InputError` unless labels are one per point."""
    if label.shape != shape or not jnp.issubdtype(label.dtype, jnp.integer):
        raise InputError(
            f"{name} must hold one integer per point, shape {shape}; it has shape {label.shape} and type {label.dtype}."
        )
    number = None if number is None else integer(f"num_{name}", number, 1)
    if is_traced(label):
        if number is None:
            raise InputError(f"num_{name} must be given under jit, where the values of {name} are not known.")
        return number
    smallest, largest = int(jnp.min(label)), int(jnp.max(label))
    if number is None:
        number = largest + 1
    if smallest < 0 or largest >= number:
        raise InputError(f"{name} must lie in [0, {number}); they range from {smallest} to {largest}.")
    return number
