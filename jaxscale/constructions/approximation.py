"""A compiled theorem: the network, the function it stands for, and the bound on the difference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import integer, numpy_seed
from jaxscale.constructions.atlases import Atlas
from jaxscale.constructions.executors import evaluate
from jaxscale.constructions.network import Network
from jaxscale.constructions.targets import Holder, Target
from jaxscale.errors import InputError

# No network has so many cells along a side: what is asked for is refused by its size.
LARGEST_GRID = 2**60


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Approximation:
    """A transformer that approximates `target`.

    Attributes:
      network: the transformer.
      target: the function, (n, D) points to (n,) values.
      dimension: d, of the cube or the manifold.
      grid: N, cells along each side of the cube or of each chart.
      holder: smoothness of the target; None if it was not given.
      bound: sup |network - target| at most, in real arithmetic, if the target is as smooth as `holder` says, which
        `certify` tries to refute; None if nothing can be proved.
      domain: "cube", or the name of the atlas.
      check: raises InputError for points off the domain; the network's own box if None.
      atlas: charts of a manifold, None on the cube.
    """

    network: Network
    target: Target = dataclasses.field(metadata={"static": True})
    dimension: int = dataclasses.field(metadata={"static": True})
    grid: int = dataclasses.field(metadata={"static": True})
    holder: Holder | None = dataclasses.field(metadata={"static": True})
    bound: float | None
    domain: str = dataclasses.field(metadata={"static": True})
    check: Callable[[np.ndarray], None] | None = dataclasses.field(default=None, metadata={"static": True})
    atlas: Any = None

    def __call__(self, x: np.ndarray, **options: Any) -> np.ndarray:
        """Values at points (n, D); options are those of `evaluate`. InputError for points off the domain."""
        x = self.network.check_points(x)
        if self.check is not None:
            self.check(x)
        return evaluate(self.network, x, **options)

    def formula(self, x: np.ndarray) -> np.ndarray:
        """What the network computes in exact arithmetic, by numpy in float64."""
        return self.network.program.evaluate(np.asarray(x, dtype=float))


def chosen_grid(grid: int | None, epsilon: float | None, bound: Callable[[int], float | None]) -> int:
    """N as given, or the least one for which `bound`, which falls with N, is at most `epsilon`.

    Raises:
      InputError: neither or both are given, a number is out of range, or nothing can be proved (`bound` gives None).
    """
    if (grid is None) == (epsilon is None):
        raise InputError(f"pass one of grid and epsilon; grid={grid}, epsilon={epsilon}.")
    if grid is not None:
        return integer("grid", grid, 1)
    if not (epsilon is not None and epsilon > 0 and math.isfinite(epsilon)):
        raise InputError(f"epsilon={epsilon} must be positive and finite.")

    def proved(N: int) -> bool:
        found = bound(N)
        if found is None:
            raise InputError(
                "epsilon needs holder=Holder(constant, exponent), from which the grid follows, and on a manifold an "
                "atlas whose reach is known. Or pass grid."
            )
        return found <= epsilon

    high = 1
    while not proved(high) and high < LARGEST_GRID:
        high *= 2
    low = high // 2
    while high - low > 1:
        between = (low + high) // 2
        low, high = (low, between) if proved(between) else (between, high)
    return high


def lattice(dim: int, N: int) -> np.ndarray:
    """{0..N}^dim as rows, the last coordinate fastest."""
    return np.stack(np.meshgrid(*[np.arange(N + 1)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def probe_points(
    made: Approximation, n: int, singular: np.ndarray | None = None, *, key: jax.Array | int
) -> dict[str, np.ndarray]:
    """Points to measure errors at, of each kind so many at most, on the cube or the manifold.

    Grid points, cell midpoints, random points, and around the points `singular` (n, D), where the function is known to
    be rough, points at distances of a sixth of a cell up to one cell along each coordinate.

    Args:
      made: the approximation.
      n: points of each kind at most.
      singular: (n, D), or None.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    rng = np.random.default_rng(numpy_seed("key", key))
    N, d, atlas = made.grid, made.dimension, made.atlas
    draw: Callable[[int], np.ndarray] = lambda count: (
        rng.choice(count, n, replace=False) if count > n else np.arange(count)
    )
    near = None
    if singular is not None:
        steps = (lattice(d, 12) - 6) / (6 * N)
        chosen = draw(len(singular) * len(steps))
        near = singular[chosen // len(steps)], steps[chosen % len(steps)]
    if atlas is None:
        sides = {"grid": (N + 1, 0.0), "midpoints": (N, 0.5)}
        digits = {
            kind: np.stack(np.unravel_index(draw(side**d), (side,) * d), axis=1) for kind, (side, _) in sides.items()
        }
        found = {kind: (digits[kind] + shift) / N for kind, (_, shift) in sides.items()}
        found["random"] = rng.uniform(size=(n, d))
        if near is not None:
            found["singular"] = np.clip(near[0] + near[1], 0, 1)
        return found
    found = {"random": atlas.net[rng.integers(len(atlas.net), size=n)]}
    for kind, side, shift in (("grid", N + 1, 0.0), ("midpoints", N, 0.5)):
        cells = lattice(d, side - 1) if side > 1 else np.zeros((1, d))
        chosen = draw(len(atlas.centers) * len(cells))
        chart, cell = chosen // len(cells), cells[chosen % len(cells)]
        found[kind] = _lifted(atlas, chart, atlas.radius * (2 * (cell + shift) / N - 1))
    if near is not None:
        chart = np.argmin(atlas.squared_distances(near[0]), axis=1)
        center = np.einsum("nDd,nD->nd", atlas.frames[chart], near[0] - atlas.centers[chart])
        found["singular"] = _lifted(atlas, chart, center + 2 * atlas.radius * near[1])
    return {kind: x if len(x) else found["random"][:1] for kind, x in found.items()}


def _lifted(atlas: Atlas, chart: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Points of the manifold with these coordinates; charts reach beyond the edge of one that has an edge."""
    lifted = atlas.lift(chart, offset)
    lifted = lifted[np.sum((lifted - atlas.centers[chart]) ** 2, axis=1) < atlas.inner**2]
    inside: np.ndarray = lifted[np.isclose(atlas.partition(lifted).sum(axis=1), 1)]
    return inside
