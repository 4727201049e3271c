"""How many pairs of a cloud are close, exactly and tile by tile, and the spread of a mean over pairs.

counts = pair_counts(score, points, used, levels)   # (n, R): the others of each point that score above each level
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

# Points in a side of a tile.
BLOCK = 512


def pair_counts(
    score: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array],
    points: jax.Array,
    used: jax.Array,
    levels: jax.Array,
    block: int = BLOCK,
) -> jax.Array:
    """For each point how many others score above each of the levels with it.

    Each pair of tiles is scored once and counts for the points of both. Counts are integers, exact up to 2³¹ points.

    Args:
      score: takes the points (B, D) of two tiles and their (B,) booleans of use, and returns (B, B) scores, symmetric
        in the two points.
      points: (n, D).
      used: (n,) booleans; the other points count for nothing and have no counts.
      levels: (R,); a pair counts if its score is above, not at, the level.
      block: points in a side of a tile; static.

    Returns:
      (n, R) int32.
    """
    n = points.shape[0]
    tiles = -(-n // block)
    rows = -(-n // tiles)
    padding = tiles * rows - n
    points_TxBxD = jnp.pad(points, ((0, padding), (0, 0))).reshape(tiles, rows, -1)
    used_TxB = jnp.pad(used, (0, padding)).reshape(tiles, rows)

    def add(counts_TxRxB: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        first, second = pair
        scores = score(points_TxBxD[first], points_TxBxD[second], used_TxB[first], used_TxB[second])
        distinct = (first != second) | ~jnp.eye(rows, dtype=bool)
        valid = used_TxB[first][:, None] & used_TxB[second] & distinct
        scores = jnp.where(valid, scores, -jnp.inf)

        def above(level: jax.Array) -> tuple[jax.Array, jax.Array]:
            close = scores > level
            return jnp.sum(close, axis=1, dtype=jnp.int32), jnp.sum(close, axis=0, dtype=jnp.int32)

        of_first, of_second = lax.map(above, levels)
        counts_TxRxB = counts_TxRxB.at[first].add(of_first)
        return counts_TxRxB.at[second].add(jnp.where(first != second, of_second, 0)), None

    counts_TxRxB = jnp.zeros((tiles, levels.shape[0], rows), jnp.int32)
    counts_TxRxB, _ = lax.scan(add, counts_TxRxB, jnp.triu_indices(tiles))
    return counts_TxRxB.swapaxes(1, 2).reshape(tiles * rows, -1)[:n]


def share_of_pairs(counts: jax.Array, used: jax.Array) -> jax.Array:
    """(R,) shares of ordered pairs of the points used that `counts` (n, R) counts.

    The sum is taken in integers, which are exact up to two million points, where float32 would lose the small counts.
    """
    low = jnp.sum(counts & 2047, axis=0, dtype=jnp.uint32)
    high = jnp.sum(counts >> 11, axis=0, dtype=jnp.uint32)
    count = jnp.sum(used).astype(jnp.float32)
    return (high.astype(jnp.float32) * 2048 + low.astype(jnp.float32)) / count / (count - 1)


def pair_mean_variances(
    projections: jax.Array, second_moment: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Variance of a mean of h(x_i, x_j) over all pairs of N independent points, and what it is were pairs independent.

    A U-statistic of order two has variance 4ζ_1/N + 2ζ_2/N² to leading orders (Hoeffding 1948), where ζ_2 is the
    variance of h and ζ_1 that of its mean over one of the points. The means seen over N-1 partners vary by
    ζ_1 + ζ_2/N: taking four times their variance over N, as the Hájek projection alone would, counts the second term
    twice, which is all of it where each point has few close ones.

    Args:
      projections: (n,) 2 · (mean of h over the partners of a point - mean over all), zero for points left out.
      second_moment: ζ_2.
      count: N.

    Returns:
      The variance, never below the second one; and 2ζ_2/N².
    """
    of_pairs = 2 * second_moment / count / count
    return jnp.maximum(jnp.sum(projections**2) / count / count - of_pairs, of_pairs), of_pairs
