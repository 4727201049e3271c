"""The dimension by layer, by group and around each point is that of the part of the data it speaks of."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.errors import InputError

N, K = 400, 10
# Fewer than 8 k points: the error is that of the neighbor graph, quick to compile.
FEW = 75
by_group = functools.partial(dimension.by_group, k=K)


def rng(seed=0):
    return np.random.default_rng(seed)


def torus(d, n=N, seed=0):
    """The flat torus of dimension d, without edges, in R⁸."""
    angles = rng(seed).uniform(size=(n, d)) * 2 * np.pi
    x = np.zeros((n, 8), np.float32)
    x[:, :d], x[:, 4 : 4 + d] = np.cos(angles), np.sin(angles)
    return x


def two_halves(n=N):
    """Half of the points of dimension one, half of dimension three, far apart."""
    x = np.concatenate([torus(1, n // 2), torus(3, n // 2, seed=1)])
    x[n // 2 :, 3] += 50
    return x, (np.arange(n) >= n // 2).astype(np.int32)


@pytest.mark.thorough
def test_layers_are_what_each_is_alone():
    layers = np.stack([torus(1, FEW), torus(3, FEW)])
    estimates = dimension.by_layer(layers, k=K)
    alone = [dimension.mle(layer, k=K) for layer in layers]
    # Sums run in another order inside the loop over layers; influences are differences that cancel.
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    chex.assert_trees_all_close(estimates, stacked, rtol=1e-4, atol=1e-3)
    named = dimension.by_layer({"embedding": layers[0], "block": layers[1]}, k=K)
    assert list(named) == ["embedding", "block"]
    np.testing.assert_allclose(named["block"].dimension, alone[1].dimension, rtol=1e-6)


@pytest.mark.thorough
def test_a_layer_of_few_distinct_points_is_nan_in_a_stack_and_named_in_a_mapping():
    few = np.tile(torus(1)[:5], (FEW // 5, 1))
    estimates = dimension.by_layer(np.stack([few, torus(1, FEW)]), k=K)
    assert np.isnan(estimates.dimension[0]) and np.isfinite(estimates.dimension[1])
    with pytest.raises(InputError, match=r"layer 'few': k=10 needs more than 10 distinct points"):
        dimension.by_layer({"few": few}, k=K)


@pytest.mark.thorough
def test_groups_read_their_own_dimension():
    x, half = two_halves()
    places = by_group(x, half)
    assert tuple(places.points) == (N // 2, N // 2)
    # As if measured apart, for no neighborhood reaches across.
    for group, d in enumerate((1, 3)):
        alone = dimension.mle(np.where(half[:, None] == group, x, np.nan), k=K, nonfinite="drop")
        np.testing.assert_allclose(places.dimension[group], alone.dimension, rtol=1e-3)
        assert abs(places.dimension[group] - d) < 4 * places.standard_error[group]


@pytest.mark.thorough
def test_one_group_of_all_points_is_the_whole_and_empty_groups_are_nan():
    x = torus(2)
    places = by_group(x, np.full(N, 1), num_groups=3)
    np.testing.assert_allclose(places.dimension[1], dimension.mle(x, k=K).dimension, rtol=1e-5)
    assert np.all(np.isnan(places.dimension[jnp.array([0, 2])])) and tuple(places.points) == (0, N, 0)


def slow_standard_errors(x, groups, clusters=None):
    """The formulas of `by_group` in float64, pair by pair."""
    hoods = dimension.neighborhoods(x, K)
    near, distances = np.asarray(hoods.indices), np.asarray(hoods.distances, np.float64)
    inverse = np.log(distances[:, -1:] / distances[:, :-1]).sum(1)
    joined = np.zeros((N, N), bool)
    joined[np.arange(N)[:, None], near] = True
    joined |= joined.T | np.eye(N, dtype=bool)
    errors = []
    for group in np.unique(groups):
        at = groups == group
        d = (K - 1) / inverse[at].mean()
        psi = d * (1 - inverse[at] / inverse[at].mean())
        squares = max(psi @ joined[np.ix_(at, at)] @ psi, d**2 * at.sum() / (K - 1))
        if clusters is not None:
            sums = np.array([psi[clusters[at] == c].sum() for c in np.unique(clusters[at])])
            squares = max(squares, len(sums) / (len(sums) - 1) * np.sum(sums**2))
        errors.append(np.sqrt(squares) / at.sum())
    return errors


@pytest.mark.thorough
def test_standard_errors_of_groups_are_the_formulas():
    x, groups = torus(2), rng().integers(0, 4, N)
    np.testing.assert_allclose(by_group(x, groups).standard_error, slow_standard_errors(x, groups), rtol=1e-3)
    # Clusters that are pieces of the circle: their points rise and fall together.
    clusters = (np.arctan2(x[:, 4], x[:, 0]) * 2).astype(int) + 7
    clustered = by_group(x, groups, clusters=clusters).standard_error
    np.testing.assert_allclose(clustered, slow_standard_errors(x, groups, clusters), rtol=1e-3)
    assert np.any(clustered > by_group(x, groups).standard_error)


@pytest.mark.thorough
def test_intervals_of_groups_cover():
    @jax.jit
    def deviations(key):
        draw, deal = jax.random.split(key)
        angles = jax.random.uniform(draw, (N, 2)) * 2 * jnp.pi
        x = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], 1)
        places = by_group(x, jax.random.randint(deal, (N,), 0, 4), 4)
        return (places.dimension - 2) / places.standard_error

    z = np.asarray(jax.lax.map(deviations, jax.random.split(jax.random.key(0), 40)))
    # 160 intervals at 95%, bias of curvature included; four standard errors of their share are 7%.
    assert np.mean(np.abs(z) < 1.96) > 0.88
    assert 0.8 < z.std() < 1.2


def test_a_copy_counts_in_the_group_of_the_first_and_dropped_rows_in_none():
    x, groups = torus(2), np.zeros(N, int)
    x[-10:], groups[-10:] = x[:10], 1
    x[20], groups[21:25] = np.nan, 2
    places = by_group(x, groups, nonfinite="drop")
    assert tuple(places.points) == (N - 15, 0, 4)


@pytest.mark.thorough
def test_points_know_their_own_dimension():
    x, half = two_halves(800)
    places = dimension.per_point(x)
    for group, d in enumerate((1, 3)):
        of_half = np.asarray(places.dimension)[half == group]
        assert abs(np.median(of_half) / d - 1) < 0.1
    assert np.all(places.points == 21)
    # Of 20 neighbors alone a point knows its dimension to 1/√19; no average over 21 does better than that / √21.
    share = np.asarray(places.standard_error / places.dimension)
    assert 19**-0.5 * 21**-0.5 < share[0] < 19**-0.5 and np.allclose(share, share[0])


def test_points_are_smoothed_over_as_many_neighbors_as_asked_for():
    hoods = dimension.neighborhoods(torus(2), K)
    read = functools.partial(dimension.per_point, hoods, K)
    alone, few, all_of_them = read(smoothing=0), read(smoothing=3), read(smoothing=K)
    # `mle` says the same of one neighborhood, up to a factor for all.
    share = np.asarray(alone.dimension / dimension.mle(hoods, K).local)
    np.testing.assert_allclose(share, share[0], rtol=1e-5)
    assert [int(places.points[0]) for places in (alone, few, all_of_them)] == [1, 4, K + 1]
    mean = 4 / sum(1 / alone.dimension[row] for row in (0, *np.asarray(hoods.indices[0, :3])))
    np.testing.assert_allclose(few.dimension[0], mean, rtol=1e-5)
    errors = [float(places.standard_error[0] / places.dimension[0]) for places in (alone, few, all_of_them)]
    assert errors[0] > errors[1] > errors[2]
    np.testing.assert_array_equal(dimension.per_point(hoods, K).dimension, all_of_them.dimension)
    with pytest.raises(InputError, match="smoothing=11 averages over more than the k=10"):
        read(smoothing=K + 1)


@pytest.mark.parametrize("d", [2, 4])
def test_intervals_of_points_cover(d):
    places = dimension.per_point(torus(d, n=800))
    z = (places.dimension - jnp.median(places.dimension)) / places.standard_error
    # Neighboring points agree, so 800 of them are perhaps 60 independent draws: three standard errors of 95% are 8%.
    assert 0.87 < np.mean(np.abs(z) < 1.96) < 0.99


@pytest.mark.thorough
def test_points_without_a_neighborhood_of_their_own_are_nan():
    x = torus(2)
    x[-10:] = x[:10]
    x[20] = np.inf
    places = dimension.per_point(x, nonfinite="drop")
    expected = np.isin(np.arange(N), [20, *range(N - 10, N)])
    np.testing.assert_array_equal(np.isnan(places.dimension), expected)
    np.testing.assert_array_equal(places.points == 0, expected)


def test_where_all_neighborhoods_meet_averaging_gains_nothing():
    places = dimension.per_point(torus(2)[:25])
    np.testing.assert_allclose(places.standard_error, places.dimension / np.sqrt(19), rtol=1e-5)


@pytest.mark.thorough
def test_jit_equals_eager():
    x, half = two_halves()
    clusters = np.arange(N) % 40
    read = lambda x, half, clusters: (by_group(x, half, 2, clusters, 40), dimension.per_point(x))
    chex.assert_trees_all_close(jax.jit(read)(x, half, clusters), read(x, half, clusters), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dimension.by_layer(torus(2)), r"layers must have shape \(L, n, D\).*\(400, 8\)"),
        (lambda: dimension.by_layer(np.stack([torus(2), torus(2) * np.nan])), r"layers\[1\] has 400 rows with nan"),
        (lambda: dimension.by_layer(torus(2)[None], estimator="best"), "estimator='best' is not known"),
        (lambda: by_group(torus(2), np.zeros(5, int)), r"groups must hold one integer per point, shape \(400,\)"),
        (lambda: by_group(torus(2), np.full(N, 3), num_groups=3), r"groups must lie in \[0, 3\)"),
        (lambda: by_group(torus(2), np.zeros(N, int), clusters=np.full(N, -1)), "clusters must lie in"),
        (lambda: jax.jit(lambda g: by_group(torus(2), g).dimension)(np.zeros(N, int)), "num_groups must be given"),
        (lambda: dimension.per_point(torus(2)[:20]), "k=20 needs more than 20 points"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
