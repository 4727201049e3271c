"""Intrinsic dimension from how the length of the nearest-neighbor graph grows with the number of points.

est = knn_graph(x, k=5)                           # x: (n, D)
est.dimension, est.standard_error, est.local      # scalar, scalar, (n,)
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, graph, neighborhoods
from jaxscale.dimension.points import Metric
from jaxscale.errors import InputError

# Sizes of subsets between the smallest and the whole cloud, at equal ratios.
SIZES = 8
# The chance that fewer than k of the neighbors looked up are in the smallest subset.
SHORTAGE = 1e-4


def knn_graph(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 5,
    gamma: float = 1.0,
    smallest: float = 0.5,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension from the length of k-nearest-neighbor graphs of subsets (Costa & Hero 2004).

    The graph that joins each of m points to its k nearest has length L(m) = Σ |edge|^γ, which grows as m^((d-γ)/d). The
    dimension γ / (1 - a) comes from the slope a of log L̄(m) on log m by least squares, over eight sizes m from
    `smallest` N to N at equal ratios, with L̄(m) the mean length over random subsets of m points.

    Costa & Hero average over some subsets drawn at random. Here L̄(m) is the mean over all of them, without chance: of
    the points that share a subset with point i, its j-th nearest in the whole cloud is among the k nearest with
    probability w_j(m), that it is drawn and fewer than k nearer ones are, so L̄(m) = m/N Σ_i Σ_j w_j(m) T_ij^γ. The sum
    runs over as many neighbors as hold the k nearest in the smallest subset but for a chance of 1e-4:
    `neighbors_needed(k, smallest)`, 28 by default.

    The standard error is that of `from_influence`: off halves of the cloud where it has eight points to each neighbor
    looked up, and otherwise from influences of the Σ_j w_j(m) T_ij^γ over the neighbor graph.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least `neighbors_needed(k, smallest)`; integers and half
        precision are taken as float32. May be sharded.
      k: neighbors each point is joined to; static.
      gamma: γ, power of the lengths, positive; static.
      smallest: the smallest subset, as a share of the points, in (0, 1); static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the mean length of an edge over subsets of all sizes. `local` is the dimension from the
        edges of one point alone. Infinite where lengths do not shrink as points are added.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or too few when distinct. Traced
        values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Costa & Hero, Geodesic entropic graphs for dimension and entropy estimation in manifold learning, IEEE
        Transactions on Signal Processing 52, 2004; for k-NN graphs: Costa, Girotra & Hero, Estimating local intrinsic
        dimension with k-nearest neighbor graphs, IEEE Workshop on Statistical Signal Processing, 2005.
    """
    if gamma <= 0:
        raise InputError(f"gamma must be positive; it is {gamma}.")
    k, gamma, smallest = integer("k", k, 1), float(gamma), float(smallest)
    depth = neighbors_needed(k, smallest)
    hoods = neighborhoods(x, depth, metric, nonfinite, duplicates)
    graph(hoods, "knn_graph")
    return refuse_if_none_used(_knn_graph(hoods, k, gamma, smallest), k=depth)


def neighbors_needed(k: int, smallest: float) -> int:
    """Neighbors to look up for `knn_graph`: fewer than `k` of them are in a share `smallest` of the points one time in
    ten thousand.

    Raises:
      InputError: if an argument cannot be used.
    """
    k = integer("k", k, 1)
    if not 0 < smallest < 1:
        raise InputError(f"smallest must lie in (0, 1); it is {smallest}.")
    depth = k
    while sum(math.comb(depth, c) * smallest**c * (1 - smallest) ** (depth - c) for c in range(k)) > SHORTAGE:
        depth += 1
    return depth


@functools.partial(jax.jit, static_argnames=("k", "gamma", "smallest"))
def _knn_graph(hoods: Neighborhoods, k: int, gamma: float, smallest: float) -> Estimate:
    lengths_NxQ, slope_Q, used_N = _edge_lengths(hoods, k, gamma, smallest)
    mean_Q = _mean(lengths_NxQ, used_N)
    dimension = _dimension(jnp.vdot(slope_Q, jnp.log(mean_Q)), gamma)
    # d = -γ / b, so ∂d/∂b = d² / γ, where b is linear in the logarithms of the means.
    influence_N = jnp.where(used_N, dimension**2 / gamma * ((lengths_NxQ / mean_Q - 1) @ slope_Q), 0)
    positive_NxQ = jnp.where(used_N[:, None], lengths_NxQ, 1)
    return from_influence(
        "knn_graph",
        hoods,
        dimension,
        influence_N,
        used_N,
        scale=jnp.mean(lengths_NxQ, axis=1) / k if gamma == 1 else jnp.mean((lengths_NxQ / k) ** (1 / gamma), axis=1),
        local=jnp.where(used_N, _dimension(jnp.log(positive_NxQ) @ slope_Q, gamma), jnp.nan),
        read=lambda part: _read(part, k, gamma, smallest),
    )


def _read(hoods: Neighborhoods, k: int, gamma: float, smallest: float) -> jax.Array:
    lengths_NxQ, slope_Q, used_N = _edge_lengths(hoods, k, gamma, smallest)
    return _dimension(jnp.vdot(slope_Q, jnp.log(_mean(lengths_NxQ, used_N))), gamma)


def _dimension(slope: jax.Array, gamma: float) -> jax.Array:
    """-γ / slope of the mean length of a point's edges, which is m^(-γ/d); infinite where it does not fall."""
    falls = ~(slope >= 0)
    return jnp.where(falls, -gamma / jnp.where(falls, slope, -1), jnp.inf)


def _mean(lengths_NxQ: jax.Array, used_N: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(used_N[:, None], lengths_NxQ, 0), axis=0) / jnp.sum(used_N)


def _edge_lengths(
    hoods: Neighborhoods, k: int, gamma: float, smallest: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean length (n, Q) of the edges of each point over the subsets of Q sizes it is in, the coefficients (Q,) of a
    slope on the logarithm of size, and which points (n,) are used."""
    used_N = hoods.used & (hoods.distances[:, k - 1] > 0) & (hoods.distances[:, -1] < jnp.inf)
    log_share_Q = np.linspace(math.log(smallest), 0, SIZES)
    centered_Q = log_share_Q - log_share_Q.mean()
    count = jnp.sum(hoods.used).astype(hoods.distances.dtype)
    share_Q = jnp.asarray(np.exp(log_share_Q), count.dtype)
    weight_KxQ = jax.vmap(lambda share: chance_among_nearest(share * count, count, k, hoods.k), out_axes=1)(share_Q)
    powers_NxK = jnp.where(used_N[:, None], hoods.distances, 1) ** gamma
    lengths_NxQ = jnp.matmul(powers_NxK, weight_KxQ, precision=lax.Precision.HIGHEST)
    lengths_NxQ = jnp.where(hoods.sound, lengths_NxQ, jnp.nan)
    return lengths_NxQ, jnp.asarray(centered_Q / np.sum(centered_Q**2), count.dtype), used_N


def chance_among_nearest(size: jax.Array, count: jax.Array, k: int, depth: int) -> jax.Array:
    """The chance (depth,) that the j-th nearest of a point is one of its k nearest within a random subset.

    Given that the point is in the subset of `size` out of `count`, the others are drawn without replacement: if c of
    the j-1 nearer are in it, the j-th is with chance (size-1-c) / (count-j). What is left beyond the last, as the k
    nearest may lie farther, is added to it, so that the chances sum to k.
    """
    drawn_k = jnp.arange(k, dtype=count.dtype)

    def add(chance_k: jax.Array, j: jax.Array) -> tuple[jax.Array, jax.Array]:
        draw_k = jnp.clip((size - 1 - drawn_k) / jnp.maximum(count - j, 1), 0, 1)
        moves_k = chance_k * draw_k
        return chance_k - moves_k + jnp.roll(moves_k, 1).at[0].set(0), jnp.sum(moves_k)

    start_k = jnp.zeros(k, count.dtype).at[0].set(1)
    _, chances = lax.scan(add, start_k, jnp.arange(1, depth + 1, dtype=count.dtype))
    return chances.at[-1].add(k - jnp.sum(chances))
