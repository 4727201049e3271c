"""The vectors of each neighborhood, centered, tile by tile: n·k·D numbers are never held at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.neighborhood import Neighborhoods, graph, vectors
from jaxscale.dimension.points import replicated

# Numbers in a tile of vectors; what is read from them, Gram matrices say, takes about as much again.
TILE = 1 << 22


def map_neighborhoods(read: Callable[[jax.Array], jax.Array], hoods: Neighborhoods, estimator: str) -> jax.Array:
    """`read` of the k nearest neighbors of each point, less their mean.

    The point itself is not among them. Vectors are scaled so that the largest entry before centring is one, which no
    ratio of lengths notices; differences from the point are taken first, so that close pairs far from the origin keep
    their digits.

    Args:
      read: takes (k, D) vectors that add up to zero and returns one array, of the same shape for each neighborhood.
      hoods: neighborhoods; where one has fewer than k neighbors, what is read from it has no meaning.
      estimator: who reads them, for the error where there are no vectors.

    Returns:
      (n, ...), differentiable in `hoods.points` as far as `read` is.
    """
    points_NxD = replicated(vectors(hoods, estimator))

    @jax.checkpoint  # or the gradient would keep every vector
    def of_point(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        point_D, indices_k = row
        vectors_kxD = points_NxD[indices_k] - point_D
        largest = lax.stop_gradient(jnp.max(jnp.abs(vectors_kxD)))
        vectors_kxD = vectors_kxD / jnp.where(largest > 0, largest, 1)
        return read(vectors_kxD - jnp.mean(vectors_kxD, axis=0))

    rows_in_a_tile = max(1, TILE // (hoods.k * points_NxD.shape[1]))
    readings: jax.Array = lax.map(
        of_point, (points_NxD, graph(hoods, estimator)), batch_size=min(rows_in_a_tile, points_NxD.shape[0])
    )
    return readings


def gram(vectors_kxD: jax.Array) -> jax.Array:
    """(k, k) inner products, in full precision on every device."""
    return jnp.matmul(vectors_kxD, vectors_kxD.T, precision=lax.Precision.HIGHEST)


def complete(hoods: Neighborhoods) -> jax.Array:
    """(n,) booleans: the points used that have all k neighbors, not all of them at distance zero."""
    farthest = hoods.distances[:, -1]
    return hoods.used & (farthest > 0) & (farthest < jnp.inf)
