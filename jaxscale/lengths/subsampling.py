"""The argument behind the two-layer bound, executable: a long string thinned out in blocks.

    short = thin(tokens_T, length, kept=512, block=8.0, locality=3, size=1024, key=key)

A second layer reads pairs of (suffix, running histogram). Keeping single tokens at random keeps histograms and destroys
suffixes; keeping one run keeps suffixes and loses histograms. Blocks of mean length B spoil a share (τ+1)/B of the
suffixes and leave n/B independent pieces: B = n^(1/3) balances both at an error n^(-1/3) (Lemma 5.3 of Izzo, Nichani &
Lee 2026; how the chain is run is ours).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.lengths.simulation import Short
from jaxscale.lengths.strings import PAD, Length, Tokens


def thin(
    tokens_T: Tokens,
    length: Length,
    kept: Length,
    block: float | jax.Array | None = None,
    locality: int = 0,
    period: int = 1,
    size: int | None = None,
    *,
    key: jax.Array | int,
) -> Short:
    """The tokens at which a two-state Markov chain is in state one, and the last τ+1.

    The chain leaves state one at rate 1/B and is stationary with n/T tokens kept, B being never less than 1/(1 - n/T),
    the mean run of independent draws.

    Args:
      tokens_T: (T,) integers; those from `length` on do not matter.
      length: T, may be traced.
      kept: n, tokens kept on average; may be traced.
      block: B, the mean length of a run; n^(1/3) if None, 1 for independent draws.
      locality: τ; the last τ+1 tokens are always kept.
      period: Δ; whole periods are kept or left out, so that every token keeps its residue. Static.
      size: room for the short string; 2 n + τ + 64 if None, where n is concrete. Static.
      key: a JAX random key, or an int for `jax.random.key`.

    Returns:
      `simulation.Short`; not feasible if more tokens were kept than there is room for.

    Raises:
      InputError: if a concrete `kept` is not below a concrete `length`.
    """
    whole = (int, np.integer)
    if isinstance(kept, whole) and isinstance(length, whole) and not 0 < kept < length:
        raise InputError(f"kept={kept} must lie strictly between 0 and length={length}. Keep fewer tokens.")
    size = size or int(2 * kept + locality + 64)
    kept = jnp.asarray(kept, jnp.float32)
    block = kept ** (1 / 3) if block is None else block
    share = kept / length
    # A chain that forgets itself at rate r, and else stays, leaves state one at rate r (1 - share).
    forget = jnp.minimum(1.0, period / (block * (1 - share)))
    tokens_T = jnp.asarray(tokens_T)
    index_T = jnp.arange(len(tokens_T))
    unit_T = index_T // period
    key_forget, key_state = jax.random.split(random_key("key", key))
    forgets_T = (jax.random.uniform(key_forget, tokens_T.shape) < forget) | (index_T == 0)
    since_T = jax.lax.cummax(jnp.where(forgets_T, index_T, 0))  # by unit: when it last forgot
    state_T = jax.random.uniform(key_state, tokens_T.shape)[since_T] < share
    near_end = (length - locality - 1) // period
    keeps_T = (state_T[unit_T] | (unit_T >= near_end)) & (index_T < length)
    place_T = jnp.cumsum(keeps_T) - 1
    tokens_N = jnp.full(size, PAD).at[jnp.where(keeps_T, place_T, size)].set(tokens_T, mode="drop")
    found = jnp.sum(keeps_T)
    return Short(tokens_N.astype(jnp.int32), jnp.minimum(found, size).astype(jnp.int32), found <= size)
