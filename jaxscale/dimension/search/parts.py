"""Exact neighbors part by part: searches of parts of a cloud that add up to that of the whole.

best = nearest_in_part(first_part, queries, mask, 0, scale, k)
best = merged(best, nearest_in_part(second_part, queries, mask, len(first_part), scale, k))
squared, indices = unpacked(best)
"""

import jax
import jax.numpy as jnp

from jaxscale.dimension.search.exact import EXACT, Effort, nearest_squared
from jaxscale.dimension.search.selection import NONE, smallest_pairs

# Squared distances (k, m), ascending along the first axis, and indices in the whole cloud, NONE for none.
Best = tuple[jax.Array, jax.Array]


def nearest_in_part(
    points: jax.Array,
    queries: jax.Array | None,
    mask: jax.Array,
    first: jax.Array,
    scale: jax.Array,
    k: int,
    exclude_self: bool = False,
    effort: Effort = EXACT,
) -> Best:
    """What `nearest_squared` finds in a part of the cloud whose row 0 is the cloud's row `first`.

    The part's own points are the queries if there are none; `exclude_self` then leaves each out of its own list.
    """
    m = (points if queries is None else queries).shape[0]
    rows = jnp.arange(m, dtype=jnp.int32)
    own = rows if queries is None and exclude_self else jnp.full_like(rows, -1)
    squared, indices = nearest_squared(points, queries, mask, own, scale, k, effort)
    return squared.T, jnp.where(indices < 0, NONE, indices + first).T


def merged(best: Best, found: Best) -> Best:
    """The nearest of those of two parts, ties by index."""
    return smallest_pairs(*found, best)


def unpacked(best: Best) -> tuple[jax.Array, jax.Array]:
    """As `nearest_squared`: squared distances and indices (m, k), -1 where infinite."""
    squared, indices = best
    return squared.T, jnp.where(squared == jnp.inf, -1, indices).T
