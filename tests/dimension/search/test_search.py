"""A search by matmul is exact whatever its precision: what it cannot prove, it searches again."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.search import candidates, exact, nearest

N, WIDTH, K = 1050, 24, 12


@pytest.fixture(scope="module", autouse=True)
def few_points_are_many():
    """Not few enough to be compared pair by pair, nor to be sorted: pairs of tiles are multiplied once, and lists of
    candidates are merged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "SMALL", 1000)
        patch.setattr(exact, "FEW", 2**23)
        nearest.find_neighbors.clear_cache()
        yield
    nearest.find_neighbors.clear_cache()


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)


def brute_force(x, k, queries=None):
    own = queries is None
    x = np.asarray(x, np.float64)
    queries = x if own else np.asarray(queries, np.float64)
    squared = sum((queries[:, None, column] - x[:, column]) ** 2 for column in range(x.shape[1]))
    if own:
        np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, order, 1)), order


@pytest.fixture(scope="module")
def expected(cloud):
    return brute_force(cloud, K)


def assert_exact(near, expected):
    distances, indices = expected
    np.testing.assert_allclose(near.distances, distances, rtol=2e-6)
    # Where two distances differ by less than float32 resolves, either order is right.
    same = np.asarray(near.indices) == indices
    assert np.all(same | (np.abs(near.distances / distances - 1) < 2e-6))
    assert same.mean() > 0.999


@functools.partial(jax.jit, static_argnames="precision")
def uncertain(points, precision="float32"):
    """How many rows the first search by matmul cannot prove."""
    scale = exact.power_of_two_scale(points)
    cloud = exact.TiledCloud.of(points, jnp.ones(len(points), bool), scale, K, exact.Effort(precision=precision))
    found, bound = cloud.candidates_of_each()
    rows = jnp.arange(len(points))
    squared, _ = exact._rescore(points, points, rows, scale, K, rows, found)
    return jnp.sum(~exact._is_certain(squared, bound, points.shape[1]))


@pytest.fixture
def compile_anew():
    """Call it where what is patched must show in programs compiled before; those of the patch are gone at the end."""

    def forget():
        nearest.find_neighbors.clear_cache()
        uncertain.clear_cache()

    yield forget
    forget()


@pytest.mark.thorough
def test_each_pair_of_tiles_is_enough(cloud, expected):
    assert_exact(dimension.neighbors(cloud, K), expected)
    assert uncertain(cloud) < 0.05 * N


@pytest.mark.thorough
def test_several_spans_of_tiles(cloud, expected, monkeypatch, compile_anew):
    # Three tiles to a span instead of 32: candidates so far meet those of later spans.
    monkeypatch.setattr(candidates.plan, "__defaults__", (1024, candidates.MISSES, 3))
    assert candidates.plan(N, K + 6, 128).tiles > 6
    compile_anew()
    assert_exact(dimension.neighbors(cloud, K, block=128), expected)


@pytest.mark.thorough
def test_bfloat16_finds_the_same(cloud):
    found, coarse = (dimension.neighbors(cloud, K, precision=precision) for precision in ("float32", "bfloat16"))
    np.testing.assert_array_equal(coarse.indices, found.indices)
    np.testing.assert_array_equal(coarse.distances, found.distances)
    # Isotropic noise is the hardest case; most rows are proven at once even so.
    assert uncertain(cloud, precision="bfloat16") < 0.2 * N


@pytest.mark.parametrize("recall", [0.5, 0.9])
def test_a_recall_asked_for_is_reached(cloud, expected, recall):
    found = dimension.neighbors(cloud, K, approximate=recall).indices
    _, indices = expected
    shared = [len(np.intersect1d(a, b)) for a, b in zip(np.asarray(found), indices, strict=True)]
    assert np.mean(shared) >= recall * K


def test_queries_that_are_not_the_points(cloud):
    queries = cloud[:650] + np.float32(0.1)
    assert_exact(dimension.neighbors(cloud, K, queries=queries), brute_force(cloud, K, queries))


@pytest.mark.thorough
def test_too_little_is_kept_and_found_again(cloud, expected, monkeypatch, compile_anew):
    # Two candidates of a tile are too few for twelve neighbors in two tiles: every row must be searched again.
    plan = candidates.plan
    monkeypatch.setattr(exact, "plan", lambda *args: candidates.TilePlan(**{**vars(plan(*args)), "keep": 2}))
    compile_anew()
    assert uncertain(cloud) > 0.9 * N
    assert_exact(dimension.neighbors(cloud, K), expected)


@pytest.mark.thorough
def test_close_pairs_among_far_points(cloud):
    # 40 clusters 4000 apart, of points 0.004 apart: the matmul sees each cluster as one point.
    centers = np.random.default_rng(1).normal(size=(40, WIDTH)) * 1000
    x = (centers[np.arange(N) % 40] + 0.001 * cloud).astype(np.float32)
    assert_exact(dimension.neighbors(x, K), brute_force(x, K))
    assert uncertain(x) == N


def test_equal_distances_are_ordered_by_index():
    lattice = np.stack(np.meshgrid(np.arange(15), np.arange(10), np.arange(7)), -1).reshape(N, 3).astype(np.float32)
    # Of the twelve points at the square root of two from most, six are wanted.
    near = dimension.neighbors(np.pad(lattice, ((0, 0), (0, WIDTH - 3))), K)
    np.testing.assert_array_equal(near.indices, brute_force(lattice, K)[1])


@pytest.mark.thorough
def test_one_far_outlier_and_heavy_columns_leave_the_proof_alone(cloud):
    # As in embeddings of language models: two columns with a mean of a thousand, and a point far from all.
    x = cloud.copy()
    x[:, :2] += 1000
    x[7] = 1e4
    assert_exact(dimension.neighbors(x, K), brute_force(x, K))
    assert uncertain(x) < 0.05 * N


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_deflated_half_norms_bound_every_distance(cloud, precision):
    # Tiles know nothing of each other: here one that loses nothing when rounded, and one that does.
    tiles = [jnp.round(jnp.asarray(cloud[:200]) * 4), jnp.asarray(cloud[200:400]) * 4]
    rounded = [tile.astype(precision) for tile in tiles]
    half = [candidates.deflated_half_norms(*pair) for pair in zip(tiles, rounded, strict=True)]
    lower = half[0][:, None] + half[1] - candidates.products(*rounded)
    exact = ((np.asarray(tiles[0], np.float64)[:, None] - np.asarray(tiles[1], np.float64)) ** 2).sum(-1) / 2
    assert np.all(np.asarray(lower) <= exact)
    assert np.all(np.asarray(lower) >= exact - 0.02 * (np.asarray(half[0])[:, None] + np.asarray(half[1])))


@pytest.mark.parametrize("n", [1, 2, 60, 300, 2049, 16_000, 64_000, 1_000_000])
@pytest.mark.parametrize("count", [2, 29, 137])
def test_plans_cover_all_points(n, count):
    plan = candidates.plan(n, count)
    assert plan.size >= n and plan.tiles % plan.span == 0 and plan.tile % plan.group == 0
    assert plan.count >= count and plan.tile <= 1024
    assert plan.size < 1.1 * n + 1024
