"""A compiled theorem: the network, the function it stands for, and the bound on the difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxscale.constructions.executors import evaluate
from jaxscale.constructions.network import Network
from jaxscale.constructions.targets import Holder, Target


@dataclasses.dataclass(frozen=True)
class Approximation:
    """A transformer that approximates `target`.

    Attributes:
      network: the transformer.
      target: the function, (n, D) points to (n,) values.
      dimension: d, of the cube or the manifold.
      grid: N, cells along each side of the cube or of each chart.
      holder: smoothness of the target; None if it was not given.
      bound: sup |network - target| at most, in real arithmetic; None if it cannot be proved.
      domain: "cube", or the name of the atlas.
      check: raises InputError for points off the domain; the network's own box if None.
      atlas: charts of a manifold, None on the cube.
    """

    network: Network
    target: Target
    dimension: int
    grid: int
    holder: Holder | None
    bound: float | None
    domain: str
    check: Callable[[np.ndarray], None] | None = None
    atlas: Any = None

    def __call__(self, x, **options) -> np.ndarray:
        """Values at points (n, D); options are those of `evaluate`. InputError for points off the domain."""
        x = self.network.check_points(x)
        if self.check is not None:
            self.check(x)
        return evaluate(self.network, x, **options)

    def formula(self, x) -> np.ndarray:
        """What the network computes in exact arithmetic, by numpy in float64."""
        return self.network.program.evaluate(np.asarray(x, dtype=float))


def lattice(dim: int, N: int) -> np.ndarray:
    """{0..N}^dim as rows, the last coordinate fastest."""
    return np.stack(np.meshgrid(*[np.arange(N + 1)] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def probe_points(made: Approximation, points: int, seed: int) -> dict[str, np.ndarray]:
    """Grid points, cell midpoints and random points, so many of each at most, on the cube or the manifold."""
    rng = np.random.default_rng(seed)
    N, d = made.grid, made.dimension
    draw = lambda count: rng.choice(count, points, replace=False) if count > points else np.arange(count)
    if made.atlas is None:
        sides = {"grid": (N + 1, 0.0), "midpoints": (N, 0.5)}
        digits = {kind: np.stack(np.unravel_index(draw(n**d), (n,) * d), axis=1) for kind, (n, _) in sides.items()}
        found = {kind: (digits[kind] + shift) / N for kind, (_, shift) in sides.items()}
        return found | {"random": rng.uniform(size=(points, d))}
    atlas = made.atlas
    charts = len(atlas.centers)
    found = {"random": atlas.net[rng.integers(len(atlas.net), size=points)]}
    for kind, n, shift in (("grid", N + 1, 0.0), ("midpoints", N, 0.5)):
        cells = lattice(d, n - 1) if n > 1 else np.zeros((1, d))
        chosen = draw(charts * len(cells))
        chart, cell = chosen // len(cells), cells[chosen % len(cells)]
        lifted = atlas.lift(chart, atlas.radius * (2 * (cell + shift) / N - 1))
        rise = np.sum((lifted - atlas.centers[chart]) ** 2, axis=1)
        lifted = lifted[rise < atlas.inner**2]
        # Charts reach beyond the edge of a manifold that has one.
        covered = lifted[np.isclose(atlas.partition(lifted).sum(axis=1), 1)]
        found[kind] = covered if len(covered) else found["random"][:1]
    return found
