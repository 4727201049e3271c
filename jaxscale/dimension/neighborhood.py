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
        axes, is on every device.
      distances: (n, k) ascending; infinite where there are fewer than k others.
      indices: (n, k) int32 rows of `points`; -1 where the distance is infinite.
      used: (n,) booleans, the points that count: finite, and one of its copies unless duplicates are kept, of exact
        ones the first. Rows of the other points hold numbers without meaning.
      multiplicity: (n,) int32, how many rows of the input are this point; zero for rows not used.
      duplicates_collapsed, nonfinite_dropped: int32 scalars, rows left out and why.
      sound: boolean scalar; false where rows that should have been refused could not be seen under a trace, and every
        estimate must be nan.
      rounding_collapsed: int32 scalar, those of `duplicates_collapsed` that are not exact copies.
      metric: of the distances; static.
      width_limit: for `width`; static.
    """

    points: jax.Array
    distances: jax.Array
    indices: jax.Array
    used: jax.Array
    multiplicity: jax.Array
    duplicates_collapsed: jax.Array
    nonfinite_dropped: jax.Array
    sound: jax.Array
    rounding_collapsed: jax.Array | int = 0
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
        """
        return self.points.shape[1] if self.width_limit is None else self.width_limit

    @property
    def zero_distances(self) -> jax.Array:
        """int32 scalar: distances between distinct points too close for the precision."""
        return jnp.sum(self.used[:, None] & (self.distances == 0), dtype=jnp.int32)

    def nearest(self, k: int) -> Neighborhoods:
        """The same with the nearest `k` of each point alone."""
        return dataclasses.replace(self, distances=self.distances[:, :k], indices=self.indices[:, :k])


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
