"""An atlas of a cloud of points: tangent planes by local principal components, and a quadratic surface over each."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxscale.arguments import integer
from jaxscale.constructions.atlases import Atlas, make_atlas
from jaxscale.errors import InputError


def from_points(points: np.ndarray, dimension: int | None = None, radius: float | None = None, k: int = 40) -> Atlas:
    """Charts of the manifold near which a cloud lies.

    The frame of a chart spans the first principal components of the points in its ball. The way back from the plane is
    a quadratic polynomial for the directions normal to it, by least squares over the same points. No bound is proved,
    as nothing but the points is known of the manifold; certificates say what is measured.

    Args:
      points: (n, D) array.
      dimension: d; that of `dimension.local_pca` over k neighbors, rounded, if None.
      radius: of the balls; if None the median over the points of 1.5 times the distance to the k-th neighbor.
      k: neighbors that a point is judged by; more than (d+1)(d+2)/2.

    Returns:
      `Atlas` without a reach; points farther from it than four times the root mean square of the residuals, or a tenth
      of a percent of the radius, are refused.

    Raises:
      InputError: if the cloud is too small for its dimension, a ball holds too few points, or the balls do not cover.
    """
    from jaxscale import dimension as dimensions

    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or not np.all(np.isfinite(points)):
        raise InputError(f"points must be a finite array (n, D); it has shape {points.shape}.")
    k = integer("k", k, 1)
    dimension = None if dimension is None else integer("dimension", dimension, 1)
    if dimension is not None:
        _check_below_width(dimension, points)
    hoods = dimensions.neighborhoods(points, k)
    if dimension is None:
        dimension = max(1, round(float(dimensions.local_pca(hoods, k=k).dimension)))
        _check_below_width(dimension, points)
    d = dimension
    terms = (d + 1) * (d + 2) // 2
    if radius is None:
        radius = 1.5 * float(np.median(np.asarray(hoods.distances)[:, -1]))
    fits: dict[str, np.ndarray] = {}

    def frames_at(index: np.ndarray) -> np.ndarray:
        frames, surfaces, residuals = [], [], []
        for c in points[index]:
            rise = points[np.sum((points - c) ** 2, axis=1) < radius**2] - c
            if len(rise) <= terms:
                raise InputError(
                    f"a ball of radius {radius:.3g} holds {len(rise)} points; a chart of dimension {d} needs more than "
                    f"{terms}. Pass a larger radius or more points."
                )
            _, _, directions = np.linalg.svd(rise - rise.mean(axis=0), full_matrices=False)
            frame = directions[:d].T
            offset = rise @ frame
            height = rise - offset @ frame.T
            surface = np.linalg.lstsq(_monomials(offset), height, rcond=None)[0]
            frames.append(frame)
            surfaces.append(surface)
            residuals.append(np.sum((height - _monomials(offset) @ surface) ** 2, axis=1))
        fits["surfaces"] = np.stack(surfaces)
        fits["residual"] = np.array(np.sqrt(np.mean(np.concatenate(residuals))))
        return np.stack(frames)

    def lift_from(index: np.ndarray, frames: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        def lift(chart: np.ndarray, offset: np.ndarray) -> np.ndarray:
            flat = np.einsum("nij,nj->ni", frames[chart], offset)
            height = np.einsum("nt,ntD->nD", _monomials(offset), fits["surfaces"][chart])
            inside = np.sum(offset**2, axis=1) <= radius**2
            return np.where(inside[:, None], points[index][chart] + flat + height, np.nan)

        return lift

    name = f"cloud of {len(points)} points in R^{points.shape[1]}"
    atlas = make_atlas(name, points, 0.0, radius, frames_at, lift_from, None, tolerance=0.0)
    return dataclasses.replace(atlas, tolerance=max(4 * float(fits["residual"]), 1e-3 * radius))


def _check_below_width(dimension: int, points: np.ndarray) -> None:
    if not 1 <= dimension < points.shape[1]:
        raise InputError(
            f"dimension={dimension} must be at least 1 and below the width {points.shape[1]} of the points."
        )


def _monomials(offset: np.ndarray) -> np.ndarray:
    """1, s_i and s_i s_j, i ≤ j: (n, (d+1)(d+2)/2)."""
    first, second = np.triu_indices(offset.shape[1])
    return np.concatenate([np.ones((len(offset), 1)), offset, offset[:, first] * offset[:, second]], axis=1)
