"""Two targets of Izzo, Nichani & Lee 2026 (arXiv 2510.27015): strings drawn on device, and exact oracles.

    task = SimpleTask(omega=4.0)
    tokens_T = task.sample(length, size=64, key=key)   # tokens from `length` on are PAD
    task.target(tokens_T, length)                      # Target(value=(1,), valid=True)
    seen = task.sample_statistics(length, key=key)     # the same law without the string: any length, `jnp.inf` too
    task.target_of(seen)

Tasks are pytrees: parameters such as ω, p and k are data, so that one compiled program serves a whole grid of them;
what fixes shapes is static. Methods take one key, one length; `jax.vmap` takes them over batches. The paper's text at
hand does not say how its strings are drawn; the laws here are ours, stated with each task, and chosen so that the
statistic a task reads does not concentrate: otherwise the loss would fall with the length by itself.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.lengths import strings
from jaxscale.lengths.strings import Length, Statistics, Tokens


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """What a task wants of a string.

    Attributes:
      value: (O,) float32.
      valid: False for strings that the task says nothing of.
    """

    value: jax.Array
    valid: jax.Array


@functools.partial(jax.tree_util.register_dataclass, data_fields=["omega"], meta_fields=["alphabet", "alpha"])
@dataclasses.dataclass(frozen=True)
class SimpleTask:
    """f*(x) = sin(ω (c_0 - c_1) / (c_0 + c_1)), c_s the count of symbol s; 0 where both are 0.

    Law: θ ~ Dirichlet(α, …, α), tokens independent with law θ. With S = 2 and α = 1 the count c_0 is uniform on 0..T,
    so that means over the law are finite sums.

    Attributes:
      omega: ω, the frequency; the Lipschitz constant is of its order.
      alphabet: S, at least 2.
      alpha: α of the law; any but 1 compiles for long, as `jax.random.dirichlet` does.
    """

    omega: float | jax.Array = 4.0
    alphabet: int = 2
    alpha: float = 1.0

    outputs = 1
    period = 1
    rows = 1
    shortest = 1

    def __post_init__(self) -> None:
        check_alphabet(self.alphabet)
        if not self.alpha > 0:
            raise InputError(f"alpha={self.alpha} must be positive. 1 is the uniform law over θ.")

    def sample(self, length: Length, size: int, *, key: jax.Array | int) -> jax.Array:
        """(size,) int32 tokens, PAD from `length` on.

        Args:
          length: tokens of the string; may be traced.
          size: room for them; static.
          key: a JAX random key, or an int for `jax.random.key`.
        """
        key_law, key_tokens = jax.random.split(random_key("key", key))
        return strings.pad(_categorical(key_tokens, self._law(key_law), size), length)

    def sample_statistics(
        self, length: float | jax.Array, ends: int | jax.Array = 0, *, key: jax.Array | int
    ) -> Statistics:
        """`Statistics` of a string of this law, at τ = 0, without making it.

        Args:
          length: tokens of the string, `jnp.inf` too; may be traced.
          ends: its residue, which is 0 for Δ = 1.
          key: a JAX random key, or an int for `jax.random.key`.

        Raises:
          InputError: unless α = 1, for which alone counts are known to be uniform.
        """
        if self.alpha != 1:
            raise InputError(f"alpha={self.alpha}: counts without strings need alpha=1. Count those of `sample`.")
        key_law, key_counts, key_last = jax.random.split(random_key("key", key), 3)
        length = jnp.asarray(length, jnp.float32)
        infinite = jnp.isinf(length)
        share_S = self._law(key_law)
        count_S = _uniform_composition(key_counts, jnp.where(infinite, 0, length).astype(jnp.int32), self.alphabet)
        held_S = jnp.where(infinite, share_S, count_S)
        last = jax.random.categorical(key_last, jnp.log(held_S))
        bulk_S = held_S - jnp.where(infinite, 0, jax.nn.one_hot(last, self.alphabet))
        return Statistics(bulk_S[:, None], last[None], jnp.int32(0), jnp.int32(1), length)

    def every_statistics(self, length: float | jax.Array, most: int = 4096) -> tuple[Statistics, jax.Array]:
        """All `Statistics` of strings of `length` with their probabilities, (2 most,), for two symbols and α = 1.

        Beyond `most` - 1 tokens: evenly spaced counts; at infinite length midpoints, a quadrature of as many points.

        Raises:
          InputError: for another law, whose counts are not uniform.
        """
        if self.alphabet != 2 or self.alpha != 1:
            raise InputError(f"alphabet={self.alphabet}, alpha={self.alpha}: every count is listed for 2 and 1 only.")
        length = jnp.asarray(length, jnp.float32)
        index_M = jnp.arange(most, dtype=jnp.float32)
        few, infinite = length < most, jnp.isinf(length)
        total = jnp.where(infinite, 1, length)
        spaced_M = jnp.where(infinite, (index_M + 0.5) / most, jnp.round(index_M / (most - 1) * total))
        zeros_M = jnp.where(few, index_M, spaced_M)
        held_MxS = jnp.stack([zeros_M, total - zeros_M], axis=1)
        weight_MxS = jnp.where(~few | (index_M <= length), 1.0, 0)[:, None] * jnp.maximum(held_MxS, 0)
        one_SxS = jnp.where(infinite, 0, jnp.eye(2))
        bulk_MxSxS = jnp.maximum(held_MxS[:, None] - one_SxS, 0)  # the last token is not of the bulk
        shape = (2 * most,)
        seen = Statistics(
            bulk_MxSxS.reshape(*shape, 2, 1),
            jnp.tile(jnp.arange(2, dtype=jnp.int32), most)[:, None],
            jnp.zeros(shape, jnp.int32),
            jnp.ones(shape, jnp.int32),
            jnp.full(shape, length),
        )
        return seen, (weight_MxS / jnp.sum(weight_MxS)).reshape(shape)

    def target(self, tokens_T: Tokens, length: Length) -> Target:
        """`Target` of a string."""
        counts_S = strings.class_counts(strings.pad(tokens_T, length), self.alphabet, 1)[:, 0]
        return self._of(counts_S)

    def target_of(self, seen: Statistics) -> Target:
        """`Target` of the string that `seen` was read from."""
        return self._of(_whole(seen)[:, 0])

    def _of(self, counts_S: jax.Array) -> Target:
        total = counts_S[0] + counts_S[1]
        ratio = (counts_S[0] - counts_S[1]) / jnp.where(total > 0, total, 1)
        return Target(jnp.sin(self.omega * ratio)[None], jnp.bool_(True))

    def _law(self, key: jax.Array) -> jax.Array:
        if self.alpha != 1:
            return jax.random.dirichlet(key, jnp.full(self.alphabet, self.alpha))
        return _uniform_simplex(key, (self.alphabet,))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["period", "residue"], meta_fields=["rows"])
@dataclasses.dataclass(frozen=True)
class ModPTask:
    """f*(x) = Σ_t 1[x_t = 1, t = k mod p] / Σ_t 1[t = k mod p], positions t from 1; two symbols, Δ = p.

    Law: a bias θ_r, uniform on [0, 1], for each residue r, tokens independent: x_t = 1 with probability θ_(t mod p).
    With one bias for all residues the mean of all tokens would serve as well as the right ones.

    Attributes:
      period: p, at least 1.
      residue: k, in 0..p-1.
      rows: room for residues, at least p; p if None.
    """

    period: int | jax.Array = 5
    residue: int | jax.Array = 0
    rows: Any = None

    alphabet = 2
    outputs = 1

    def __post_init__(self) -> None:
        if isinstance(self.period, (int, np.integer)):
            if self.period < 1:
                raise InputError(f"period={self.period} must be positive. 2 is the least that is not trivial.")
            if isinstance(self.residue, (int, np.integer)) and not 0 <= self.residue < self.period:
                raise InputError(f"residue={self.residue} must lie in 0..{self.period - 1}, the residues mod p.")
            if self.rows is None:
                object.__setattr__(self, "rows", int(self.period))
            if self.rows < self.period:
                raise InputError(f"rows={self.rows} must be at least period={self.period}. Give more rows, or None.")

    @property
    def shortest(self) -> int | jax.Array:
        """Every residue occurs from this length on."""
        return self.period

    def sample(self, length: Length, size: int, *, key: jax.Array | int) -> jax.Array:
        """(size,) int32 tokens, PAD from `length` on.

        Args:
          length: tokens of the string; may be traced.
          size: room for them; static.
          key: a JAX random key, or an int for `jax.random.key`.
        """
        key_law, key_tokens = jax.random.split(random_key("key", key))
        bias_R = jax.random.uniform(key_law, (self.rows,))
        # A reshape would do for a static p; the gather costs less than the random bits either way.
        bias_T = bias_R[strings.residues(size, self.period)]
        return strings.pad((jax.random.uniform(key_tokens, (size,)) < bias_T).astype(jnp.int32), length)

    def sample_statistics(
        self, length: float | jax.Array, ends: int | jax.Array = 0, *, key: jax.Array | int
    ) -> Statistics:
        """`Statistics` of a string of this law, at τ = 0, without making it.

        A count of tokens whose bias is uniform is uniform itself.

        Args:
          length: tokens of the string, `jnp.inf` too; may be traced.
          ends: the residue of the last token at infinite length.
          key: a JAX random key, or an int for `jax.random.key`.
        """
        key_law, key_counts, key_last = jax.random.split(random_key("key", key), 3)
        length = jnp.asarray(length, jnp.float32)
        infinite = jnp.isinf(length)
        whole = jnp.where(infinite, 0, length).astype(jnp.int32)
        places_R = strings.places(whole, self.period, self.rows)
        ones_R = jax.random.randint(key_counts, (self.rows,), 0, places_R + 1)
        share_R = (jnp.arange(self.rows) < self.period) / jnp.asarray(self.period, jnp.float32)
        ones_R = jnp.where(infinite, jax.random.uniform(key_law, (self.rows,)) * share_R, ones_R)
        counts_SxR = jnp.stack([jnp.where(infinite, share_R, places_R) - ones_R, ones_R])
        at = jnp.where(infinite, ends, whole % self.period)
        last = jax.random.categorical(key_last, jnp.log(counts_SxR[:, at])).astype(jnp.int32)
        bulk_SxR = counts_SxR.at[last, at].add(jnp.where(infinite, 0.0, -1.0))
        return Statistics(bulk_SxR, last[None], at, jnp.asarray(self.period, jnp.int32), length)

    def target(self, tokens_T: Tokens, length: Length) -> Target:
        """`Target` of a string; not valid where no position has the residue."""
        return self._of(strings.class_counts(strings.pad(tokens_T, length), 2, self.period, self.rows))

    def target_of(self, seen: Statistics) -> Target:
        """`Target` of the string that `seen` was read from."""
        return self._of(_whole(seen))

    def _of(self, counts_SxR: jax.Array) -> Target:
        zeros, ones = counts_SxR[:, self.residue]
        total = zeros + ones
        return Target((ones / jnp.where(total > 0, total, 1))[None], total > 0)


def check_alphabet(alphabet: int) -> None:
    """Raises InputError for an alphabet of which nothing can be learned."""
    if alphabet < 2:
        raise InputError(f"alphabet={alphabet} must be at least 2: strings over one symbol are all alike.")


def _whole(seen: Statistics) -> jax.Array:
    """Counts of all tokens, the suffix included, (S, R); shares where the length is infinite."""
    place_W = (seen.residue - jnp.arange(len(seen.suffix))) % seen.period
    symbols, rows = seen.bulk.shape
    suffix_SxR = jax.nn.one_hot(seen.suffix, symbols).T @ jax.nn.one_hot(place_W, rows)
    return seen.bulk + jnp.where(jnp.isinf(seen.length), 0, suffix_SxR)


def _uniform_simplex(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Dirichlet(1, …, 1) over the last axis. Exponentials compile in a hundredth of the time of gammas."""
    draw = jax.random.exponential(key, shape)
    return draw / jnp.sum(draw, axis=-1, keepdims=True)


def _categorical(key: jax.Array, share_S: jax.Array, size: int) -> jax.Array:
    """(size,) int32 independent draws from shares that sum to one."""
    bound_S = jnp.cumsum(share_S)[:-1]
    return jnp.sum(jax.random.uniform(key, (size,))[:, None] >= bound_S, axis=1, dtype=jnp.int32)


def _uniform_composition(key: jax.Array, total: jax.Array, parts: int) -> jax.Array:
    """Uniform among all ways to write `total` as an ordered sum of `parts` counts, (parts,) int32.

    The counts are the gaps between parts - 1 bars among total + parts - 1 places. Floyd's algorithm draws the bars: a
    place taken already is replaced by the largest place so far, which cannot be.
    """
    places = total + parts - 1
    bars = jnp.full(parts - 1, -1)
    for i, key_i in enumerate(jax.random.split(key, parts - 1)):
        largest = places - (parts - 1) + i
        place = jax.random.randint(key_i, (), 0, largest + 1)
        bars = bars.at[i].set(jnp.where(jnp.any(bars == place), largest, place))
    edges = jnp.concatenate([jnp.array([-1]), jnp.sort(bars), places[None]])
    return jnp.diff(edges) - 1
