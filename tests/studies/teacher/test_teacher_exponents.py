"""Exponents at a known floor: their values on exact laws, and how often their intervals hold on simulated tables."""

import numpy as np
import pytest
import scipy.stats

from jaxscale.studies.teacher import exponents

SIZES = (100, 215, 464, 1000, 2154, 4642, 10000)
EVEN = np.full(40, 1 / 40)


def table(slope, generator=None, seeds=3, documents=40, of_documents=0.0, of_seeds=0.0, curve=0.0):
    """Errors (sizes, seeds, documents) of a power law whose exponent differs between documents and between seeds."""
    generator = generator or np.random.default_rng(0)
    x = np.log(SIZES) - np.log(SIZES).mean()
    level = np.exp(generator.normal(size=documents))
    each = slope + of_seeds * generator.normal(size=(seeds, 1)) + of_documents * generator.normal(size=documents)
    return level * np.exp(-each * x[:, None, None] - curve * x[:, None, None] ** 2)


def fit(errors, weight=EVEN):
    return exponents.power_law(SIZES, errors, weight, 0.95, 200)


def test_an_exact_power_law_is_read_exactly():
    found = fit(np.broadcast_to(7.0 * np.array(SIZES, float)[:, None, None] ** -0.3, (7, 3, 40)))
    assert found["exponent"] == pytest.approx(0.3) and found["interval"] == pytest.approx([0.3, 0.3])
    assert found["scale"] == pytest.approx(7.0) and found["rms_residual"] == pytest.approx(0, abs=1e-9)
    assert found["bend"]["change"] == pytest.approx(0, abs=1e-9)


def test_a_parabola_bends_by_what_its_slope_changes():
    found = fit(table(0.3, curve=0.02))
    assert found["bend"]["change"] == pytest.approx(0.04 * np.log(SIZES[-1] / SIZES[0]), rel=1e-6)


@pytest.mark.parametrize(("of_documents", "of_seeds"), [(0.08, 0.0), (0.0, 0.03), (0.05, 0.02)])
def test_intervals_hold_the_exponent_of_all_documents_and_seeds(of_documents, of_seeds):
    generator, held = np.random.default_rng(1), 0
    # The exponent of a mean over documents is that of the large-sample mean, read from many documents.
    truth = fit(table(0.2, np.random.default_rng(2), 1, 20000, of_documents), np.full(20000, 1 / 20000))["exponent"]
    for _ in range(100):
        low, high = fit(table(0.2, generator, of_documents=of_documents, of_seeds=of_seeds))["interval"]
        held += low <= truth <= high
    assert held >= 88  # of 100; fewer has a chance below one in a hundred at 95%


def test_errors_off_a_line_make_the_exponent_as_uncertain_as_least_squares_says():
    """Where documents and seeds are alike, only the distances from the line are left to say how sure it is."""
    off = 0.05 * np.random.default_rng(3).normal(size=(7, 1, 1))
    errors = np.array(SIZES, float)[:, None, None] ** -0.3 * np.exp(off)
    found = fit(np.broadcast_to(errors, (7, 3, 40)))
    line = scipy.stats.linregress(np.log(SIZES), np.log(errors[:, 0, 0]))
    reach = scipy.stats.t.ppf(0.975, 5) * line.stderr
    assert found["interval"] == pytest.approx([-line.slope - reach, -line.slope + reach])


def test_labels_of_falling_variance_are_counted_per_variance():
    """An error σ²(n)/n to the power 0.3 falls faster in n than its exponent says."""
    variances = 1 + 0.5 * (np.array(SIZES) / SIZES[0]) ** -0.2
    errors = np.broadcast_to((np.array(SIZES) / variances)[:, None, None] ** -0.3, (7, 3, 40))
    assert fit(errors)["exponent"] > 0.305
    found = exponents.power_law(SIZES, errors, EVEN, 0.95, 200, variances=variances)
    assert found["exponent"] == pytest.approx(0.3)
    last = errors[-1, 0, 0]
    assert found["scale"] * SIZES[-1] ** -0.3 == pytest.approx(last) and found["rms_residual"] < 1e-9


def test_what_seeds_explain_of_the_distances_from_the_line_is_not_counted_twice():
    generator = np.random.default_rng(4)
    errors = table(0.3, seeds=30) * np.exp(0.3 * generator.normal(size=(7, 30, 1)))
    low, high = fit(errors)["interval"]
    slopes = [-np.polyfit(np.log(SIZES), np.log(one @ EVEN), 1)[0] for one in errors.swapaxes(0, 1)]
    of_seeds = scipy.stats.t.ppf(0.975, 29) * np.std(slopes, ddof=1) / np.sqrt(30)
    assert (high - low) / 2 < 1.4 * of_seeds


def test_a_document_counts_by_its_positions():
    errors = np.arange(6.0).reshape(1, 3, 2)  # three windows of two positions, two of them of one document
    of_documents, weight = exponents.by_document(errors, np.array([7, 7, 9]))
    np.testing.assert_allclose(of_documents, [[1.5, 4.5]])
    np.testing.assert_allclose(weight, [2 / 3, 1 / 3])
    (row,) = exponents.means([10], of_documents[:, None], weight)
    assert row["loss"] == pytest.approx(errors.mean())
