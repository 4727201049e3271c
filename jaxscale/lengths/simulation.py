"""The argument behind the one-layer bound, executable: a short string that a network cannot tell from a long one.

    short = proportional(tokens_T, length, budget=240, alphabet=4, period=3, locality=2)
    short.tokens, short.length, short.feasible

One layer with hardmax sees its suffix, its residue, which classes of tokens are present, and their proportions. The
string built here keeps the first three exactly and the last to one part in its length, so that f(z) is near f(x) at a
rate 1/N (derived, after the deterministic proof of Theorem 4.1 of Izzo, Nichani & Lee 2026). `random_draw` and `last`
are what one would try first; both do worse, the second does not converge.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.lengths import strings
from jaxscale.lengths.strings import PAD, Length, Tokens


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Short:
    """A short string that stands for a long one.

    Attributes:
      tokens: (budget,) int32, PAD from `length` on.
      length: int32.
      feasible: False where the budget was too small to keep every class, or the draw too long for it.
    """

    tokens: jax.Array
    length: jax.Array
    feasible: jax.Array


def proportional(
    tokens_T: Tokens,
    length: Length,
    budget: int,
    alphabet: int,
    period: int | jax.Array = 1,
    locality: int = 0,
    rows: int | None = None,
) -> Short:
    """A string of at most `budget` tokens with the same suffix and residue, all the classes, and their proportions.

    1. n is the largest length up to the budget that equals T mod Δ; a string within the budget is returned as it is.
    2. The last τ+1 tokens are copied, which keeps the query, its residue and every φ.
    3. The n_r other places of residue r are dealt to symbols in proportion to their bulk counts at r by largest
       remainder, at least one to each symbol present there: a class that vanished, or a new one, could change which
       logit is largest.

    Args:
      tokens_T: (T,) integers; those from `length` on do not matter.
      length: T, may be traced.
      budget: N; static.
      alphabet, locality: S and τ; static.
      period, rows: Δ, and room for residues, as for `strings.class_counts`.

    Returns:
      `Short`.

    Raises:
      InputError: if the budget cannot hold a suffix and one token of every class.
    """
    _check_budget(budget, alphabet, rows or int(period), locality)
    n, counts_SxR, slots_R = _bulk(tokens_T, length, budget, alphabet, period, locality, rows)
    dealt_SxR = jax.vmap(largest_remainder, (1, 0), 1)(counts_SxR, slots_R)
    feasible = jnp.all(jnp.sum(dealt_SxR, axis=0) == slots_R)
    return _built(tokens_T, length, budget, n, arrange(dealt_SxR, budget, period), feasible, locality)


def random_draw(
    tokens_T: Tokens,
    length: Length,
    budget: int,
    alphabet: int,
    period: int = 1,
    locality: int = 0,
    *,
    key: jax.Array | int,
) -> Short:
    """As `proportional`, but each bulk token is drawn from those of `tokens_T` at its residue: classes may get lost.

    Args:
      tokens_T, length, budget, alphabet, period, locality: as for `proportional`.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    _check_budget(budget, alphabet, period, locality)
    n, counts_SxR, _ = _bulk(tokens_T, length, budget, alphabet, period, locality)
    log_share_TxS = jnp.log(counts_SxR).T[strings.residues(budget, period)]
    bulk_N = jax.random.categorical(random_key("key", key), log_share_TxS)
    return _built(tokens_T, length, budget, n, bulk_N, jnp.bool_(True), locality)


def last(tokens_T: Tokens, length: Length, budget: int, period: int | jax.Array = 1) -> Short:
    """The last n tokens, n the largest length up to the budget that equals T mod Δ."""
    n = _congruent(length, budget, period)
    place_N = jnp.arange(budget)
    tokens_N = jnp.where(place_N < n, jnp.asarray(tokens_T)[jnp.clip(length - n + place_N, 0, len(tokens_T) - 1)], PAD)
    return Short(tokens_N.astype(jnp.int32), n, jnp.bool_(True))


def largest_remainder(counts_S: jax.Array, total: int | jax.Array) -> jax.Array:
    """`total` dealt in proportion to `counts_S`, (S,) int32: at least 1 where the count is positive, else 0.

    The sum is not `total` only if fewer places than positive counts are to be dealt, or no count is positive.
    """
    present_S = counts_S > 0
    quota_S = counts_S * (total / jnp.maximum(jnp.sum(counts_S), 1))
    dealt_S = jnp.where(present_S, jnp.maximum(jnp.floor(quota_S), 1), 0)

    def step(_: jax.Array, dealt_S: jax.Array) -> jax.Array:
        missing = total - jnp.sum(dealt_S)
        lacks = jnp.argmax(jnp.where(present_S, quota_S - dealt_S, -jnp.inf))
        spares = jnp.argmax(jnp.where(dealt_S > 1, dealt_S - quota_S, -jnp.inf))
        more = dealt_S.at[lacks].add(present_S[lacks])
        fewer = dealt_S.at[spares].add(-(dealt_S[spares] > 1).astype(dealt_S.dtype))
        return jnp.where(missing > 0, more, jnp.where(missing < 0, fewer, dealt_S))

    # Each symbol is rounded by less than one, so that at most S places are left over or missing.
    evened_S: jax.Array = jax.lax.fori_loop(0, len(counts_S), step, dealt_S)
    return evened_S.astype(jnp.int32)


def arrange(dealt_SxR: jax.Array, size: int, period: int | jax.Array) -> jax.Array:
    """(size,) tokens: the places t of residue r = t mod Δ, t from 1, filled with `dealt_SxR[s, r]` copies of each s."""
    place_N = jnp.arange(1, size + 1)
    residue_N = place_N % period
    rank_N = (place_N - jnp.where(residue_N == 0, period, residue_N)) // period
    ends_SxR = jnp.cumsum(dealt_SxR, axis=0)
    symbol_N = jnp.sum(ends_SxR[:, residue_N] <= rank_N, axis=0)
    return jnp.minimum(symbol_N, len(dealt_SxR) - 1)


def _bulk(
    tokens_T: Tokens,
    length: Length,
    budget: int,
    alphabet: int,
    period: int | jax.Array,
    locality: int,
    rows: int | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """n, the counts of the long string's bulk (S, Δ), and the short one's free places by residue (Δ,)."""
    n = _congruent(length, budget, period)
    counts_SxR = strings.summarize(tokens_T, length, alphabet, period, locality, rows).bulk
    return n, counts_SxR, strings.places(n - locality - 1, period, rows)


def _congruent(length: Length, budget: int, period: int | jax.Array) -> jax.Array:
    """The largest length up to the budget that equals `length` mod Δ; `length` itself if that is within it."""
    return jnp.where(length <= budget, length, budget - (budget - length) % period).astype(jnp.int32)


def _built(
    tokens_T: Tokens, length: Length, budget: int, n: jax.Array, bulk_N: jax.Array, feasible: jax.Array, locality: int
) -> Short:
    """The bulk before the suffix; the string itself where it is within the budget."""
    place_N = jnp.arange(budget)
    copied_N = jnp.asarray(tokens_T)[jnp.clip(length - n + place_N, 0, len(tokens_T) - 1)]
    kept_N = (place_N >= n - locality - 1) | (length <= budget)
    tokens_N = jnp.where(place_N < n, jnp.where(kept_N, copied_N, bulk_N), PAD)
    return Short(tokens_N.astype(jnp.int32), n, feasible | (length <= budget))


def _check_budget(budget: int, alphabet: int, period: int, locality: int) -> None:
    least = alphabet * period + locality + period
    if budget < least:
        raise InputError(
            f"budget={budget} may not hold {alphabet * period} classes of tokens and a suffix of {locality + 1}. "
            f"Give at least {least}."
        )
