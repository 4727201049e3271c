"""Which rows of a cloud repeat another one, exactly or up to rounding, inside `jit`.

first = first_occurrence(points)                               # exact copies, without comparing all pairs
near = nearest_distinct(points, used, copies, unit, center, k)  # copies up to rounding, found by the search
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding

from jaxscale.dimension.points import SAMPLE, replicated, some_rows
from jaxscale.dimension.search.exact import Effort, usual_effort
from jaxscale.dimension.search.nearest import change_of_distances, search_without_derivative
from jaxscale.dimension.search.ring import equal_rows, equal_rows_in_ring, map_tiles


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Distinct:
    """Points that differ by more than rounding, and the nearest among them.

    Attributes:
      distances, indices: (n, k), see `Neighbors`; without meaning for rows not used.
      used: (n,) booleans, the points kept.
      copies: (n,) int32, how many rows each of them stands for; zero for the others.
    """

    distances: jax.Array
    indices: jax.Array
    used: jax.Array
    copies: jax.Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(5, 6, 7))
def nearest_distinct(
    points: jax.Array,
    used: jax.Array,
    copies: jax.Array,
    unit: jax.Array,
    center: jax.Array,
    k: int,
    effort: Effort | None = None,
    rows: NamedSharding | None = None,
) -> Distinct:
    """The points of which no two are equal up to rounding, and the `k` nearest of each among them.

    Two rows are equal up to rounding if each entry of one differs from that of the other by no more than one unit in
    the last place, as it came in, of the largest of three: the two entries and the median entry of the column, as an
    entry that happens to be small was rounded when its terms were summed; and one in the last place of the entries as
    they are. Entries are compared, and not distances with norms: one column far from zero, as hidden states have, makes
    the norms so large that distinct points would be within rounding of each other.

    This relation is not transitive: a chain of neighbors, each within rounding of the next, can lead anywhere. So no
    chain is taken for a point. The points kept are a maximal independent set: no two are equal up to rounding, and each
    row left out is equal to one kept when it is left out. They are chosen in random order, so that long chains take few
    rounds (Luby 1986). Equal rows are found by the search for neighbors, which is done again among the points that are
    left until there are no more of them; where none repeats, as a rule, it is done once. A row that repeats another one
    with k distinct points between them is not found; its distances are no smaller than theirs.

    Args:
      points: (n, D) floating, finite where `used`; may lie on several devices, as `rows` says.
      used: (n,) booleans, the rows to choose from.
      copies: (n,) int32, how many rows of the input each of them stands for.
      unit, center: see `points.Cloud`.
      k, effort, rows: see `find_neighbors`. Static.

    Returns:
      `Distinct`, whose distances have a derivative in `points`.

    References:
      Luby, A simple parallel algorithm for the maximal independent set problem, SIAM Journal on Computing 15, 1986.
    """
    n, width = points.shape
    effort = usual_effort() if effort is None else effort
    magnitude_N = replicated(jnp.max(jnp.abs(points), axis=1))
    usual_D = _usual_magnitudes(points, center)
    # Rows farther apart than this are not equal; an eighth more for the rounding of distances.
    in_columns = unit * jnp.maximum(jnp.max(jnp.abs(center)), jnp.max(usual_D))
    reach_N = 1.125 * width**0.5 * ((unit + jnp.finfo(points.dtype).eps) * magnitude_N + in_columns)

    def search(
        state: tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
        used_N, copies_N, *_ = state
        distances_Nxk, indices_Nxk = map(
            replicated, search_without_derivative(points, None, used_N, k, True, effort, rows)
        )
        may_be_Nxk = used_N[:, None] & (indices_Nxk >= 0) & (distances_Nxk <= reach_N[:, None])

        def compare(state: tuple[jax.Array | int, jax.Array]) -> tuple[jax.Array | int, jax.Array]:
            column, equal_Nxk = state
            others_N = jnp.where(may_be_Nxk[:, column], indices_Nxk[:, column], -1)
            if rows is None:
                equal_N = equal_rows(points, points, others_N, (unit, center, usual_D))
            else:
                equal_N = replicated(equal_rows_in_ring(points, others_N, rows, (unit, center, usual_D)))
            return column + 1, equal_Nxk.at[:, column].set(equal_N)

        # The neighbors ascend: when none of a column can be equal, none farther can.
        some_may_be = lambda state: (state[0] < k) & jnp.any(may_be_Nxk[:, jnp.minimum(state[0], k - 1)])
        nothing_yet: tuple[jax.Array | int, jax.Array] = (0, jnp.zeros((n, k), bool))
        _, equal_Nxk = lax.while_loop(some_may_be, compare, nothing_yet)
        kept_N, copies_N = _independent(jnp.where(equal_Nxk, indices_Nxk, n), used_N, copies_N)
        return kept_N, copies_N, distances_Nxk, indices_Nxk, jnp.any(equal_Nxk)

    nothing = jnp.zeros((n, k), points.dtype), jnp.zeros((n, k), jnp.int32), jnp.array(True)
    state = lax.while_loop(lambda state: state[-1], search, (used, copies, *nothing))
    used, copies, distances, indices, _ = state
    return Distinct(distances, indices, used, copies)


@nearest_distinct.defjvp
def _nearest_distinct_jvp(
    k: int,
    effort: Effort | None,
    rows: NamedSharding | None,
    primals: tuple[jax.Array, ...],
    tangents: tuple[jax.Array, ...],
) -> tuple[Distinct, Distinct]:
    points, found = primals[0], nearest_distinct(*primals, k, effort, rows)
    d_distances = change_of_distances(points, tangents[0], None, None, found.distances, found.indices, rows)
    nothing: Any = lambda leaf: np.zeros(leaf.shape, jax.dtypes.float0)
    return found, Distinct(d_distances, nothing(found.indices), nothing(found.used), nothing(found.copies))


def _usual_magnitudes(points: jax.Array, center: jax.Array) -> jax.Array:
    """(D,) medians of the absolute entries of each column as they came in, over a sample of the rows."""
    n = points.shape[0]
    sample_SxD = some_rows(points, jnp.arange(0, n, max(1, n // SAMPLE))[:SAMPLE])
    return jnp.median(jnp.abs(sample_SxD + center), axis=0)


def _independent(equal_Nxk: jax.Array, used_N: jax.Array, copies_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which points to keep so that no two that are equal are kept, and how many rows each stands for then.

    Args:
      equal_Nxk: the points that each equals, n for none; the other need not say so too.
    """
    n = len(used_N)
    rows_N = jnp.arange(n, dtype=jnp.int32)
    rank_N = jax.random.permutation(jax.random.key(0), n).astype(jnp.int32)

    def least_of_equals(values_N: jax.Array) -> jax.Array:
        """The least value among the equals of each point, n if there is none."""
        of_those_named = jnp.min(jnp.append(values_N, n)[equal_Nxk], axis=1, initial=n)
        named = jnp.broadcast_to(values_N[:, None], equal_Nxk.shape)
        of_those_naming = jnp.full(n + 1, n, jnp.int32).at[equal_Nxk].min(named)[:n]
        return jnp.minimum(of_those_named, of_those_naming)

    def choose(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        open_N, into_N = state
        chosen_N = open_N & (rank_N < least_of_equals(jnp.where(open_N, rank_N, n)))
        kept_N = least_of_equals(jnp.where(chosen_N, rows_N, n))
        lost_N = open_N & ~chosen_N & (kept_N < n)
        return open_N & ~chosen_N & ~lost_N, jnp.where(lost_N, kept_N, into_N)

    has_equals_N = used_N & (least_of_equals(rows_N) < n)
    _, into_N = lax.while_loop(lambda state: jnp.any(state[0]), choose, (has_equals_N, rows_N))
    return used_N & (into_N == rows_N), jnp.zeros_like(copies_N).at[into_N].add(copies_N)


def first_occurrence(points: jax.Array, rows: NamedSharding | None = None) -> jax.Array:
    """For each row the index (n,) of the first row equal to it, its own if there is none before.

    Rows are sorted by a 64-bit hash of their bits and compared whole with their predecessor in that order. Rows taken
    for equal are equal; equal rows are missed only if the hash of another row falls between theirs, with chance about
    n²/2⁶⁵. Zero equals minus zero, and a nan equals the same nan. Of points that `rows` says are sharded, every device
    gets all hashes and indices, but never all points.
    """
    n = points.shape[0]
    hash_rows: Callable[[jax.Array], tuple[jax.Array, jax.Array]] = lambda points: (
        _hash(points, seed=1),
        _hash(points, seed=2),
    )
    hashes = map_tiles(hash_rows, points) if rows is None else map(replicated, hash_rows(points))
    first_hash, second_hash, order = lax.sort((*hashes, jnp.arange(n, dtype=jnp.int32)), num_keys=3)
    same_hash = (first_hash == jnp.roll(first_hash, 1)) & (second_hash == jnp.roll(second_hash, 1))
    before = jnp.where(same_hash, jnp.roll(order, 1), -1).at[0].set(-1)
    before = jnp.zeros(n, jnp.int32).at[order].set(before)
    equal = equal_rows(points, points, before) if rows is None else equal_rows_in_ring(points, before, rows)
    equal = replicated(equal)
    # Indices ascend among equal hashes, so each run of equal rows starts with its first occurrence.
    start_of_run = lax.cummax(jnp.where(equal[order], 0, jnp.arange(n)))
    return jnp.zeros(n, order.dtype).at[order].set(order[start_of_run])


def _hash(points: jax.Array, seed: int) -> jax.Array:
    """A 32-bit hash of each row: words shifted by their position, mixed by the finalizer of MurmurHash3, summed."""
    bits_NxW = lax.bitcast_convert_type(jnp.where(points == 0, 0, points), jnp.uint32).reshape(points.shape[0], -1)
    position_W = jnp.arange(bits_NxW.shape[1], dtype=jnp.uint32)
    word = bits_NxW + (position_W * jnp.uint32(0x9E3779B9) + jnp.uint32(seed)) * jnp.uint32(0x27D4EB2F)
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(word ^ (word >> 16), axis=1, dtype=jnp.uint32)
