"""The global least-squares fit of E + A x^-α, by variable projection: no starts, nothing to converge.

Relative residuals r_i = (E + A x_i^-α) / L_i - 1 are linear in E and A, which are therefore solved for in closed form
at every α. What remains is one curve over α: a grid finds its lowest valley, bisection of its derivative the bottom.

A *lane* is one weighted problem. The fit itself, every bootstrap resample, every fit without one run and every point of
the profile over E are lanes of the same program and differ only in what they hold.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

EXPONENT_RANGE = (0.01, 4.0)
# Neighbours on the grid differ by 4.8%, and so does the curvature over α: one valley per bracket.
_GRID = 128
# Each step halves a bracket of at most 10% of α: 45 steps end below the spacing of float64.
_BISECTIONS = 45
# One compiled program serves all tables: lanes pass in blocks of the first size, runs are padded to a multiple of the
# second. Compiling takes 3 s, a block 5 ms (one CPU core).
_LANES = 256
_RUNS = 16


class Lane(NamedTuple):
    """Weighted problems over R runs, stacked along a first axis or a single one."""

    loss: Any  # (B, R)
    weight: Any  # (B, R) of the squared relative residuals
    floor: Any  # (B, 2) least and greatest irreducible loss allowed


class Optimum(NamedTuple):
    """The minimum of every lane, (B,); `scale` belongs to the sizes as they were passed."""

    irreducible_loss: Any
    scale: Any
    exponent: Any
    sum_of_squares: Any


def minimize(lanes: Lane, log_size: np.ndarray) -> Optimum:
    """The optimum of every lane, in float64 whatever the global setting.

    Args:
      lanes: float64 arrays with a first axis of B problems.
      log_size: logarithm of the sizes, (R,), shared by all lanes; centre it for the best conditioning.

    Returns:
      An `Optimum` of float64 numpy arrays (B,), with E within the lane's `floor`, A >= 0 and α in `EXPONENT_RANGE`.
    """
    count, runs = lanes.loss.shape
    blocks, spare_runs = -(-count // _LANES), -runs % _RUNS
    # A padded run has weight 0 and a padded lane repeats the last one; neither touches another result.
    padded = Lane(
        np.pad(lanes.loss, ((0, 0), (0, spare_runs)), constant_values=1.0),
        np.pad(lanes.weight, ((0, 0), (0, spare_runs))),
        lanes.floor,
    )
    padded = Lane(*(np.pad(values, ((0, blocks * _LANES - count), (0, 0)), "edge") for values in padded))
    with jax.enable_x64(True):
        optima = [
            _minimize_block(Lane(*block), np.pad(log_size, (0, spare_runs)))
            for block in zip(*(np.split(values, blocks) for values in padded), strict=True)
        ]
    return jax.tree.map(lambda *values: np.concatenate(values)[:count], *optima)


@jax.jit
def _minimize_block(lanes: Lane, log_size) -> Optimum:
    return jax.vmap(_minimize_one, in_axes=(0, None))(lanes, log_size)


def _minimize_one(lane: Lane, log_size) -> Optimum:
    grid = jnp.geomspace(*EXPONENT_RANGE, _GRID)
    lowest = jnp.argmin(jax.vmap(lambda exponent: _project(exponent, lane, log_size)[0].sum_of_squares)(grid))
    bracket = grid[jnp.maximum(lowest - 1, 0)], grid[jnp.minimum(lowest + 1, _GRID - 1)]

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        rising = _project(middle, lane, log_size)[1] > 0
        return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, bracket)
    return _project((low + high) / 2, lane, log_size)[0]


def _project(exponent, lane: Lane, log_size) -> tuple[Optimum, jax.Array]:
    """Best E and A at a given α, and the sign of the derivative of the sum of squares over α.

    Let g(E) be the minimum over A >= 0. It is convex, being a partial minimum of a convex quadratic, so its minimum
    over an interval is its free minimum clipped to that interval. The free minimum is the regression line if that has
    A >= 0, else the weighted mean with A = 0. By the envelope theorem the derivative over α is the partial one.
    """
    x = jnp.exp(-exponent * log_size)
    weight = lane.weight / lane.loss**2
    mean_x = jnp.sum(weight * x) / jnp.sum(weight)
    mean_loss = jnp.sum(weight * lane.loss) / jnp.sum(weight)
    slope = jnp.sum(weight * (x - mean_x) * (lane.loss - mean_loss)) / jnp.sum(weight * (x - mean_x) ** 2)
    free = mean_loss - jnp.maximum(slope, 0) * mean_x
    irreducible_loss = jnp.clip(free, lane.floor[0], lane.floor[1])
    scale = jnp.maximum(jnp.sum(weight * x * (lane.loss - irreducible_loss)) / jnp.sum(weight * x**2), 0)
    residual = (irreducible_loss + scale * x) / lane.loss - 1
    derivative = -jnp.sum(lane.weight * residual * log_size * scale * x / lane.loss)
    return Optimum(irreducible_loss, scale, exponent, jnp.sum(lane.weight * residual**2)), derivative
