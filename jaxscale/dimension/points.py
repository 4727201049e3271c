"""A cloud of points as the kernels want it: two-dimensional, floating, and with directions if angles are asked for."""

import dataclasses
import functools
import math
import sys
from types import ModuleType
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxscale.errors import InputError

Metric = Literal["euclidean", "cosine"]

# Significant bits of bfloat16, float16 and float32, by which numbers are known in a wider type.
SIGNIFICANT_BITS = (8, 11, 24)
HALF_PRECISION = 11
# Rows from which the center of a cloud and the usual size of a column are read.
SAMPLE = 127
# Rows of a host's array that are converted at a time.
ROWS_AT_ONCE = 1 << 14


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cloud:
    """Points on the device, and how far rounding may have moved their entries.

    Attributes:
      points: (n, D) floating, less the `center` that was taken off on the host.
      center: (D,); zeros where nothing was taken off.
      unit: scalar, the distance from one to the next number in the type that the entries came in.
    """

    points: jax.Array
    center: jax.Array
    unit: jax.Array


def as_cloud(x: Any, metric: Metric = "euclidean", name: str = "x") -> Cloud:
    """`x` as a `Cloud`; a `Cloud` stays what it is.

    Numbers that the device cannot hold as they are, as float64 of NumPy where jax computes in float32, are centered on
    the host before they are rounded, unless `metric` is "cosine", for which the origin matters.

    Raises:
      InputError: as `as_points`.
    """
    if isinstance(x, Cloud):
        return x
    array = as_array(x, name)
    check_cloud(array, name)
    center_D = None
    if isinstance(array, np.ndarray) and metric == "euclidean" and is_cut(array.dtype):
        center_D = central_row(array)
    points = _on_device(array, center_D)
    center_D = np.zeros(array.shape[1]) if center_D is None else center_D
    return Cloud(points, jnp.asarray(center_D, points.dtype), jnp.asarray(_unit_of_rounding(array), points.dtype))


def as_points(x: Any, name: str = "x", center: np.ndarray | None = None) -> jax.Array:
    """`x` as an (n, D) floating array: integers, float16 and bfloat16 become float32, wider floats stay.

    Args:
      x: any array, or a tensor of torch.
      name: of the argument, for errors.
      center: (D,) what to take off first, on the host where `x` lies there.

    Raises:
      InputError: if `x` is not two-dimensional, has no column, is sparse, or is not real.
    """
    array = as_array(x, name)
    check_cloud(array, name)
    return _on_device(array, center)


def _on_device(array: jax.Array | np.ndarray, center_D: np.ndarray | None) -> jax.Array:
    if isinstance(array, np.ndarray) and center_D is not None:
        array = less_center(array, center_D)
    points = jnp.asarray(array)
    rows = row_sharding(points)
    points = replicated(points) if rows is None else along(points, rows)
    points = points.astype(jnp.promote_types(points.dtype, jnp.float32))
    return points if center_D is None or isinstance(array, np.ndarray) else points - jnp.asarray(center_D, points.dtype)


def as_array(x: Any, name: str = "x") -> jax.Array | np.ndarray:
    """`x` as an array of jax, traced or not, or of NumPy; tensors of torch are detached and copied to the host.

    Raises:
      InputError: if `x` is sparse or ragged.
    """
    if isinstance(x, jax.Array | np.ndarray) and not isinstance(x, np.ma.MaskedArray):
        return x
    package = type(x).__module__.partition(".")[0]
    sparse = getattr(x, "layout", None) if package == "torch" else hasattr(x, "toarray")
    if (package == "scipy" and sparse) or (package == "torch" and str(sparse) != "torch.strided"):
        dense = "to_dense()" if package == "torch" else "toarray()"
        raise InputError(
            f"{name} is sparse ({type(x).__name__}, shape {tuple(x.shape)}); distances need dense rows. "
            f"Pass {name}.{dense}, which takes {math.prod(x.shape) * 4 / 1e9:.2g} GB in float32."
        )
    if package == "torch":
        return _of_torch(x)
    if isinstance(x, np.ma.MaskedArray):
        return np.ma.filled(x.astype(np.promote_types(x.dtype, np.float32)), np.nan)
    try:
        return np.asarray(x)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be read as an array: {error}. Pass an (n, D) array of numbers.") from None


def _of_torch(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    torch = sys.modules["torch"]
    if tensor.dtype != torch.bfloat16:
        array: np.ndarray = tensor.resolve_conj().resolve_neg().numpy()
        return array
    # NumPy has no bfloat16 of its own: the bits pass as integers.
    bits: np.ndarray = tensor.contiguous().view(torch.int16).numpy()
    return bits.view(jnp.bfloat16)


def is_cut(dtype: np.dtype) -> bool:
    """Whether jax, as it is set up, holds fewer digits than NumPy's `dtype`."""
    dtype = np.dtype(dtype)
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits <= 16:
        return False
    held = jnp.promote_types(jax.dtypes.canonicalize_dtype(dtype), jnp.float32)
    return not np.can_cast(dtype, held, "safe")


def central_row(array: np.ndarray) -> np.ndarray:
    """(D,) float64 in the midst of a host's cloud, which a few far points cannot pull away: medians of a sample.

    It is representable in float32, so that it can be taken off points on the device too; whole for integers.
    """
    sample = np.asarray(array[:: max(1, len(array) // SAMPLE)][:SAMPLE], np.float64)
    sample = sample[np.all(np.isfinite(sample), axis=1)]
    center = np.median(sample, axis=0) if len(sample) else np.zeros(array.shape[1])
    center = center if jnp.issubdtype(array.dtype, jnp.floating) else np.round(center)
    with np.errstate(over="ignore"):
        rounded = np.float64(np.float32(center))
    return np.where(np.isfinite(rounded), rounded, 0)


def less_center(array: np.ndarray, center: np.ndarray) -> np.ndarray:
    """`array` (n, D) less `center` (D,), subtracted in float64, in the type that jax will hold it in."""
    held = jnp.promote_types(jax.dtypes.canonicalize_dtype(array.dtype), jnp.float32)
    out = np.empty(array.shape, held)
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(array), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            out[rows] = np.asarray(array[rows], np.float64) - center
    return out


def _unit_of_rounding(array: jax.Array | np.ndarray) -> float | jax.Array:
    """The distance from one to the next number, in the type that the entries of `array` were rounded to last.

    That is the type of the array, or a narrower one if all entries have as few significant bits as its numbers. Fixed
    point, as of pixels, has few bits too, but its steps are as wide at small numbers as at large ones: it is exact, as
    integers are. Numbers of half precision that lie between one power of two and the next look like that too.
    """
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return 0.0
    eps = float(jnp.finfo(array.dtype).eps)
    narrower = tuple(bits for bits in SIGNIFICANT_BITS if 2.0 ** (1 - bits) > eps)
    if len(narrower) < 2 or 0 in array.shape:
        return eps
    if not isinstance(array, np.ndarray):
        unit: float | jax.Array = _unit_on_device(array, narrower, eps)
        return unit
    parts = [array[first : first + ROWS_AT_ONCE] for first in range(0, len(array), ROWS_AT_ONCE)]
    # Most clouds need all their bits, and the first rows say so.
    narrower = tuple(bits for bits in narrower if all(_has_few_bits(np, part, bits) for part in parts))
    if not narrower or narrower[0] > HALF_PRECISION:
        return 2.0 ** (1 - narrower[0]) if narrower else eps
    _, largest = np.frexp(max(np.max(np.abs(_finite(np, part))) for part in parts))
    floating = [bits for bits in narrower if not all(_is_fixed_point(np, part, bits, largest) for part in parts)]
    return 2.0 ** (1 - floating[0]) if floating else eps


@functools.partial(jax.jit, static_argnames=("narrower", "eps"))
def _unit_on_device(array: jax.Array, narrower: tuple[int, ...], eps: float | jax.Array) -> float | jax.Array:
    _, largest = jnp.frexp(jnp.max(jnp.abs(_finite(jnp, array))))
    for bits in reversed(narrower):
        is_narrow = _has_few_bits(jnp, array, bits) & jnp.logical_not(_is_fixed_point(jnp, array, bits, largest))
        eps = jnp.where(is_narrow, 2.0 ** (1 - bits), eps)
    return eps


def _finite(xp: ModuleType, array: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    finite: jax.Array | np.ndarray = xp.where(xp.isfinite(array), array, 0)
    return finite


def _has_few_bits(xp: ModuleType, array: jax.Array | np.ndarray, bits: int) -> jax.Array | np.ndarray:
    mantissa, _ = xp.frexp(_finite(xp, array))
    is_short: jax.Array | np.ndarray = xp.all(xp.ldexp(mantissa, bits) == xp.round(xp.ldexp(mantissa, bits)))
    return is_short


def _is_fixed_point(
    xp: ModuleType, array: jax.Array | np.ndarray, bits: int, largest: jax.typing.ArrayLike
) -> bool | jax.Array | np.ndarray:
    """Whether all entries are whole multiples of the last of `bits` bits of the largest, which is below 2^`largest`.

    Hardly any fixed point has the bits of float32; what looks so is float32 far from the origin.
    """
    if bits > HALF_PRECISION:
        return False
    steps = xp.ldexp(_finite(xp, array), bits - largest)
    is_whole: jax.Array | np.ndarray = xp.all(steps == xp.round(steps))
    return is_whole


def check_cloud(points: jax.Array | np.ndarray, name: str) -> None:
    """Raises `InputError` unless `points` are two-dimensional, have columns, and are real."""
    if points.ndim != 2 or points.shape[1] == 0:
        width = points.shape[-1] if points.ndim else 0
        remedy = {
            1: f"Pass {name}[:, None] if these are points on a line.",
            3: f"Tokens (B, T, D) are one cloud: pass {name}.reshape(-1, {width}). Layers (L, n, D) are a cloud each: "
            f"pass dimension.by_layer({name}), or one {name}[layer] at a time.",
        }.get(points.ndim, f"Flatten leading axes with {name}.reshape(-1, D).")
        raise InputError(f"{name} must hold one point per row, shape (n, D); it has shape {points.shape}. {remedy}")
    if points.dtype.kind in "OSUmM":  # objects, text and times
        raise InputError(f"{name} must hold numbers; it is {points.dtype}. Pass {name}.astype(float) if it can be.")
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
    everywhere: jax.Array = jax.sharding.reshard(points, NamedSharding(sharding.mesh, PartitionSpec()))
    return everywhere


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


def refuse_rows(bad: jax.Array | np.ndarray, name: str, what: str, remedy: str) -> None:
    """Raises `InputError` naming how many rows are `bad` (n,) and the first of them; silent if there is none."""
    count = int(jnp.sum(bad))
    if count:
        rows = f"{count} row{'s' if count > 1 else ''}"
        raise InputError(f"{name} has {rows} {what} (the first is row {int(jnp.argmax(bad))}). {remedy}")
