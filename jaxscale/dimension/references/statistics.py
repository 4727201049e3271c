"""What a cloud is like, in 36 numbers that depend neither on its scale, nor on where it lies, nor on its width.

of(neighborhoods(x, NEIGHBORS))                   # (S,)
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.neighborhood import Neighborhoods, graph, vectors
from jaxscale.dimension.points import replicated

NEIGHBORS = 32
_CENTERS, _FARTHER = 128, 64  # points whose larger neighborhoods are looked at, and how many neighbors these have
_SHARES = (8.0, 64.0, 512.0)  # one over the shares of the variance between which directions count
_AT_ONCE = 16  # matrices, and of these the columns eliminated before they are made smaller
_TILE = 1 << 22  # numbers of neighbor vectors held at once
_LEAST = 1e-30  # under logarithms and roots

# Logarithms of dimensions estimated from distances, which predict d best; the others describe shape and density.
_LIKELIHOOD = (3, 5, 8, 12, 20, 32)
READINGS = (
    *(f"likelihood of {k} neighbors" for k in _LIKELIHOOD),
    "two nearest neighbors",
    "16th to 32nd neighbor",
    "8th to 16th neighbor",
    "32nd to 64th neighbor",
    "a twentieth to a fifth of the whole",
)
_DIRECTIONS = ("participation ratio", "leading directions", "directions")
OTHERS = (
    "spread of the distance to the 5th neighbor",
    "skewness of the distance to the 5th neighbor",
    "spread of the distance to the 20th neighbor",
    "skewness of the distance to the 20th neighbor",
    "correlation of the distance to the 20th neighbor with that to the center",
    "spread of the distance to the center",
    "angles between 5 neighbors",
    "angles between 12 neighbors",
    "spread of the angles between 12 neighbors",
    "angles between 32 neighbors",
    "spread of local readings",
    "participation ratio of the whole",
    "distance to the 5th neighbor over the size of the whole",
    "participation ratio of 32 neighbors",
    *(f"{name} of {NEIGHBORS} neighbors of some" for name in (*_DIRECTIONS, "cosines")),
    *(f"{name} of {_FARTHER} neighbors of some" for name in (*_DIRECTIONS, "cosines")),
    *(f"{name} of some" for name in _DIRECTIONS),
)
NAMES = (*READINGS, *OTHERS)


@jax.jit
def of(hoods: Neighborhoods) -> jax.Array:
    """The statistics (S,) of a cloud, in the order of `NAMES`.

    Args:
      hoods: neighborhoods of `NEIGHBORS`; points that are not used do not count.
    """
    points, distances = replicated(vectors(hoods, "measure")), hoods.distances
    used = hoods.used & (distances[:, -1] < jnp.inf) & (distances[:, -1] > 0)
    count = jnp.maximum(jnp.sum(used), 1)
    mean: Callable[[jax.Array], jax.Array] = lambda values_N: jnp.sum(jnp.where(used, values_N, 0)) / count
    log_T = jnp.log(jnp.maximum(jnp.where(used[:, None], distances, 1), _LEAST))
    found = []
    for k in _LIKELIHOOD:
        found.append(-jnp.log(mean(jnp.sum(log_T[:, k - 1 : k] - log_T[:, : k - 1], axis=1)) / (k - 2)))
    found.append(-jnp.log(mean(log_T[:, 1] - log_T[:, 0])))
    for k in (16, 8):
        found.append(-jnp.log(mean(log_T[:, 2 * k - 1] - log_T[:, k - 1]) / math.log(2)))
    readings, of_centers = _of_centers(points, used)
    found += readings
    for k in (5, 20):
        center, spread = _moments(log_T[:, k - 1], mean)
        found += [jnp.log(spread + _LEAST), mean(((log_T[:, k - 1] - center) / (spread + _LEAST)) ** 3)]
    middle = jnp.sum(jnp.where(used[:, None], points, 0), axis=0) / count
    centered = jnp.where(used[:, None], points - middle, 0)
    log_r = jnp.log(jnp.maximum(jnp.linalg.norm(centered, axis=1), _LEAST))
    (r_center, r_spread), (t_center, t_spread) = _moments(log_r, mean), _moments(log_T[:, 19], mean)
    product = mean((log_r - r_center) * (log_T[:, 19] - t_center))
    found += [product / (r_spread * t_spread + 1e-12), jnp.log(r_spread + 1e-6)]
    angles, participation = _of_vectors(points, graph(hoods, "measure"))
    for place, several in enumerate((False, True, False)):
        center, spread = _moments(angles[:, place], mean)
        found.append(-jnp.log(center + _LEAST))
        if several:
            found.append(spread / (center + _LEAST))
    local = jnp.sum(log_T[:, 19:20] - log_T[:, :19], axis=1) / 18
    found.append(_moments(jnp.log(jnp.maximum(local, 1e-6)), mean)[1])
    covariance = jnp.matmul(centered.T, centered, precision=lax.Precision.HIGHEST) / count
    trace = jnp.trace(covariance)
    found.append(jnp.log(trace**2 / (jnp.sum(covariance**2) + _LEAST)))
    found.append(mean(log_T[:, 4]) - 0.5 * jnp.log(trace + _LEAST))
    # Of 32 vectors in many dimensions the ratio is some 32: what is beyond that is left.
    found.append(-jnp.log(jnp.maximum(mean(1 / participation) - 1 / (NEIGHBORS + 1), 1e-3)))
    return jnp.stack(found + of_centers)


def _of_centers(points_NxD: jax.Array, used_N: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
    """Two readings, and the spectra of larger neighborhoods and of the whole.

    Spectra tell whether a neighborhood has as many directions as its distances say, and whether it gains directions
    as it grows, as a curved one does.
    """
    count = jnp.maximum(jnp.sum(used_N), 1)
    # Of the points that are used every count/128-th.
    order_N = jnp.argsort(~used_N, stable=True)
    centers_C = order_N[jnp.arange(_CENTERS) * count // _CENTERS]
    middle_D = jnp.sum(jnp.where(used_N[:, None], points_NxD, 0), axis=0) / count
    centered_NxD = jnp.where(used_N[:, None], points_NxD - middle_D, 0)
    centers_CxD = centered_NxD[centers_C]
    squared_N = jnp.sum(centered_NxD**2, axis=1)
    product_CxN = jnp.matmul(centers_CxD, centered_NxD.T, precision=lax.Precision.HIGHEST)
    squared_CxN = squared_N[centers_C][:, None] + squared_N - 2 * product_CxN
    squared_CxN = jnp.where(used_N & (jnp.arange(len(used_N)) != centers_C[:, None]), squared_CxN, jnp.inf)
    _, nearest_CxK = lax.top_k(-squared_CxN, _FARTHER)

    def products(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        center_D, nearest_K = row
        arms_KxD = centered_NxD[nearest_K] - center_D
        return jnp.matmul(arms_KxD, arms_KxD.T, precision=lax.Precision.HIGHEST)

    rows = max(1, min(_CENTERS, _TILE // (_FARTHER * points_NxD.shape[1])))
    gram_CxKxK = lax.map(products, (centers_CxD, nearest_CxK), batch_size=rows)
    found = []
    for k in (NEIGHBORS, _FARTHER):
        gram_Cxkxk = gram_CxKxK[:, :k, :k]
        norms_Cxk = jnp.sqrt(jnp.maximum(jnp.diagonal(gram_Cxkxk, axis1=1, axis2=2), _LEAST))
        cosine = jnp.mean(gram_Cxkxk / (norms_Cxk[:, :, None] * norms_Cxk[:, None])) - 1 / k
        directions_Cx3 = lax.map(_directions, gram_Cxkxk, batch_size=_AT_ONCE)
        found += [*jnp.mean(directions_Cx3, axis=0), jnp.log(jnp.maximum(cosine, 1e-4))]
    found += [*_directions(jnp.matmul(centers_CxD, centers_CxD.T, precision=lax.Precision.HIGHEST))]
    sorted_CxN = jnp.sort(squared_CxN, axis=1)
    log_r: Callable[[jax.typing.ArrayLike], jax.Array] = lambda k: jnp.mean(
        0.5 * jnp.log(jnp.maximum(sorted_CxN[:, k - 1], _LEAST))
    )
    few, many = jnp.maximum(count // 20, 1), jnp.maximum(count // 5, 2)
    readings = [
        jnp.log(math.log(_FARTHER / NEIGHBORS) / jnp.maximum(log_r(_FARTHER) - log_r(NEIGHBORS), 1e-6)),
        jnp.log(jnp.log(many / few) / jnp.maximum(log_r(many) - log_r(few), 1e-6)),
    ]
    return readings, found


def _directions(gram_kxk: jax.Array) -> jax.Array:
    """Of vectors by their products: logarithms (3,) of their numbers of directions.

    The first is the participation ratio. The others count the directions whose share s of the variance is not small, as
    the mean of Σ c s / (1 + c s) over log c, c from 8 to 64 and from 64 to 512. That is a difference of
    log det(1 + c S), which elimination gives without a call of LAPACK.
    """
    k = len(gram_kxk)
    row_1xk = jnp.mean(gram_kxk, axis=0, keepdims=True)
    centered_kxk = gram_kxk - row_1xk - row_1xk.T + jnp.mean(row_1xk)
    shares_kxk = centered_kxk / jnp.maximum(jnp.trace(centered_kxk), _LEAST)
    participation = -jnp.log(jnp.maximum(jnp.sum(shares_kxk**2), 1 / k))
    left_Cxkxk = jnp.eye(k) + jnp.asarray(_SHARES)[:, None, None] * shares_kxk

    def eliminated(place: jax.Array, held: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        left_Cxkxk, log_det_C = held
        row_Cxk = lax.dynamic_index_in_dim(left_Cxkxk, place, axis=1, keepdims=False)
        pivot_C = jnp.maximum(lax.dynamic_index_in_dim(row_Cxk, place, axis=1, keepdims=False), 1.0)
        left_Cxkxk -= row_Cxk[:, :, None] * (row_Cxk / pivot_C[:, None])[:, None, :]
        return left_Cxkxk, log_det_C + jnp.log(pivot_C)

    log_det_C = jnp.zeros(len(_SHARES))
    for start in range(0, k, _AT_ONCE):
        left_Cxkxk, log_det_C = lax.fori_loop(0, min(_AT_ONCE, k - start), eliminated, (left_Cxkxk, log_det_C))
        left_Cxkxk = left_Cxkxk[:, _AT_ONCE:, _AT_ONCE:]
    counts_2 = jnp.diff(log_det_C) / jnp.diff(jnp.log(jnp.asarray(_SHARES)))
    return jnp.stack([participation, *jnp.log(jnp.maximum(counts_2, 0.1))])


def _moments(values_N: jax.Array, mean: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array]:
    center = mean(values_N)
    return center, jnp.sqrt(mean((values_N - center) ** 2))


def _of_vectors(points_NxD: jax.Array, indices_Nxk: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean squared cosines between the first 5, 12 and 32 neighbors (N, 3), and the participation ratio of all (N,)."""

    def of_point(row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        point_D, indices_k = row
        arms_kxD = points_NxD[indices_k] - point_D
        arms_kxD = arms_kxD / jnp.maximum(jnp.max(jnp.abs(arms_kxD)), _LEAST)
        gram_kxk = jnp.matmul(arms_kxD, arms_kxD.T, precision=lax.Precision.HIGHEST)
        squared = jnp.maximum(jnp.diagonal(gram_kxk), _LEAST)
        cosine_kxk = gram_kxk**2 / (squared[:, None] * squared)
        angles = jnp.stack([(jnp.sum(cosine_kxk[:k, :k]) - k) / (k * (k - 1)) for k in (5, 12, NEIGHBORS)])
        centered = gram_kxk - jnp.mean(gram_kxk, axis=0) - jnp.mean(gram_kxk, axis=1)[:, None] + jnp.mean(gram_kxk)
        ratio = jnp.trace(centered) ** 2 / jnp.maximum(jnp.sum(centered**2), _LEAST)
        return angles, jnp.maximum(ratio, 1.0)

    rows = max(1, _TILE // (NEIGHBORS * points_NxD.shape[1]))
    found: tuple[jax.Array, jax.Array] = lax.map(
        of_point, (points_NxD, indices_Nxk), batch_size=min(rows, len(points_NxD))
    )
    return found
