"""How near the nearest neighbors of points are, and at what angles they are seen: the statistics of `danco`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.dimension.estimators import von_mises
from jaxscale.dimension.estimators.ratios import gride
from jaxscale.dimension.neighborhood import Neighborhoods, graph, vectors
from jaxscale.dimension.points import replicated

# A concentration beyond this tells of neighbors that all lie in one direction, as at the end of a curve.
MAX_CONCENTRATION = 1000.0


@jax.jit
def norms_and_angles(points: jax.Array, hoods: Neighborhoods) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The statistics δ, ν and τ of `danco` over neighborhoods of k+1.

    δ is the likeliest dimension for T_1 / T_(k+1); ν and τ are the means of the local direction and concentration of
    the angles between the first k neighbors. Points whose neighbors all lie in one direction have no finite τ and are
    left out of the means of ν and τ.

    Args:
      points: (m, D), among which the neighbors are.
      hoods: of any points, with indices into `points`.

    Returns:
      The three statistics (3,), nan where no point is used; the influence (n, 3) of each point on them, zero for points
      not used; and which points (n,) are used: those with positive, finite distances.
    """
    k = hoods.k - 1
    likeliest = gride(hoods, n1=1, n2=k + 1)
    assert likeliest.influence is not None
    used_N = hoods.used & (hoods.distances[:, 0] > 0) & (hoods.distances[:, -1] < jnp.inf)
    cosine_N, sine_N = _mean_cosine_and_sine(replicated(points), replicated(vectors(hoods, "danco")), hoods, used_N)
    direction_N, concentration_N = von_mises.likeliest_parameters(cosine_N, sine_N, MAX_CONCENTRATION)
    spread_N = used_N & (concentration_N < 0.999 * MAX_CONCENTRATION)
    share_N = spread_N * (jnp.sum(used_N) / jnp.sum(spread_N))
    angles_Nx2 = jnp.stack([direction_N, concentration_N], axis=1)
    means_2 = jnp.sum(jnp.where(spread_N[:, None], angles_Nx2, 0), axis=0) / jnp.sum(spread_N)
    influence_Nx2 = jnp.where(spread_N[:, None], angles_Nx2 - means_2, 0) * share_N[:, None]
    return (
        jnp.concatenate([likeliest.dimension[None], means_2]),
        jnp.concatenate([likeliest.influence[:, None], influence_Nx2], axis=1),
        used_N,
    )


def _mean_cosine_and_sine(
    points_MxD: jax.Array, centers_NxD: jax.Array, hoods: Neighborhoods, used_N: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Means over the pairs of the first k neighbors of each point of the cosine and the sine of the angle between."""
    k = hoods.k - 1
    row, column = np.triu_indices(k, 1)

    def of_point(hood: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        point_D, indices_k, farthest = hood
        # Divided by the farthest distance first, so that no norm overflows or vanishes when squared.
        arms_kxD = (points_MxD[indices_k] - point_D) / farthest
        arms_kxD = arms_kxD / jnp.linalg.norm(arms_kxD, axis=1, keepdims=True)
        cosine_P = jnp.clip(jnp.matmul(arms_kxD, arms_kxD.T, precision=lax.Precision.HIGHEST)[row, column], -1, 1)
        squared_P = 1 - cosine_P**2
        oblique_P = squared_P > 0
        # A sine of zero has no derivative to pass on.
        sine_P = jnp.where(oblique_P, jnp.sqrt(jnp.where(oblique_P, squared_P, 1)), 0)
        return jnp.mean(cosine_P), jnp.mean(sine_P)

    farthest_N = jnp.where(used_N, hoods.distances[:, -1], 1)
    means: tuple[jax.Array, jax.Array] = lax.map(
        of_point, (centers_NxD, graph(hoods, "danco")[:, :k], farthest_N), batch_size=256
    )
    return means
