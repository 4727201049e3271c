"""A random sample of all rows that pass through a training loop, in memory of fixed size.

sample = reservoir(4096, width=768, key=0)
sample = sample.update(hidden)                    # (B, T, D) of every step, inside the jitted step
mle(sample.rows, k=20, nonfinite="drop")          # once in a while; rows not filled yet are nan
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import integer, random_key
from jaxscale.dimension.points import replicated, some_rows
from jaxscale.errors import InputError

# Of a slot without a row: it comes after every rank that is drawn.
LAST = np.uint32(0xFFFFFFFF)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Reservoir:
    """A uniform sample, without replacement, of the rows that have passed.

    Attributes:
      rows: (capacity, D) in the order of their random ranks, so that the first m are a sample of m; nan where no row
        has come yet.
      ranks: (capacity, 2) uint32, a high and a low word, ascending; the largest numbers where no row has come yet.
      seen: (2,) uint32, how many rows have passed, a high and a low word.
      key: a JAX random key, from which with the place of a row in the stream its rank is made.
    """

    rows: jax.Array
    ranks: jax.Array
    seen: jax.Array
    key: jax.Array

    @property
    def count(self) -> jax.Array:
        """int32 scalar: the rows that are filled, which stand first."""
        capacity = self.rows.shape[0]
        few = jnp.minimum(self.seen[1], capacity)
        return jnp.where(self.seen[0] > 0, capacity, few).astype(jnp.int32)

    def update(self, batch: jax.typing.ArrayLike, mask: jax.typing.ArrayLike | None = None) -> Reservoir:
        """The sample after the rows of `batch` have passed too.

        A row gets a rank of 64 random bits, which its place in the stream and the key determine, and the rows of lowest
        rank stay: at any time all rows that have passed are among them with the same chance, and so is every set of as
        many (the random sort of Fan, Muller & Rezucha 1962; one pass, as in Vitter's algorithm R). The result does not
        depend on how the stream is cut into batches, nor on the devices they lie on. No more of a batch moves than the
        rows that could stay.

        Args:
          batch: (..., D) rows in the type of the sample; tokens (B, T, D), say. May be sharded. No gradient passes.
          mask: (...) booleans, the rows that count, padding not among them; all if None.

        Returns:
          A `Reservoir` of the same shapes; for `jit`, `scan` and donation.

        Raises:
          InputError: if shapes or types do not fit.

        References:
          Fan, Muller & Rezucha, Development of sampling plans by using sequential (item by item) selection techniques
            and digital computers, Journal of the American Statistical Association 57, 1962.
          Vitter, Random sampling with a reservoir, ACM Transactions on Mathematical Software 11, 1985.
        """
        rows = jnp.asarray(batch)
        capacity, width = self.rows.shape
        if rows.ndim < 2 or rows.shape[-1] != width:
            raise InputError(f"batch must hold rows of width {width}, (..., {width}); it has shape {rows.shape}.")
        if rows.dtype != self.rows.dtype:
            raise InputError(
                f"batch is {rows.dtype}, the sample {self.rows.dtype}. Pass dtype={rows.dtype} to reservoir."
            )
        counts = jnp.ones(rows.shape[:-1], bool) if mask is None else jnp.asarray(mask, bool)
        if counts.shape != rows.shape[:-1]:
            raise InputError(f"mask must hold one boolean per row, {rows.shape[:-1]}; it has shape {counts.shape}.")
        # A mask is small; the rows stay where they are, along all but their last two axes.
        counts_B = replicated(counts).reshape(-1)
        size = counts_B.shape[0]
        if size == 0:
            return self
        places_Bx2 = _later(self.seen, jnp.cumsum(counts_B.astype(jnp.uint32)) - 1)
        ranks_Bx2 = jnp.where(counts_B[:, None], _ranks(self.key, places_Bx2), LAST)
        fewer = min(size, capacity)
        best_Mx2, best_M = _lowest(ranks_Bx2, jnp.arange(size, dtype=jnp.int32), fewer)
        taken_MxD = _taken(lax.stop_gradient(rows), best_M)
        ranks_Cx2, from_C = _lowest(
            jnp.concatenate([self.ranks, best_Mx2]), jnp.arange(capacity + fewer, dtype=jnp.int32), capacity
        )
        together = jnp.concatenate([self.rows, taken_MxD])
        filled_C = ranks_Cx2[:, 0] < LAST
        return Reservoir(
            rows=jnp.where(filled_C[:, None], together[from_C], jnp.nan),
            ranks=ranks_Cx2,
            seen=_later(self.seen, jnp.sum(counts_B, dtype=jnp.uint32)),
            key=self.key,
        )


def reservoir(
    capacity: int, width: int, dtype: jax.typing.DTypeLike = jnp.float32, *, key: jax.Array | int
) -> Reservoir:
    """An empty `Reservoir`, to be filled by `update`.

    Args:
      capacity: rows to keep.
      width: D, columns of a row.
      dtype: of the rows, floating: that of the activations, so that rows that repeat up to rounding are known for it.
      key: a JAX random key, or an int for `jax.random.key`. Samples of several streams need a key each.

    Raises:
      InputError: if an argument cannot be used.
    """
    capacity, width = integer("capacity", capacity, 1), integer("width", width, 1)
    kind = jnp.dtype(dtype)
    if not jnp.issubdtype(kind, jnp.floating):
        raise InputError(f"dtype must be floating, as rows to come are nan; it is {kind}. Pass dtype=jnp.float32.")
    return Reservoir(
        rows=jnp.full((capacity, width), jnp.nan, kind),
        ranks=jnp.full((capacity, 2), LAST, jnp.uint32),
        seen=jnp.zeros(2, jnp.uint32),
        key=random_key("key", key),
    )


def _later(seen_2: jax.Array, steps: jax.Array) -> jax.Array:
    """`seen` (2,) plus `steps` (...) of less than 2³², as words (..., 2)."""
    low = seen_2[1] + steps
    return jnp.stack([seen_2[0] + (low < steps), low], axis=-1)


def _ranks(key: jax.Array, places_Bx2: jax.Array) -> jax.Array:
    """64 random bits for each place in the stream, as two words; the high one is never that of an empty slot."""

    def of_place(place_2: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, place_2[0]), place_2[1])
        return jax.random.bits(own, (2,), jnp.uint32)

    ranks_Bx2 = jax.vmap(of_place)(places_Bx2)
    return ranks_Bx2.at[:, 0].min(LAST - 1)


def _lowest(ranks_Bx2: jax.Array, names_B: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` lowest ranks in ascending order, and their names."""
    high_B, low_B, names_B = lax.sort((ranks_Bx2[:, 0], ranks_Bx2[:, 1], names_B), num_keys=2)
    return jnp.stack([high_B[:count], low_B[:count]], axis=1), names_B[:count]


def _taken(rows: jax.Array, places_M: jax.Array) -> jax.Array:
    """The rows (M, D) at `places` of `rows` (..., D), counted as if these had one leading axis."""
    if rows.ndim == 2:
        return some_rows(rows, places_M)
    sharding = jax.typeof(rows).sharding
    at = jnp.unravel_index(places_M, rows.shape[:-1])
    if all(axis is None for axis in sharding.spec):
        return rows[at]
    out = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return rows.at[at].get(out_sharding=out)
