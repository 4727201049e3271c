"""Whatever is wrong with a cloud, every estimator gives a finite answer that is right, or says what is wrong.

*Right* is near what it says of the same cloud without the flaw. A new estimator is one line of `ESTIMATORS`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Mapping

import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators import reference_balls
from jaxscale.errors import InputError
from jaxscale.testing import clouds

# One shape, and where possible one k, so that estimators share the compiled search.
N, WIDTH, K = 160, 8, 10


@dataclasses.dataclass(frozen=True)
class Case:
    """How an estimator is called, and what it owes.

    Attributes:
      options: of every call.
      refused: options that must be refused, e.g. too small a k; none if the estimator has no such option.
      needs: points it must refuse to do with.
      exempt: flaws after which its answer need be finite only, and why.
    """

    options: Mapping = dataclasses.field(default_factory=dict)
    refused: Mapping | None = None
    needs: int = K
    exempt: Mapping[str, str] = dataclasses.field(default_factory=dict)


COVARIANCE = {"far outlier": "the outlier is the widest direction of the whole cloud"}
LENGTHS = {"far outlier": "the edges to the outlier are longer than all others together"}
ESTIMATORS = {
    "abide": Case({"k": K}, {"k": 1}),
    "bide": Case({"k": K}, {"k": 1}),
    "correlation_dimension": Case({"k1": K // 2, "k2": K}, {"k1": 0, "k2": 1}),
    "danco": Case({"k": K - 1}, {"k": 1}),
    "ess": Case({"k": K}, {"k": 2}),
    "fisher_separability": Case(refused={"condition_number": 1.0}, needs=1, exempt=COVARIANCE),
    "gride": Case({"n1": K // 2, "n2": K}, {"n1": 1, "n2": 1}),
    "knn_graph": Case({"k": 2}, {"k": 0}, needs=18, exempt=LENGTHS),
    "local_pca": Case({"k": K}, {"k": 1}),
    "mada": Case({"k": K}, {"k": 1}),
    "mind_ml": Case({"k": K - 1}, {"k": 0}),
    "mle": Case({"k": K}, {"k": 2}),
    # A radius has units, and one of the flaws changes them: this one leaves all to the k-th neighbor.
    "mle_radius": Case({"k": K, "radius": 1e4}, {"radius": 0.0}),
    "mom": Case({"k": K}, {"k": 1}),
    "pca": Case(refused={"rule": "no such rule"}, needs=1, exempt=COVARIANCE),
    # Two halvings, as half of these points are few, and four partitions, as those of 159 points are not of 160.
    "ph0": Case({"halvings": 2, "resamples": 4}, {"alpha": 0.0}, needs=63, exempt=LENGTHS),
    "tle": Case({"k": K}, {"k": 2}),
    "twonn": Case(refused={"discard": 1.0}, needs=2),
}
# No spread between points, or parts of the cloud, says nothing of the error of these.
ALIKE = {"ess", "local_pca", "pca"}
of_each_estimator = pytest.mark.parametrize("name", ESTIMATORS)
# One that reads distances to neighbors, one that reads neighbors, one that counts pairs, one that reads the whole
# cloud, and one that reads a graph. What the others make of copies and of rows left out is in the file of each too.
REPRESENTATIVES = ("mle", "local_pca", "correlation_dimension", "fisher_separability", "ph0")
of_each_kind = pytest.mark.parametrize(
    "name", [name if name in REPRESENTATIVES else pytest.param(name, marks=pytest.mark.slow) for name in ESTIMATORS]
)


@pytest.fixture(scope="module", autouse=True)
def few_reference_balls():
    """What danco is compared with costs more than all estimators: four samples tell flaws apart as well as sixty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_balls, "READS", 4 * N)
        yield


def rng():
    return np.random.default_rng(0)


@functools.cache
def clean():
    return clouds.cube(N, 3, WIDTH, key=0)


def estimate(name, x, **options):
    """What the estimator says of `x`, with an error above zero; nan of those whose points can all count alike."""
    result = getattr(dimension, name)(x, **ESTIMATORS[name].options, **options)
    assert np.isfinite(result.dimension) and result.dimension > 0, f"{name} gave {result.dimension}"
    error = result.standard_error
    alike = name in ALIKE and np.isnan(error)
    assert alike or (np.isfinite(error) and error > 0), f"{name} gave {result.dimension} ± {error}"
    assert result.dimension.dtype == np.float32
    return result


@functools.cache
def of_clean(name):
    return float(estimate(name, clean()).dimension)


def test_every_estimator_is_tried():
    exported = {name: getattr(dimension, name) for name in dimension.__all__}
    returns = {name: inspect.signature(f).return_annotation for name, f in exported.items() if inspect.isfunction(f)}
    assert set(ESTIMATORS) == {name for name, kind in returns.items() if kind in ("Estimate", dimension.Estimate)}


def far_outlier(x):
    x = x.copy()
    x[7] = 1e4
    return x


def outlier_columns(x):
    """Two columns stand apart, which makes all norms near 10³, as in hidden states of language models."""
    x = x.copy()
    x[:, [1, 5]] += np.float32([800, -600])
    return x


FLAWS = {
    # flaw: (what it does to a cloud, the relative change of the answer that it may cause)
    "integers": (lambda x: np.round(1000 * x).astype(np.int32), 0.02),  # steps of 1 at neighbor distances near 100
    "float16": (lambda x: x.astype(np.float16), 0.02),  # steps of 10⁻³ of the cube's side
    "far outlier": (far_outlier, 0.03),  # one point of 160 says something else
    "outlier columns": (outlier_columns, 0.01),  # steps of 6e-5 at neighbor distances near 0.1
}


@pytest.mark.thorough
@of_each_kind
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_moves_the_answer_little(name, flaw):
    harm, rtol = FLAWS[flaw]
    answer = estimate(name, harm(clean())).dimension
    if flaw not in ESTIMATORS[name].exempt:
        np.testing.assert_allclose(answer, of_clean(name), rtol=rtol)


@pytest.mark.thorough
@of_each_kind
def test_a_column_much_wider_than_the_others_leaves_a_finite_answer(name):
    """No answer is right: 160 points of a box 10³ times as long as wide look like a line."""
    assert 0.5 < estimate(name, clean() * np.where(np.arange(WIDTH) == 2, 1e3, 1)).dimension < 4


@pytest.mark.thorough
@of_each_kind
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_copies_of_points_and_rows_of_nan_count_as_nothing(name, share):
    points = N - max(1, int(share * N))
    copies, missing = clean().copy(), clean().copy()
    copies[points:] = clean()[rng().integers(0, points, N - points)]
    missing[points:], missing[-1, 0] = np.nan, np.inf
    repeated, dropped = estimate(name, copies), estimate(name, missing, nonfinite="drop")
    assert repeated.duplicates_collapsed == dropped.nonfinite_dropped == N - points
    # The distinct points are the same; only sums run in another order.
    np.testing.assert_allclose(repeated.dimension, dropped.dimension, rtol=1e-4)
    # Half of the points are another sample, from which the noisiest, twonn, errs by 1/√80.
    np.testing.assert_allclose(repeated.dimension, of_clean(name), rtol=0.02 if share < 0.5 else 0.2)


@pytest.mark.thorough
@of_each_kind
def test_one_column_has_dimension_one(name):
    # Three standard errors of the noisiest, twonn: 3/√160.
    assert abs(estimate(name, rng().uniform(size=(N, 1)).astype(np.float32)).dimension - 1) < 0.25


@of_each_estimator
def test_rows_that_are_not_finite_are_refused(name):
    x = clean().copy()
    x[5], x[9, 2] = np.nan, -np.inf
    with pytest.raises(InputError, match=r"x has 2 rows with nan or infinity \(the first is row 5\)"):
        estimate(name, x)


@of_each_estimator
def test_too_few_points_are_refused(name):
    with pytest.raises(InputError, match=r"more than \d+ points|points.* x has shape"):
        estimate(name, clean()[: ESTIMATORS[name].needs])


@of_each_kind
def test_points_that_are_all_equal_are_refused(name):
    with pytest.raises(InputError, match="159 repeat an earlier one"):
        estimate(name, np.ones((N, WIDTH), np.float32))


@of_each_estimator
def test_options_out_of_range_are_refused(name):
    options = ESTIMATORS[name].refused
    argument = next(iter(options))
    with pytest.raises(InputError, match=argument):
        getattr(dimension, name)(clean(), **options)
