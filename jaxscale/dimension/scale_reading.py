"""At which scale to read a dimension: the plateau or both ends, noise told apart from curvature, and a k.

hoods = neighborhoods(x, k=64)
reading = read_scales(by_k(hoods, estimator="gride"), hoods)
reading.plateau.interval()                        # or, without a plateau, reading.small and reading.large
reading.recommended_k, reading.reason             # 16, "k = 16: smallest neighborhood beyond the noise, …"
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from jaxscale.dimension.estimate import normal_interval
from jaxscale.dimension.neighborhood import Neighborhoods
from jaxscale.dimension.residuals import KS, Residuals, residuals_by_k
from jaxscale.dimension.scale import LEAST_SCALES, Plateau, ScaleProfile, plateau
from jaxscale.page.numerals import number

# Noise raises a reading by about the share (noise distance / scale)²; less than a percent of it is not reported.
_LEAST_NOISE = 0.1
_ERRORS = 2.0  # standard errors by which an exponent must be on one side
# Exponents of the residual: 0 for noise, 2 for a direction that d leaves out, 4 for curvature. Without noise they were
# 2 and more wherever we looked, while noise that curvature outweighs in part has some between 1 and 2.
_NOISE_BELOW, _CURVATURE_ABOVE = 1.5, 3.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleEnd:
    """The dimension at one end of a profile. All scalars.

    Attributes:
      scale: the distance at which it was read.
      dimension, standard_error: of the profile there.
      k, points: int32, neighbors of each point, and points used.
    """

    scale: jax.Array
    dimension: jax.Array
    standard_error: jax.Array
    k: jax.Array
    points: jax.Array

    def interval(self, level: float = 0.95) -> tuple[jax.Array, jax.Array]:
        """Normal interval of `dimension` at the confidence `level`, for its spread alone."""
        return normal_interval(self.dimension, self.standard_error, level)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleReading:
    """What a profile says about the scale at which to read a dimension. All scalars but `profile`.

    Attributes:
      profile: that was read.
      plateau: the widest range of scales over which the dimension is constant.
      small, large: the readings at the finest and at the coarsest scale that have one.
      fine_change: int32, from the finest scale to the plateau, or where there is none to the lowest reading: -1 the
        dimension falls, as noise and the ends of the data make it; 1 it rises; 0 it is level within its errors.
      coarse_change: int32, the same from the plateau, or the lowest reading, to the coarsest scale: 1 it rises, as
        where folds or sheets meet; -1 it falls, as at the ends of the data and of clusters.
      noise: boolean, whether there is noise that curvature does not outweigh at every scale.
      noise_excluded: boolean, whether what residuals there are show curvature alone. Both are false where residuals
        could not be read, or do not tell.
      noise_distance: √2 times the root mean square distance of the points from the manifold, which is the distance
        between two points whose places without noise coincide; below it noise fills the space. nan without noise.
      noise_deviation, noise_deviation_error: standard deviation of the noise along one direction, if it is the same in
        all columns, and its standard error. nan without noise.
      curvature: boolean, whether curvature outweighs noise at the coarser scales.
      curvature_radius: of the sphere that bends as much. nan without curvature.
      recommended: int32, place in the profile at which to read the dimension; -1 for none.
      recommended_k: int32, the neighbors there; -1 for none.
    """

    profile: ScaleProfile
    plateau: Plateau
    small: ScaleEnd
    large: ScaleEnd
    fine_change: jax.Array
    coarse_change: jax.Array
    noise: jax.Array
    noise_excluded: jax.Array
    noise_distance: jax.Array
    noise_deviation: jax.Array
    noise_deviation_error: jax.Array
    curvature: jax.Array
    curvature_radius: jax.Array
    recommended: jax.Array
    recommended_k: jax.Array

    @property
    def reason(self) -> str:
        """Why `recommended_k` is recommended, or why none is, in a sentence. Concrete values only."""
        at, found = int(self.recommended), bool(self.plateau.found)
        if at < 0:
            return f"no k: {self._without()}"
        if not found:
            why = "bend" if bool(self.curvature) else "reach the ends of the data"
            return f"{self._place(at)}: no noise seen, and larger neighborhoods {why}"
        if bool(self.noise):
            why = "smallest neighborhood beyond the noise, whose"
        elif at > 0:
            why = "smallest neighborhood whose"
        else:
            why = f"{'no noise seen, and' if bool(self.noise_excluded) else 'smallest neighborhood read, whose'}"
        beyond = {-1: ", beyond which it falls", 0: "", 1: ", beyond which it rises"}[int(self.coarse_change)]
        noun = "the reading" if why.endswith("and") else "reading"
        return f"{self._place(at)}: {why} {noun} stays level up to {self._place(int(self.plateau.last))}{beyond}"

    def _place(self, at: int) -> str:
        k, points = np.asarray(self.profile.k), np.asarray(self.profile.points)
        thinned = len(k) > 1 and k[0] == k[-1]
        return f"k = {k[at]}" + (f" of {points[at]:,} points" if thinned else "")

    def _without(self) -> str:
        read = int(np.sum(np.isfinite(np.asarray(self.profile.dimension))))
        if not read:
            return "the dimension could not be read at any scale"
        ends = " and ".join(
            f"{number(float(end.dimension))} ± {number(float(end.standard_error), 2)} at distance "
            f"{number(float(end.scale))}"
            for end in (self.small, self.large)
        )
        if bool(self.plateau.found):
            return f"the plateau lies below the distance {number(float(self.noise_distance))} that noise fills"
        if read < LEAST_SCALES:
            return f"{read} scales are too few to see a plateau; {LEAST_SCALES} are needed"
        return f"the dimension depends on the scale at every k read; report both ends: {ends}"


def read_scales(
    profile: ScaleProfile,
    residuals: Residuals | Neighborhoods | None = None,
    level: float = 0.95,
    tolerance: float = 0.02,
) -> ScaleReading:
    """At which scale to read the dimension of a cloud, and what disturbs it at the others.

    The plateau is that of `plateau`. Noise and curvature are told apart by `residuals_by_k`, how far neighborhoods
    reach out of their best planes of d dimensions: the exponent p of residual ∝ radius^p is 0 for noise, 2 for a
    direction of the manifold that d leaves out, and 4 for curvature (Little, Maggioni & Rosasco 2017). Noise is claimed
    where p lies below 1.5 by two standard errors between any two neighboring k, and the noise distance is at least a
    tenth of the finest scale, so that noise raises the reading there by a percent or more. Curvature is claimed where p
    lies above 3 by two standard errors between any two neighboring k of 4 (d + 1) and more. Noise is excluded where
    curvature is claimed and all p lie above 1.5 by two standard errors, or where no residuals exceed rounding.

    A k is recommended as follows. With a plateau beyond the noise distance, its smallest k, since larger ones are
    disturbed more by curvature and by the ends of the data. Without a plateau, the smallest k read if noise is
    excluded. Otherwise none.

    Args:
      profile: from `by_k` or `by_decimation`.
      residuals: of the same cloud; or its neighborhoods, of at least 16 neighbors, better 64, whose residuals are then
        read for `tangent_dimension(profile)`. Without them, or where neighborhoods have no vectors, neither noise nor
        curvature is looked for.
      level, tolerance: of the plateau, and of the changes at both ends.

    Returns:
      `ScaleReading`. Can be used under `jit` and `vmap`.

    Raises:
      InputError: if `level` or `tolerance` is out of range.

    References:
      Little, Maggioni & Rosasco, Multiscale geometric methods for data sets I: Multiscale SVD, noise and curvature,
      Applied and Computational Harmonic Analysis 43, 2017.
    """
    found = plateau(profile, level, tolerance)
    if isinstance(residuals, Neighborhoods):
        residuals = residuals_of(residuals, tangent_dimension(profile))
    reading: ScaleReading = _read(profile, found, residuals, ndtri((1 + level) / 2), tolerance)
    return reading


def tangent_dimension(profile: ScaleProfile) -> jax.Array:
    """The d for `residuals_by_k`: the lowest reading, which noise raises least, rounded; int32, at least 1."""
    d_S = profile.dimension
    lowest = jnp.min(jnp.where(jnp.isfinite(d_S), d_S, jnp.inf))
    return jnp.maximum(jnp.round(jnp.where(lowest < jnp.inf, lowest, 1)), 1).astype(jnp.int32)


def residuals_of(hoods: Neighborhoods, d: int | jax.Array) -> Residuals | None:
    """`residuals_by_k`, or None where `hoods` has no vectors or too few neighbors for two scales."""
    if hoods.points is None or hoods.indices is None or hoods.k < KS[1]:
        return None
    return residuals_by_k(hoods, d)


@jax.jit
def _read(
    profile: ScaleProfile, found: Plateau, residuals: Residuals | None, reach: jax.Array, tolerance: jax.Array
) -> ScaleReading:
    d_S, error_S = profile.dimension, jnp.nan_to_num(profile.standard_error)
    known_S = jnp.isfinite(d_S) & (profile.scale > 0)
    first, last = jnp.argmax(known_S), len(d_S) - 1 - jnp.argmax(known_S[::-1])
    lowest = jnp.argmin(jnp.where(known_S, d_S, jnp.inf))
    level_d = jnp.where(found.found, found.dimension, d_S[lowest])
    level_error = jnp.where(found.found, jnp.nan_to_num(found.standard_error), error_S[lowest])

    def change(at: jax.Array, sign: int) -> jax.Array:
        """From the finer scale to the coarser: -1 falls, 1 rises, 0 within errors; 0 at the level itself."""
        away = sign * (d_S[at] - level_d)
        error = jnp.hypot(jnp.hypot(error_S[at], level_error), tolerance * level_d)
        inside = jnp.where(found.found, (found.first <= at) & (at <= found.last), at == lowest)
        return jnp.where(inside | ~(jnp.abs(away) > reach * error), 0, jnp.sign(away)).astype(jnp.int32)

    def end(at: jax.Array) -> ScaleEnd:
        fields = (profile.scale, d_S, profile.standard_error, profile.k, profile.points)
        return ScaleEnd(*(values_S[at] for values_S in fields))

    signs = _signs(residuals, profile.scale[first])
    # A plateau below the noise distance is that of the space which the noise fills.
    beyond = found.found & ~(signs.noise & (found.lower < signs.noise_distance))
    clean = ~found.found & signs.noise_excluded & jnp.any(known_S) & (jnp.sum(known_S) >= LEAST_SCALES)
    recommended = jnp.where(beyond, found.first, jnp.where(clean, first, -1)).astype(jnp.int32)
    return ScaleReading(
        profile=profile,
        plateau=found,
        small=end(first),
        large=end(last),
        fine_change=change(first, -1),
        coarse_change=change(last, 1),
        recommended=recommended,
        recommended_k=jnp.where(recommended >= 0, profile.k[recommended], -1),
        **signs._asdict(),
    )


class _Signs(NamedTuple):
    """The fields of `ScaleReading` that residuals tell."""

    noise: jax.Array
    noise_excluded: jax.Array
    noise_distance: jax.Array
    noise_deviation: jax.Array
    noise_deviation_error: jax.Array
    curvature: jax.Array
    curvature_radius: jax.Array


def _signs(residuals: Residuals | None, finest: jax.Array) -> _Signs:
    if residuals is None:
        no, nan = jnp.zeros((), bool), jnp.full((), jnp.nan)
        return _Signs(no, no, nan, nan, nan, no, nan)
    p, error = residuals.exponent, _ERRORS * residuals.exponent_error
    distance = jnp.sqrt(2 * residuals.noise)
    noise = jnp.any(p + error < _NOISE_BELOW) & (distance >= _LEAST_NOISE * finest)
    full = residuals.k[:-1] >= 4 * (residuals.d + 1)
    curvature = jnp.any(full & (p - error > _CURVATURE_ABOVE))
    readable = jnp.sum(jnp.isfinite(residuals.residual)) >= 2
    flat = jnp.all(jnp.isnan(p))
    excluded = readable & ~noise & (flat | (curvature & jnp.all(jnp.isnan(p) | (p - error > _NOISE_BELOW))))
    given: Callable[[jax.Array, jax.Array], jax.Array] = lambda there, value: jnp.where(there, value, jnp.nan)
    return _Signs(
        noise=noise,
        noise_excluded=excluded,
        noise_distance=given(noise, distance),
        noise_deviation=given(noise, residuals.deviation),
        noise_deviation_error=given(noise, residuals.deviation_error),
        curvature=curvature,
        curvature_radius=given(curvature, residuals.radius),
    )
