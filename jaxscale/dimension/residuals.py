"""How far neighborhoods reach out of their tangent planes, against scale: what tells noise from curvature.

residuals = residuals_by_k(hoods, d=2)            # of 8, 16, 32, 64 neighbors
residuals.exponent                                # 0 noise, 2 a direction that d leaves out, 4 curvature
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.estimators.neighbor_vectors import TILE, gram
from jaxscale.dimension.neighborhood import Neighborhoods, graph, vectors
from jaxscale.dimension.points import replicated
from jaxscale.errors import InputError

KS = (8, 16, 32, 64)
CENTERS = 512  # points whose neighborhoods are read; more would overlap with these
# A residual below this share of the tangent variance is what float32 leaves of zero.
_ROUNDING = 1e-5
# Errors of the model of two terms, relative; errors of chance alone would let one scale decide.
_MODEL_ERROR = 0.05


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Residuals:
    """Variance of neighborhoods along and off their best planes of d dimensions, at S scales, the finest first.

    Attributes:
      k: (S,) int32, neighbors of each point.
      tangent: (S,) variance along the plane, all directions together, root of the mean square over points.
      residual: (S,) variance off the plane, all directions together, mean over points; nan where k is below 2 (d + 1),
        too few to find a plane.
      standard_error: (S,) of `residual`; n/k neighborhoods count as independent.
      exponent: (S-1,) p of residual ∝ radius^p between successive scales, where the square of the radius is in
        proportion to `tangent`; nan where there is no residual beyond rounding.
      exponent_error: (S-1,) its standard error.
      noise: scalar, the part of `residual` that does not depend on scale, by the fit of `residuals_by_k`.
      noise_error: its standard error.
      curvature: scalar c ≥ 0 of c · tangent² in that fit, 1 / (squared length).
      d: int32, dimensions of the planes.
      width: columns of the points; static.
    """

    k: jax.Array
    tangent: jax.Array
    residual: jax.Array
    standard_error: jax.Array
    exponent: jax.Array
    exponent_error: jax.Array
    noise: jax.Array
    noise_error: jax.Array
    curvature: jax.Array
    d: jax.Array
    width: int = dataclasses.field(metadata={"static": True})

    @property
    def deviation(self) -> jax.Array:
        """Standard deviation of the noise along one direction, if it is the same in all `width` columns."""
        return jnp.sqrt(self.noise / jnp.maximum(self.width - self.d, 1))

    @property
    def deviation_error(self) -> jax.Array:
        """Standard error of `deviation`."""
        there = self.noise > 0
        share = self.noise_error / jnp.where(there, 2 * self.noise, 1)
        return jnp.where(there, self.deviation * share, jnp.nan)

    @property
    def radius(self) -> jax.Array:
        """Radius of the sphere of d dimensions that leaves its planes as `curvature` says; infinite without it."""
        bent = self.curvature > 0
        return jnp.where(bent, 1 / jnp.sqrt(jnp.where(bent, self.curvature, 1) * self.d * (self.d + 4)), jnp.inf)


def residuals_by_k(hoods: Neighborhoods, d: int | jax.Array, ks: Sequence[int] | None = None) -> Residuals:
    """How far the k nearest neighbors of a point lie off their best plane of `d` dimensions, for several k.

    Little, Maggioni & Rosasco 2017 tell three kinds of directions apart by how the variance of a neighborhood grows
    with its radius r: as r² along a manifold, as r⁴ where it bends, and not at all where there is noise alone. Of the
    eigenvalues λ of k neighbors about their mean, the d largest are taken for the plane:

        tangent = (λ_1 + … + λ_d) / (k-1)         residual = (λ_{d+1} + … + λ_D) / (k-1-d)

    residual = noise + c · tangent² is fitted by least squares, neither term negative. Noise of standard deviation σ in
    D columns has noise = σ² (D - d); a sphere of radius R has c = 1 / (R² d (d+4)), from the variance of |u|² / 2R over
    a ball.

    Neighbors are the nearest of the noisy points, so that noise as large as the neighborhoods is cut off: the residual
    then grows as r², and what is fitted is too low.

    Args:
      hoods: neighborhoods with vectors, of n points. Up to 512 of them, evenly spaced among the rows, are read.
      d: dimensions of the planes, at least 1; may be traced.
      ks: ascending numbers of neighbors, at least 2; static. By default those of 8, 16, 32, 64 that `hoods` has.

    Returns:
      `Residuals` in the squared unit of the points. Can be used under `jit` and `vmap`.

    Raises:
      InputError: if `hoods` has no vectors or too few neighbors, or an argument is out of range.

    References:
      Little, Maggioni & Rosasco, Multiscale geometric methods for data sets I: Multiscale SVD, noise and curvature,
      Applied and Computational Harmonic Analysis 43, 2017.
    """
    ks = tuple(k for k in KS if k <= hoods.k) if ks is None else tuple(integer("ks", k, 2) for k in ks)
    if not ks or any(later <= earlier for earlier, later in itertools.pairwise(ks)) or ks[-1] > hoods.k:
        raise InputError(
            f"ks={ks} must be ascending numbers of neighbors up to the k={hoods.k} of hoods. "
            "Pass others, or neighborhoods of a larger k."
        )
    if isinstance(d, int):
        d = integer("d", d, 1)
    vectors(hoods, "residuals_by_k"), graph(hoods, "residuals_by_k")
    found: Residuals = _residuals(hoods, jnp.asarray(d, jnp.int32), ks)
    return found


@functools.partial(jax.jit, static_argnames="ks")
def _residuals(hoods: Neighborhoods, d: jax.Array, ks: tuple[int, ...]) -> Residuals:
    points_NxD, indices_Nxk = replicated(vectors(hoods, "residuals_by_k")), graph(hoods, "residuals_by_k")
    n, width = points_NxD.shape
    count = min(n, CENTERS)
    rows_M = (jnp.arange(count) * n) // count
    # One k after the other in a loop of XLA, with a single decomposition in it: jaxlib 0.10 waits forever where as many
    # batched ones run at a time as there are cores.
    square_S, residual_S, error_S = lax.map(
        lambda k: _at(k, hoods, points_NxD, indices_Nxk[:, : ks[-1]], rows_M, d), jnp.asarray(ks, jnp.int32)
    )
    exponent, exponent_error = _exponents(square_S, residual_S, error_S)
    noise, noise_error, curvature = _fit(square_S, residual_S, error_S)
    return Residuals(
        k=jnp.asarray(ks, jnp.int32),
        tangent=jnp.sqrt(square_S),
        residual=residual_S,
        standard_error=error_S,
        exponent=exponent,
        exponent_error=exponent_error,
        noise=noise,
        noise_error=noise_error,
        curvature=curvature,
        d=d,
        width=width,
    )


def _at(
    k: jax.Array,
    hoods: Neighborhoods,
    points_NxD: jax.Array,
    indices_NxK: jax.Array,
    rows_M: jax.Array,
    d: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean square of the tangent variance, mean residual, and its standard error, of the `k` nearest of K neighbors."""
    most, width = indices_NxK.shape[1], points_NxD.shape[1]
    near_Kx1 = (jnp.arange(most) < k)[:, None]

    def of_point(row: jax.Array) -> tuple[jax.Array, jax.Array]:
        arms_KxD = jnp.where(near_Kx1, points_NxD[indices_NxK[row]] - points_NxD[row], 0)
        arms_KxD = jnp.where(near_Kx1, arms_KxD - jnp.sum(arms_KxD, axis=0) / k, 0)
        spectrum = jnp.linalg.eigvalsh(gram(arms_KxD) if most <= width else gram(arms_KxD.T))[::-1]
        along = jnp.arange(len(spectrum)) < d
        off = jnp.maximum(jnp.sum(jnp.where(along, 0, spectrum)), 0)
        return jnp.sum(jnp.where(along, spectrum, 0)) / (k - 1), off / jnp.maximum(k - 1 - d, 1)

    tile = max(1, TILE // (most * width))
    tangent_M, residual_M = lax.map(of_point, rows_M, batch_size=min(tile, len(rows_M)))
    farthest_M = jnp.take(hoods.distances[rows_M], k - 1, axis=1)
    used_M = hoods.used[rows_M] & (farthest_M > 0) & (farthest_M < jnp.inf)
    count = jnp.sum(used_M)
    mean: Callable[[jax.Array], jax.Array] = lambda values_M: jnp.sum(jnp.where(used_M, values_M, 0)) / count
    residual = mean(residual_M)
    independent = jnp.minimum(count, jnp.sum(hoods.used) / k)
    error = jnp.sqrt(mean((residual_M - residual) ** 2) / independent)
    readable = (k >= 2 * (d + 1)) & (count > 0) & hoods.sound
    given: Callable[[jax.Array], jax.Array] = lambda value: jnp.where(readable, value, jnp.nan)
    return given(mean(tangent_M**2)), given(residual), given(error)


def _exponents(square_S: jax.Array, residual_S: jax.Array, error_S: jax.Array) -> tuple[jax.Array, jax.Array]:
    there_S = residual_S > _ROUNDING * jnp.sqrt(square_S)
    log_residual_S = jnp.where(there_S, jnp.log(jnp.where(there_S, residual_S, 1)), jnp.nan)
    relative_S = error_S / jnp.where(there_S, residual_S, 1)
    # tangent² is in proportion to radius⁴.
    steps = jnp.diff(jnp.log(jnp.where(there_S, square_S, 1))) / 4
    moved = steps > 0
    steps = jnp.where(moved, steps, 1)
    exponent = jnp.diff(log_residual_S) / steps
    error = jnp.hypot(relative_S[1:], relative_S[:-1]) / steps
    return jnp.where(moved, exponent, jnp.nan), jnp.where(moved, error, jnp.nan)


def _fit(square_S: jax.Array, residual_S: jax.Array, error_S: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """residual = noise + c · square by least squares, neither negative: noise, its standard error, c."""
    there_S = (residual_S > _ROUNDING * jnp.sqrt(square_S)) & jnp.isfinite(error_S)
    safe: jax.Array = jnp.where(there_S, residual_S, 0)
    # In units of the largest, so that squares of squares stay within float32.
    unit_y, unit_x = jnp.max(safe), jnp.max(jnp.where(there_S, square_S, 0))
    y_S = safe / jnp.where(unit_y > 0, unit_y, 1)
    x_S = jnp.where(there_S, square_S, 0) / jnp.where(unit_x > 0, unit_x, 1)
    spread_S = jnp.where(there_S, error_S, 0) / jnp.where(unit_y > 0, unit_y, 1)
    weight_S = jnp.where(there_S, 1 / jnp.where(there_S, spread_S**2 + (_MODEL_ERROR * y_S) ** 2, 1), 0)
    total, x, xx = jnp.sum(weight_S), jnp.sum(weight_S * x_S), jnp.sum(weight_S * x_S**2)
    y, xy = jnp.sum(weight_S * y_S), jnp.sum(weight_S * x_S * y_S)
    known = jnp.sum(there_S) >= 2
    determinant = jnp.where(known, total * xx - x**2, 1)
    noise, c = (xx * y - x * xy) / determinant, (total * xy - x * y) / determinant
    alone = y / jnp.where(total > 0, total, 1), xy / jnp.where(xx > 0, xx, 1)
    noise, c = (
        jnp.where(c < 0, alone[0], jnp.maximum(noise, 0)),
        jnp.where(noise < 0, alone[1], jnp.maximum(c, 0)),
    )
    error = jnp.sqrt(jnp.abs(xx / determinant))
    given: Callable[[jax.Array], jax.Array] = lambda value: jnp.where(known, value, jnp.nan)
    return given(noise * unit_y), given(error * unit_y), given(c * unit_y / jnp.where(unit_x > 0, unit_x, 1))
