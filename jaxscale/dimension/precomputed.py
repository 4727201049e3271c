"""Distances that somebody else computed, checked and put in order: what `Neighborhoods.from_distances` and
`Neighborhoods.from_neighbors` are made of."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.points import as_array, is_traced, replicated
from jaxscale.errors import InputError

# Distances of float32 by way of inner products differ by so much of the largest from one side to the other.
SYMMETRIC = 1e-3
# From this share of entries that fall, or of points that are not nearest to themselves, on, these are similarities.
MOST = 0.9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lists:
    """The neighbors of each row as they were given, nearest first, with more of them than an estimator may read.

    Attributes:
      distances: (n, K) ascending; infinite where there is no further one.
      indices: (n, K) int32, rows of the points among which the neighbors are; -1 where the distance is infinite.
      own: (n,) int32, which of those points each row is, -1 for none; None where they are the rows themselves.
      others: how many points those are; static.
    """

    distances: jax.Array
    indices: jax.Array
    own: jax.Array | None = None
    others: int = dataclasses.field(default=0, metadata={"static": True})

    def nearest(self, k: int) -> "Lists":
        """The same with the nearest `k` of each row alone."""
        return dataclasses.replace(self, distances=self.distances[:, :k], indices=self.indices[:, :k])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Precomputed:
    """`Lists` in which copies of a point are merged, so that each point counts once.

    Attributes:
      lists: of the points that count.
      used: (n,) booleans, those points.
      multiplicity: (n,) int32, how many rows each of them stands for; zero for the others.
      self_dropped: int32 scalar, rows that stood in their own list.
    """

    lists: Lists
    used: jax.Array
    multiplicity: jax.Array
    self_dropped: jax.Array


def depth_of_halves(k: int, available: int) -> int:
    """Neighbors among which the `k` nearest within a random half of the points are, for 997 points in 1000."""
    return min(2 * k + math.ceil(4 * math.sqrt(2 * k)), available)


def of_matrix(
    distances: Any,
    depth: int,
    rows: Any = None,
    squared: bool = False,
    symmetric: bool = True,
    mask: Any = None,
    collapse: bool = True,
) -> Precomputed:
    """The `depth` nearest by a matrix of distances; see `Neighborhoods.from_distances`."""
    matrix = _as_distances(distances, squared)
    m, n = matrix.shape
    allowed = _as_mask(mask, m)
    if rows is None and m == n:
        _check_matrix(matrix, allowed, symmetric)
        found: Precomputed = _of_square(matrix, allowed, depth, collapse)
        return found
    own = jnp.full(m, -1, jnp.int32) if rows is None else _as_rows(rows, m, n)
    _check_entries(matrix, allowed)
    found = _of_others(matrix, own, allowed, depth)
    return found


def of_lists(
    distances: Any,
    indices: Any,
    includes_self: bool | None = None,
    squared: bool = False,
    mask: Any = None,
    collapse: bool = True,
    others: int | None = None,
) -> Precomputed:
    """Lists of neighbors, or a sparse matrix of distances to them; see `Neighborhoods.from_neighbors`."""
    if indices is None:
        distances, indices = _of_sparse(distances)
    distances_NxK = _as_distances(distances, squared)
    indices_NxK = jnp.asarray(as_array(indices, "indices"))
    if indices_NxK.shape != distances_NxK.shape or not jnp.issubdtype(indices_NxK.dtype, jnp.integer):
        raise InputError(
            f"indices must hold an integer for each of the distances, shape {distances_NxK.shape}; they have shape "
            f"{indices_NxK.shape} and type {indices_NxK.dtype}. Pass both as the search returned them."
        )
    indices_NxK = replicated(indices_NxK.astype(jnp.int32))
    n = distances_NxK.shape[0]
    number = n if others is None else integer("others", others, 1)
    allowed = _as_mask(mask, n)
    traced = is_traced(distances_NxK, indices_NxK)
    if not traced:
        _check_indices(indices_NxK, number)
    if others is not None:
        includes_self = False
    elif includes_self is None:
        if traced:
            raise InputError(
                "includes_self must be given under jit, where it cannot be seen whether the lists name the points "
                "themselves. Pass True or False."
            )
        includes_self = bool(jnp.any((indices_NxK == jnp.arange(n)[:, None]) & allowed[:, None]))
    if not traced:
        _check_lists(distances_NxK, indices_NxK, allowed, includes_self, others is None)
    found: Precomputed = _of_lists(distances_NxK, indices_NxK, allowed, includes_self, collapse, others)
    return found


def check_complete(found: Precomputed, k: int) -> None:
    """Raises `InputError` if a point that counts has fewer than `k` neighbors: it would be left out without a word."""
    if is_traced(found.used, found.lists.distances):
        return
    count_N = np.sum(np.asarray(found.lists.distances) < np.inf, axis=1)
    used_N = np.asarray(found.used)
    short_N = used_N & (count_N < k)
    if not used_N.any():
        raise InputError("mask leaves no point. Pass one that is true somewhere.")
    if short_N.any():
        least, row = int(count_N[used_N].min()), int(np.argmax(short_N))
        raise InputError(
            f"k={k} needs {k} distinct neighbors of every point; {int(short_N.sum())} of {int(used_N.sum())} have "
            f"fewer, row {row} has {int(count_N[row])}, and {least} is the least (copies at distance zero count once). "
            f"Pass k={max(least, 1)}, or lists that are longer."
        )


def _as_distances(distances: Any, squared: bool) -> jax.Array:
    array = as_array(distances, "distances")
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(
            f"distances must be a matrix or a list for each point, (n, k); they have shape {array.shape}. "
            "Points themselves go to neighborhoods(x, k)."
        )
    if array.dtype.kind not in "fiub" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(f"distances must be real numbers; they are {array.dtype}. Pass distances.astype(float).")
    if squared:
        # Rounding may leave a square below zero where it should be zero; what is more negative is refused later.
        if isinstance(array, np.ndarray):
            array = np.sign(array) * np.sqrt(np.abs(np.asarray(array, np.promote_types(array.dtype, np.float32))))
        else:
            array = jnp.sign(array) * jnp.sqrt(jnp.abs(array))
    held = jnp.asarray(array)
    return held.astype(jnp.promote_types(held.dtype, jnp.float32))


def _as_mask(mask: Any, n: int) -> jax.Array:
    if mask is None:
        return jnp.ones(n, bool)
    allowed = replicated(jnp.asarray(mask, bool))
    if allowed.shape != (n,):
        raise InputError(f"mask must hold one boolean per point, shape {(n,)}; it has shape {allowed.shape}.")
    return allowed


def _as_rows(rows: Any, m: int, n: int) -> jax.Array:
    own = jnp.asarray(rows)
    if own.shape != (m,) or not jnp.issubdtype(own.dtype, jnp.integer):
        raise InputError(
            f"rows must hold an integer per row of distances, shape {(m,)}: the column of the point itself, or -1; "
            f"they have shape {own.shape} and type {own.dtype}."
        )
    if not is_traced(own) and bool(jnp.any((own < -1) | (own >= n))):
        raise InputError(f"rows must lie in [-1, {n}); they range from {int(own.min())} to {int(own.max())}.")
    return replicated(own.astype(jnp.int32))


def _of_sparse(graph: Any) -> tuple[np.ndarray, np.ndarray]:
    """The stored entries of each row of a scipy sparse matrix, padded with -1 at infinity."""
    if not hasattr(graph, "tocsr"):
        raise InputError(
            f"indices are missing: {type(graph).__name__} holds distances alone. Pass the indices of the neighbors "
            "too, or a scipy sparse matrix of distances; a full matrix goes to Neighborhoods.from_distances."
        )
    csr = graph.tocsr()
    if csr.shape[0] != csr.shape[1]:
        raise InputError(f"a graph of neighbors must be square, a row for each point; its shape is {csr.shape}.")
    if csr.nnz and np.all(csr.data == 1):
        raise InputError(
            "all entries of the graph are 1: it says who is whose neighbor, but not at what distance. "
            "Pass kneighbors_graph(..., mode='distance')."
        )
    counts_N = np.diff(csr.indptr)
    width = max(1, int(counts_N.max(initial=0)))
    distances_NxK = np.full((csr.shape[0], width), np.inf, np.promote_types(csr.data.dtype, np.float32))
    indices_NxK = np.full((csr.shape[0], width), -1, np.int64)
    there_NxK = np.arange(width) < counts_N[:, None]
    distances_NxK[there_NxK], indices_NxK[there_NxK] = csr.data, csr.indices
    return distances_NxK, indices_NxK


def _check_matrix(matrix: jax.Array, allowed: jax.Array, symmetric: bool) -> None:
    """Raises `InputError` unless concrete `matrix` is one of distances of each point to each, zero to itself."""
    if is_traced(matrix):
        return
    _check_entries(jnp.where(allowed, matrix, 0), allowed)
    largest, diagonal, difference, i, j = (float(value) for value in _extent(matrix, allowed))
    if diagonal > SYMMETRIC * largest:
        raise InputError(
            f"distances of points to themselves must be zero; one is {diagonal:.3g}, of distances up to {largest:.3g}. "
            "Similarities are no distances. If the columns are other points than the rows, pass rows=."
        )
    if symmetric and difference > SYMMETRIC * largest:
        there, back = float(matrix[int(i), int(j)]), float(matrix[int(j), int(i)])
        raise InputError(
            f"distances must be symmetric; from row {int(i)} to {int(j)} it is {there:.4g}, and back {back:.4g}. "
            "Pass (distances + distances.T) / 2, or symmetric=False if they are meant so."
        )


@jax.jit
def _extent(matrix: jax.Array, allowed: jax.Array) -> tuple[jax.Array, ...]:
    """The largest distance, the largest on the diagonal, the largest difference from the transpose, and its place."""
    matrix = jnp.where(allowed[:, None] & allowed, replicated(matrix), 0)
    difference = jnp.where(matrix == matrix.T, 0, jnp.abs(matrix - matrix.T))
    place = jnp.unravel_index(jnp.argmax(difference), matrix.shape)
    finite = jnp.where(jnp.isfinite(matrix), matrix, 0)
    return jnp.max(finite), jnp.max(jnp.abs(jnp.diagonal(matrix))), jnp.max(difference), *place


def _check_entries(distances: jax.Array, allowed: jax.Array) -> None:
    """Raises `InputError` if concrete `distances` of rows `allowed` hold nan or negative numbers."""
    if is_traced(distances, allowed):
        return
    bad = jax.jit(lambda values, rows: (jnp.isnan(values) | (values < 0)) & rows[:, None])(distances, allowed)
    count = int(jnp.sum(bad))
    if not count:
        return
    place = np.unravel_index(int(jnp.argmax(bad)), bad.shape)
    value = float(distances[int(place[0]), int(place[1])])
    raise InputError(
        f"distances must not be negative or nan; {count} are (the first is {value:.3g} in row {place[0]}, column "
        f"{place[1]}). Clean them, or leave rows out by mask=; of rounding below zero take jnp.maximum(distances, 0)."
    )


def _check_indices(indices: jax.Array, number: int) -> None:
    smallest, largest = int(jnp.min(indices)), int(jnp.max(indices))
    if smallest < -1 or largest >= number:
        raise InputError(
            f"indices must lie in [0, {number}), or be -1 where a search found no more; they range from {smallest} to "
            f"{largest}. If the neighbors are among other points than these, pass others=, their number."
        )


def _check_lists(
    distances: jax.Array, indices: jax.Array, allowed: jax.Array, includes_self: bool, may_be_self: bool
) -> None:
    """Raises `InputError` unless concrete lists name each neighbor once, at a distance and not a similarity."""
    known = indices >= 0
    _check_entries(jnp.where(known, distances, jnp.inf), allowed)
    ordered = jnp.sort(jnp.where(known, indices, -1), axis=1)
    twice = jnp.any((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0), axis=1) & allowed
    if bool(jnp.any(twice)):
        raise InputError(
            f"indices of {int(jnp.sum(twice))} rows name a neighbor twice (the first is row {int(jnp.argmax(twice))}). "
            "Each may be named once; -1 stands for none."
        )
    is_self = (indices == jnp.arange(indices.shape[0])[:, None]) & may_be_self
    if not includes_self and bool(jnp.any(is_self & allowed[:, None])):
        raise InputError("includes_self=False, but lists name their own point. Leave it out, to have it detected.")
    with_self = jnp.any(is_self, axis=1) & allowed
    own = jnp.max(jnp.where(is_self, distances, -jnp.inf), axis=1)
    nearest = jnp.min(jnp.where(known & ~is_self, distances, jnp.inf), axis=1)
    farther = jnp.sum(with_self & (own > nearest)) > MOST * jnp.sum(with_self)
    both = known[:, 1:] & known[:, :-1]
    falls = jnp.sum(both & (distances[:, 1:] < distances[:, :-1])) > MOST * jnp.sum(both)
    if bool(farther) or (bool(falls) and not bool(jnp.any(with_self))):
        raise InputError(
            "distances fall along the lists, or points are not the nearest to themselves: these look like "
            "similarities, as of a search by inner product. Pass distances, e.g. arccos of cosines."
        )


@functools.partial(jax.jit, static_argnames=("depth", "collapse"))
def _of_square(matrix_NxN: jax.Array, allowed_N: jax.Array, depth: int, collapse: bool) -> Precomputed:
    n = matrix_NxN.shape[0]
    rows_N = jnp.arange(n)
    # Broadcast from the rows, so that a matrix whose rows are sharded is compared where it lies.
    is_self_NxN = rows_N[:, None] == rows_N
    first_N = rows_N
    if collapse:
        equal_NxN = ((matrix_NxN == 0) & allowed_N[:, None] & allowed_N) | is_self_NxN
        first_N = replicated(jnp.argmax(equal_NxN, axis=1))
    used_N = allowed_N & (first_N == rows_N)
    copies_N = jnp.zeros(n, jnp.int32).at[first_N].add(allowed_N.astype(jnp.int32))
    lists = _nearest(jnp.where(is_self_NxN | ~used_N, jnp.inf, matrix_NxN), depth)
    return Precomputed(lists, used_N, jnp.where(used_N, copies_N, 0), jnp.asarray(n, jnp.int32))


@functools.partial(jax.jit, static_argnames="depth")
def _of_others(matrix_MxN: jax.Array, own_M: jax.Array, allowed_M: jax.Array, depth: int) -> Precomputed:
    is_self_MxN = own_M[:, None] == jnp.arange(matrix_MxN.shape[1])
    lists = _nearest(jnp.where(is_self_MxN, jnp.inf, matrix_MxN), depth)
    dropped = jnp.sum(own_M >= 0, dtype=jnp.int32)
    return Precomputed(dataclasses.replace(lists, own=own_M), allowed_M, allowed_M.astype(jnp.int32), dropped)


def _nearest(matrix_MxN: jax.Array, depth: int) -> Lists:
    """The `depth` smallest of each row, of equal ones those of lowest index."""
    negative_MxK, indices_MxK = lax.top_k(-matrix_MxN, depth)
    distances_MxK, indices_MxK = replicated(-negative_MxK), replicated(indices_MxK)
    known_MxK = distances_MxK < jnp.inf
    return Lists(distances_MxK, jnp.where(known_MxK, indices_MxK, -1).astype(jnp.int32), None, matrix_MxN.shape[1])


@functools.partial(jax.jit, static_argnames=("includes_self", "collapse", "others"))
def _of_lists(
    distances_NxK: jax.Array,
    indices_NxK: jax.Array,
    allowed_N: jax.Array,
    includes_self: bool,
    collapse: bool,
    others: int | None,
) -> Precomputed:
    n, width = distances_NxK.shape
    rows_N = jnp.arange(n, dtype=jnp.int32)
    distances_NxK = replicated(distances_NxK)
    if others is not None:
        known_NxK = (indices_NxK >= 0) & (distances_NxK < jnp.inf)
        lists = dataclasses.replace(
            _sorted(distances_NxK, indices_NxK, known_NxK, width), own=jnp.full(n, -1, jnp.int32), others=others
        )
        return Precomputed(lists, allowed_N, allowed_N.astype(jnp.int32), jnp.zeros((), jnp.int32))
    is_self_NxK = indices_NxK == rows_N[:, None]
    known_NxK = (indices_NxK >= 0) & (distances_NxK < jnp.inf) & ~is_self_NxK & allowed_N[indices_NxK]
    first_N = rows_N
    if collapse:
        equal_NxK = known_NxK & (distances_NxK == 0) & allowed_N[:, None]
        first_N = _first_of_copies(jnp.where(equal_NxK, indices_NxK, n))
    used_N = allowed_N & (first_N == rows_N)
    copies_N = jnp.zeros(n, jnp.int32).at[first_N].add(allowed_N.astype(jnp.int32))
    lists = _sorted(distances_NxK, indices_NxK, known_NxK & used_N[indices_NxK], width - includes_self)
    dropped = jnp.sum(jnp.any(is_self_NxK, axis=1) & allowed_N, dtype=jnp.int32)
    return Precomputed(dataclasses.replace(lists, others=n), used_N, jnp.where(used_N, copies_N, 0), dropped)


def _sorted(distances_NxK: jax.Array, indices_NxK: jax.Array, known_NxK: jax.Array, width: int) -> Lists:
    """Known neighbors in order of their distance, those given first before others as far."""
    distances_NxK = jnp.where(known_NxK, distances_NxK, jnp.inf)
    order_NxK = jnp.argsort(distances_NxK, axis=1, stable=True)[:, :width]
    take = functools.partial(jnp.take_along_axis, indices=order_NxK, axis=1)
    return Lists(take(distances_NxK), take(jnp.where(known_NxK, indices_NxK, -1)))


def _first_of_copies(equal_NxK: jax.Array) -> jax.Array:
    """The lowest index (n,) that a chain of equal points leads to; n stands for none in `equal_NxK` (n, K)."""
    n = equal_NxK.shape[0]

    def lower(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        first_N, _ = state
        of_equals_N = jnp.min(jnp.append(first_N, n)[equal_NxK], axis=1, initial=n)
        lower_N = jnp.minimum(first_N, of_equals_N).astype(jnp.int32)
        named_NxK = jnp.broadcast_to(lower_N[:, None], equal_NxK.shape)
        lower_N = jnp.append(lower_N, n).at[equal_NxK].min(named_NxK)[:n]
        return lower_N, jnp.any(lower_N != first_N)

    start = jnp.arange(n, dtype=jnp.int32), jnp.array(True)
    first_N, _ = lax.while_loop(lambda state: state[1], lower, start)
    return first_N
