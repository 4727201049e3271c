"""DANCo compares norms and angles with simulated balls as its paper says, and its error bars are its spread."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq, minimize_scalar
from scipy.special import binom, digamma, i0e, i1e

from jaxscale import dimension
from jaxscale.dimension.estimators import reference_balls, von_mises
from jaxscale.dimension.estimators.danco import norm_divergence
from jaxscale.dimension.estimators.norms_and_angles import norms_and_angles
from jaxscale.dimension.neighborhood import neighborhoods
from jaxscale.errors import InputError

N, K, WIDTH = 300, 6, 8


@pytest.fixture(scope="module", autouse=True)
def few_reference_balls():
    """Four samples of a dimension: references are as uncertain as they are, for what is asked of them here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_balls, "READS", 4 * N)
        yield


@pytest.fixture(scope="module")
def references(few_reference_balls):
    return dimension.danco_references(N, K, WIDTH)


def cube(d, n=N, seed=0):
    """Uniform on a d-cube, turned into WIDTH dimensions."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    return (rng.uniform(size=(n, d)) @ basis[:d]).astype(np.float32)


def statistics(x, k):
    """δ, ν and τ of the paper in float64, point by point."""
    x = np.asarray(x, np.float64)
    distances = np.sqrt(((x[:, None] - x) ** 2).sum(-1))
    order = np.argsort(distances, axis=1)[:, 1 : k + 2]
    r = np.array([distances[i, order[i, 0]] / distances[i, order[i, k]] for i in range(len(x))])
    score = lambda d: np.sum(1 / d + np.log(r) - (k - 1) * r**d * np.log(r) / (1 - r**d))
    parameters = []
    for i in range(len(x)):
        arms = x[order[i, :k]] - x[i]
        arms /= np.linalg.norm(arms, axis=1, keepdims=True)
        angles = np.arccos(np.clip((arms @ arms.T)[np.triu_indices(k, 1)], -1, 1))
        cosine, sine = np.cos(angles).mean(), np.sin(angles).mean()
        excess = lambda t, eta: i1e(t) / i0e(t) - eta
        parameters.append((np.arctan2(sine, cosine), brentq(excess, 1e-9, 1e4, args=(np.hypot(cosine, sine),))))
    return np.array([brentq(score, 0.1, 100), *np.mean(parameters, axis=0)])


def norm_divergence_of_the_paper(ratio, k):
    i, harmonic = np.arange(k + 1), lambda m: np.sum(1 / np.arange(1, m + 1))
    alternating = np.sum((-1.0) ** i * binom(k, i) * digamma(1 + i / ratio))
    return harmonic(k) * ratio - 1 - harmonic(k - 1) - np.log(ratio) - (k - 1) * alternating


def angle_divergence_of_the_paper(nu, tau, other_nu, other_tau):
    log_i0 = lambda t: np.log(i0e(t)) + t
    return log_i0(other_tau) - log_i0(tau) + i1e(tau) / i0e(tau) * (tau - other_tau * np.cos(nu - other_nu))


def divergence_of_the_paper(cloud, reference, k):
    norms = norm_divergence_of_the_paper(reference[0] / cloud[0], k)
    return norms + angle_divergence_of_the_paper(*cloud[1:], *reference[1:])


@pytest.mark.thorough
@pytest.mark.parametrize("d", [2, 4])
def test_the_statistics_are_those_of_the_paper(d):
    x = cube(d)
    read, influence, used = norms_and_angles(jnp.asarray(x), neighborhoods(x, K + 1))
    # Float32 cosines, off by 1e-7, have sines and angles off by up to 3e-4 where they are near one, few on the whole.
    np.testing.assert_allclose(read, statistics(x, K), rtol=2e-5)
    # Influences are deviations from a mean, or scores at their root.
    np.testing.assert_allclose(jnp.mean(influence, axis=0), 0, atol=1e-4)
    assert np.all(used)


@pytest.mark.thorough
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_dimension_is_the_nearest_reference(d, references):
    x = cube(d)
    cloud = statistics(x, K) if d > 1 else np.asarray(norms_and_angles(jnp.asarray(x), neighborhoods(x, K + 1))[0])
    table = np.asarray(references.statistics, np.float64)
    divergences = [divergence_of_the_paper(cloud, row, K) for row in table[:WIDTH]]
    read = functools.partial(dimension.danco, x, k=K, references=references)
    assert read(integer=True).dimension == 1 + np.argmin(divergences)
    at = np.arange(1, len(table) + 1)
    slopes = np.concatenate([table[1:2] - table[:1], (table[2:] - table[:-2]) / 2, table[-1:] - table[-2:-1]])
    curve = CubicHermiteSpline(at, table, slopes)
    best = 1 + np.argmin(divergences)
    fit = minimize_scalar(
        lambda e: divergence_of_the_paper(cloud, curve(e), K),
        bounds=(max(best - 1, 1), min(best + 1, WIDTH)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    # Statistics agree to 2e-5, and the minimum moves by as much as they do.
    np.testing.assert_allclose(read().dimension, fit.x, rtol=1e-4)


def test_references_are_the_statistics_of_uniform_balls(references):
    key = jax.random.key(0)
    samples, queries = reference_balls._reads(N)
    assert queries == N and references.reads == samples * N
    points = [np.asarray(reference_balls._ball(jax.random.fold_in(key, s), 3, N, 8)) for s in range(samples)]
    assert all(np.all(p[:, 3:] == 0) for p in points)
    # In a uniform ball of dimension 3 the cube of the radius is uniform: mean 1/2, standard deviation 12^-1/2.
    cubes = np.concatenate([np.linalg.norm(p, axis=1) ** 3 for p in points])
    assert abs(cubes.mean() - 0.5) < 4 / np.sqrt(12 * cubes.size) and cubes.max() <= 1 + 1e-5
    read = np.mean([statistics(p, K) for p in points], axis=0)
    np.testing.assert_allclose(references.statistics[2], read, rtol=1e-4)


def test_fewer_queries_than_points_read_the_same(references, monkeypatch):
    monkeypatch.setattr(reference_balls, "READS", 200)
    reference_balls._ball_statistics.clear_cache()
    fewer = reference_balls._ball_statistics(jax.random.key(0), 3, N, K, 8)
    reference_balls._ball_statistics.clear_cache()
    # 200 points of one sample against four samples of 300: 1 / sqrt(200) for δ, less for ν and τ.
    np.testing.assert_allclose(fewer, references.statistics[2], rtol=0.2)
    assert np.all(fewer != references.statistics[2])


@pytest.mark.parametrize("k", [3, 10])
@pytest.mark.parametrize("ratio", [0.3, 0.95, 1.0, 1.02, 4.0])
def test_norm_divergence_is_the_closed_form(ratio, k):
    expected = norm_divergence_of_the_paper(ratio, k)
    np.testing.assert_allclose(norm_divergence(jnp.float32(ratio), k), expected, rtol=1e-5, atol=1e-7)


def test_von_mises_parameters_and_divergence_are_those_of_the_definition():
    tau = np.array([0.01, 0.5, 2, 15, 140, 700])
    eta = i1e(tau) / i0e(tau)
    nu, found = von_mises.likeliest_parameters(
        jnp.asarray(eta * np.cos(1.3), jnp.float32), jnp.asarray(eta * np.sin(1.3), jnp.float32), 1e4
    )
    np.testing.assert_allclose(nu, 1.3, rtol=1e-6)
    # Near one, η in float32 has 2 τ 6e-8 of relative room for τ.
    np.testing.assert_allclose(found, tau, rtol=2e-4)
    for other in (0.8, 1.0, 1.25):
        parameters = [jnp.asarray(p, jnp.float32) for p in (1.3, tau, 1.4, tau * other)]
        divergences = von_mises.divergence(*parameters)
        expected = angle_divergence_of_the_paper(1.3, tau, 1.4, tau * other)
        np.testing.assert_allclose(divergences, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_the_standard_error_is_the_spread(references):
    def of_one(x):
        estimate = dimension.danco(x, k=K, references=references)
        return estimate.dimension, estimate.standard_error

    clouds = np.stack([cube(3, seed=s) for s in range(40)])
    read, error = jax.jit(lambda clouds: jax.lax.map(of_one, clouds))(clouds)
    # Forty trials know a standard deviation to 11%. The references, one for all, do not vary here; at four samples to
    # one their share is 12%.
    assert 0.7 < np.std(read) / np.mean(error) < 1.25
    assert abs(np.mean(read) - 3) < 0.15


def test_a_curve_is_one_dimensional_in_spite_of_its_ends(references):
    t = np.random.default_rng(0).uniform(0, 3, size=(N, 1))
    spiral = np.concatenate([np.cos(t), np.sin(t), 0.3 * t, np.zeros((N, WIDTH - 3))], axis=1).astype(np.float32)
    estimate = dimension.danco(spiral, k=K, references=references)
    assert 1 <= estimate.dimension < 1.1 and estimate.standard_error < 0.1


@pytest.mark.thorough
def test_symmetries_and_duplicates_leave_it_alone(references):
    x = cube(3)
    read = functools.partial(dimension.danco, k=K, references=references)
    plain = read(x)
    np.testing.assert_allclose(read(x[::-1] * np.float32(1e-3)).dimension, plain.dimension, rtol=1e-4)
    doubled = read(np.concatenate([x, x[:100], np.full((3, WIDTH), np.nan)]), nonfinite="drop")
    assert doubled.duplicates_collapsed == 100 and doubled.nonfinite_dropped == 3
    np.testing.assert_allclose(doubled.dimension, plain.dimension, rtol=1e-4)
    np.testing.assert_allclose(doubled.standard_error, plain.standard_error, rtol=1e-3)
    x[:3] = np.array([[0.0], [1e-30], [2e-30]])  # equal up to rounding in columns of order one
    again = read(x)
    assert again.points_used == N - 2 and again.rounding_collapsed == 2
    assert abs(again.dimension - plain.dimension) < 0.1


@pytest.mark.slow
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop, references):
    read = functools.partial(dimension.danco, k=K, references=references)
    # Batched sums run in another order; the dimension is where a slope in float32 changes sign.
    assert_equal_to_a_loop(read, rtol=1e-3, atol=2e-3)


def test_references_are_simulated_once_and_kept_in_a_folder(tmp_path, monkeypatch):
    kept = dimension.danco_references(N, K, 4, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    assert list(json.loads(file.read_text())) == [str(d) for d in range(1, 21)]
    monkeypatch.setattr(reference_balls, "_simulated", {})
    monkeypatch.setattr(reference_balls, "_ball_statistics", None)  # would fail if called
    chex.assert_trees_all_equal(dimension.danco_references(N, K, 4, folder=tmp_path), kept)
    assert dimension.danco_references(N, K, 3).max_dimension == 20  # from memory
    file.write_text('{"1": [1, 2]}')
    with pytest.raises(InputError, match="does not hold references"):
        dimension.danco_references(N, K, 4, folder=tmp_path)


@pytest.mark.thorough
def test_references_made_under_a_trace_are_those_made_outside(references, monkeypatch):
    known = {place: {d: read for d, read in of.items() if d != 3} for place, of in reference_balls._simulated.items()}
    monkeypatch.setattr(reference_balls, "_simulated", known)  # one dimension, simulated anew, stands for all
    inside = []
    jax.eval_shape(lambda: inside.append(dimension.danco_references(N, K, WIDTH)))
    chex.assert_trees_all_close(inside[0], references, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((7, 3)), "k": 6}, "k=7 needs more than 7 points"),
        ({"x": cube(2), "k": 2}, "k=2 must be an integer of at least 3"),
        ({"x": cube(2), "k": K, "max_dimension": 0}, r"max_dimension must lie in \[1, 256\]; it is 0"),
        ({"x": cube(2), "k": K, "max_dimension": 257}, r"max_dimension must lie in \[1, 256\]; it is 257"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.danco(**arguments)


def test_references_that_do_not_fit_are_named(references):
    with pytest.raises(InputError, match="references are for k=6; k=5"):
        dimension.danco(dimension.neighborhoods(cube(2), K + 1), k=5, references=references)
    with pytest.raises(InputError, match=r"max_dimension must lie in \[1, 20\], which the references reach; it is 21"):
        dimension.danco(cube(2), k=K, references=references, max_dimension=21)
    with pytest.raises(InputError, match="key must be concrete"):
        jax.jit(lambda key: dimension.danco(cube(2), k=K, key=key).dimension)(jax.random.key(0))
