"""How many directions a spectrum of variances has: the rules of principal component analysis.

dimension_of_spectrum(eigenvalues, rank, "fo", 0.05)    # eigenvalues: (..., m), descending
"""

from typing import Literal, TypeGuard, get_args

import jax
import jax.numpy as jnp

from jaxscale.dimension.estimators.signal_rank import NoiseRule, above_noise, minka
from jaxscale.dimension.points import check_choice
from jaxscale.errors import InputError

Rule = Literal[
    "fo",
    "ratio",
    "participation_ratio",
    "participation_ratio_corrected",
    "marchenko_pastur",
    "gavish_donoho",
    "minka",
    "horn",
]

# The thresholds of the papers and of those who use them.
THRESHOLDS = {"fo": 0.05, "ratio": 0.95}
# The rules that do not count, and have a gradient.
SMOOTH = ("participation_ratio", "participation_ratio_corrected")
NOISE_RULES = get_args(NoiseRule)


def knows_noise(rule: Rule) -> TypeGuard[NoiseRule]:
    """Whether `rule` compares with noise; see `noise_levels`."""
    return rule in NOISE_RULES


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
    eigenvalues: jax.Array,
    rank: jax.typing.ArrayLike,
    rule: Rule,
    threshold: jax.typing.ArrayLike = 0.0,
    samples: jax.typing.ArrayLike | None = None,
    width: int | None = None,
    known_noise: bool = False,
) -> jax.Array:
    """The number of directions in a spectrum λ_1 ≥ … ≥ λ_m ≥ 0 of variances.

        "fo"                   λ above `threshold` times the largest (Fukunaga & Olsen 1971)
        "ratio"                the fewest that carry the share `threshold` of the variance
        "participation_ratio"  (Σ λ)² / Σ λ², which is not an integer
        "marchenko_pastur", "gavish_donoho", "horn"    λ above those of noise; see `above_noise`
        "minka"                the number of greatest evidence; see `minka`

    The spectrum does not determine "participation_ratio_corrected"; see `corrected_participation_ratio`.

    Args:
      eigenvalues: (..., m) descending; negative ones are rounding and count as zero.
      rank: how many eigenvalues can differ from zero; those beyond are left out. Scalar, or (...).
      rule: static.
      threshold: of "fo" and "ratio"; of the rules that know noise, what `noise_levels` returns.
      samples: of "minka", the number of points; scalar, or (...).
      width: of "minka", the number of columns; static.
      known_noise: whether `threshold` is in the unit of `eigenvalues`; see `above_noise`. Static.

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
    elif rule == "participation_ratio":
        count = participation_ratio(total[..., 0], jnp.sum(λ**2, axis=-1))
    elif rule == "minka":
        if samples is None or width is None:
            raise TypeError("rule='minka' reads samples and width.")
        evidence = jnp.vectorize(lambda λ, r, n: minka(λ, r, n, width), signature="(m),(),()->()")
        count = evidence(λ, rank[..., 0], jnp.asarray(samples))
    elif knows_noise(rule):
        above = lambda λ, r: above_noise(λ, r, rule, jnp.asarray(threshold), known_noise)
        count = jnp.vectorize(above, signature="(m),()->()")(λ, rank[..., 0])
    else:
        raise TypeError(f"a spectrum does not determine {rule!r}.")
    return jnp.where(total[..., 0] > 0, count, jnp.nan).astype(eigenvalues.dtype)


def participation_ratio(total: jax.Array, total_of_squares: jax.Array) -> jax.Array:
    """(Σ λ)² / Σ λ², nan where all are zero."""
    positive = total_of_squares > 0
    return jnp.where(positive, total**2 / jnp.where(positive, total_of_squares, 1), jnp.nan)


def corrected_participation_ratio(
    total: jax.Array, total_of_squares: jax.Array, fourth: jax.Array, count: jax.typing.ArrayLike
) -> jax.Array:
    """(tr Σ)² / tr Σ² of the distribution that n points were drawn from, each of the two without bias.

    In n points tr C² of the sample covariance C is on average larger than tr Σ² by about (tr Σ)² / n, so that the
    participation ratio reads 1 / (1/d + 1/n) for d. With A = Σ λ and B = Σ λ² of the eigenvalues of the scatter matrix
    Σ (x_i - x̄)(x_i - x̄)ᵀ and C = Σ |x_i - x̄|⁴,

        (tr Σ)²   is without bias   (2 B + (n² - 3 n + 1) A² - n (n-1) C) / (n (n-1) (n-2) (n-3))
        tr Σ²     is without bias   ((n-1)(n-2) B + A² - n (n-1) C) / (n (n-1) (n-2) (n-3))

    whatever the distribution: each is the mean over all ordered choices of four different points of ¼ |a-b|² |c-d|² and
    of ¼ ((a-b)·(c-d))². Their ratio keeps a bias of the second order in their errors, of which that of tr Σ², about 2/n
    of it, is the larger.

    Args:
      total, total_of_squares: A and B, any shape.
      fourth: C, of that shape.
      count: n; scalar, or of that shape.

    Returns:
      The ratio; it can exceed n and, by chance, the number of columns. nan where n < 4, and where the estimate of tr Σ²
      is not positive.

    References:
      Himeno & Yamada, Estimations for some functions of covariance matrix in high dimension under non-normality and its
        applications, J. Multivariate Analysis 130, 2014.
      Chun, Canatar, Chung & Lee, Estimating dimensionality of neural representations from finite samples,
        arXiv:2509.26560, 2025: the participation ratio of rows and columns that are samples; here rows alone are.
    """
    n = jnp.asarray(count, total.dtype)
    # In units of A², or the fourth powers of float32 overflow.
    unit = jnp.where(total > 0, total, 1)
    squares, fourth = total_of_squares / unit**2, fourth / unit**2
    above = 2 * squares + (n * (n - 3) + 1) - n * (n - 1) * fourth
    below = (n - 1) * (n - 2) * squares + 1 - n * (n - 1) * fourth
    known = (total > 0) & (n > 3) & (below > 0)
    return jnp.where(known, above / jnp.where(known, below, 1), jnp.nan)
