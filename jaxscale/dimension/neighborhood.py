"""One pass over a cloud that every estimator can read: distinct points, their neighbors, and what was left out.

hoods = neighborhoods(x, k=100)                   # the expensive part, once
mle(hoods, k=20), twonn(hoods), gride(hoods)      # no further search
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding

from jaxscale.arguments import integer
from jaxscale.dimension import precomputed
from jaxscale.dimension.duplicates import first_occurrence, nearest_distinct
from jaxscale.dimension.points import (
    Cloud,
    Metric,
    as_cloud,
    check_choice,
    directions,
    has_direction,
    is_finite,
    is_traced,
    refuse_rows,
    replicated,
    row_sharding,
)
from jaxscale.dimension.search.exact import usual_effort
from jaxscale.dimension.search.nearest import angle_of_chord, find_neighbors
from jaxscale.errors import InputError

Nonfinite = Literal["raise", "drop"]
Duplicates = Literal["collapse", "keep"]

# Nearest neighbors among which repeats are looked for where no neighbors are asked for.
NEIGHBORS_COMPARED = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighborhoods:
    """The distinct points of a cloud and the k nearest among them of each.

    Attributes:
      points: (n, D), finite; under "cosine" directions, of length one. Sharded like the input; all else, along explicit
        axes, is on every device. None where distances were given without vectors.
      distances: (n, k) ascending; infinite where there are fewer than k others.
      indices: (n, k) int32 rows of `points`; -1 where the distance is infinite. None where the neighbors are other
        points than the rows.
      used: (n,) booleans, the points that count: finite, and one of its copies unless duplicates are kept, of exact
        ones the first. Rows of the other points hold numbers without meaning.
      multiplicity: (n,) int32, how many rows of the input are this point; zero for rows not used.
      duplicates_collapsed, nonfinite_dropped: int32 scalars, rows left out and why.
      sound: boolean scalar; false where rows that should have been refused could not be seen under a trace, and every
        estimate must be nan.
      rounding_collapsed: int32 scalar, those of `duplicates_collapsed` that are not exact copies.
      lists: neighbors from which halves of the cloud are read without a search: as they were given, where there are no
        vectors; None where there are, unless many estimates share them.
      self_dropped: int32 scalar, points that stood in their own list as it was given; None where none was given.
      metric: of the distances; static.
      width_limit: for `width`; static.
    """

    points: jax.Array | None
    distances: jax.Array
    indices: jax.Array | None
    used: jax.Array
    multiplicity: jax.Array
    duplicates_collapsed: jax.Array
    nonfinite_dropped: jax.Array
    sound: jax.Array
    rounding_collapsed: jax.Array | int = 0
    lists: precomputed.Lists | None = None
    self_dropped: jax.Array | None = None
    metric: Metric = dataclasses.field(default="euclidean", metadata={"static": True})
    width_limit: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def k(self) -> int:
        """Neighbors of each point."""
        return self.distances.shape[1]

    @property
    def width(self) -> int:
        """The dimension that none of the points can exceed: the columns they have, or `width_limit` if that is given.

        Estimators that cut at the width cut there. `calibrate` moves the limit out of the way.

        Raises:
          InputError: if distances were given without either.
        """
        if self.width_limit is not None:
            return self.width_limit
        if self.points is None:
            raise InputError(
                "the estimator takes no dimension above the width of the vectors, which distances do not tell. "
                "Pass width= to Neighborhoods.from_distances or from_neighbors."
            )
        return self.points.shape[1]

    @property
    def zero_distances(self) -> jax.Array:
        """int32 scalar: distances between distinct points too close for the precision."""
        return jnp.sum(self.used[:, None] & (self.distances == 0), dtype=jnp.int32)

    def nearest(self, k: int) -> Neighborhoods:
        """The same with the nearest `k` of each point alone."""
        indices = None if self.indices is None else self.indices[:, :k]
        return dataclasses.replace(self, distances=self.distances[:, :k], indices=indices)

    @classmethod
    def from_distances(
        cls,
        distances: jax.typing.ArrayLike,
        k: int,
        rows: jax.typing.ArrayLike | None = None,
        squared: bool = False,
        symmetric: bool = True,
        points: jax.typing.ArrayLike | None = None,
        width: int | None = None,
        mask: jax.typing.ArrayLike | None = None,
        metric: Metric = "euclidean",
        duplicates: Duplicates = "collapse",
    ) -> Neighborhoods:
        """The `k` nearest by a matrix of distances, of any metric: geodesic, edit distance, what you have.

        Every estimator that reads distances alone takes them: `mle`, `mle_radius`, `twonn`, `gride`, `mom`, `mada`,
        `bide`, and of a square matrix `abide` and `knn_graph` too; with `width` `mind_ml`, and `mada` with its cut. The
        others read vectors, and say so unless there are `points`.

        Args:
          distances: (n, n) of each point to each, whose diagonal is left out; or (m, n) of m points to n others.
            float64 of NumPy is rounded after the root of `squared` is taken. May be sharded by rows.
          k: neighbors per point; static.
          rows: (m,) the column of each row, left out there, or -1 where the point is none of the columns; None for the
            diagonal of a square matrix, and for no column of another.
          squared: whether these are squares of distances. Static.
          symmetric: refuse a square matrix that is not symmetric, up to a thousandth of its largest entry. Static.
          points: (n, D) the vectors, where they are at hand; under "cosine" of any length.
          width: D, where they are not.
          mask: (n,) booleans, the rows that count; of a square matrix the columns that count too. All if None.
          metric: what the distances between vectors are, where those are read; "cosine" is the angle, not 1 - cos,
            with which every dimension reads half. Static.
          duplicates: "collapse" counts points at distance zero of each other once, "keep" each. Static. The columns of
            an (m, n) matrix always count each.

        Returns:
          `Neighborhoods`, differentiable in `distances`. Standard errors are those of halves of the cloud, as from
          vectors, as the matrix holds the neighbors within any half.

        Raises:
          InputError: if an argument cannot be used; if concrete distances are negative, nan, not symmetric, or not zero
            on the diagonal; or if there are not more than `k` distinct points. Traced values are not checked.
        """
        k = integer("k", k, 1)
        shape = jnp.shape(distances)
        others = rows is not None or (len(shape) == 2 and shape[0] != shape[1])
        available = (shape[-1] if len(shape) == 2 else k) - (not others or rows is not None)
        if len(shape) == 2 and available < k:
            raise InputError(f"k={k} needs {k} other points; distances have shape {shape}. Pass a smaller k.")
        check_choice("duplicates", duplicates, Duplicates)
        depth = precomputed.depth_of_halves(k, available)
        found = precomputed.of_matrix(distances, depth, rows, squared, symmetric, mask, duplicates == "collapse")
        return _given(found, k, points, width, metric, others)

    @classmethod
    def from_neighbors(
        cls,
        distances: Any,
        indices: jax.typing.ArrayLike | None = None,
        k: int | None = None,
        includes_self: bool | None = None,
        squared: bool = False,
        others: int | None = None,
        points: jax.typing.ArrayLike | None = None,
        width: int | None = None,
        mask: jax.typing.ArrayLike | None = None,
        metric: Metric = "euclidean",
        duplicates: Duplicates = "collapse",
    ) -> Neighborhoods:
        """Neighbors that another search found: faiss, pynndescent, scikit-learn's `kneighbors` or `kneighbors_graph`.

        See `from_distances` for which estimators read them. A search that is not exact does no
        harm where it misses neighbors at random, and reads too few dimensions where it misses far ones more.

        Args:
          distances: (n, K) to the neighbors of each point, nearest first or in no order; or a scipy sparse matrix
            (n, n) of distances, a row for each point, as `kneighbors_graph(mode="distance")` returns it.
          indices: (n, K) integers, rows of the neighbors, -1 where a search found none; None for a sparse matrix.
          k: neighbors to keep; all of the lists, or as many as every row of a sparse matrix has, if None. Static. Lists
            of 2 k + 4 √(2k) and more give the standard errors of halves of the cloud; shorter ones those of the
            neighbor graph, which are rougher.
          includes_self: whether lists name their own point, which is left out: as a rule first, but where others are
            at distance zero too anywhere, or nowhere. None looks, and `self_dropped` says in how many rows it was;
            needed under `jit`. Static.
          squared: whether these are squares of distances, as those of faiss are. Static.
          others: how many points the neighbors are among, where they are not the points of the rows. Static.
          points, width, mask, metric, duplicates: see `from_distances`; a point that does not count is no neighbor.

        Returns:
          `Neighborhoods`, differentiable in `distances`.

        Raises:
          InputError: if an argument cannot be used; if concrete distances are negative or nan, or similarities by the
            look of them; if lists name a row that is not there, or one twice; or if a point has fewer than `k` distinct
            neighbors. Traced values are not checked: such points are left out.
        """
        check_choice("duplicates", duplicates, Duplicates)
        sparse = indices is None
        found = precomputed.of_lists(distances, indices, includes_self, squared, mask, duplicates == "collapse", others)
        if k is None and sparse:
            k = int(jnp.min(jnp.where(found.used, jnp.sum(found.lists.distances < jnp.inf, axis=1), jnp.inf)))
        longest = found.lists.distances.shape[1]
        k = longest if k is None else integer("k", k, 1)
        if not 1 <= k <= longest:
            raise InputError(
                f"k={k} needs lists of {k} neighbors beside the point itself; these have {longest}. "
                "Pass a smaller k, or longer lists."
            )
        precomputed.check_complete(found, k)
        return _given(found, k, points, width, metric, others is not None)


def vectors(hoods: Neighborhoods, estimator: str) -> jax.Array:
    """The points of `hoods`, which `estimator` reads.

    Raises:
      InputError: if distances were given without them.
    """
    if hoods.points is None:
        raise InputError(
            f"{estimator} reads the vectors of the points, and these neighborhoods hold distances alone. "
            "Pass points= to Neighborhoods.from_distances or from_neighbors, or use mle, gride or twonn."
        )
    return hoods.points


def graph(hoods: Neighborhoods, estimator: str) -> jax.Array:
    """The indices of `hoods`, of whose neighbors `estimator` reads the neighborhoods too.

    Raises:
      InputError: if the neighbors are other points than the rows.
    """
    if hoods.indices is None:
        raise InputError(
            f"{estimator} reads the neighborhoods of neighbors, and here these are other points than the rows. "
            "Pass the distances of all points to all, or use mle, gride or twonn."
        )
    return hoods.indices


def _given(
    found: precomputed.Precomputed,
    k: int,
    points: jax.typing.ArrayLike | None,
    width: int | None,
    metric: Metric,
    others: bool,
) -> Neighborhoods:
    """The `k` nearest of what was `found`, and the vectors where there are some."""
    check_choice("metric", metric, Metric)
    width = None if width is None else integer("width", width, 1)
    there = None if points is None else _usable_points(points, found.used, metric, others)
    lists = found.lists
    rows, count = found.used.shape[0], jnp.sum(found.used, dtype=jnp.int32)
    masked = rows - jnp.sum(found.multiplicity, dtype=jnp.int32)
    hoods = Neighborhoods(
        points=there,
        distances=lists.distances[:, :k],
        indices=None if others else lists.indices[:, :k],
        used=found.used,
        multiplicity=found.multiplicity,
        duplicates_collapsed=rows - count - masked,
        nonfinite_dropped=masked,
        sound=jnp.array(True),
        rounding_collapsed=jnp.zeros((), jnp.int32),
        lists=lists if there is None else None,
        self_dropped=found.self_dropped,
        metric=metric,
        width_limit=width,
    )
    if not others:
        _check_enough_points(hoods)
    return hoods


def _usable_points(x: jax.typing.ArrayLike, used: jax.Array, metric: Metric, others: bool) -> jax.Array:
    if others:
        raise InputError("points cannot be read where neighbors are other points than the rows. Leave them out.")
    points = as_cloud(x, metric, "points").points
    if points.shape[0] != used.shape[0]:
        raise InputError(f"points must be one for each row, {used.shape[0]}; they have shape {points.shape}.")
    usable = is_finite(points) & has_direction(points) if metric == "cosine" else is_finite(points)
    if not is_traced(points, used):
        what = "with nan or infinity, or without direction" if metric == "cosine" else "with nan or infinity"
        refuse_rows(replicated(~usable) & used, "points", what, "Clean them, or leave them out by mask=.")
    safe = jnp.where(usable[:, None], points, 1)
    return directions(safe) if metric == "cosine" else safe


def neighborhoods(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Neighborhoods:
    """The points of `x` and the `k` nearest of each, ready for any estimator.

    Args:
      x: (n, D) points; integers and half precision are taken as float32; may be sharded over a mesh. Numbers on the
        host that jax would cut, as float64 of NumPy, are centered there before, except under "cosine"; pass them as
        they are, as neither `jnp.asarray` nor the argument of a jitted function does that. Or neighborhoods already
        found, of which the nearest `k` are taken as they are: the other arguments are then without effect.
      k: neighbors per point; static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" takes rows that repeat another one for one point and counts neighbors among distinct
        points; "keep" lets each row count, at distances of zero or of rounding from its copies. A row repeats another
        one if all entries agree to the last digit of the type they came in, give or take one; see `nearest_distinct`.
        That type is the dtype of `x`, or bfloat16, float16 or float32 where all entries are numbers of that type in a
        wider one. What was computed from rounded numbers since then cannot be seen: pass it in the type it had. Static.

    Returns:
      `Neighborhoods`. Differentiable in `x`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield infinite distances, and rows that are not finite under
        "raise" yield `sound` false.
    """
    if isinstance(x, Neighborhoods):
        k = integer("k", k, 0)
        if k > x.k:
            raise InputError(
                f"k={k} needs neighborhoods of {k} neighbors; these have {x.k}. Pass neighborhoods(x, {k})."
            )
        return x.nearest(k)
    cloud = as_cloud(x, metric)
    k, n = integer("k", k, 1), cloud.points.shape[0]
    if n <= k:
        raise InputError(
            f"k={k} needs more than {k} points; x has shape {cloud.points.shape}. Pass a smaller k or more points."
        )
    hoods = _checked_neighborhoods(cloud, k, k, metric, nonfinite, duplicates)
    _check_enough_points(hoods)
    return hoods


def distinct_points(
    x: jax.typing.ArrayLike | Cloud | Neighborhoods,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
    up_to_rounding: bool = True,
) -> Neighborhoods:
    """The points that count, with no neighbors, for what reads the cloud alone.

    Args, and `InputError` about the points: see `neighborhoods`. At least two distinct points are needed.
      up_to_rounding: whether rows that repeat another one up to rounding collapse too, which takes a search of all
        pairs; or exact copies alone, which takes none. Static.
    """
    if isinstance(x, Neighborhoods):
        return x.nearest(0)
    cloud = as_cloud(x, metric)
    n = cloud.points.shape[0]
    if n < 2:
        raise InputError(f"a dimension needs two points or more; x has shape {cloud.points.shape}. Pass more points.")
    depth = min(NEIGHBORS_COMPARED, n - 1) if up_to_rounding else 0
    hoods = _checked_neighborhoods(cloud, 0, depth, metric, nonfinite, duplicates)
    if not is_traced(hoods.used) and int(jnp.sum(hoods.used)) < 2:
        raise InputError(
            f"a dimension needs two distinct points; of the {n} rows of x, "
            f"{int(hoods.duplicates_collapsed)} repeat an earlier one and {int(hoods.nonfinite_dropped)} were dropped. "
            "Pass more points."
        )
    return hoods


def _checked_neighborhoods(
    cloud: Cloud, k: int, depth: int, metric: Metric, nonfinite: Nonfinite, duplicates: Duplicates
) -> Neighborhoods:
    check_choice("metric", metric, Metric)
    check_choice("nonfinite", nonfinite, Nonfinite)
    check_choice("duplicates", duplicates, Duplicates)
    points = cloud.points
    clean = _are_usable(points, metric, nonfinite)
    hoods: Neighborhoods = _neighborhoods(cloud, k, depth, metric, nonfinite, duplicates, clean, row_sharding(points))
    return dataclasses.replace(hoods, points=points) if clean else hoods


def _are_usable(points: jax.Array, metric: Metric, nonfinite: Nonfinite) -> bool:
    """Whether the points are known to be usable as they are."""
    if is_traced(points):
        return False
    finite = is_finite(points)
    if nonfinite == "raise":
        refuse_rows(~finite, "x", "with nan or infinity", "Clean them, or pass nonfinite='drop'.")
        if metric == "cosine":
            what = "of zeros, which have no direction"
            refuse_rows(~has_direction(points), "x", what, "Drop them, or pass nonfinite='drop'.")
    return metric == "euclidean" and bool(jnp.all(finite))


def _check_enough_points(hoods: Neighborhoods) -> None:
    if is_traced(hoods.used):
        return
    n, distinct = hoods.used.shape[0], int(jnp.sum(hoods.used))
    if distinct <= hoods.k:
        raise InputError(
            f"k={hoods.k} needs more than {hoods.k} distinct points; of the {n} rows of x, "
            f"{int(hoods.duplicates_collapsed)} repeat an earlier one and {int(hoods.nonfinite_dropped)} were dropped, "
            f"which leaves {distinct}. Pass a smaller k or more points."
        )


@functools.partial(jax.jit, static_argnames=("k", "depth", "metric", "nonfinite", "duplicates", "clean", "sharding"))
def _neighborhoods(
    cloud: Cloud,
    k: int,
    depth: int,
    metric: Metric,
    nonfinite: Nonfinite,
    duplicates: Duplicates,
    clean: bool,
    sharding: NamedSharding | None,
) -> Neighborhoods:
    points = cloud.points
    n = points.shape[0]
    if clean:
        # No copy of a cloud that may fill half the memory: the caller puts in the points it has.
        valid = jnp.ones(n, bool)
        rows = comparable = points
    else:
        valid = replicated(is_finite(points))
        valid = valid & replicated(has_direction(points)) if metric == "cosine" else valid
        # Rows left out stand at (1, ..., 1), where no nan of theirs can reach a gradient, but repeat no point there.
        safe = jnp.where(valid[:, None], points, 1)
        rows = directions(safe) if metric == "cosine" else safe
        comparable = jnp.where(valid[:, None], rows, jnp.nan)
    exact, used, copies = jnp.zeros((), jnp.int32), valid, valid.astype(jnp.int32)
    if duplicates == "collapse":
        first = first_occurrence(lax.stop_gradient(comparable), sharding)
        used = valid & (first == jnp.arange(n))
        copies = jnp.zeros(n, jnp.int32).at[first].add(copies)
        exact = jnp.sum(valid & ~used, dtype=jnp.int32)
    if depth == 0:
        distances, indices = jnp.zeros((n, 0), rows.dtype), jnp.zeros((n, 0), jnp.int32)
    elif duplicates == "collapse":
        found = nearest_distinct(rows, used, copies, cloud.unit, cloud.center, depth, usual_effort(), sharding)
        used, copies, distances, indices = found.used, found.copies, found.distances, found.indices
        distances = angle_of_chord(distances) if metric == "cosine" else distances
    else:
        near = find_neighbors(rows, None, used, depth, metric, effort=usual_effort(), rows=sharding)
        distances, indices = near.distances, near.indices
    kept: Any = None if clean else rows
    left_out = jnp.sum(valid & ~used, dtype=jnp.int32)
    return Neighborhoods(
        points=kept,
        distances=replicated(distances[:, :k]),
        indices=replicated(indices[:, :k]),
        used=used,
        multiplicity=jnp.where(used, copies, 0),
        duplicates_collapsed=left_out,
        nonfinite_dropped=jnp.sum(~valid, dtype=jnp.int32),
        sound=jnp.all(valid) if nonfinite == "raise" else jnp.array(True),
        rounding_collapsed=left_out - exact,
        metric=metric,
    )
