"""Intrinsic dimension from how the length of the minimum spanning tree grows with the number of points.

est = ph0(x)                                      # x: (n, D)
est.dimension, est.standard_error
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import integer, random_key
from jaxscale.dimension.estimate import Estimate, known_error
from jaxscale.dimension.estimators.spanning_tree import edge_lengths, edges
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, distinct_points, vectors
from jaxscale.dimension.points import Metric, as_cloud, is_traced, replicated, some_rows
from jaxscale.errors import InputError

# The standard error is the scatter between this many disjoint parts of the cloud, over this many partitions.
PARTS = 4
PARTITIONS = 6
# A part of a part of fewer than four points has no tree to speak of.
LEAST_POINTS_OF_A_PART = 4


def ph0(
    x: jax.typing.ArrayLike | Neighborhoods,
    alpha: float = 1.0,
    halvings: int = 3,
    resamples: int = 2,
    max_points: int = 10_000,
    key: jax.Array | int | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension from 0-dimensional persistent homology, that is from minimum spanning trees.

    The lifetimes of the connected components of growing balls around m points are the edges of their minimum spanning
    tree. The sum E(m) = Σ |edge|^α grows as m^((d-α)/d), for 0 < α < d (Steele 1988; for measures on fractals,
    Schweinhart 2021). The dimension is α / (1 - s) with s the slope of log E(m) on log m, by least squares over the
    sizes m = N, N/2, N/4, … after `halvings` (Adams et al. 2020; Birdal et al. 2021 and Tulchinskii et al. 2023 use
    α = 1). E(N/g) is a mean over the g disjoint parts of `resamples` random partitions, so that all points count at
    every size: at equal work, that leaves less to chance than subsets drawn one by one.

    Trees are exact; see `spanning_tree` for how, and for its rounding. Work is in proportion to the square of the
    points: of more than `max_points` a random subset of as many is read.

    The standard error is the scatter of the same estimate between four disjoint random parts of the cloud, divided by
    √4, as errors shrink with the root of the number of points (Politis, Romano & Wolf 1999); its square is averaged
    over six partitions. It is known to about 15%, and a quarter too large at d = 5, N = 600, as parts are noisier than
    that root says. It measures spread, not bias.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      alpha: α, power of the lengths, positive; should be less than d. Static.
      halvings: the smallest subsets hold N / 2^halvings points; static.
      resamples: random partitions; static.
      max_points: points read at most; static. Of more, those that repeat others up to rounding are looked for among the
        points read alone.
      key: a JAX random key, or an int for `jax.random.key`. Of the subsets; 0 if None.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the mean edge of the tree of all points read, which are its `points_used`. It has no
        local dimensions, influences or analytic standard error. Infinite where trees grow as fast as their points.
        Differentiable in `x`: a small move of the points changes the lengths of the edges, and not which they are.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or too few for parts of parts to hold
        four. Traced values are not checked: rows that are not finite under "raise" yield nan.

    References:
      Adams et al., A fractal dimension for measures via persistent homology, Topological Data Analysis, 2020.
      Birdal, Lou, Guibas & Şimşekli, Intrinsic dimension, persistent homology and generalization in neural networks,
        NeurIPS 2021.
      Politis, Romano & Wolf, Subsampling, 1999.
      Schweinhart, Persistent homology and the upper box dimension, Discrete & Computational Geometry 65, 2021.
      Steele, Growth rates of Euclidean minimal spanning trees with power weighted edges, Annals of Probability 16,
        1988.
      Tulchinskii et al., Intrinsic dimension estimation for robust detection of AI-generated texts, NeurIPS 2023.
    """
    if alpha <= 0:
        raise InputError(f"alpha must be positive; it is {alpha}.")
    alpha, halvings, resamples = float(alpha), integer("halvings", halvings, 1), integer("resamples", resamples, 1)
    max_points = integer("max_points", max_points)
    least = LEAST_POINTS_OF_A_PART * PARTS * 2**halvings
    if max_points < least:
        raise InputError(f"halvings={halvings} needs max_points of at least {least}; it is {max_points}.")
    key = random_key("key", 0 if key is None else key)
    if isinstance(x, Neighborhoods):
        hoods = x.nearest(0)
    else:
        cloud = as_cloud(x, metric)
        few = cloud.points.shape[0] <= max_points
        hoods = distinct_points(cloud, metric, nonfinite, duplicates, up_to_rounding=few)
        hoods = hoods if few or duplicates == "keep" else _distinct_subset(hoods, key, max_points)
    used = hoods.used.shape[0] if is_traced(hoods.used) else int(jnp.sum(hoods.used))
    shape = vectors(hoods, "ph0").shape
    if used < least:
        raise InputError(
            f"halvings={halvings} needs at least {least} distinct points; x has shape {shape}, "
            f"{used} of its rows count. Pass fewer halvings or more points."
        )
    estimate: Estimate = _ph0(hoods, key, alpha, halvings, resamples, max_points)
    return estimate


def _distinct_subset(hoods: Neighborhoods, key: jax.Array, max_points: int) -> Neighborhoods:
    """A random subset of points of which no two are exact copies, without those that repeat others up to rounding.

    To look for these among all points would take all pairs of them.
    """
    rows = _random_order(hoods.used, jax.random.fold_in(key, 1))[:max_points]
    points_NxD = jnp.where(hoods.used[rows][:, None], some_rows(vectors(hoods, "ph0"), rows), jnp.nan)
    subset = distinct_points(points_NxD, hoods.metric, nonfinite="drop")
    return dataclasses.replace(
        subset,
        duplicates_collapsed=hoods.duplicates_collapsed + subset.duplicates_collapsed,
        nonfinite_dropped=hoods.nonfinite_dropped,
        sound=hoods.sound,
    )


@functools.partial(jax.jit, static_argnames=("alpha", "halvings", "resamples", "max_points"))
def _ph0(
    hoods: Neighborhoods, key: jax.Array, alpha: float, halvings: int, resamples: int, max_points: int
) -> Estimate:
    subset_key, order_key, parts_key = jax.random.split(key, 3)
    rows = _random_order(hoods.used, subset_key)[:max_points]
    points_NxD, used_N = replicated(vectors(hoods, "ph0"))[rows], hoods.used[rows]
    read = functools.partial(
        _read, alpha=alpha, halvings=halvings, resamples=resamples, angles=hoods.metric == "cosine"
    )
    dimension, mean_edge = read(points_NxD, used_N, order_key)

    def scatter(key: jax.Array) -> jax.Array:
        order_key, read_key = jax.random.split(key)
        # Every fourth point in random order: unused points, which come last, are shared out evenly.
        order = _random_order(used_N, order_key)[: len(rows) // PARTS * PARTS].reshape(-1, PARTS).T
        dimensions, _ = lax.map(lambda part: read(points_NxD[part], used_N[part], read_key), order)
        return jnp.var(dimensions, ddof=1) / jnp.mean(dimensions) ** 2

    relative = jnp.mean(lax.map(scatter, jax.random.split(parts_key, PARTITIONS)))
    dimension = jnp.where(hoods.sound, dimension, jnp.nan)
    return Estimate(
        dimension=dimension,
        standard_error=dimension * known_error(relative / PARTS),
        analytic_standard_error=jnp.full_like(dimension, jnp.nan),
        local=None,
        influence=None,
        scale=mean_edge,
        points_used=jnp.sum(used_N, dtype=jnp.int32),
        duplicates_collapsed=hoods.duplicates_collapsed,
        zero_distances=hoods.zero_distances,
        nonfinite_dropped=hoods.nonfinite_dropped,
        rounding_collapsed=hoods.rounding_collapsed,
        estimator="ph0",
    )


def _read(
    points_NxD: jax.Array, used_N: jax.Array, key: jax.Array, alpha: float, halvings: int, resamples: int, angles: bool
) -> tuple[jax.Array, jax.Array]:
    """The dimension, and the mean edge of the tree of all points."""
    count = jnp.sum(used_N)
    # The whole once, and all parts of all smaller sizes in each order, as rows of (order, level, part).
    parts = [(r, level, p) for r in range(resamples) for level in range(1, halvings + 1) for p in range(2**level)]
    order_T, level_T, part_T = np.array([(0, 0, 0), *parts]).T
    orders_RxN = jax.vmap(functools.partial(_random_order, used_N))(jax.random.split(key, resamples))

    def of_part(task: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        order, parts, part = task
        size = count // parts
        rows_N = jnp.roll(orders_RxN[order], -part * size)
        # Lengths of the points as they are, so that the gradient keeps no copy of them for each tree.
        ends_Ex2 = rows_N[edges(lax.stop_gradient(points_NxD)[rows_N], size)]
        edges_N = edge_lengths(points_NxD, ends_Ex2)
        # Directions, as they are in neighborhoods under "cosine", are chords apart; angles grow with them.
        edges_N = 2 * jnp.arcsin(jnp.minimum(edges_N / 2, 1)) if angles else edges_N
        # An edge of length zero has no derivative to pass on.
        powers_N = jnp.where(edges_N > 0, jnp.where(edges_N > 0, edges_N, 1) ** alpha, 0)
        return jnp.sum(powers_N), jnp.sum(edges_N) / (size - 1)

    total_T, mean_edge_T = lax.map(of_part, (jnp.asarray(order_T), jnp.asarray(2**level_T), jnp.asarray(part_T)))
    total_Q = jax.ops.segment_sum(total_T, level_T, halvings + 1) / np.bincount(level_T)
    log_size_Q = jnp.log((count // 2 ** jnp.arange(halvings + 1)).astype(total_Q.dtype))
    centered_Q = log_size_Q - jnp.mean(log_size_Q)
    # The slope of log(E(m) / m), which is s - 1 without taking one from a number near one.
    slope = jnp.vdot(centered_Q, jnp.log(total_Q) - log_size_Q) / jnp.sum(centered_Q**2)
    falls = ~(slope >= 0)
    return jnp.where(falls, -alpha / jnp.where(falls, slope, -1), jnp.inf), mean_edge_T[0]


def _random_order(used_N: jax.Array, key: jax.Array) -> jax.Array:
    """The points used in random order, then the others."""
    return jnp.argsort(jnp.where(used_N, jax.random.uniform(key, used_N.shape), 2))
