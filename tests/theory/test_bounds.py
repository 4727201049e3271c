"""The full bound: sizes against hand counts, the rate of the theorem, and the consistency of its pieces."""

import math

import pytest

from jaxscale import errors, theory


def test_sizes_of_the_construction_equal_a_hand_count():
    # d = 2 in R^3, N = 4, 6 charts: G = 6 · 25 = 150 grid tokens.
    sizes = theory.architecture(d=2, width=3, grid=4, charts=6)
    assert sizes.blocks == 3 + 2
    assert sizes.tokens == 3 + 3 * 150 + 1
    assert sizes.heads == (2 * 4 + 7) * 150
    assert sizes.parameters == 5 * (sizes.heads * 75 + 2 * 6 * 7)


@pytest.mark.parametrize("d", range(1, 11))
def test_depth_grows_with_the_logarithm_of_the_dimension_only(d):
    depths = {theory.architecture(d, 20, grid).blocks for grid in (1, 10, 1000)}
    assert depths == {3 + math.ceil(math.log2(d + 1))}


def test_the_covering_number_grows_with_accuracy_as_the_logarithm():
    sizes = theory.architecture(d=2, width=3, grid=4)
    coarse, fine = (theory.log_covering_number(sizes, delta) for delta in (1e-2, 1e-4))
    assert fine - coarse == pytest.approx(sizes.parameters * math.log(100))


@pytest.mark.parametrize(("d", "beta"), [(1, 1.0), (2, 1.0), (2, 0.5)])
def test_the_bound_falls_at_the_rate_of_the_theorem(d, beta):
    # Logarithms slow it down: over 20 decades at n = 1e60 they change the slope by a few percent.
    near, far = (theory.generalization_bound(n, d, 10, beta).total for n in (1e60, 1e80))
    slope = math.log10(near / far) / 20
    assert slope == pytest.approx(theory.data_exponent(d, beta), rel=0.05)


def test_the_bound_is_the_sum_of_its_parts_and_balances_them():
    bound = theory.generalization_bound(1e60, d=2, width=10)
    assert bound.total == bound.approximation + bound.estimation
    # A sum of two powers is least where they stand as their exponents do.
    assert 0.2 < bound.approximation / bound.estimation < 5


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.architecture(0, 3, 4), "d=0"),
        (lambda: theory.architecture(1.5, 3, 4), "d=1.5"),
        (lambda: theory.architecture(4, 3, 4), "width=3"),
        (lambda: theory.architecture(2, 3, 0.5), "grid=0.5"),
        (lambda: theory.generalization_bound(0.5, 2, 3), "n=0.5"),
        (lambda: theory.generalization_bound(10, 2, 3, beta=1.5), "beta=1.5"),
        (lambda: theory.generalization_bound(10, 2, 3, noise=-1.0), "noise=-1"),
        (lambda: theory.log_covering_number(theory.architecture(2, 3, 4), 0.0), "delta=0"),
    ],
)
def test_values_out_of_range_are_refused_by_name(call, named):
    with pytest.raises(errors.InputError, match=named):
        call()
