"""How many directions a spectrum of variances has: the rules of principal component analysis.

dimension_of_spectrum(eigenvalues, rank, "fo")    # eigenvalues: (..., m), descending
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxscale.dimension.points import check_choice
from jaxscale.errors import InputError

Rule = Literal["fo", "fan", "maxgap", "ratio", "kaiser", "broken_stick", "participation_ratio"]

# The thresholds of the papers and of those who use them.
THRESHOLDS = {"fo": 0.05, "ratio": 0.95}
FAN_SIGNAL, FAN_GAP, FAN_SHARE = 0.95, 10, 0.8


def checked_threshold(rule: Rule, threshold: float | None) -> float:
    """The threshold `rule` goes by: `threshold`, or the customary one if None; zero where the rule has none.

    Raises:
      InputError: if there is no such rule, or the threshold cannot be used with it.
    """
    check_choice("rule", rule, Rule)
    if rule not in THRESHOLDS:
        if threshold is not None:
            raise InputError(f"rule={rule!r} has no threshold; threshold={threshold}. Leave it out.")
        return 0.0
    threshold = THRESHOLDS[rule] if threshold is None else float(threshold)
    if not 0 < threshold < 1:
        raise InputError(f"threshold is a share, above 0 and below 1; it is {threshold}.")
    return threshold


def dimension_of_spectrum(
    eigenvalues: jax.Array, rank: jax.typing.ArrayLike, rule: Rule, threshold: float = 0.0
) -> jax.Array:
    """The number of directions in a spectrum λ_1 ≥ … ≥ λ_m ≥ 0 of variances.

        "fo"                   λ above `threshold` times the largest (Fukunaga & Olsen 1971)
        "fan"                  of the fewest r that carry 95% of the variance, less noise, that is less the mean of the
                               others: the fewest that end in a gap λ_i > 10 λ_{i+1} or carry over 80% of what is left
                               (Fan et al. 2010)
        "maxgap"               the i of the largest λ_i / λ_{i+1} (Bruske & Sommer 1998)
        "ratio"                the fewest that carry the share `threshold` of the variance
        "kaiser"               λ not below their mean (Kaiser 1960)
        "broken_stick"         leading λ_i whose share is not below that of the i-th longest of m pieces of a stick
                               broken at random, Σ_{j=i..m} 1/(jm) (Frontier 1976, Jackson 1993); 0 if none stands out
        "participation_ratio"  (Σ λ)² / Σ λ², the only one that is not an integer

    Args:
      eigenvalues: (..., m) descending; negative ones are rounding and count as zero.
      rank: how many eigenvalues can differ from zero, the m of the rules; those beyond are left out. Scalar, or (...).
      rule: static.
      threshold: of "fo" and "ratio".

    Returns:
      (...) floats; nan where all eigenvalues are zero.
    """
    rank = jnp.asarray(rank)[..., None]
    possible = jnp.arange(eigenvalues.shape[-1]) < rank
    λ = jnp.where(possible, jnp.maximum(eigenvalues, 0), 0)
    total = jnp.sum(λ, axis=-1, keepdims=True)
    share = jnp.cumsum(λ, axis=-1) / total
    if rule == "fo":
        count = jnp.sum(λ > threshold * λ[..., :1], axis=-1)
    elif rule == "fan":
        count = _fan(λ, share, rank)
    elif rule == "maxgap":
        count = _largest_gap(λ, possible)
    elif rule == "ratio":
        count = 1 + jnp.sum(possible & (share < threshold), axis=-1)
    elif rule == "kaiser":
        count = jnp.sum(possible & (λ * rank >= total), axis=-1)
    elif rule == "broken_stick":
        inverses = jnp.where(possible, 1 / (1 + jnp.arange(λ.shape[-1])), 0)
        pieces = jnp.cumsum(inverses[..., ::-1], axis=-1)[..., ::-1] / rank
        count = jnp.sum(jnp.cumprod(possible & (λ >= pieces * total), axis=-1), axis=-1)
    else:
        count = participation_ratio(total[..., 0], jnp.sum(λ**2, axis=-1))
    return jnp.where(total[..., 0] > 0, count, jnp.nan).astype(eigenvalues.dtype)


def _fan(λ: jax.Array, share: jax.Array, rank: jax.typing.ArrayLike) -> jax.Array:
    place = jnp.arange(λ.shape[-1])
    signal = jnp.minimum(1 + jnp.sum((place < rank) & (share < FAN_SIGNAL), axis=-1, keepdims=True), rank)
    noise = jnp.sum(jnp.where(place >= signal, λ, 0), axis=-1, keepdims=True) / jnp.maximum(rank - signal, 1)
    # With the noise off, those discarded add up to nothing: what is left is the signal's.
    clean = jnp.where(place < signal, λ - noise, 0)
    enough = jnp.cumsum(clean, axis=-1) > FAN_SHARE * jnp.sum(clean, axis=-1, keepdims=True)
    following = jnp.roll(clean, -1, axis=-1).at[..., -1].set(0)
    return 1 + jnp.argmax(enough | (clean > FAN_GAP * following), axis=-1)


def _largest_gap(λ: jax.Array, possible: jax.Array) -> jax.Array:
    # Eigenvalues of zero come out as rounding, measured at up to 3ε λ_1 for m = 768, with gaps of any size among them.
    rounding = λ.shape[-1] ** 0.5 * jnp.finfo(λ.dtype).eps * λ[..., :1]
    λ = jnp.where(possible, jnp.maximum(λ, rounding), 0)
    gaps = jnp.where(possible[..., 1:], λ[..., :-1] / jnp.where(possible[..., 1:], λ[..., 1:], 1), 0)
    # A gap of zero behind the last: one eigenvalue alone has no other.
    return 1 + jnp.argmax(jnp.concatenate([gaps, jnp.zeros_like(λ[..., :1])], axis=-1), axis=-1)


def participation_ratio(total: jax.Array, total_of_squares: jax.Array) -> jax.Array:
    """(Σ λ)² / Σ λ², nan where all are zero."""
    positive = total_of_squares > 0
    return jnp.where(positive, total**2 / jnp.where(positive, total_of_squares, 1), jnp.nan)
