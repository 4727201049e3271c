"""What clouds of known dimension look like to `danco`: samples of unit balls, simulated once and kept.

references = danco_references(2500, k=10, max_dimension=100, folder="references")
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import integer, random_key
from jaxscale.dimension.estimators.norms_and_angles import norms_and_angles
from jaxscale.dimension.neighborhood import Neighborhoods
from jaxscale.dimension.points import is_traced
from jaxscale.dimension.search.nearest import neighbors
from jaxscale.errors import InputError
from jaxscale.files import read_json, write_json

# The concentration of angles is about 2d, and is read up to four times that of this dimension.
MAX_DIMENSION = 256
# References reach one of these dimensions, or a little farther.
REACHES = (20, 40, 72, 128, MAX_DIMENSION)
# Points at which references are read, over all samples of a dimension.
READS = 10_000
# Points of the largest sample.
MAX_POINTS = 100_000


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DancoReferences:
    """What `danco` reads from samples of unit balls of known dimension.

    Attributes:
      dimensions: (M,) ascending from 1.
      statistics: (M, 3) the δ, ν and τ of `danco`.
      n: points of a sample; static.
      k: neighbors; static.
      reads: points at which statistics were read, over all samples of a dimension; static.
      max_dimension: the last of the dimensions; static.
    """

    dimensions: jax.Array
    statistics: jax.Array
    n: int = dataclasses.field(metadata={"static": True})
    k: int = dataclasses.field(metadata={"static": True})
    reads: int = dataclasses.field(metadata={"static": True})
    max_dimension: int = dataclasses.field(metadata={"static": True})


def danco_references(
    n: int,
    k: int = 10,
    max_dimension: int = 72,
    key: jax.Array | int | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> DancoReferences:
    """Simulated references for `danco` on clouds of `n` points.

    Every dimension up to 20 is simulated and from there on steps of a tenth, up to the first of 20, 40, 72, 128 and 256
    that is not less than `max_dimension`, so that clouds of many widths share references and compiled programs: 20, 29,
    35, 42 and 49 dimensions. The samples of different dimensions are made of the same random numbers, so that their
    statistics vary smoothly in d and can be interpolated. Each is kept in memory, and in `folder` if given, by
    (n, k, d, key): to reach farther simulates what is missing alone.

    To stay affordable, n is rounded to two digits, samples have at most 100,000 points, and statistics are read at
    about 10,000 points: from several samples if n is less, from some points of one sample if it is more. Clouds beyond
    100,000 points are thus compared with balls whose boundary is felt a little more than theirs.

    Args:
      n: points of the cloud, more than k+1.
      k: neighbors; at least 3.
      max_dimension: the greatest d needed, at most 256; the references may reach farther.
      key: a JAX random key, or an int for `jax.random.key`. Concrete; 0 if None.
      folder: where references are kept between processes, one file for each n, k and key; made if missing.

    Returns:
      `DancoReferences`.

    Raises:
      InputError: if an argument cannot be used, or a file in `folder` is damaged.
    """
    k, n, max_dimension = check_k(k), integer("n", n), integer("max_dimension", max_dimension)
    if n <= k + 1:
        raise InputError(f"k={k} needs more than {k + 1} points; n={n}. Pass a smaller k or more points.")
    if not 1 <= max_dimension <= MAX_DIMENSION:
        raise InputError(f"max_dimension must lie in [1, {MAX_DIMENSION}]; it is {max_dimension}.")
    if key is not None and is_traced(key):
        raise InputError("key must be concrete. Make danco_references outside jit and pass references=.")
    n = max(min(_two_digits(n), MAX_POINTS), k + 2)
    # Under the trace of a caller too, references are made now, and become constants. Elsewhere the context would only
    # compile a program for each constant of the simulation.
    under_trace = is_traced(jnp.zeros(()))
    now: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if under_trace:
        now = jax.ensure_compile_time_eval()
    with now:
        return _references(n, k, _dimensions(max_dimension), random_key("key", 0 if key is None else key), folder)


# The statistics (3,) of each dimension simulated so far, by (n, k, key).
_simulated: dict[tuple[int, int, bytes], dict[int, np.ndarray]] = {}


def _references(
    n: int, k: int, dimensions: list[int], key: jax.Array, folder: str | os.PathLike[str] | None
) -> DancoReferences:
    known = _simulated.setdefault((n, k, _bytes(key)), {})
    file = None if folder is None else _file(pathlib.Path(folder), n, k, key)
    on_disk = _read(file) if file is not None and file.exists() else {}
    known.update(on_disk)
    missing = [d for d in dimensions if d not in known]
    width = 1 << (dimensions[-1] - 1).bit_length()
    for d in missing:
        known[d] = np.asarray(_ball_statistics(key, d, n, k, width))
    if file is not None and len(known) > len(on_disk):
        _write(file, known)
    samples, queries = _reads(n)
    return DancoReferences(
        dimensions=jnp.asarray(dimensions, jnp.float32),
        statistics=jnp.asarray(np.stack([known[d] for d in dimensions]), jnp.float32),
        n=n,
        k=k,
        reads=samples * queries,
        max_dimension=dimensions[-1],
    )


def check_k(k: int) -> int:
    """`k` as an int; raises `InputError` unless so many neighbors have angles between them to speak of."""
    return integer("k", k, 3)


def _two_digits(n: int) -> int:
    unit: int = 10 ** max(len(str(n)) - 2, 0)
    return round(n / unit) * unit


def _dimensions(max_dimension: int) -> list[int]:
    """1, 2, …, 20, and from there a tenth more each, until one of `REACHES` is reached that is enough."""
    reach = next(reach for reach in REACHES if reach >= max_dimension)
    dimensions = [1]
    while dimensions[-1] < reach:
        dimensions.append(max(dimensions[-1] + 1, math.floor(1.1 * dimensions[-1])))
    return dimensions


def _reads(n: int) -> tuple[int, int]:
    """How many samples of `n` points are read, and at how many points each."""
    return max(READS // n, 1), min(n, READS)


@functools.partial(jax.jit, static_argnames=("n", "k", "width"))
def _ball_statistics(key: jax.Array, d: jax.Array, n: int, k: int, width: int) -> jax.Array:
    """Means (3,) of `norms_and_angles` over samples of `n` points from the unit ball of R^d, padded to `width`."""
    samples, queries = _reads(n)

    def of_sample(sample: jax.Array) -> jax.Array:
        points_NxW = _ball(jax.random.fold_in(key, sample), d, n, width)
        # A point asked for by its coordinates finds itself first.
        near = neighbors(points_NxW, k + 2, queries=points_NxW[:queries])
        none = jnp.zeros((), jnp.int32)
        hoods = Neighborhoods(
            points=points_NxW[:queries],
            distances=near.distances[:, 1:],
            indices=near.indices[:, 1:],
            used=jnp.ones(queries, bool),
            multiplicity=jnp.ones(queries, jnp.int32),
            duplicates_collapsed=none,
            nonfinite_dropped=none,
            sound=jnp.array(True),
        )
        statistics_3: jax.Array = norms_and_angles(points_NxW, hoods)[0]
        return statistics_3

    return jnp.mean(lax.map(of_sample, jnp.arange(samples)), axis=0)


def _ball(key: jax.Array, d: jax.Array, n: int, width: int) -> jax.Array:
    """`n` uniform points of the unit ball in the first `d` of `width` columns; the same numbers serve every d."""
    direction_key, radius_key = jax.random.split(key)
    # One key a column, so that a column does not depend on how many there are.
    columns: Callable[[jax.Array], jax.Array] = jax.vmap(
        lambda column: jax.random.normal(jax.random.fold_in(direction_key, column), (n,))
    )
    normal_NxW = jnp.where(jnp.arange(width) < d, columns(jnp.arange(width)).T, 0)
    radius_Nx1 = jax.random.uniform(radius_key, (n, 1)) ** (1 / d)
    ball_NxW: jax.Array = normal_NxW / jnp.linalg.norm(normal_NxW, axis=1, keepdims=True) * radius_Nx1
    return ball_NxW


def _file(folder: pathlib.Path, n: int, k: int, key: jax.Array) -> pathlib.Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder={str(folder)!r} cannot be made: {error.strerror}. Choose another.") from None
    seed = hashlib.sha256(_bytes(key)).hexdigest()[:8]
    return folder / f"danco-n{n}-k{k}-{seed}.json"


def _bytes(key: jax.Array) -> bytes:
    return f"{jax.random.key_impl(key)}".encode() + np.asarray(jax.random.key_data(key)).tobytes()


def _read(file: pathlib.Path) -> dict[int, np.ndarray]:
    try:
        return {int(d): np.array(statistics, np.float32).reshape(3) for d, statistics in read_json(file).items()}
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{str(file)!r} does not hold references. Delete it; it will be made again.") from None


def _write(file: pathlib.Path, known: dict[int, np.ndarray]) -> None:
    write_json(file, {str(d): [float(value) for value in known[d]] for d in sorted(known)})
