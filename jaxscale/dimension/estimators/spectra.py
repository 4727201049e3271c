"""How many directions a spectrum of variances has: the rules of principal component analysis.

dimension_of_spectrum(eigenvalues, rank, "fo")    # eigenvalues: (..., m), descending
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxscale.dimension.points import check_choice
from jaxscale.errors import InputError

Rule = Literal["fo", "ratio", "participation_ratio"]

# The thresholds of the papers and of those who use them.
THRESHOLDS = {"fo": 0.05, "ratio": 0.95}


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
        "ratio"                the fewest that carry the share `threshold` of the variance
        "participation_ratio"  (Σ λ)² / Σ λ², the only one that is not an integer

    Args:
      eigenvalues: (..., m) descending; negative ones are rounding and count as zero.
      rank: how many eigenvalues can differ from zero; those beyond are left out. Scalar, or (...).
      rule: static.
      threshold: of "fo" and "ratio".

    Returns:
      (...) floats; nan where all eigenvalues are zero.
    """
    rank = jnp.asarray(rank)[..., None]
    possible = jnp.arange(eigenvalues.shape[-1]) < rank
    λ = jnp.where(possible, jnp.maximum(eigenvalues, 0), 0)
    total = jnp.sum(λ, axis=-1, keepdims=True)
    if rule == "fo":
        count = jnp.sum(λ > threshold * λ[..., :1], axis=-1)
    elif rule == "ratio":
        share = jnp.cumsum(λ, axis=-1) / total
        count = 1 + jnp.sum(possible & (share < threshold), axis=-1)
    else:
        count = participation_ratio(total[..., 0], jnp.sum(λ**2, axis=-1))
    return jnp.where(total[..., 0] > 0, count, jnp.nan).astype(eigenvalues.dtype)


def participation_ratio(total: jax.Array, total_of_squares: jax.Array) -> jax.Array:
    """(Σ λ)² / Σ λ², nan where all are zero."""
    positive = total_of_squares > 0
    return jnp.where(positive, total**2 / jnp.where(positive, total_of_squares, 1), jnp.nan)
