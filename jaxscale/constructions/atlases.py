"""Charts of manifolds: balls that cover, tangent planes to project on, and the way back from a plane to the manifold.

    atlas = torus(width=32, key=jax.random.key(0))      # T^2 in R^32
    atlas = from_points(cloud)                          # of points alone, in `cloud_atlas`

On the ball of radius r about c_j the coordinates of x are V_j^T (x - c_j), V_j an orthonormal frame of the tangent
plane. The partition of unity is ρ_j = w_j / max(Σ w, floor), w_j(x) = (1 - |x - c_j|²/r'²)_+, r'² = 2r²/3: the balls of
radius r' cover, and the floor lies below Σ w on the whole manifold.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import integer, random_key
from jaxscale.constructions.primitives import INNER
from jaxscale.errors import InputError

# Centers are chosen until every point of the net is within this share of r' of one.
COVER = 0.75

# Up to this share of the reach the projection of a ball on its tangent plane is one to one (derived, see
# docs/constructions); spheres allow more.
LARGEST_BALL = 0.7


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Atlas:
    """J charts of a d-dimensional manifold in R^D.

    Attributes:
      name: for reports.
      centers: (J, D).
      frames: (J, D, d), orthonormal columns.
      radius: r of the balls.
      lift: (chart (n,), offset (n, d)) to the points (n, D) of the manifold near center `chart` whose tangent
        coordinates are `offset`; nan where there are none.
      net: (n, D) points of the manifold.
      spacing: every point of the manifold is within this distance of the net.
      reach: τ, the distance within which nearest points of the manifold are unique; None if it is not known.
      floor: Σ w is at least this on the manifold.
      tolerance: points farther than this from the manifold are refused.
    """

    name: str = dataclasses.field(metadata={"static": True})
    centers: np.ndarray
    frames: np.ndarray
    radius: float
    lift: Callable[[np.ndarray, np.ndarray], np.ndarray] = dataclasses.field(metadata={"static": True})
    net: np.ndarray
    spacing: float
    reach: float | None
    floor: float
    tolerance: float

    @property
    def dimension(self) -> int:
        dimension: int = self.frames.shape[2]
        return dimension

    @property
    def width(self) -> int:
        width: int = self.frames.shape[1]
        return width

    @property
    def inner(self) -> float:
        """r', within which partition weights are positive."""
        return INNER * self.radius

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (D,) of a box around the manifold, as wide as its points are refused from."""
        margin = self.spacing + self.tolerance
        return self.net.min(axis=0) - margin, self.net.max(axis=0) + margin

    def squared_distances(self, x: np.ndarray) -> np.ndarray:
        """(n, J) to the centers."""
        products = x @ self.centers.T
        squared = np.sum(x**2, axis=1)[:, None] - 2 * products + np.sum(self.centers**2, axis=1)
        not_negative: np.ndarray = np.maximum(squared, 0)
        return not_negative

    def partition(self, x: np.ndarray) -> np.ndarray:
        """ρ_j(x), (n, J); the rows sum to one on the manifold."""
        weight = np.maximum(1 - self.squared_distances(x) / self.inner**2, 0)
        shares: np.ndarray = weight / np.maximum(weight.sum(axis=1, keepdims=True), self.floor)
        return shares

    def overlap(self, radius: float) -> int:
        """The largest number of centers within `radius` of a point of the manifold."""
        limit = (radius + self.spacing) ** 2
        return max(int((self.squared_distances(part) < limit).sum(axis=1).max()) for part in self.parts())

    def parts(self) -> list[np.ndarray]:
        """The net in pieces for which (n, J) arrays are small."""
        return np.array_split(self.net, math.ceil(len(self.net) / 20_000))

    def slopes(self, x: np.ndarray, away: float) -> tuple[np.ndarray, np.ndarray]:
        """Of w_j and of ρ_j, (n, J): Lipschitz constants within `away` of each point.

        |∇w_j| = 2 |x - c_j| / r'² inside the ball of radius r', zero outside; and |∇ρ_j| ≤ (|∇w_j| + ρ_j Σ|∇w|) / Σw.
        """
        distance = np.sqrt(self.squared_distances(x))
        slope = np.where(distance < self.inner + away, np.minimum(distance + away, self.inner), 0) * 2 / self.inner**2
        together = slope.sum(axis=1, keepdims=True)
        weight = np.maximum(1 - (distance / self.inner) ** 2, 0)
        least = np.maximum(weight.sum(axis=1, keepdims=True) - away * together, self.floor)
        most = np.minimum((weight + away * slope) / least, 1)
        return slope, (slope + most * together) / least

    def stretch(self) -> float | None:
        """Λ, a Lipschitz constant of `lift` over offsets shorter than r': 1 / √(1 - (r'/τ)²); None without a reach.

        Tangent planes at points a distance a apart make an angle θ with sin(θ/2) ≤ a/2τ (Boissonnat, Lieutier &
        Wintraecken 2019), and an offset of length r' belongs to a point with a² ≤ 2τ²(1 - √(1 - (r'/τ)²)).
        """
        return None if self.reach is None else 1 / math.sqrt(1 - (self.inner / self.reach) ** 2)

    def distance(self, x: np.ndarray) -> np.ndarray:
        """(n,) from each point to the point of the manifold with its coordinates in the nearest chart."""
        chart = np.argmin(self.squared_distances(x), axis=1)
        offset = np.einsum("nij,ni->nj", self.frames[chart], x - self.centers[chart])
        gap = np.linalg.norm(x - self.lift(chart, offset), axis=1)
        return np.where(np.isnan(gap), np.inf, gap)

    def check(self, x: np.ndarray) -> None:
        """InputError, naming a point, if one is not on the manifold."""
        gap = self.distance(np.asarray(x, dtype=float))
        worst = int(np.argmax(gap))
        if gap[worst] > self.tolerance:
            raise InputError(
                f"point {worst} is {gap[worst]:.3g} away from {self.name}; {self.tolerance:.3g} is allowed. "
                "Pass points of the manifold."
            )


def make_atlas(
    name: str,
    net: np.ndarray,
    spacing: float,
    radius: float,
    frames_at: Callable[[np.ndarray], np.ndarray],
    lift_from: Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray, np.ndarray], np.ndarray]],
    reach: float | None,
    tolerance: float,
    chosen: np.ndarray | None = None,
) -> Atlas:
    """Chooses centers among the net, or takes those `chosen` by index, and proves that their balls cover.

    Args:
      net, spacing, radius, reach, tolerance: see `Atlas`.
      frames_at: indices into the net to frames (J, D, d).
      lift_from: (indices, frames) to the `lift` of an `Atlas`.

    Raises:
      InputError: if the radius is not positive, or the charts do not cover.
    """
    if not radius > 0:
        raise InputError(f"radius={radius} must be positive.")
    inner = INNER * radius
    chosen = farthest_points(net, COVER * inner) if chosen is None else np.asarray(chosen)
    frames = frames_at(chosen)
    atlas = Atlas(
        name=name,
        centers=net[chosen],
        frames=frames,
        radius=radius,
        lift=lift_from(chosen, frames),
        net=net,
        spacing=spacing,
        reach=reach,
        floor=1e-300,
        tolerance=tolerance,
    )
    floors = []
    for part in atlas.parts():
        weight = np.maximum(1 - atlas.squared_distances(part) / inner**2, 0)
        # None of the weights is negative, however far it may fall.
        floors.append(np.maximum(weight - spacing * atlas.slopes(part, spacing)[0], 0).sum(axis=1))
    lower = np.concatenate(floors)
    floor = float(lower.min())
    if floor <= 0:
        raise InputError(
            f"the charts of {name} do not cover it: near {np.round(net[np.argmin(lower)], 3)} no ball of radius "
            f"{inner:.3g} need hold a point, as points lie up to {spacing:.3g} from the net. Use more centers, a "
            "larger radius or a finer net."
        )
    return dataclasses.replace(atlas, floor=floor)


def farthest_points(points: np.ndarray, radius: float) -> np.ndarray:
    """Indices of points such that each of `points` is within `radius` of one: the farthest from all others, again."""
    chosen = [0]
    gap = np.linalg.norm(points - points[0], axis=1)
    while gap.max() > radius:
        chosen.append(int(np.argmax(gap)))
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def isometry(source: int, width: int | None, *, key: jax.Array | int | None) -> np.ndarray:
    """(width, source) orthonormal columns: the first axes without a key, else uniform at random.

    Args:
      source: columns.
      width: rows; as many if None.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: if the width is smaller than the source.
    """
    width = source if width is None else integer("width", width)
    if width < source:
        raise InputError(f"width={width} cannot hold a manifold that needs {source} coordinates. Pass a larger width.")
    if key is None:
        return np.eye(width, source)
    key = random_key("key", key)
    with jax.enable_x64(True):
        basis, triangle = jnp.linalg.qr(jax.random.normal(key, (width, source)))
        return np.asarray(basis * jnp.sign(jnp.diagonal(triangle)), dtype=float)
