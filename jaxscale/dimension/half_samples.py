"""The variance of a dimension, from readings of disjoint halves of the cloud.

Neighboring points share neighbors, so their local dimensions agree more than chance would have it, and the error of
their mean is larger than if they were independent. Halves of a cloud share nothing.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.dimension.neighborhood import Neighborhoods, vectors
from jaxscale.dimension.points import replicated, some_rows
from jaxscale.dimension.precomputed import Lists, depth_of_halves
from jaxscale.dimension.search.nearest import neighbors

# The variance is a mean of this many squares of one degree of freedom each: its own relative error is √(2/64) = 18%.
SPLITS = 64

# A larger cloud is represented by a random subset of this many points, or of this many times k, so that the search for
# its neighbors costs little beside the first one.
LEAST_SUBSET = 2048
SUBSET_PER_NEIGHBOR = 64

# Neighbors up to which those within a half are selected; more of them are moved to their places, which takes longer to
# compile.
FEW = 32

# Halves need this many points for each of the k neighbors; those of a smaller cloud are mostly boundary.
LEAST_POINTS_PER_NEIGHBOR = 4


def can_be_halved(hoods: Neighborhoods) -> bool:
    """Whether a cloud of this shape is large enough for `half_sample_variance`, or given lists are long enough."""
    least = 2 * LEAST_POINTS_PER_NEIGHBOR * hoods.k
    if hoods.points is not None:
        return hoods.used.shape[0] >= least
    lists = hoods.lists
    if lists is None or min(hoods.used.shape[0], lists.others) < least:
        return False
    # What lies within a half must be known; a neighbor that is left out, such as the point itself, may be lacking.
    return lists.distances.shape[1] >= depth_of_halves(hoods.k, lists.others - 1)


def half_sample_variance(
    read: Callable[[Neighborhoods], jax.Array], hoods: Neighborhoods, count: jax.Array
) -> jax.Array:
    """Variance of the dimension that `read` finds in `hoods`, relative to its square.

    Let A and B be the halves of a random split of the points. As points are independent, so are the readings T_A and
    T_B, and (T_A - T_B)² / 2 has the variance at n/2 points for its mean, whatever neighborhoods share within a half.
    It is averaged over splits, and taken down to n points at the rate 1/n. Derived, see docs/mathematics, where other
    variances are compared: the jackknife, which leaves out one point at a time, is two to four times too large here.

    The k nearest of a point within its own half are among its 2k + 4√(2k) nearest for 997 points in 1000; the others
    are left out of that split. (With 2√(2k) it would be 96 in 100. As they are left out where their half happens to be
    sparse, it gets sparser still, and the variance of a mean over an uneven cloud a third too large, against 6% now.)
    So one search serves all splits. Where there are more than 2048 points (or 64 k), it is made among a random subset
    of them, for the variance times n hardly depends on n. Subset and splits are drawn once and for all, so the result
    is a function of the points; their order moves its root by chance, about a tenth.

    Args:
      read: from `Neighborhoods` to a scalar, or an array of several readings; must heed `used`.
      hoods: of the whole cloud, with as many neighbors as `read` needs.
      count: N, the points in the estimate whose variance is asked for.
    """
    hoods = lax.stop_gradient(hoods)
    if hoods.points is None or _are_at_hand(hoods):
        subset, lists, sides = _of_lists(hoods)
    else:
        subset = _random_subset(hoods)
        lists = deep_lists(subset, hoods.k)
        side_SxN = jnp.asarray(splits(subset.used.shape[0]))
        sides = side_SxN, side_SxN

    def squared_difference(of_split: tuple[jax.Array, jax.Array]) -> jax.Array:
        side_N, side_of_others_M = of_split
        within = within_sides(subset, lists, side_N, side_of_others_M, hoods.k)
        first = read(dataclasses.replace(within, used=within.used & side_N))
        second = read(dataclasses.replace(within, used=within.used & ~side_N))
        return 2 * ((first - second) / (first + second)) ** 2

    at_half = jnp.mean(lax.map(squared_difference, sides), axis=0)
    # The variance of Student's t: intervals of the normal distribution then cover what those of t would.
    at_half = at_half * SPLITS / (SPLITS - 2)
    return at_half * (jnp.sum(subset.used) / 2) / count


@functools.cache
def splits(n: int) -> np.ndarray:
    """Which half each of n points is in, for each split (SPLITS, n); a constant to the compiler."""
    halves = np.tile(np.arange(n) % 2 == 0, (SPLITS, 1))
    return np.random.default_rng(0).permuted(halves, axis=1)


def _random_subset(hoods: Neighborhoods) -> Neighborhoods:
    """All points of a small cloud, or a random choice of those used; its neighbors are to be found anew."""
    n = hoods.used.shape[0]
    size = most_points(hoods.k)
    if n <= size:
        return dataclasses.replace(hoods, points=replicated(vectors(hoods, "half_sample_variance")))
    chance_N = jax.random.uniform(jax.random.key(0), (n,))
    return at_rows(hoods, jnp.argsort(jnp.where(hoods.used, chance_N, 2))[:size])


def most_points(k: int) -> int:
    """From how many points halves are read at most."""
    return max(LEAST_SUBSET, SUBSET_PER_NEIGHBOR * k)


def with_lists(hoods: Neighborhoods) -> Neighborhoods:
    """`hoods` with the neighbors from which halves are read, so that many estimates of one cloud share their search.

    Of a cloud so large that halves are read from a subset of it, which depends on k, unchanged.
    """
    if hoods.points is None or hoods.used.shape[0] > LEAST_SUBSET or not can_be_halved(hoods.nearest(1)):
        return hoods
    subset = dataclasses.replace(hoods, points=replicated(hoods.points))
    return dataclasses.replace(hoods, lists=deep_lists(subset, hoods.k))


def _are_at_hand(hoods: Neighborhoods) -> bool:
    """Whether `with_lists` has found what a search would find."""
    lists, n = hoods.lists, hoods.used.shape[0]
    enough = lists is not None and lists.distances.shape[1] >= depth_of_halves(hoods.k, n - 1)
    return enough and n <= most_points(hoods.k)


def at_rows(hoods: Neighborhoods, rows: jax.Array) -> Neighborhoods:
    """The points of `rows` alone, whose neighbors are to be found anew."""
    pick: Callable[[jax.Array], jax.Array] = lambda values: some_rows(values, rows)
    points = pick(vectors(hoods, "half_sample_variance"))
    return dataclasses.replace(hoods, points=points, used=pick(hoods.used), multiplicity=pick(hoods.multiplicity))


def deep_lists(subset: Neighborhoods, k: int) -> Lists:
    """Neighbors of `subset`, enough to find k in any half."""
    n = subset.used.shape[0]
    points = vectors(subset, "half_sample_variance")
    near = neighbors(points, depth_of_halves(k, n - 1), metric=subset.metric, mask=subset.used)
    return Lists(near.distances, near.indices, None, n)


def _of_lists(hoods: Neighborhoods) -> tuple[Neighborhoods, Lists, tuple[jax.Array, jax.Array]]:
    """The cloud, its lists as they were given, and the halves that its points and their neighbors are in.

    There is nothing to search a subset with, so all points are read.
    """
    assert hoods.lists is not None
    lists = hoods.lists.nearest(depth_of_halves(hoods.k, hoods.lists.others - 1))
    n = hoods.used.shape[0]
    side_SxN = jnp.asarray(splits(n))
    if lists.own is None:
        return hoods, lists, (side_SxN, side_SxN)
    # A row that is one of the others is in the same half as that; the rest are dealt by themselves.
    others_SxM = jnp.asarray(splits(lists.others))
    return hoods, lists, (jnp.where(lists.own >= 0, others_SxM[:, lists.own], side_SxN), others_SxM)


def within_sides(
    cloud: Neighborhoods, deep: Lists, side_N: jax.Array, side_of_others_M: jax.Array, k: int
) -> Neighborhoods:
    """The k nearest of each point on its own side; points for which `deep` holds fewer are no longer used."""
    same_NxK = (deep.indices >= 0) & (side_of_others_M[deep.indices] == side_N[:, None])
    if k <= FEW:
        # Of all places those of neighbors on the same side, the k least of which stand in front.
        depth = deep.indices.shape[1]
        first_Nxk, place_Nxk = lax.top_k(jnp.where(same_NxK, -jnp.arange(depth, dtype=jnp.float32), -jnp.inf), k)
        compact: Callable[[jax.Array, float], jax.Array] = lambda values_NxK, missing: jnp.where(
            first_Nxk == -jnp.inf, missing, jnp.take_along_axis(values_NxK, place_Nxk, axis=1)
        )
    else:
        # Each neighbor on the same side moves left to its rank among them; those beyond the k-th fall off the edge.
        rank_NxK = jnp.where(same_NxK, jnp.cumsum(same_NxK, axis=1) - 1, k)
        rows_Nx1 = jnp.arange(len(side_N))[:, None]
        compact = lambda values_NxK, missing: (
            jnp.full((len(side_N), k), missing, values_NxK.dtype).at[rows_Nx1, rank_NxK].set(values_NxK, mode="drop")
        )
    return dataclasses.replace(
        cloud,
        distances=compact(deep.distances, jnp.inf),
        indices=compact(deep.indices, -1),
        used=cloud.used & (jnp.sum(same_NxK, axis=1) >= k),
    )
