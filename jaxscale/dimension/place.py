"""Where in the data the dimension is what: by layer, by group of points, around each point.

by_layer(layers).dimension                        # (L, n, D) -> (L,)
by_group(x, position, clusters=document)          # one neighbor search, a dimension for each position
per_point(x).dimension                            # (n,), each with its standard error
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.estimators.likelihood import mle
from jaxscale.dimension.estimators.registry import Estimator, at_all_neighbors
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, graph, neighborhoods
from jaxscale.dimension.points import (
    Cloud,
    Metric,
    as_array,
    as_cloud,
    has_direction,
    is_cut,
    is_finite,
    is_traced,
    refuse_rows,
)
from jaxscale.dimension.standard_errors import neighbor_products, number_of_labels
from jaxscale.errors import InputError

# From neighbor to neighbor so often that few neighborhoods at the two ends meet.
STEPS = 6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Places:
    """A dimension for each of P places: groups of points, or the points themselves.

    Attributes:
      dimension: (P,); nan where there is nothing to read.
      standard_error: (P,); it measures spread, not bias.
      points: (P,) int32, the points whose local dimensions were pooled.
    """

    dimension: jax.Array
    standard_error: jax.Array
    points: jax.Array


def by_layer(
    layers: jax.typing.ArrayLike | Mapping[str, jax.typing.ArrayLike],
    k: int = 20,
    estimator: str | Estimator = "mle",
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate | dict[str, Estimate]:
    """The dimension of each layer's activations.

    Args:
      layers: (L, n, D), measured one after the other in one program, at the memory of one; or a mapping from names to
        (n, D) clouds, whose shapes may differ.
      k: neighbors per point; static.
      estimator: a name in `ESTIMATORS`, or a function from `Neighborhoods` to `Estimate`; static.
      metric, nonfinite, duplicates: see `neighborhoods`. Static.

    Returns:
      `Estimate` with a leading axis L on every field; nan where a layer has too few distinct points, as the embedding
      of a small vocabulary may. For a mapping, an `Estimate` by name.

    Raises:
      InputError: if `layers` has another shape or too few points, or holds nan or infinity under "raise". For a mapping
        as `neighborhoods` does, naming the layer, and so also where too few distinct points are left.
    """
    k = integer("k", k, 1)
    _, read = at_all_neighbors(estimator)
    measure = lambda points: read(neighborhoods(points, k, metric, nonfinite, duplicates))
    if isinstance(layers, Mapping):
        return {name: _named(name, measure, points) for name, points in layers.items()}
    stack = as_array(layers, "layers")
    if stack.ndim != 3:
        raise InputError(f"layers must have shape (L, n, D), or be a mapping of names; their shape is {stack.shape}.")
    read_from: jax.Array | Cloud
    if isinstance(stack, np.ndarray) and is_cut(stack.dtype):
        # Centered one by one on the host, as each may stand elsewhere.
        clouds = [as_cloud(points, metric, f"layers[{layer}]") for layer, points in enumerate(stack)]
        together = jax.tree.map(lambda *parts: jnp.stack(parts), *clouds)
        read_from, seen = together, together.points
    else:
        read_from = seen = jnp.asarray(stack)
    if nonfinite == "raise" and not is_traced(seen):
        for layer, points in enumerate(seen):
            name = f"layers[{layer}]"
            refuse_rows(~is_finite(points), name, "with nan or infinity", "Or pass nonfinite='drop'.")
            if metric == "cosine":
                what = "of zeros, which have no direction"
                refuse_rows(~has_direction(points), name, what, "Or pass nonfinite='drop'.")
    estimates: Estimate = _by_layer(read_from, k, read, metric, nonfinite, duplicates)
    return estimates


def _named(name: str, measure: Callable[[jax.typing.ArrayLike], Estimate], points: jax.typing.ArrayLike) -> Estimate:
    try:
        return measure(points)
    except InputError as error:
        raise InputError(f"layer {name!r}: {error}") from None


@functools.partial(jax.jit, static_argnames=("k", "read", "metric", "nonfinite", "duplicates"))
def _by_layer(
    layers: jax.Array | Cloud, k: int, read: Estimator, metric: Metric, nonfinite: Nonfinite, duplicates: Duplicates
) -> Estimate:
    estimates: Estimate = lax.map(lambda points: read(neighborhoods(points, k, metric, nonfinite, duplicates)), layers)
    return estimates


def by_group(
    x: jax.typing.ArrayLike | Neighborhoods,
    groups: jax.typing.ArrayLike,
    num_groups: int | None = None,
    clusters: jax.typing.ArrayLike | None = None,
    num_clusters: int | None = None,
    k: int = 20,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Places:
    """The dimension around the points of each group: the positions of tokens in a sequence, say, or word classes.

    Neighbors are searched once among all points, so that every group is read at the scale of the whole cloud and not at
    that of its own size. The local maximum likelihood dimensions of a group are pooled harmonically; with all points in
    one group the dimension is that of `mle`. A collapsed duplicate counts in the group of its first copy alone.

    The standard error of a group is the larger of two: that of the neighbor graph (`graph_variance`), over the edges
    within the group, and, given `clusters`, the cluster-robust one of `clustered_standard_error`.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least k.
      groups: (n,) integers in [0, num_groups).
      num_groups: G, static; needed under `jit`, otherwise read from `groups`.
      clusters: (n,) integers in [0, num_clusters), the documents that tokens are from; None for independent points.
      num_clusters: static; needed under `jit`, otherwise read from `clusters`.
      k: neighbors per point; static; at least 3.
      metric, nonfinite, duplicates: see `neighborhoods`. Static.

    Returns:
      `Places` of G groups; nan for groups without a point, and a standard error of nan for those with points of a
      single cluster.

    Raises:
      InputError: if labels do not match the points or their number, or as `mle` does.
    """
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    group_of = jnp.asarray(groups)
    num_groups = number_of_labels("groups", group_of, num_groups, hoods.used.shape)
    cluster_of = None if clusters is None else jnp.asarray(clusters)
    if cluster_of is not None:
        num_clusters = number_of_labels("clusters", cluster_of, num_clusters, hoods.used.shape)
    places: Places = _by_group(hoods, mle(hoods, k), group_of, cluster_of, num_groups, num_clusters)
    return places


@functools.partial(jax.jit, static_argnames=("num_groups", "num_clusters"))
def _by_group(
    hoods: Neighborhoods,
    estimate: Estimate,
    group_of: jax.Array,
    cluster_of: jax.Array | None,
    num_groups: int,
    num_clusters: int | None,
) -> Places:
    used_N, inverse_N, one = _inverse_local(estimate)
    total: Callable[[jax.Array], jax.Array] = lambda values_N: jax.ops.segment_sum(
        jnp.where(used_N, values_N, 0), group_of, num_groups
    )
    count_G = total(jnp.ones_like(inverse_N))
    safe_count_G = jnp.maximum(count_G, 1)
    mean_G = total(inverse_N) / safe_count_G
    dimension_G = jnp.where(count_G > 0, one / jnp.where(count_G > 0, mean_G, 1), jnp.nan)
    # The delta method on one / mean: each point's share in the error of its group.
    influence_N = jnp.where(used_N, dimension_G[group_of] * (1 - inverse_N / mean_G[group_of]), 0)
    graph_G = total(influence_N**2 + neighbor_products(influence_N, graph(hoods, "by_group"), group_of))
    # No less than if neighborhoods were independent, as in an `Estimate`.
    squares_G = jnp.maximum(graph_G, dimension_G**2 * count_G / (hoods.k - 1))
    if cluster_of is not None:
        squares_G = jnp.maximum(squares_G, _clustered(influence_N, used_N, group_of, cluster_of, num_groups))
    return Places(dimension_G, jnp.sqrt(squares_G) / safe_count_G, count_G.astype(jnp.int32))


def _inverse_local(estimate: Estimate) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Which points have a local dimension, its inverse, and what to divide a mean of inverses into.

    The mean of the inverses is that of the S_i up to a factor that depends on the normalization; dividing into the
    product of the whole cloud's dimension and mean inverse removes it.
    """
    local_N = cast(jax.Array, estimate.local)  # `mle` has one
    used_N = ~jnp.isnan(local_N)
    inverse_N = jnp.where(used_N, 1 / jnp.where(used_N, local_N, 1), 0)
    return used_N, inverse_N, estimate.dimension * jnp.sum(inverse_N) / jnp.sum(used_N)


def _clustered(
    influence_N: jax.Array, used_N: jax.Array, group_of: jax.Array, cluster_of: jax.Array, num_groups: int
) -> jax.Array:
    """C/(C-1) Σ_c (Σ_{i in c} ψ_i)² within each group, over the C clusters it has points of; nan for a single one.

    Points are sorted by group and cluster, so that memory grows with the points and not with groups times clusters.
    """
    n = len(group_of)
    order_N = jnp.lexsort((cluster_of, group_of))
    group_N, cluster_N = group_of[order_N], cluster_of[order_N]
    begins_N = (group_N != jnp.roll(group_N, 1)) | (cluster_N != jnp.roll(cluster_N, 1))
    run_N = jnp.cumsum(begins_N.at[0].set(True)) - 1
    sum_R = jax.ops.segment_sum(influence_N[order_N], run_N, n)
    present_R = jax.ops.segment_max(used_N[order_N].astype(jnp.int32), run_N, n) > 0
    group_R = jax.ops.segment_max(group_N, run_N, n)
    of_group: Callable[[jax.Array], jax.Array] = lambda values_R: jax.ops.segment_sum(
        jnp.where(present_R, values_R, 0), jnp.where(present_R, group_R, 0), num_groups
    )
    clusters_G = of_group(jnp.ones_like(sum_R))
    return jnp.where(clusters_G > 1, clusters_G / jnp.maximum(clusters_G - 1, 1), jnp.nan) * of_group(sum_R**2)


def per_point(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
    smoothing: int | None = None,
) -> Places:
    """The dimension around each point, averaged over the point and its `k` neighbors.

    One neighborhood of 20 knows its dimension to 23%. The harmonic mean over those of a point and of its neighbors is
    the likeliest dimension common to all of them (MacKay & Ghahramani 2005), and steadier; by how much depends on their
    overlap, which differs with the dimension. The standard error is therefore measured: from the differences between
    points a few neighborhoods apart, near enough for the same dimension but with no neighbor in common. It is one share
    of the dimension for all points, from the median difference, so that borders between dimensions do not count.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least k.
      k: neighbors per point; static; at least 3.
      metric, nonfinite, duplicates: see `neighborhoods`. Static.
      smoothing: how many of the nearest neighbors are averaged over beside the point; 0 for none of them; all `k` if
        None. Static.

    Returns:
      `Places` of n points; nan for points dropped or collapsed.

    Raises:
      InputError: as `mle` does, or if `smoothing` is negative or more than `k`.
    """
    smoothing = k if smoothing is None else integer("smoothing", smoothing, 0)
    if smoothing > k:
        raise InputError(f"smoothing={smoothing} averages over more than the k={k} neighbors there are. Raise k.")
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    places: Places = _per_point(hoods, mle(hoods, k), smoothing)
    return places


@functools.partial(jax.jit, static_argnames="smoothing")
def _per_point(hoods: Neighborhoods, estimate: Estimate, smoothing: int) -> Places:
    used_N, inverse_N, one = _inverse_local(estimate)
    indices_Nxk = graph(hoods, "per_point")

    def add_column(sums: tuple[jax.Array, jax.Array], neighbor: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        count, total = sums
        known = (neighbor >= 0) & used_N[neighbor]
        return (count + known, total + jnp.where(known, inverse_N[neighbor], 0)), None

    start = used_N.astype(jnp.int32), inverse_N
    (count_N, total_N), _ = lax.scan(add_column, start, indices_Nxk[:, :smoothing].T)
    known_N = used_N & (total_N > 0)
    dimension_N = jnp.where(known_N, one * count_N / jnp.where(known_N, total_N, 1), jnp.nan)
    relative_error = _spread_of_disjoint(jnp.log(dimension_N), indices_Nxk)
    # Where all neighborhoods meet, averaging may have gained nothing.
    relative_error = jnp.where(jnp.isnan(relative_error), jnp.sqrt(1 / (hoods.k - 1)), relative_error)
    return Places(dimension_N, dimension_N * relative_error, jnp.where(used_N, count_N, 0))


def _spread_of_disjoint(values_N: jax.Array, indices_Nxk: jax.Array) -> jax.Array:
    """Standard deviation of `values`, from their differences between points near each other with no neighbor in common.

    Such points are found by a walk: to the farthest neighbor, to the farthest but one of that, and so on. Nan if there
    are none.
    """
    end_N = jnp.arange(len(values_N))
    for step in range(1, min(STEPS, indices_Nxk.shape[1]) + 1):
        end_N = indices_Nxk[end_N, -step]
    in_both = lambda neighbor: jnp.any(indices_Nxk[end_N] == neighbor[:, None], axis=1)
    disjoint_N = ~jnp.any(lax.map(in_both, indices_Nxk.T), axis=0)
    median = jnp.nanmedian(jnp.where(disjoint_N, jnp.abs(values_N - values_N[end_N]), jnp.nan))
    # Half of all normal deviates lie within 0.6745 standard deviations, √2 times as many for a difference.
    return median / (ndtri(0.75) * math.sqrt(2))
