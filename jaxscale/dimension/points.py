"""A cloud of points as the kernels want it: two-dimensional, floating, and with directions if angles are asked for."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxscale.errors import InputError

Metric = Literal["euclidean", "cosine"]


def as_points(x: jax.typing.ArrayLike, name: str = "x") -> jax.Array:
    """`x` as an (n, D) floating array: integers, float16 and bfloat16 become float32, wider floats stay.

    Raises:
      InputError: if `x` is not two-dimensional, has no column, or is not real.
    """
    points = jnp.asarray(x)
    if points.ndim != 2 or points.shape[1] == 0:
        raise InputError(
            f"{name} must hold one point per row, shape (n, D); it has shape {points.shape}. "
            "Flatten leading axes with reshape(-1, D)."
        )
    if jnp.issubdtype(points.dtype, jnp.complexfloating):
        raise InputError(f"{name} must be real; it is {points.dtype}. Stack real and imaginary parts as columns.")
    return replicated(points).astype(jnp.promote_types(points.dtype, jnp.float32))


def replicated(points: jax.Array) -> jax.Array:
    """`points` on every device where a mesh with explicit axes shards them; unchanged elsewhere.

    Every query meets every point, so all devices need all rows. Under automatic axes the compiler sees to it; explicit
    ones would refuse to cut sharded rows into tiles.
    """
    sharding = jax.typeof(points).sharding
    if all(axis is None for axis in sharding.spec):
        return points
    return jax.sharding.reshard(points, jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec()))


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


def has_direction(points: jax.Array) -> jax.Array:
    """Which rows (n,) are not all zeros."""
    return jnp.any(points != 0, axis=1)


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
