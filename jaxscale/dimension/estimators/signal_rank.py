"""How many directions of a spectrum of variances rise above noise: four rules with a model of the noise.

levels = noise_levels("gavish_donoho", directions=50, samples=399, width=50)
count = above_noise(eigenvalues, 50, "gavish_donoho", levels)      # eigenvalues: (50,), descending
count = minka(eigenvalues, 50, samples=400, width=50)
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.linalg import eigh_tridiagonal
from jax.scipy.special import gammaln

# Rules that compare with noise which is the same in all directions, and those of them that can be told its size.
NoiseRule = Literal["marchenko_pastur", "gavish_donoho", "horn"]
OF_KNOWN_NOISE = ("marchenko_pastur", "gavish_donoho")

# Samples of noise alone, and the quantile of them that counts as noise, of parallel analysis.
DRAWS = 100
QUANTILE = 0.95
# Steps of the integral over the Marchenko-Pastur law; the median is right to 1e-6.
STEPS = 4096


def marchenko_pastur_median(ratio: jax.typing.ArrayLike) -> jax.Array:
    """Median μ_β of the Marchenko-Pastur law of variance one.

    The law of the eigenvalues of X Xᵀ / s, with X (r, s) of independent entries of variance one and β = r / s ≤ 1. With
    x = 1 + β - 2 √β cos θ, its density in θ is 2 sin²θ / (π x), smooth from 0 to π.

    Args:
      ratio: β, above 0 and at most 1; scalar.

    Returns:
      Scalar, of float32 unless `ratio` is wider.

    References:
      Marchenko & Pastur, Distribution of eigenvalues for some sets of random matrices, Math. USSR Sbornik 1, 1967.
    """
    ratio = jnp.asarray(ratio, jnp.result_type(float, ratio))
    θ = jnp.linspace(0, jnp.pi, STEPS + 1, dtype=ratio.dtype)[1:] - jnp.pi / (2 * STEPS)  # midpoints
    # 1 + β - 2 √β cos θ, without the difference of numbers that are nearly equal.
    x = (1 - jnp.sqrt(ratio)) ** 2 + 4 * jnp.sqrt(ratio) * jnp.sin(θ / 2) ** 2
    below = jnp.cumsum(2 * jnp.sin(θ) ** 2 / x) / STEPS
    end = jnp.interp(below[-1] / 2, below, θ + jnp.pi / (2 * STEPS))
    return (1 - jnp.sqrt(ratio)) ** 2 + 4 * jnp.sqrt(ratio) * jnp.sin(end / 2) ** 2


def optimal_threshold(ratio: jax.typing.ArrayLike) -> jax.Array:
    """λ(β): the hard threshold for singular values that is asymptotically best, in units of σ √s; 4/√3 at β = 1.

        λ(β)² = 2 (β + 1) + 8 β / (β + 1 + √(β² + 14 β + 1))

    Gavish & Donoho 2014, for noise of known size.

    Args:
      ratio: β, above 0 and at most 1; any shape.
    """
    ratio = jnp.asarray(ratio, jnp.result_type(float, ratio))
    return jnp.sqrt(2 * (ratio + 1) + 8 * ratio / (ratio + 1 + jnp.sqrt(ratio**2 + 14 * ratio + 1)))


def noise_levels(
    rule: NoiseRule,
    directions: int,
    samples: jax.typing.ArrayLike,
    width: jax.typing.ArrayLike,
    known_noise: bool = False,
    key: jax.Array | None = None,
) -> jax.Array:
    """What eigenvalues of noise alone reach, in the unit of each rule; see `above_noise`.

    With r and s the smaller and the larger of `samples` and `width`, β = r / s, and μ_β the median of the
    Marchenko-Pastur law:

        "marchenko_pastur"  (1 + √β)² / μ_β, the upper edge of that law in units of its median
        "gavish_donoho"     λ(β)² / μ_β = ω(β)², see `optimal_threshold`
        "horn"              for each i the 95% quantile, over 100 draws of noise, of the share of all variance that the
                            i-th largest eigenvalue has

    With `known_noise` the first two are in units of the variance σ² of the noise in each column: s (1 + √β)² and
    s λ(β)², which an eigenvalue of the *sum* of squares must exceed.

    The draws of "horn" are no matrices of noise but bidiagonal ones with the same law of eigenvalues (Dumitriu &
    Edelman 2002): their cost depends on m alone.

    Args:
      rule: static.
      directions: m ≥ r, how many eigenvalues there are; static.
      samples: degrees of freedom, points less one where their mean was taken off; scalar.
      width: columns; scalar.
      known_noise: as above; static.
      key: a JAX random key, of "horn" alone.

    Returns:
      Scalar, or of "horn" (m,).

    References:
      Gavish & Donoho, The optimal hard threshold for singular values is 4/√3, IEEE Trans. Information Theory 60, 2014.
      Horn, A rationale and test for the number of factors in factor analysis, Psychometrika 30, 1965.
      Dumitriu & Edelman, Matrix models for beta ensembles, J. Math. Phys. 43, 2002.
    """
    samples, width = jnp.asarray(samples, float), jnp.asarray(width, float)
    smaller, larger = jnp.minimum(samples, width), jnp.maximum(samples, width)
    if rule == "horn":
        assert key is not None
        return _quantiles_of_noise(directions, smaller, larger, key)
    ratio = smaller / larger
    edge = (1 + jnp.sqrt(ratio)) ** 2 if rule == "marchenko_pastur" else optimal_threshold(ratio) ** 2
    return edge * larger if known_noise else edge / marchenko_pastur_median(ratio)


def _quantiles_of_noise(directions: int, smaller: jax.Array, larger: jax.Array, key: jax.Array) -> jax.Array:
    """(m,) quantiles of the shares of variance in noise, descending; zero beyond the r-th."""
    i = jnp.arange(directions)
    diagonal_key, beside_key = jax.random.split(key)

    def χ(key: jax.Array, freedom_M: jax.Array) -> jax.Array:
        drawn = jax.random.chisquare(key, jnp.maximum(freedom_M, 1), (DRAWS, directions))
        return jnp.sqrt(jnp.where(freedom_M > 0, drawn, 0))

    # B Bᵀ is tridiagonal, with B bidiagonal: χ of s, s-1, … on its diagonal, of r-1, …, 1 below it.
    on = χ(diagonal_key, jnp.where(i < smaller, larger - i, 0))
    below = χ(beside_key, jnp.where(i < smaller - 1, smaller - 1 - i, 0))
    diagonal = on**2 + jnp.pad(below[:, :-1], ((0, 0), (1, 0))) ** 2
    beside = (on * below)[:, :-1]
    tridiagonal = functools.partial(eigh_tridiagonal, eigvals_only=True)
    eigenvalues = jax.vmap(tridiagonal)(diagonal, beside)[:, ::-1] if directions > 1 else diagonal
    eigenvalues = jnp.where(i < smaller, jnp.maximum(eigenvalues, 0), 0)
    return jnp.quantile(eigenvalues / jnp.sum(eigenvalues, axis=1, keepdims=True), QUANTILE, axis=0)


def above_noise(
    eigenvalues: jax.Array, rank: jax.typing.ArrayLike, rule: NoiseRule, levels: jax.Array, known_noise: bool = False
) -> jax.Array:
    """The number of eigenvalues λ_1 ≥ … ≥ λ_m ≥ 0 above those of noise.

    Those above `levels` times the median of the first `rank`, for "gavish_donoho" that of their roots, the singular
    values; with `known_noise` those above `levels`; for "horn" the first ones, up to one whose share of the sum does
    not exceed its level. Eigenvalues within rounding of zero, 4 √m ε of the largest, never count.

    Args:
      eigenvalues: (m,).
      rank: how many can differ from zero; scalar.
      rule, known_noise: static.
      levels: of `noise_levels`; with `known_noise` times the variance of the noise, in the unit of `eigenvalues`.

    Returns:
      Integer scalar; zero where none stands out.
    """
    m = eigenvalues.shape[0]
    real = eigenvalues > 4 * jnp.sqrt(m) * jnp.finfo(eigenvalues.dtype).eps * eigenvalues[0]
    if rule == "horn":
        share = eigenvalues / jnp.where(eigenvalues[0] > 0, jnp.sum(eigenvalues), 1)
        return jnp.sum(jnp.cumprod(real & (share > levels)))
    if not known_noise:
        middle = (jnp.asarray(rank) - jnp.array([1, 0])) // 2
        if rule == "gavish_donoho":
            levels = levels * jnp.mean(jnp.sqrt(eigenvalues[middle])) ** 2
        else:
            levels = levels * jnp.mean(eigenvalues[middle])
    return jnp.sum(real & (eigenvalues > levels))


def minka(eigenvalues: jax.Array, rank: jax.typing.ArrayLike, samples: jax.typing.ArrayLike, width: int) -> jax.Array:
    """The number q of directions of the probabilistic model of greatest evidence, by Laplace's method (Minka 2000).

    Points are normal with q variances of their own and one variance v for all other directions. With n points in D
    columns, v_q the mean of the D - q last eigenvalues and λ̂ the eigenvalues with these replaced by it, the logarithm
    of the evidence is, but for what does not depend on q,

        log p(U) - n/2 (Σ_{i≤q} log λ_i + (D - q) log v_q) + (M + q)/2 log 2π - q/2 log n
            - 1/2 Σ_{i≤q} Σ_{i<j≤D} log(n (λ_i - λ_j) (1/λ̂_j - 1/λ̂_i))

    with M = D q - q (q+1) / 2 and log p(U) = -q log 2 + Σ_{i≤q} log Γ((D-i+1)/2) - (D-i+1)/2 log π. The q is that of
    `PCA(n_components="mle")` in scikit-learn. Other than there, n may be below D: the eigenvalues that must be zero
    are among the D - q last ones.

    Args:
      eigenvalues: (m,) descending, m at most `width`; in any unit.
      rank: how many can differ from zero; scalar.
      samples: n; scalar.
      width: D; static.

    Returns:
      Integer scalar, the best of 1 ≤ q < `rank`; directions within rounding of zero, 4 √m ε of the largest, are no
      candidates. It is 1 where `rank` is 1.

    References:
      Minka, Automatic choice of dimensionality for PCA, NIPS 13, 2000; MIT Media Lab report 514.
    """
    m, dtype = eigenvalues.shape[0], eigenvalues.dtype
    n = jnp.asarray(samples, dtype)
    floor = 4 * jnp.sqrt(m) * jnp.finfo(dtype).eps
    λ = eigenvalues / jnp.where(eigenvalues[0] > 0, eigenvalues[0], 1)
    # A unit in which the logarithms of noise are near zero, or float32 loses their sum times n.
    middle = λ[(jnp.asarray(rank) - 1) // 2]
    unit = jnp.where(middle > floor, middle, 1)
    λ, floor = λ / unit, floor / unit
    q = jnp.arange(1, m + 1)
    rest = jnp.flip(jnp.cumsum(jnp.flip(λ))) - λ
    v = jnp.maximum(rest / jnp.maximum(width - q, 1), floor)
    raised = jnp.maximum(λ, floor)
    log_λ = jnp.log(raised)
    i, j = q[:, None], q
    inside = (i < j) & (j <= m)
    # log(λ_i - λ_j), and log(1/λ_j - 1/λ_i), of which the gap is common.
    log_gap = jnp.log(jnp.maximum(raised[:, None] - raised, floor * jnp.finfo(dtype).eps))
    gaps = jnp.cumsum(jnp.sum(jnp.where(inside, log_gap, 0), axis=1) + (width - m) * log_λ)
    within = jnp.cumsum(jnp.sum(jnp.where(inside, log_gap - log_λ[:, None] - log_λ, 0), axis=0))
    beyond_gap = jnp.log(jnp.maximum(raised[:, None] - v, floor * jnp.finfo(dtype).eps)) - log_λ[:, None] - jnp.log(v)
    beyond = (width - q) * jnp.sum(jnp.where(i <= j, beyond_gap, 0), axis=0)
    freedom = width * q - q * (q + 1) / 2
    side = (width - q + 1) / 2
    log_prior = jnp.cumsum(gammaln(side) - side * jnp.log(jnp.pi)) - q * jnp.log(2)
    log_likelihood = -n / 2 * (jnp.cumsum(log_λ) + (width - q) * jnp.log(v))
    log_hessian = gaps + within + beyond + freedom * jnp.log(n)
    evidence = log_prior + log_likelihood + (freedom + q) / 2 * jnp.log(2 * jnp.pi) - q / 2 * jnp.log(n)
    evidence = evidence - log_hessian / 2
    candidate = (q < rank) & (q < width) & (λ > floor)
    return jnp.where(jnp.any(candidate), 1 + jnp.argmax(jnp.where(candidate, evidence, -jnp.inf)), 1)
