"""Languages whose contexts have a known geometry: each spells out a point of a cube, digit by digit.

    language = Language(fields, dimension=2, order=8)
    contexts_NxD, next_N = language.text(10_000, key=jax.random.key(0))
    language.points(contexts_NxD), language.symbols(contexts_NxD)        # (N, d) and (N, order)

A symbol is one of 2^d: a binary digit for each of d coordinates. A new one comes in front of those before it and shifts
them by a place, so that a context is a point of [0, 1)^d in binary, with the newest symbol as its leading digits, and
older symbols matter less, each half as much as the next. The next symbol is drawn with probabilities that are a smooth
function of that point: the logits are fields (`data.fields`) on a cube of side π. Digits beyond `order` are forgotten,
so that the text is a Markov chain of that order, and its entropy is known.

Every context can occur, so that their points fill d dimensions. Where they occur most is a smaller set: the dimension
of their distribution is the entropy of a symbol in bits, since every symbol halves all distances (entropy over the
Lyapunov exponent; Young 1982, Ergodic Theory and Dynamical Systems 2, 109).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxscale.arguments import random_key
from jaxscale.errors import InputError

# Of the cube; the great circle of a unit sphere goes from a point to its opposite over as much.
SIDE = jnp.pi
# Digits that a float32 tells apart.
LONGEST = 24
# Symbols, in orders, that a text has behind it where it starts.
BURN_IN = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Language:
    """A Markov chain on symbols, whose order and geometry are known.

    Attributes:
      fields: 2^d functions from (N, d) points of the cube to (N,) logits; pytrees, as `data.fields.Field` is.
      dimension: d.
      order: symbols that the next one depends on, from 1 to 24.
    """

    fields: tuple[Callable[[jax.Array], jax.Array], ...]
    dimension: int = dataclasses.field(metadata={"static": True})
    order: int = dataclasses.field(metadata={"static": True})

    def points(self, contexts_NxD: jax.Array) -> jax.Array:
        """Where in the cube contexts are, (N, d), in the middle of what their digits leave open."""
        return (contexts_NxD + 0.5) * (SIDE / 2.0**self.order)

    def symbols(self, contexts_NxD: jax.Array) -> jax.Array:
        """The symbols of contexts, (N, order), the newest last."""
        ages = jnp.arange(self.order)
        digits_NxDxL = contexts_NxD[..., None] >> ages & 1
        return jnp.sum(digits_NxDxL << jnp.arange(self.dimension)[:, None], axis=1)

    def logits(self, contexts_NxD: jax.Array) -> jax.Array:
        """Of the next symbol, (N, 2^d)."""
        points_NxD = self.points(contexts_NxD)
        return jnp.stack([field(points_NxD) for field in self.fields], axis=1)

    def text(self, length: int, *, key: jax.Array | int) -> tuple[jax.Array, jax.Array]:
        """A text as the contexts of its symbols, (length, d) int32, and the symbols, (length,) int32.

        A coordinate of a context has the newest digit at its top, of `order` bits.

        Args:
          length: symbols; static.
          key: a JAX random key, or an int for `jax.random.key`.

        Raises:
          InputError: if `order` is out of range, or there are not 2^d fields.
        """
        if not 1 <= self.order <= LONGEST:
            raise InputError(f"order={self.order} must lie from 1 to {LONGEST}: a float32 holds no more digits.")
        if len(self.fields) != 2**self.dimension:
            raise InputError(
                f"fields are {len(self.fields)}, and a language of dimension={self.dimension} has "
                f"{2**self.dimension} symbols. Give a field for each."
            )
        start_key, step_key = jax.random.split(random_key("key", key))
        start_D = jax.random.randint(start_key, (self.dimension,), 0, 2**self.order)

        def step(context_D: jax.Array, place: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            chances_K = self.logits(context_D[None])[0]
            symbol = jax.random.categorical(jax.random.fold_in(step_key, place), chances_K)
            digits_D = symbol >> jnp.arange(self.dimension) & 1
            return (context_D >> 1) + (digits_D << self.order - 1), (context_D, symbol)

        before = BURN_IN * self.order
        _, (contexts_NxD, symbols_N) = jax.lax.scan(step, start_D, jnp.arange(before + length))
        return contexts_NxD[before:], symbols_N[before:]


def point_map(dimension: int, order: int) -> jax.Array:
    """Weights (order, 2^d, d) of the one-hot symbols of a context, newest last, whose sum is its point."""
    place_value = SIDE * 2.0 ** (jnp.arange(order) - order)
    digits_KxD = jnp.arange(2**dimension)[:, None] >> jnp.arange(dimension) & 1
    # Half of the last place, shared by all symbols: the middle of what is left open.
    return place_value[:, None, None] * digits_KxD + SIDE / 2.0 ** (order + 1) / order
