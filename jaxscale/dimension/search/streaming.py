"""Clouds that stay on disk: blocks of rows pass through the device, and each block of queries meets all of them.

x = numpy.load("embeddings.npy", mmap_mode="r")
near = neighbors(x, k=20)
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.dimension.points import Metric, as_points, directions, has_direction, is_finite, less_center, refuse_rows
from jaxscale.dimension.search.exact import EXACT, Effort, power_of_two_scale
from jaxscale.dimension.search.parts import Best, merged, nearest_in_part, unpacked

# Of a block of rows in float32. The device holds four: queries, the points they meet, those in tiles, and the next.
BLOCK_BYTES = 2**27


def nearest_squared_in_blocks(
    points: np.ndarray,
    queries: np.ndarray | None,
    mask: np.ndarray,
    k: int,
    metric: Metric,
    exclude_self: bool,
    effort: Effort = EXACT,
    progress: Callable[[int, int], None] | None = None,
    center: np.ndarray | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `nearest_squared_in_ring`, for points on the host, and with any `metric`: of directions under "cosine".

    A first pass reads all rows, to refuse those that cannot be used and to find the scale. Then the next block is read
    and sent while the device searches the present one.

    Args:
      points: (n, D) of any real type, converted on the device.
      queries: (m, D), or None for the points themselves.
      mask: (n,) booleans, the points that may be found.
      k, metric, exclude_self: see `neighbors`.
      effort: of each search.
      progress: called with how many pairs of blocks are done, and how many there are.
      center: (D,) what to take off every row on the host, where the device cannot hold the numbers as they are.

    Returns:
      (m, k) twice, and a scalar; on the device.

    Raises:
      InputError: if rows that are not masked out are not finite or, under "cosine", zero.
    """
    cloud = _Blocks.of(points, center)
    asking = cloud if queries is None else _Blocks.of(queries, center)
    scale = _checked_scale(cloud, mask, metric, "x", "Drop them, or mask them out with mask=.")
    if queries is not None:
        everything = np.ones(asking.n, bool)
        scale = jnp.minimum(scale, _checked_scale(asking, everything, metric, "queries", "Drop them."))
    search = functools.partial(_search, scale=scale, k=k, metric=metric, exclude_self=exclude_self, effort=effort)

    def send(number: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        return cloud.on_device(number), cloud.mask_on_device(number, mask), jnp.int32(number * cloud.rows)

    # Each block of queries meets the points of its own number first: those are its own, if there are no others.
    pairs = [(q, (q + step) % cloud.count) for q in range(asking.count) for step in range(cloud.count)]
    present = send(0)
    found: list[Best] = []
    for done, (q, p) in enumerate(pairs, start=1):
        if p == q % cloud.count:
            queries_BxD = present[0] if queries is None else asking.on_device(q)
            found.append(search(None, *present, None if queries is None else queries_BxD))
        else:
            found[q] = search(found[q], *present, queries_BxD)
        if done < len(pairs):
            present = send(pairs[done][1])
        # Otherwise blocks waiting to be searched would pile up on the device.
        jax.block_until_ready(found[q])
        if progress is not None:
            progress(done, len(pairs))
    squared, indices = (jnp.concatenate(parts, axis=1)[:, : asking.n] for parts in zip(*found, strict=True))
    return *unpacked((squared, indices)), scale


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """`n` rows of an array as `count` blocks of `rows` each, nearly equal, the last one filled up with zeros."""

    array: np.ndarray
    n: int
    rows: int
    count: int
    center: np.ndarray | None = None

    @classmethod
    def of(cls, array: np.ndarray, center: np.ndarray | None = None) -> Self:
        n, width = array.shape
        count = -(-n * width * 4 // BLOCK_BYTES)
        rows = -(-n // count)
        return cls(array, n, rows, -(-n // rows), center)

    def on_device(self, number: int) -> jax.Array:
        part = self.array[number * self.rows : (number + 1) * self.rows]
        block: jax.Array = jax.device_put(self._filled(part if self.center is None else less_center(part, self.center)))
        return block

    def mask_on_device(self, number: int, mask: np.ndarray) -> jax.Array:
        block: jax.Array = jax.device_put(self._filled(mask[number * self.rows : (number + 1) * self.rows]))
        return block

    def _filled(self, part: np.ndarray) -> np.ndarray:
        # A copy in any case: it reads the file now, and not when the device first asks for a page.
        block = np.zeros((self.rows, *part.shape[1:]), part.dtype)
        block[: len(part)] = part
        return block


def _checked_scale(blocks: _Blocks, mask: np.ndarray, metric: Metric, name: str, remedy: str) -> jax.Array:
    """The `power_of_two_scale` of all blocks, once no row allowed by `mask` is found that cannot be used."""
    looks = []
    for number in range(blocks.count):
        looks.append(jax.block_until_ready(_look(blocks.on_device(number), metric)))
    scales, finite, directed = (np.stack(parts) for parts in zip(*looks, strict=True))
    refuse_rows(mask & ~finite.reshape(-1)[: blocks.n], name, "with nan or infinity", remedy)
    if metric == "cosine":
        refuse_rows(mask & ~directed.reshape(-1)[: blocks.n], name, "of zeros, which have no direction", remedy)
    return jnp.asarray(scales.min())


@functools.partial(jax.jit, static_argnames="metric")
def _look(rows: jax.Array, metric: Metric) -> tuple[jax.Array, jax.Array, jax.Array]:
    rows = as_points(rows)
    return power_of_two_scale(_ready(rows, metric)), is_finite(rows), has_direction(rows)


@functools.partial(jax.jit, static_argnames=("k", "metric", "exclude_self", "effort"))
def _search(
    best: Best | None,
    points: jax.Array,
    mask: jax.Array,
    first: jax.Array,
    queries: jax.Array | None,
    scale: jax.Array,
    k: int,
    metric: Metric,
    exclude_self: bool,
    effort: Effort,
) -> Best:
    queries = None if queries is None else _ready(queries, metric)
    found = nearest_in_part(_ready(points, metric), queries, mask, first, scale, k, exclude_self, effort)
    return found if best is None else merged(best, found)


def _ready(rows: jax.Array, metric: Metric) -> jax.Array:
    points = as_points(rows)
    return directions(points) if metric == "cosine" else points
