"""Calibration takes off the bias it says it takes off, with intervals that hold the truth."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension import calibration
from jaxscale.errors import InputError

N, K = 600, 5
calibrate = functools.partial(dimension.calibrate, k=K, clouds=4)


def cloud(family, d, seed=0, n=N):
    key = jax.random.key(1000 + seed)  # of which no reference cloud is drawn
    width = max(8, 2 ** int(np.ceil(np.log2(d + 1))))
    return calibration._cloud(key, calibration.FAMILIES.index(family), d, n, width)


def test_reference_clouds_are_what_they_are_called():
    sphere, cube, gaussian = (np.asarray(cloud(family, 3)) for family in calibration.FAMILIES)
    np.testing.assert_allclose(np.linalg.norm(sphere, axis=1), 1, rtol=1e-6)
    assert np.all((sphere != 0).sum(1) == 4)
    assert cube.min() == 0 and np.all((cube[:, :3] > 0) & (cube[:, :3] < 1)) and not cube[:, 3:].any()
    # Means and variances of 600 points, to four standard errors.
    np.testing.assert_allclose(gaussian[:, :3].mean(0), 0, atol=0.17)
    np.testing.assert_allclose(gaussian[:, :3].var(0), 1, rtol=0.24)
    assert not gaussian[:, 3:].any()


def test_inversion_is_exact_where_log_reading_is_linear():
    log_d = jnp.log(jnp.array([2.0, 4.0, 8.0]))
    log_reading = 0.8 * log_d + 0.1
    read_at_5 = 0.8 * jnp.log(5) + 0.1
    error = jnp.full(3, 0.02)
    uneven = jnp.array([0.3, 0.2, 0.1])
    found, slope, its_error, its_uneven, _ = calibration._invert(read_at_5, log_d, log_reading, error, uneven, error)
    share = np.log2(5 / 4)
    np.testing.assert_allclose(jnp.exp(found), 5, rtol=1e-5)
    np.testing.assert_allclose(slope, 1 / 0.8, rtol=1e-5)
    np.testing.assert_allclose(its_error, 0.02 / 0.8 * np.hypot(share, 1 - share), rtol=1e-4)
    np.testing.assert_allclose(its_uneven, 0.2 - 0.1 * share, rtol=1e-5)


def test_mixing_is_smooth_between_families_and_flat_at_and_beyond_them():
    uneven, log_d = jnp.array([0.1, 0.2, 0.4]), jnp.array([1.0, 2.0, 1.5])
    for value, shares, leverage in (
        (0.05, [1, 0, 0], 0),
        (0.15, [0.5, 0.5, 0], 15),
        (0.2, [0, 1, 0], 0),
        (0.25, [0, 27 / 32, 5 / 32], -2.8125),
        (0.5, [0, 0, 1], 0),
    ):
        mixture, found = calibration._mix(jnp.float32(value), uneven, log_d)
        np.testing.assert_allclose(mixture, shares, atol=1e-3)
        np.testing.assert_allclose(found, leverage, rtol=1e-2, atol=1e-3)
    # The derivative is that of the mixture.
    at = jnp.float32(0.31)
    slope = jax.grad(lambda value: calibration._mix(value, uneven, log_d)[0] @ log_d)(at)
    np.testing.assert_allclose(slope, calibration._mix(at, uneven, log_d)[1], rtol=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("family", "d"),
    [
        pytest.param("sphere", 10, marks=pytest.mark.slow),
        pytest.param("cube", 10, marks=pytest.mark.thorough),
        pytest.param("gaussian", 10, marks=pytest.mark.thorough),
        ("cube", 2),
    ],
)
def test_each_family_is_told_and_its_dimension_found(family, d):
    found = calibrate(cloud(family, d))
    # Four standard errors of one cloud, 2.5% each at n = 600 and k = 5; the reading is off by 6 to 20% at d = 10.
    assert abs(found.dimension - d) < 0.1 * d
    np.testing.assert_allclose(found.reading, found.dimension + found.bias, rtol=1e-6)
    if d == 10:
        assert found.families[int(jnp.argmax(found.mixture))] == family
        assert found.underestimated == (found.reading < 9.4)


@pytest.mark.thorough
def test_a_given_family_is_believed():
    x = cloud("cube", 10)
    as_cube, as_sphere = calibrate(x, reference="cube"), calibrate(x, reference="sphere")
    np.testing.assert_array_equal(as_cube.mixture, [1])
    # The sphere has no boundary, so it explains less of the low reading.
    assert as_sphere.dimension < 0.96 * as_cube.dimension


@pytest.mark.thorough
def test_any_estimator_of_neighborhoods_can_be_calibrated():
    found = calibrate(cloud("cube", 6), estimator=functools.partial(dimension.mle_radius, radius=1e4, k=K))
    # Four distances below the fifth know the dimension to 2% at n = 600; the reading is low by more.
    assert found.reading < 5.7 and abs(found.dimension - 6) < 4 * found.standard_error < 0.3 * 6


@pytest.mark.thorough
def test_other_sizes_are_reached_by_scaling_the_bias(monkeypatch):
    x = cloud("cube", 10)
    near = calibrate(x, reference="cube")
    monkeypatch.setattr(calibration, "LARGEST_REFERENCE", N // 2)
    far = calibrate(x, reference="cube")
    # The bias of a fifth is greater by a fourteenth at 300 points; 2% of d is the chance of four references of 300.
    np.testing.assert_allclose(far.dimension, near.dimension, rtol=0.04)


@pytest.mark.thorough
def test_note_names_reading_dimension_and_what_points_resolve():
    assert calibrate(cloud("cube", 1)).note == ""
    note = calibrate(cloud("cube", 10)).note
    assert "likely too low" in note and "n=600 points" in note and "2 log10 n = 5.6" in note


@pytest.mark.thorough
def test_references_are_read_once_and_kept_on_disk(tmp_path, monkeypatch):
    path, x = tmp_path / "references.json", cloud("cube", 3)
    first = calibrate(x, cache=path)
    assert len(json.loads(path.read_text())) >= 9
    monkeypatch.setattr(calibration, "_IN_MEMORY", {})
    monkeypatch.setattr(calibration, "_read_clouds", None)
    np.testing.assert_allclose(calibrate(x, cache=path).dimension, first.dimension, rtol=1e-6)


def test_another_key_is_another_draw_within_the_error():
    x = cloud("cube", 5)
    one, two = calibrate(x), calibrate(x, key=jax.random.key(7))
    assert one.dimension != two.dimension
    assert abs(one.dimension - two.dimension) < 3 * one.standard_error


@pytest.mark.thorough
def test_application_is_pure():
    x = jnp.stack([cloud("cube", 4, seed) for seed in range(2)])
    references = calibration.read_references("mle", N, (3, 4, 5, 6), K, clouds=4)

    def read(points):
        hoods = dimension.neighborhoods(points, K)
        return calibration.apply_references(dimension.mle(hoods, K), hoods, references).dimension

    np.testing.assert_allclose(jax.jit(jax.vmap(read))(x), [read(each) for each in x], rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reference": "torus"}, "reference must be None, 'sphere', 'cube', 'gaussian'; it is 'torus'"),
        ({"clouds": 1}, "clouds=1 must be an integer of at least 2"),
        ({"estimator": "best"}, "estimator='best' is not known"),
        (
            {"estimator": lambda hoods: dimension.mle(hoods, K), "cache": "x.json"},
            "cache needs an estimator with a name",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        calibrate(cloud("cube", 3), **arguments)


def test_tracing_is_refused_with_the_way_to_do_it():
    with pytest.raises(InputError, match="apply_references inside"):
        jax.jit(calibrate)(cloud("cube", 3))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [functools.partial(dimension.mada, k=10, cut=True), pytest.param("mind_ml", marks=pytest.mark.slow)]
)
def test_a_cut_at_the_width_is_not_taken_for_bias(name):
    """A cloud that fills its space was compared with references that were cut elsewhere: 7.10 ± 0.07 for 8.

    Few neighbors of few points: many local dimensions are beyond the cut.
    """
    x = np.random.default_rng(0).normal(size=(150, 8)).astype(np.float32)
    found = dimension.calibrate(x, name, k=10, reference="gaussian", clouds=4)
    wider = dimension.calibrate(np.pad(x, ((0, 0), (0, 8))), name, k=10, reference="gaussian", clouds=4)
    np.testing.assert_allclose(found.dimension, wider.dimension, rtol=0.01)
    assert abs(found.dimension - 8) < 3 * found.standard_error
