"""A cloud of points as the kernels want it: two-dimensional, floating, and with directions if angles are asked for."""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxscale.errors import InputError

Metric = Literal["euclidean", "cosine"]


def as_points(x: jax.typing.ArrayLike, name: str = "x") -> jax.Array:
    """`x` as an (n, D) floating array: integers, float16 and bfloat16 become float32, wider floats stay.

    Raises:
      InputError: if `x` is not two-dimensional, has no column, or is not real.
    """
    points = jnp.asarray(x)
    check_cloud(points, name)
    rows = row_sharding(points)
    points = replicated(points) if rows is None else along(points, rows)
    return points.astype(jnp.promote_types(points.dtype, jnp.float32))


def check_cloud(points: jax.Array | np.ndarray, name: str) -> None:
    """Raises `InputError` unless `points` are two-dimensional, have columns, and are real."""
    if points.ndim != 2 or points.shape[1] == 0:
        raise InputError(
            f"{name} must hold one point per row, shape (n, D); it has shape {points.shape}. "
            "Flatten leading axes with reshape(-1, D)."
        )
    if jnp.issubdtype(points.dtype, jnp.complexfloating):
        raise InputError(f"{name} must be real; it is {points.dtype}. Stack real and imaginary parts as columns.")


def row_sharding(points: jax.Array) -> NamedSharding | None:
    """The mesh, and its axes as a spec of one entry, that split the rows of `points`; None if nothing is seen to.

    Concrete arrays show how they lie, traced ones only along explicit axes: under automatic ones the compiler decides.
    """
    sharding = jax.typeof(points).sharding if is_traced(points) else points.sharding
    if not isinstance(sharding, NamedSharding) or not sharding.spec or sharding.spec[0] is None:
        return None
    rows = NamedSharding(sharding.mesh, PartitionSpec(sharding.spec[0]))
    return rows if shard_count(rows) > 1 else None


def shard_count(rows: NamedSharding) -> int:
    """Into how many parts a `row_sharding` splits rows."""
    axes = rows.spec[0] if isinstance(rows.spec[0], tuple) else (rows.spec[0],)
    return math.prod(rows.mesh.shape[axis] for axis in axes)


def along(array: jax.Array, rows: NamedSharding) -> jax.Array:
    """`array` with its rows, and nothing else, split as `rows` says, if the axes are explicit; else unchanged."""
    explicit = any(kind == AxisType.Explicit for kind in rows.mesh.axis_types)
    return jax.sharding.reshard(array, rows) if explicit else array


def replicated(points: jax.Array) -> jax.Array:
    """`points` on every device where a mesh with explicit axes shards them; unchanged elsewhere.

    What reads all rows at once needs them. Under automatic axes the compiler sees to it; explicit ones would refuse to
    cut sharded rows into tiles.
    """
    sharding = jax.typeof(points).sharding
    if all(axis is None for axis in sharding.spec):
        return points
    return jax.sharding.reshard(points, NamedSharding(sharding.mesh, PartitionSpec()))


def some_rows(points: jax.Array, rows: jax.Array) -> jax.Array:
    """`points[rows]`, on every device where a mesh with explicit axes shards the points, which stay where they are."""
    sharding = jax.typeof(points).sharding
    if all(axis is None for axis in sharding.spec):
        return points[rows]
    return points.at[rows].get(out_sharding=NamedSharding(sharding.mesh, PartitionSpec()))


def check_choice(name: str, value: str, choices: object) -> None:
    """Raises `InputError` unless `value` is one of the strings of the Literal `choices`."""
    if value not in get_args(choices):
        allowed = " or ".join(repr(choice) for choice in get_args(choices))
        raise InputError(f"{name} must be {allowed}; it is {value!r}.")


def directions(points: jax.Array) -> jax.Array:
    """Rows scaled to length one; a row of zeros, which has no direction, becomes nan.

    The largest entry is divided out first, so that no finite row overflows or vanishes when squared.
    """
    zero = ~has_direction(points)[:, None]
    safe = jnp.where(zero, 1, points)
    unit = safe / jax.lax.stop_gradient(jnp.max(jnp.abs(safe), axis=1, keepdims=True))
    unit = unit / jnp.linalg.norm(unit, axis=1, keepdims=True)
    return jnp.where(zero, jnp.nan, unit)


@jax.jit
def has_direction(points: jax.Array) -> jax.Array:
    """Which rows (n,) are not all zeros."""
    return jnp.any(points != 0, axis=1)


@jax.jit
def is_finite(points: jax.Array) -> jax.Array:
    """Which rows (n,) hold no nan and no infinity."""
    return jnp.all(jnp.isfinite(points), axis=1)


def is_traced(*arrays: object) -> bool:
    """Whether any array is still symbolic (inside `jit`, `vmap` or `grad`), so that its values cannot be checked."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def refuse_rows(bad: jax.Array, name: str, what: str, remedy: str) -> None:
    """Raises `InputError` naming how many rows are `bad` (n,) and the first of them; silent if there is none."""
    count = int(jnp.sum(bad))
    if count:
        rows = f"{count} row{'s' if count > 1 else ''}"
        raise InputError(f"{name} has {rows} {what} (the first is row {int(jnp.argmax(bad))}). {remedy}")
