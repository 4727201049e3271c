"""What a cloud is like, in 23 numbers that depend neither on its scale, nor on where it lies, nor on its width.

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
_TILE = 1 << 22  # numbers of neighbor vectors held at once
_LEAST = 1e-30  # under logarithms and roots

# Logarithms of dimensions estimated from distances, which predict d best; the others describe shape and density.
_LIKELIHOOD = (3, 5, 8, 12, 20, 32)
READINGS = (
    *(f"likelihood of {k} neighbors" for k in _LIKELIHOOD),
    "two nearest neighbors",
    "16th to 32nd neighbor",
    "8th to 16th neighbor",
)
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
    return jnp.stack(found)


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
