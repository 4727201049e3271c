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

from jaxscale.dimension.duplicates import first_occurrence
from jaxscale.dimension.nearest import Neighbors, find_neighbors
from jaxscale.dimension.points import (
    Metric,
    as_points,
    check_choice,
    directions,
    has_direction,
    is_finite,
    is_traced,
    refuse_rows,
    replicated,
    row_sharding,
)
from jaxscale.dimension.search import usual_effort
from jaxscale.errors import InputError

Nonfinite = Literal["raise", "drop"]
Duplicates = Literal["collapse", "keep"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighborhoods:
    """The distinct points of a cloud and the k nearest among them of each.

    Attributes:
      points: (n, D), finite; under "cosine" directions, of length one. Sharded like the input; all else, along explicit
        axes, is on every device.
      distances: (n, k) ascending; infinite where there are fewer than k others.
      indices: (n, k) int32 rows of `points`; -1 where the distance is infinite.
      used: (n,) booleans, the points that count: finite, and the first of its copies unless duplicates are kept. Rows
        of the other points hold numbers without meaning.
      multiplicity: (n,) int32, how many rows of the input are this point; zero for rows not used.
      duplicates_collapsed, nonfinite_dropped: int32 scalars, rows left out and why.
      sound: boolean scalar; false where rows that should have been refused could not be seen under a trace, and every
        estimate must be nan.
      metric: of the distances; static.
    """

    points: jax.Array
    distances: jax.Array
    indices: jax.Array
    used: jax.Array
    multiplicity: jax.Array
    duplicates_collapsed: jax.Array
    nonfinite_dropped: jax.Array
    sound: jax.Array
    metric: Metric = dataclasses.field(default="euclidean", metadata={"static": True})

    @property
    def k(self) -> int:
        """Neighbors of each point."""
        return self.distances.shape[1]

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
      x: (n, D) points; integers and half precision are taken as float32; may be sharded over a mesh. Or neighborhoods
        already found, of which the nearest `k` are taken as they are: the other arguments are then without effect.
      k: neighbors per point; static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" takes rows that repeat an earlier one for one point and counts neighbors among distinct
        points; "keep" lets each row count, at distances of zero from its copies. Static.

    Returns:
      `Neighborhoods`. Differentiable in `x`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield infinite distances, and rows that are not finite under
        "raise" yield `sound` false.
    """
    if isinstance(x, Neighborhoods):
        if k > x.k:
            raise InputError(
                f"k={k} needs neighborhoods of {k} neighbors; these have {x.k}. Pass neighborhoods(x, {k})."
            )
        return x.nearest(k)
    points = as_points(x)
    if k < 1:
        raise InputError(f"k must be at least 1; it is {k}.")
    if points.shape[0] <= k:
        raise InputError(
            f"k={k} needs more than {k} points; x has shape {points.shape}. Pass a smaller k or more points."
        )
    clean = _check_points(points, metric, nonfinite, duplicates)
    hoods = _neighborhoods(points, k, metric, nonfinite, duplicates, clean, row_sharding(points))
    hoods = dataclasses.replace(hoods, points=points) if clean else hoods
    _check_enough_points(hoods)
    return hoods


def distinct_points(
    x: jax.typing.ArrayLike | Neighborhoods,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Neighborhoods:
    """`neighborhoods` without the search: the points that count, with no neighbors, for what reads the cloud alone.

    Args, and `InputError` about the points: see `neighborhoods`. At least two distinct points are needed.
    """
    if isinstance(x, Neighborhoods):
        return x.nearest(0)
    points = as_points(x)
    if points.shape[0] < 2:
        raise InputError(f"a dimension needs two points or more; x has shape {points.shape}. Pass more points.")
    clean = _check_points(points, metric, nonfinite, duplicates)
    hoods = _neighborhoods(points, 0, metric, nonfinite, duplicates, clean, row_sharding(points))
    hoods = dataclasses.replace(hoods, points=points) if clean else hoods
    if not is_traced(hoods.used) and int(jnp.sum(hoods.used)) < 2:
        raise InputError(
            f"a dimension needs two distinct points; of the {points.shape[0]} rows of x, "
            f"{int(hoods.duplicates_collapsed)} repeat an earlier one and {int(hoods.nonfinite_dropped)} were dropped. "
            "Pass more points."
        )
    return hoods


def _check_points(points, metric, nonfinite, duplicates):
    """Whether the points are known to be usable as they are."""
    check_choice("metric", metric, Metric)
    check_choice("nonfinite", nonfinite, Nonfinite)
    check_choice("duplicates", duplicates, Duplicates)
    if is_traced(points):
        return False
    finite = is_finite(points)
    if nonfinite == "raise":
        refuse_rows(~finite, "x", "with nan or infinity", "Clean them, or pass nonfinite='drop'.")
    return metric == "euclidean" and bool(jnp.all(finite))


def _check_enough_points(hoods):
    if is_traced(hoods.used):
        return
    n, distinct = hoods.used.shape[0], int(jnp.sum(hoods.used))
    if distinct <= hoods.k:
        raise InputError(
            f"k={hoods.k} needs more than {hoods.k} distinct points; of the {n} rows of x, "
            f"{int(hoods.duplicates_collapsed)} repeat an earlier one and {int(hoods.nonfinite_dropped)} were dropped, "
            f"which leaves {distinct}. Pass a smaller k or more points."
        )


@functools.partial(jax.jit, static_argnames=("k", "metric", "nonfinite", "duplicates", "clean", "sharding"))
def _neighborhoods(points, k, metric, nonfinite, duplicates, clean, sharding):
    if clean:
        # No copy of a cloud that may fill half the memory: the caller puts in the points it has.
        finite = valid = jnp.ones(points.shape[0], bool)
        rows = comparable = points
    else:
        finite = replicated(is_finite(points))
        valid = finite & replicated(has_direction(points)) if metric == "cosine" else finite
        # Rows left out stand at (1, ..., 1), where no nan of theirs can reach a gradient, but repeat no point there.
        safe = jnp.where(valid[:, None], points, 1)
        rows = directions(safe) if metric == "cosine" else safe
        comparable = jnp.where(valid[:, None], rows, jnp.nan)
    first = first_occurrence(lax.stop_gradient(comparable), sharding)
    used = valid & (first == jnp.arange(points.shape[0])) if duplicates == "collapse" else valid
    near = (
        find_neighbors(rows, None, used, k, metric, effort=usual_effort(), rows=sharding) if k else _no_neighbors(rows)
    )
    kept: Any = None if clean else rows
    copies = jnp.zeros(points.shape[0], jnp.int32).at[first].add(valid.astype(jnp.int32))
    return Neighborhoods(
        points=kept,
        distances=replicated(near.distances),
        indices=replicated(near.indices),
        used=used,
        multiplicity=jnp.where(used, copies if duplicates == "collapse" else 1, 0),
        duplicates_collapsed=jnp.sum(valid & ~used, dtype=jnp.int32),
        nonfinite_dropped=jnp.sum(~valid, dtype=jnp.int32),
        sound=jnp.all(finite) if nonfinite == "raise" else jnp.array(True),
        metric=metric,
    )


def _no_neighbors(rows):
    n = rows.shape[0]
    return Neighbors(distances=jnp.zeros((n, 0), rows.dtype), indices=jnp.zeros((n, 0), jnp.int32))
