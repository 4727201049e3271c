"""The correlation dimension counts the pairs it should, whatever the norms, and knows its spread."""

import functools

import jax
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators.correlation import _counts_within
from jaxscale.errors import InputError
from jaxscale.testing import assertions, clouds

N, K1, K2, WIDTH = 240, 5, 12, 8
correlation_dimension = functools.partial(dimension.correlation_dimension, k1=K1, k2=K2)


def rng(seed=0):
    return np.random.default_rng(seed)


@functools.cache
def cloud():
    return clouds.cube(N, 3, WIDTH, key=0)


def distances(x):
    x = np.asarray(x, np.float64)
    return np.sqrt(((x[:, None] - x) ** 2).sum(-1)) + np.diag(np.full(len(x), np.inf))


def counted(distances, radii):
    return (distances[..., None] < radii).sum(1)


def slope(counts, radii):
    n = len(counts)
    return np.polyfit(np.log(radii), np.log(counts.sum(0) / n / (n - 1)), 1)[0]


@pytest.mark.parametrize(("metric", "radii"), [("euclidean", 2), ("cosine", 5)])
def test_the_dimension_is_the_slope_of_the_share_of_close_pairs(metric, radii):
    x = cloud().astype(np.float64)
    apart = distances(x)
    if metric == "cosine":
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        apart = 2 * np.arcsin(distances(unit) / 2, where=np.isfinite(distances(unit)), out=np.full((N, N), np.inf))
    ends = np.median(np.sort(apart, axis=1)[:, [K1 - 1, K2 - 1]], axis=0)
    grid = np.geomspace(*ends, radii)
    estimate = correlation_dimension(x.astype(np.float32), radii=radii, metric=metric)
    np.testing.assert_allclose(estimate.dimension, slope(counted(apart, grid), grid), rtol=1e-5)
    np.testing.assert_allclose(estimate.scale, grid[-1], rtol=1e-5)


def test_radii_may_be_given_and_influences_are_the_jackknife():
    radii = np.array([0.2, 0.3, 0.5, 0.9])
    apart = distances(cloud())
    estimate = dimension.correlation_dimension(cloud(), radii=radii)
    np.testing.assert_allclose(estimate.dimension, slope(counted(apart, radii), radii), rtol=1e-5)
    left_out = [
        slope(counted(np.delete(np.delete(apart, i, axis=0), i, axis=1), radii), radii) for i in range(0, N, 10)
    ]
    jackknife = (N - 1) * (float(estimate.dimension) - np.array(left_out))
    # They agree but for terms of one part in N c_i, large where the smallest radius holds few.
    np.testing.assert_allclose(estimate.influence[::10], jackknife, rtol=0.05, atol=0.1)


def test_radii_between_what_pairs_exist_give_nan():
    assert np.isnan(dimension.correlation_dimension(cloud(), radii=[1e-6, 1.0]).dimension)
    assert np.isnan(dimension.correlation_dimension(cloud(), radii=[1e-6, 1.0]).standard_error)


def few_doubtful():
    return clouds.cube(100, 4, WIDTH, key=0), [0.3, 0.6]


def all_doubtful():
    """Two clusters of size 10⁻² at ±30: inner products leave nothing of the distances within."""
    side = 30 * np.sign(rng().normal(size=(100, 1)))
    return clouds.cube(100, 4, WIDTH, key=1) / 100 + side, [0.003, 0.006]


def far_outliers():
    x = clouds.cube(100, 4, WIDTH, key=0)
    x[3], x[50] = 1e6, -2e7
    return x, [0.3, 0.6]


def tiny():
    return 1e-25 * clouds.cube(100, 4, WIDTH, key=0), [0.3e-25, 0.6e-25]


def huge():
    return 1e25 * clouds.cube(100, 4, WIDTH, key=0), [0.3e25, 0.6e25]


@pytest.mark.parametrize("case", [few_doubtful, all_doubtful, far_outliers, tiny, huge])
def test_counts_are_exact_whatever_the_norms(case):
    x, radii = case()
    x, radii = np.asarray(x, np.float32), np.asarray(radii, np.float32)
    counts = jax.jit(_counts_within)(x, np.ones(100, bool), radii)
    expected = counted(distances(x), radii.astype(np.float64))
    assert expected.sum() > 100
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.thorough
def test_symmetries_and_padding_leave_the_estimate_alone():
    assertions.assert_rotation_invariant(correlation_dimension, cloud())
    assertions.assert_scale_invariant(correlation_dimension, cloud())
    assertions.assert_permutation_invariant(correlation_dimension, cloud())
    assertions.assert_padding_invariant(correlation_dimension, cloud())


@pytest.mark.thorough
def test_rows_left_out_count_for_nothing():
    x = cloud().copy()
    x[200:220], x[220:] = x[:20], np.nan
    estimate, alone = correlation_dimension(x, nonfinite="drop"), correlation_dimension(cloud()[:200])
    for field in ("dimension", "standard_error", "analytic_standard_error", "scale"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(alone, field), rtol=1e-5)
    assert estimate.points_used == 200 and np.all(estimate.influence[200:] == 0)


@pytest.mark.slow
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    assert_equal_to_a_loop(correlation_dimension, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_standard_error_is_the_spread_of_trials():
    samples = np.float32(rng().normal(size=(100, 160, 3)))
    estimates = jax.jit(lambda clouds: jax.lax.map(correlation_dimension, clouds))(samples)
    # 100 trials know their spread to 7%, the radii are taken for given.
    np.testing.assert_allclose(np.mean(estimates.standard_error), np.std(estimates.dimension), rtol=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 5, "k2": 5}, "k2 must be above k1; they are k1=5 and k2=5"),
        ({"radii": 1}, "radii=1"),
        ({"radii": [1.0]}, r"shape is \(1,\)"),
        ({"radii": [0.0, 1.0]}, "positive and ascend"),
        ({"radii": [2.0, 1.0]}, "positive and ascend"),
        ({"k2": N}, f"k={N} needs more than {N} points"),
        (
            {"x": np.zeros((N, 2)), "duplicates": "keep"},
            "half of the points of x are at distance zero .* k1=10",
        ),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(InputError, match=message):
        dimension.correlation_dimension(**({"x": cloud()} | options))
