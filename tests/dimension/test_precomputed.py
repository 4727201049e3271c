"""Distances that another search computed give what our own gives; what cannot be one is refused in a sentence."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import scipy.spatial

from jaxscale import dimension
from jaxscale.errors import InputError

Neighborhoods = dimension.Neighborhoods
N, K, DEEP = 400, 6, 26  # DEEP holds the K nearest within a half
OF_DISTANCES = ("mle", "abide", "twonn", "gride", "mom", "mada", "bide", "knn_graph")
CUT_AT_WIDTH = {"mada": functools.partial(dimension.mada, k=6, cut=True), "mind_ml": dimension.ESTIMATORS["mind_ml"]}
OF_VECTORS = ("danco", "ess", "local_pca", "pca", "tle", "ph0", "fisher_separability", "correlation_dimension")


@functools.cache
def cloud():
    x = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
    x[:, 3:] = x[:, :2] ** 2
    return x


@functools.cache
def ours():
    return dimension.neighborhoods(cloud(), DEEP)


@functools.cache
def matrix():
    """Distances by differences, in float64."""
    x = cloud().astype(np.float64)
    return np.linalg.norm(x[:, None] - x, axis=2)


@functools.cache
def searched(deep=DEEP + 1):
    """As scikit-learn's kneighbors returns them: float64 distances and int64 indices, the point itself first."""
    return scipy.spatial.cKDTree(cloud()).query(cloud(), deep)


def as_graph(distances, indices):
    """As kneighbors_graph(mode="distance") has it."""
    indptr = np.arange(len(distances) + 1) * distances.shape[1]
    return scipy.sparse.csr_matrix((distances.ravel(), indices.ravel(), indptr), (len(distances), len(distances)))


def all_equal(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def assert_same(found, wanted):
    """Bit for bit, but for the error, which another program adds up."""
    np.testing.assert_allclose(found.standard_error, wanted.standard_error, rtol=1e-6)
    all_equal(dataclasses.replace(found, standard_error=0), dataclasses.replace(wanted, standard_error=0))


def in_thorough(first, *others):
    return [first, *(pytest.param(other, marks=pytest.mark.thorough) for other in others)]


@pytest.mark.parametrize("name", in_thorough(*OF_DISTANCES))
def test_our_own_lists_come_back_bit_for_bit(name):
    read = dimension.ESTIMATORS[name]
    back = Neighborhoods.from_neighbors(ours().distances, ours().indices)
    if name != "knn_graph":
        assert_same(read(back.nearest(K)), read(ours().nearest(K)))
    else:  # of which halves need longer lists
        all_equal(read(back).local, read(ours()).local)


def test_lists_too_short_for_halves_have_the_error_of_their_graph():
    short = Neighborhoods.from_neighbors(ours().distances[:, : K + 1], ours().indices[:, : K + 1])
    long = Neighborhoods.from_neighbors(ours().distances, ours().indices)
    found, wanted = dimension.mle(short, K), dimension.mle(long, K)
    assert found.dimension == wanted.dimension
    assert found.analytic_standard_error <= found.standard_error != wanted.standard_error


@pytest.mark.thorough
@pytest.mark.parametrize("name", CUT_AT_WIDTH)
def test_those_that_cut_at_the_width_are_told_it(name):
    read = CUT_AT_WIDTH[name]
    back = Neighborhoods.from_neighbors(ours().distances, ours().indices, width=cloud().shape[1])
    assert_same(read(back.nearest(K)), read(ours().nearest(K)))


@pytest.mark.parametrize("name", CUT_AT_WIDTH)
def test_without_a_width_they_say_so(name):
    hoods = Neighborhoods.from_neighbors(ours().distances, ours().indices, k=K)
    with pytest.raises(InputError, match=r"distances do not tell\. Pass width= to"):
        CUT_AT_WIDTH[name](hoods)


@pytest.mark.parametrize("name", OF_VECTORS)
def test_those_that_read_vectors_name_what_is_missing(name):
    hoods = Neighborhoods.from_neighbors(ours().distances, ours().indices, width=5)
    with pytest.raises(InputError, match=f"{name} reads the vectors .* hold distances alone. Pass points="):
        dimension.ESTIMATORS[name](hoods)


def test_a_profile_by_decimation_wants_vectors_too():
    with pytest.raises(InputError, match="by_decimation reads the vectors"):
        dimension.by_decimation(Neighborhoods.from_neighbors(ours().distances, ours().indices), K, key=0)


@pytest.mark.thorough
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_with_vectors_nothing_is_missing(metric):
    hoods = dimension.neighborhoods(cloud(), K, metric)
    back = Neighborhoods.from_neighbors(hoods.distances, hoods.indices, points=cloud(), metric=metric)
    assert_same(dimension.mle(back, K), dimension.mle(hoods, K))
    of_vectors = [dimension.tle(each, K) for each in (back, hoods)]
    np.testing.assert_allclose(*[estimate.dimension for estimate in of_vectors], rtol=1e-5)
    np.testing.assert_allclose(*[estimate.local for estimate in of_vectors], rtol=1e-4)


def test_other_searches_and_matrices_agree_within_rounding():
    wanted = dimension.mle(ours(), K)
    distances, indices = searched()
    without = as_graph(distances[:, 1:], indices[:, 1:])
    squared = (distances**2).astype(np.float32)
    for hoods in (
        Neighborhoods.from_neighbors(distances, indices),
        Neighborhoods.from_neighbors(distances[:, 1:], indices[:, 1:]),
        Neighborhoods.from_neighbors(squared, indices, squared=True),
        Neighborhoods.from_neighbors(distances[:, ::-1], indices[:, ::-1]),
        Neighborhoods.from_neighbors(without),
        Neighborhoods.from_neighbors(without.maximum(without.T)),  # rows of many lengths
        Neighborhoods.from_distances(matrix(), K),
        Neighborhoods.from_distances(jnp.asarray(matrix() ** 2), K, squared=True),
    ):
        found = dimension.mle(hoods, K)
        np.testing.assert_allclose(found.dimension, wanted.dimension, rtol=1e-5)
        np.testing.assert_allclose(found.standard_error, wanted.standard_error, rtol=1e-3)
        np.testing.assert_allclose(found.local, wanted.local, rtol=2e-3)
        np.testing.assert_array_equal(hoods.indices[:, :K], ours().indices[:, :K])


def test_it_says_how_many_points_stood_in_their_own_list():
    distances, indices = searched()
    assert int(Neighborhoods.from_neighbors(distances, indices).self_dropped) == N
    assert Neighborhoods.from_neighbors(distances, indices).k == DEEP
    assert int(Neighborhoods.from_neighbors(distances[:, 1:], indices[:, 1:]).self_dropped) == 0
    # A search that is not exact misses some of them.
    distances, indices = distances.copy(), indices.copy()
    distances[7, :-1], indices[7, :-1] = distances[7, 1:], indices[7, 1:]
    distances[7, -1], indices[7, -1] = 99, np.setdiff1d(np.arange(N), indices[7])[0]
    hoods = Neighborhoods.from_neighbors(distances, indices)
    assert int(hoods.self_dropped) == N - 1 and hoods.k == DEEP
    np.testing.assert_array_equal(hoods.indices[7], ours().indices[7])


@pytest.mark.thorough
def test_points_to_other_points():
    """The first half among the second; and a sample of rows, each of which is a column of the matrix."""
    half = N // 2
    found = dimension.mle(Neighborhoods.from_distances(matrix()[:half, half:], K, rows=np.full(half, -1)), K)
    near = dimension.neighbors(cloud()[half:], K, queries=cloud()[:half])
    log_sums = np.log(np.asarray(near.distances)[:, -1:] / np.asarray(near.distances)[:, :-1]).sum(axis=1)
    np.testing.assert_allclose(found.local, (K - 2) / log_sums, rtol=1e-4)
    assert 0 < found.standard_error < found.dimension
    rows = np.arange(0, N, 3)
    sample = dimension.mle(Neighborhoods.from_distances(matrix()[rows], K, rows=rows), K)
    np.testing.assert_allclose(sample.local, dimension.mle(ours(), K).local[rows], rtol=2e-3)
    assert sample.standard_error > dimension.mle(ours(), K).standard_error
    lists = Neighborhoods.from_neighbors(near.distances, near.indices, others=half)
    np.testing.assert_allclose(dimension.mle(lists, K).dimension, found.dimension, rtol=1e-5)
    for name in ("abide", "knn_graph"):
        with pytest.raises(InputError, match=f"({name}|constant_density) reads the neighborhoods of neighbors"):
            dimension.ESTIMATORS[name](Neighborhoods.from_distances(matrix()[rows], 40, rows=rows))
    with pytest.raises(InputError, match="per_point reads the neighborhoods of neighbors"):
        dimension.per_point(lists, K)


@pytest.mark.parametrize("duplicates", ["collapse", pytest.param("keep", marks=pytest.mark.thorough)])
def test_copies_count_as_they_do_in_a_cloud(duplicates):
    """Three copies of a point and two of another."""
    x = cloud().copy()
    x[[10, 200]], x[399] = x[5], x[300]
    wanted = dimension.neighborhoods(x, K, duplicates=duplicates)
    of_matrix = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    distances, indices = scipy.spatial.cKDTree(x).query(x, DEEP)
    for hoods in (
        Neighborhoods.from_distances(of_matrix, K, duplicates=duplicates),
        Neighborhoods.from_neighbors(distances, indices, K, duplicates=duplicates),
    ):
        chex.assert_trees_all_equal(
            (hoods.used, hoods.multiplicity, hoods.duplicates_collapsed),
            (wanted.used, wanted.multiplicity, wanted.duplicates_collapsed),
        )
        used = np.asarray(wanted.used)
        np.testing.assert_allclose(hoods.distances[used], wanted.distances[used], rtol=1e-5, atol=1e-6)
        if duplicates == "collapse":
            np.testing.assert_array_equal(hoods.indices[used], wanted.indices[used])


@pytest.mark.thorough
def test_rows_masked_out_are_nobodys_neighbor():
    mask = np.arange(N) % 4 > 0
    wanted = dimension.mle(dimension.neighborhoods(cloud()[mask], K), K)
    spoiled = np.where(mask[:, None] & mask, matrix(), np.nan)
    found = dimension.mle(Neighborhoods.from_distances(spoiled, K, mask=mask), K)
    np.testing.assert_allclose(found.local[mask], wanted.local, rtol=2e-3)
    assert int(found.points_used) == mask.sum() == int(N - found.nonfinite_dropped)
    distances, indices = searched()
    lists = Neighborhoods.from_neighbors(distances, indices, K, mask=mask)
    np.testing.assert_allclose(dimension.mle(lists, K).local[mask], wanted.local, rtol=2e-3)


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_sharded_over_eight_devices_and_under_jit_the_answer_is_the_same(kind):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    by_rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    of_matrix = lambda matrix: Neighborhoods.from_distances(matrix, K)
    of_lists = lambda distances, indices: Neighborhoods.from_neighbors(distances, indices, K, includes_self=True)
    distances, indices = (jnp.asarray(part) for part in searched())
    for make, given in ((of_matrix, (jnp.asarray(matrix()),)), (of_lists, (distances, indices))):
        wanted = make(*given)
        spread = jax.device_put(given, by_rows)
        all_equal(make(*spread), wanted)
        all_equal(jax.jit(make)(*given), wanted)
        all_equal(jax.jit(make)(*spread), wanted)


def test_a_gradient_passes_through_a_matrix():
    """Distances to the power 1 + ε have 1 / (1 + ε) of the dimension."""
    read = lambda matrix: dimension.mle(Neighborhoods.from_distances(matrix, K), K).dimension
    of_points = jnp.asarray(matrix())
    value, through = jax.value_and_grad(read)(of_points)
    change = of_points * jnp.log(jnp.where(of_points > 0, of_points, 1))
    np.testing.assert_allclose(jnp.sum(through * change), -value, rtol=1e-4)


def changed(place, value, of=matrix):
    out = np.array(of())
    out[place] = value
    return out


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Neighborhoods.from_distances(changed((3, 7), 1), K), "must be symmetric; from row 3 to 7 it is 1"),
        (lambda: Neighborhoods.from_distances(changed((3, 3), 1), K), "to themselves must be zero; one is 1"),
        (lambda: Neighborhoods.from_distances(changed((3, 7), -1), K), "negative or nan; 1 are .* row 3, column 7"),
        (lambda: Neighborhoods.from_distances(changed((3, 7), np.nan), K), "negative or nan"),
        (lambda: Neighborhoods.from_distances(matrix() ** 2 - 1, K, squared=True), "negative or nan"),
        (lambda: Neighborhoods.from_distances(cloud()[0], K), "must be a matrix"),
        (lambda: Neighborhoods.from_distances(matrix(), N), f"k={N} needs {N} other points"),
        (lambda: Neighborhoods.from_distances(matrix()[:9], K, rows=np.full(9, N)), r"rows must lie in \[-1, 400\)"),
        (lambda: Neighborhoods.from_neighbors(matrix()), "indices are missing: ndarray holds distances alone"),
        (lambda: Neighborhoods.from_neighbors(searched()[0], searched()[1][:, 1:]), "an integer for each of the dist"),
        (lambda: Neighborhoods.from_neighbors(searched()[0], searched()[1] + 1), "pass others=, their number"),
        (lambda: Neighborhoods.from_neighbors(*searched(), k=DEEP + 1), r"these have 26\. Pass a smaller k"),
        (lambda: Neighborhoods.from_neighbors(*searched(), includes_self=False), "lists name their own point"),
        (lambda: Neighborhoods.from_neighbors(-searched()[0] + 9, searched()[1]), "look like similarities"),
        (lambda: Neighborhoods.from_neighbors(9 - searched()[0][:, 1:], searched()[1][:, 1:]), "look like similar"),
        (lambda: Neighborhoods.from_neighbors(as_graph(searched()[0] * 0 + 1, searched()[1])), "mode='distance'"),
        (
            lambda: Neighborhoods.from_neighbors(
                searched()[0], changed((2, 3), searched()[1][2, 4], lambda: searched()[1])
            ),
            r"name a neighbor twice \(the first is row 2\)",
        ),
        (
            lambda: Neighborhoods.from_neighbors(
                searched()[0], changed((2, slice(9, None)), -1, lambda: searched()[1])
            ),
            "row 2 has 8, .*Pass k=8",
        ),
        (lambda: Neighborhoods.from_neighbors(*searched(), points=cloud()[1:]), "points must be one for each row"),
        (lambda: jax.jit(Neighborhoods.from_neighbors)(*searched()), "includes_self must be given under jit"),
    ],
)
def test_what_cannot_be_distances_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
