"""Where one dimension holds over all distances p-values are uniform; where a line meets a sheet the line is found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxscale import dimension
from jaxscale.errors import InputError

K = 32


@pytest.mark.parametrize("alternative", ["increase", "decrease", "different"])
def test_p_values_are_uniform_whatever_the_dimension(alternative, poisson_neighborhoods):
    """Of one break, exactly; of three, they are no smaller than uniform ones. 2000 independent points."""
    for d in (1, 7.5):
        hoods = poisson_neighborhoods(d, K, 2000)
        hoods = jax.tree.map(lambda leaf: leaf[0], hoods)
        single = dimension.dimension_change(hoods, K, breaks=[12], alternative=alternative)
        assert stats.kstest(np.asarray(single.p_value), "uniform").pvalue > 0.001
        found = dimension.dimension_change(hoods, K, alternative=alternative)
        assert np.mean(np.asarray(found.p_value) <= 0.05) < 0.06
        assert float(found.share) < 0.005
        # The mean of an unbiased dimension, where the break was not chosen by it.
        np.testing.assert_allclose(np.mean(single.inner), d, rtol=0.05)
        np.testing.assert_allclose(np.mean(single.outer), d, rtol=0.05)


def test_a_change_is_found_and_not_taken_for_its_contrary(poisson_neighborhoods, neighborhoods_at):
    """Two dimensions within the 16th neighbor, eight beyond."""
    distances = np.array(poisson_neighborhoods(1, K, 400).distances[0], np.float64)
    volumes = distances / distances[:, 15:16]
    grown = np.where(volumes < 1, volumes ** (1 / 2), volumes ** (1 / 8)).astype(np.float32)
    hoods = neighborhoods_at(grown)
    found = dimension.dimension_change(hoods, K)
    assert float(found.share) > 0.9
    assert np.median(found.inner) < 3 and np.median(found.outer) > 5
    assert float(found.threshold) == float(jnp.max(jnp.where(found.rejected, found.p_value, 0)))
    assert float(dimension.dimension_change(hoods, K, alternative="decrease").share) == 0
    np.testing.assert_allclose(found.radius, 1, atol=0.35)


@pytest.mark.thorough
def test_where_a_line_goes_through_a_sheet_the_sheet_sees_it():
    """A third of 2000 points on a line: around the others it is more than they expect at its distance."""
    rng = np.random.default_rng(0)
    x = np.zeros((2000, 3), np.float32)
    on_line = np.arange(2000) < 667
    x[on_line, 2] = rng.uniform(-1, 1, size=667)
    x[~on_line, :2] = rng.uniform(-1, 1, size=(1333, 2))
    found = dimension.dimension_change(x, 64)
    away, rejected = np.hypot(x[:, 0], x[:, 1]), np.asarray(found.rejected)
    near, far = ~on_line & (away < 0.2), ~on_line & (away > 0.5)
    assert rejected[near].mean() > 0.4 and rejected[far].mean() < 0.01
    assert rejected[on_line & (np.abs(x[:, 2]) > 0.3)].mean() < 0.01
    assert np.median(np.asarray(found.outer - found.inner)[rejected & near]) > 0.5


def test_benjamini_and_hochberg():
    """Against SciPy's adjusted p-values."""
    from jaxscale.dimension.changes import _highest_rejected

    p = np.random.default_rng(0).uniform(size=200).astype(np.float32) ** 3
    used = np.arange(200) % 5 > 0
    adjusted = stats.false_discovery_control(p[used])
    for rate in (0.01, 0.1, 0.3):
        threshold = _highest_rejected(jnp.asarray(p), jnp.asarray(used), rate)
        np.testing.assert_array_equal(p[used] <= threshold, adjusted <= rate)


@pytest.mark.thorough
def test_points_that_do_not_count_have_no_p_value_and_transforms_agree(assert_equal_to_a_loop):
    x = np.random.default_rng(0).uniform(size=(75, 3)).astype(np.float32)
    x[5] = x[4]
    found = dimension.dimension_change(x, 20)
    assert np.isnan(found.p_value[5]) and not found.rejected[5] and int(found.points_used) == 74
    read = lambda hoods: dimension.dimension_change(hoods, 20).p_value
    assert_equal_to_a_loop(read, 1e-4, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"k": 3}, "k=3 must be an integer of at least 4"),
        ({"breaks": [1]}, r"breaks must be neighbors from 2 to k-1=31; they are \[1\]"),
        ({"breaks": [K]}, "breaks must be"),
        ({"alternative": "more"}, "alternative must be 'increase' or"),
        ({"false_discovery_rate": 1}, "between 0 and 1; it is 1"),
    ],
)
def test_what_cannot_be_tested_is_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        dimension.dimension_change(**{"x": np.zeros((40, 2)), "k": K} | arguments)
