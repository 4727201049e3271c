"""Where to begin: the best linear coordinates at every point of a lattice over the others (variable projection).

Relative residuals (Σ_k c_k φ_k(x_i; θ)) / L_i - 1 are linear in c, so the best c >= 0 at a given θ solves a small
non-negative least-squares problem, and the problems of all tables at all θ share their sums: two matrix products. The
lowest points of that surface, some distance apart, are the starts for any objective.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.laws.law import Curve, Law
from jaxscale.laws.polish import masked_solve

# Points of the lattice by the number of coordinates searched: a grid for one or two, then a low-discrepancy sequence.
_GRID = {1: 96, 2: 28}
_SEQUENCE = {3: 2048, 4: 4096}
_MOST = 8192
# Starts of one table keep this distance in the unit cube of shares, per coordinate.
_APART = 0.12


class Lattice(NamedTuple):
    """Points of the search and the curve's linear parts there."""

    share: np.ndarray  # (G, Q) where in its range every coordinate is that is not held
    theta: np.ndarray  # (G, Q) the coordinates themselves
    basis: np.ndarray  # (G, K, R) the curve's part that is multiplied by each linear coordinate


def lattice(law: Law, columns: np.ndarray, held: np.ndarray) -> Lattice:
    """The lattice of a law over columns (X, R) in the units of the fit.

    All its points have the coordinates `held` (P,) where these are not NaN.
    """
    ranges, held = list(law.nonlinear.values()), held[len(law.linear) :]
    free = np.flatnonzero(np.isnan(held))
    share = _shares(len(free))
    theta = np.tile(held, (len(share), 1))
    for place, q in enumerate(free):
        theta[:, q] = ranges[q].at(share[:, place])
    return Lattice(share, theta, basis(law, theta, columns))


def basis(law: Law, theta: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The linear parts (G, K, R) of the curve at points (G, Q) of its other coordinates."""
    return np.asarray(_basis(law.curve, theta, columns))


def _shares(dimensions: int) -> np.ndarray:
    """Points of the unit cube, (G, Q): cell centers, or beyond two dimensions the additive recurrence R_d.

    R_d is the multiples of (1/g, 1/g², …) modulo 1 for g^(Q+1) = g + 1 (Roberts 2018), of low discrepancy.
    """
    if not dimensions:
        return np.zeros((1, 0))
    if dimensions in _GRID:
        axis = (np.arange(_GRID[dimensions]) + 0.5) / _GRID[dimensions]
        return np.array(list(itertools.product(axis, repeat=dimensions)))
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1, dimensions + 1)
    return (0.5 + np.outer(np.arange(_SEQUENCE.get(dimensions, _MOST)), steps)) % 1.0


@functools.partial(jax.jit, static_argnames=("curve",))
def _basis(curve: Curve, theta_GxQ: jax.Array, columns_XxR: jax.Array) -> jax.Array:
    """The part of every linear coordinate, as the difference between its being 2 and 1 while the others are 1."""
    ones = jnp.ones(curve.linear, theta_GxQ.dtype)

    def at(theta: jax.Array) -> jax.Array:
        loss: Callable[[jax.Array], jax.Array] = lambda c: (
            curve(jnp.concatenate([c, theta]), columns_XxR) + jnp.zeros(columns_XxR.shape[1])
        )
        return jax.vmap(lambda e: loss(ones + e) - loss(ones))(jnp.eye(curve.linear, dtype=theta.dtype))

    return jax.vmap(at)(theta_GxQ)


class Projected(NamedTuple):
    """The best linear coordinates of B tables at G points of a lattice."""

    linear: jax.Array  # (B, G, K)
    excess: jax.Array  # (B, G) weighted sum of squared relative residuals


@jax.jit
def project(basis_GxKxR: jax.Array, loss_BxR: jax.Array, weight_BxR: jax.Array, held_K: jax.Array) -> Projected:
    """Non-negative least squares of every table at every point; weights are of the squared residuals of the loss.

    Linear coordinates that `held_K` gives a value stay there; NaN for those that are free.
    """
    G, K, R = basis_GxKxR.shape
    pairs = [(j, k) for j in range(K) for k in range(j, K)]
    products_PxGxR = jnp.stack([basis_GxKxR[:, j] * basis_GxKxR[:, k] for j, k in pairs])
    sums_BxPxG = (weight_BxR @ products_PxGxR.reshape(-1, R).T).reshape(-1, len(pairs), G)
    right_BxGxK = ((weight_BxR * loss_BxR) @ basis_GxKxR.reshape(-1, R).T).reshape(-1, G, K)
    constant_B = jnp.sum(weight_BxR * loss_BxR**2, axis=1)
    place = {pair: p for p, pair in enumerate(pairs)}
    gram_BxGxKxK = jnp.stack(
        [jnp.stack([sums_BxPxG[:, place[min(j, k), max(j, k)]] for k in range(K)], -1) for j in range(K)], -2
    )
    subsets = jnp.asarray(list(itertools.product([False, True], repeat=K))) & jnp.isnan(held_K)
    solve = jax.vmap(jax.vmap(_non_negative, (0, 0, None, None, None)), (0, 0, 0, None, None))
    return Projected(*solve(gram_BxGxKxK, right_BxGxK, constant_B, subsets, jnp.nan_to_num(held_K)))


def _non_negative(
    gram: jax.Array, right: jax.Array, constant: jax.Array, subsets: jax.Array, held: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The least sum of squares over all sets of free coordinates whose solution is non-negative; the others `held`."""

    def of(subset: jax.Array) -> tuple[jax.Array, jax.Array]:
        c = held + masked_solve(gram, right - gram @ held, subset)
        feasible = jnp.all(c >= 0) & jnp.all(jnp.isfinite(c))
        c = jnp.where(feasible, c, held)
        return c, jnp.where(feasible, constant - 2 * c @ right + c @ gram @ c, jnp.inf)

    c, excess = jax.vmap(of)(subsets)
    best = jnp.argmin(excess)
    return c[best], excess[best]


class Starts(NamedTuple):
    """The points chosen for every table, lowest first."""

    place: Any  # (B, S) in the lattice
    z: Any  # (B, S, P) coordinates there


@functools.partial(jax.jit, static_argnames=("count",))
def lowest(
    share_GxQ: jax.Array,
    theta_GxQ: jax.Array,
    projected: Projected,
    count: int,
    apart: float | jax.Array = 1.0,
) -> Starts:
    """For every table its `count` lowest points that are apart from each other.

    `apart` shortens the distance they keep. When every point is near one that was chosen, those near the fewest follow.
    """
    near: Callable[[jax.Array], jax.Array] = lambda place: (
        jnp.max(jnp.abs(share_GxQ - share_GxQ[place]), axis=1, initial=0.0) < apart * _APART
    )
    points = len(share_GxQ)

    def choose(linear_GxK: jax.Array, excess_G: jax.Array) -> Starts:
        def next_one(crowded: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            place = jnp.argmin(jnp.where(crowded == jnp.min(crowded), excess_G, jnp.inf))
            return (crowded + near(place)).at[place].add(points), place

        _, places = jax.lax.scan(next_one, jnp.zeros(points, int), length=count)
        return Starts(places, jnp.concatenate([linear_GxK[places], theta_GxQ[places]], axis=-1))

    return jax.vmap(choose)(projected.linear, projected.excess)
