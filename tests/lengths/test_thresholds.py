"""N*(ε) and its exponent: right where they are known, censored where the grid ends, honest where runs are few."""

import math

import jax
import numpy as np
import pytest

from jaxscale.errors import InputError
from jaxscale.lengths import exponent, threshold

LENGTHS = np.array([8, 16, 32, 64, 128])
KEY = jax.random.key(0)


def errors(scale, power=1.0, noise=0.0, runs=5, seed=0):
    spread = np.exp(noise * np.random.default_rng(seed).normal(size=(len(LENGTHS), runs)))
    return scale * LENGTHS[:, None] ** -power * spread


def test_a_threshold_lies_where_a_power_law_crosses():
    found = threshold(LENGTHS, errors(2.0), epsilon=0.05, key=KEY)
    assert found.length == pytest.approx(40) and found.censored == "no" and found.runs == 5
    assert found.interval == pytest.approx((40, 40))


@pytest.mark.parametrize(("epsilon", "censored", "interval"), [(1.0, "left", (0, 0)), (1e-3, "right", (math.inf,) * 2)])
def test_a_grid_that_does_not_hold_the_threshold_says_on_which_side_it_lies(epsilon, censored, interval):
    found = threshold(LENGTHS, errors(2.0), epsilon, key=KEY)
    assert found.censored == censored and found.interval == interval


def test_an_error_that_rises_again_has_not_been_passed():
    table = errors(2.0)
    table[3] = 0.2
    assert threshold(LENGTHS, table, epsilon=0.05, key=KEY).length > 64


def test_an_interval_of_the_bootstrap_covers_the_threshold():
    hits = 0
    for seed in range(100):
        found = threshold(LENGTHS, errors(2.0, noise=0.3, runs=8, seed=seed), 0.05, key=KEY, resamples=200)
        hits += found.interval[0] <= 40 <= found.interval[1]
    # Percentiles over 8 runs cover less than they say: about 88% for 95%.
    assert hits >= 78


def test_runs_left_out_are_left_out_and_none_left_is_no_threshold():
    table = errors(2.0)
    table[:, 0] = np.nan
    assert threshold(LENGTHS, table, 0.05, key=KEY).length == pytest.approx(40)
    # The threshold of 40 lies beyond 16, whatever that may do, and possibly at or below 32.
    table[1] = np.nan
    found = threshold(LENGTHS, table, 0.05, key=KEY)
    assert found.length == pytest.approx(40) and np.isfinite(found.draws).all()
    table[2] = np.nan
    assert threshold(LENGTHS, table, 0.05, key=KEY) is None
    assert threshold(LENGTHS, np.full_like(table, np.nan), 0.05, key=KEY) is None


def test_the_exponent_of_thresholds_is_recovered():
    complexities = [1, 2, 4]
    found = [threshold(LENGTHS, errors(0.5 * c**1.5, noise=0.02), 0.05, key=KEY) for c in complexities]
    fitted = exponent(complexities, LENGTHS, found)
    assert fitted.value == pytest.approx(1.5, abs=0.05)
    assert fitted.interval[0] < fitted.value < fitted.interval[1]


def test_censored_thresholds_enter_as_bounds():
    # N* = 10 c²: 10, 40 and, beyond the grid, 160 and 640. Read as 128 the last two would flatten the slope to 0.9.
    complexities = [1, 2, 4, 8]
    found = [threshold(LENGTHS, errors(0.5 * c**2, noise=0.02), 0.05, key=KEY) for c in complexities]
    assert [one.censored for one in found] == ["no", "no", "right", "right"]
    assert exponent(complexities, LENGTHS, found).value > 1.7


def test_one_threshold_inside_the_grid_has_no_slope():
    found = [threshold(LENGTHS, errors(0.5 * c**4), 0.05, key=KEY) for c in (1, 4)]
    assert math.isnan(exponent([1, 4], LENGTHS, found).value)


def test_a_grid_out_of_order_is_told():
    with pytest.raises(InputError, match="must increase"):
        threshold(LENGTHS[::-1], errors(2.0), 0.05, key=KEY)
