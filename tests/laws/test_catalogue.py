"""Every law of the catalogue is consistent with itself, and names are read as documented."""

import jax
import numpy as np
import pytest

from jaxscale import errors, laws
from jaxscale.laws.law import Range
from tests.laws.tables import isoflop_grid, power_law

COLUMNS = {
    "n": np.geomspace(1e4, 1e8, 40),
    "N": np.geomspace(1e7, 1e10, 40),
    "D": np.geomspace(1e10, 1e9, 40),
    "C": np.geomspace(1e18, 1e21, 40),
    "M": np.tile([5.0, 20.0, 80.0, 320.0], 10),
    "U": np.full(40, 2e9),
}


def middle(law):
    """Coordinates in the middle of every range, (P,)."""
    return np.array([1.0] * len(law.linear) + [r.at(0.4) for r in law.nonlinear.values()])


@pytest.mark.parametrize("name", [*laws.LAWS, "product:N,D"])
def test_parameters_and_coordinates_give_each_other_in_any_units(name):
    law = laws.named(name)
    columns = [COLUMNS[column] for column in law.columns]
    units = law.units_of(columns)
    with jax.enable_x64(True):
        parameters = {k: float(v) for k, v in law.in_raw_units(law.parameters_at(middle(law)), units).items()}
        np.testing.assert_allclose(law.coordinates_of(parameters, units), middle(law), rtol=1e-9)
    # The curve does not depend on the units in which it is written.
    raw = law.losses(parameters, *columns)
    with jax.enable_x64(True):
        scaled = law.curve(middle(law), np.stack([x / unit for x, unit in zip(columns, units, strict=True)]))
        np.testing.assert_allclose(raw, np.broadcast_to(scaled, raw.shape), rtol=1e-9)
    assert (raw > 0).all()


@pytest.mark.parametrize("name", [*laws.LAWS, "product:N,D"])
def test_curves_are_linear_in_the_coordinates_said_to_be(name):
    law = laws.named(name)
    columns = [COLUMNS[column] for column in law.columns]
    scaled = np.stack([x / unit for x, unit in zip(columns, law.units_of(columns), strict=True)])
    with jax.enable_x64(True):
        z = middle(law)
        for k in range(len(law.linear)):
            at = lambda value, k=k: np.asarray(law.curve(np.where(np.arange(len(z)) == k, value, z), scaled))
            np.testing.assert_allclose(at(2.0) - at(1.0), at(3.0) - at(2.0), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", [*laws.LAWS, "product:N,D"])
def test_curves_have_a_value_and_a_slope_at_the_ends_of_every_range(name):
    law = laws.named(name)
    columns = [COLUMNS[column] for column in law.columns]
    scaled = np.stack([x / unit for x, unit in zip(columns, law.units_of(columns), strict=True)])
    with jax.enable_x64(True):
        ends = [
            np.where(np.arange(len(law.coordinates)) == place, end, middle(law))
            for place, pair in enumerate(law.bounds)
            for end in pair[np.isfinite(pair)]
        ]
        curve = lambda z: law.curve(z, scaled) + np.zeros(scaled.shape[1])
        both = jax.jit(jax.vmap(lambda z: (curve(z), jax.jacfwd(curve)(z))))(np.array(ends))
        assert all(np.isfinite(each).all() for each in both)


@pytest.mark.parametrize("name", ["repeated_data", "m4", "skaling", "kaplan", "kaplan_floor"])
def test_parameters_at_the_end_of_a_range_have_the_loss_of_their_coordinates(name):
    law = laws.named(name)
    columns = [COLUMNS[column] for column in law.columns]
    scaled = np.stack([x / unit for x, unit in zip(columns, law.units_of(columns), strict=True)])
    z = np.where(np.array(law.coordinates) == law.linear[-1], 0.0, middle(law))  # no term beside the floor
    with jax.enable_x64(True):
        wanted = np.broadcast_to(law.curve(z, scaled), (40,))
        parameters = {k: float(v) for k, v in law.parameters_at(z).items()}
    np.testing.assert_allclose(law.losses(parameters, *scaled), wanted, atol=1e-300)


def test_names_take_columns():
    assert laws.named("data:tokens").columns == ("tokens",)
    assert laws.named("data:tokens").formula == "L(tokens) = E + A tokens^-α"
    assert laws.named("additive:N,D,width").parameters == ("E", "A", "B", "F", "alpha", "beta", "gamma")
    assert laws.named("tied:N,D").parameters == ("E", "A", "B", "alpha")
    assert not laws.named("power:n").has_floor
    assert laws.named("m4:C").exponents == {"C": "alpha"}
    assert laws.named("product:N,D").formula == "L(N, D) = c N^α D^β" and not laws.named("product:C").exponents
    assert laws.named("farseer:size,tokens").references == {"N_0": "size", "D_0": "tokens"}
    assert laws.over(laws.named("product:N,D"), ("C", "D")).if_zero["alpha"] == "the {target} depends on C"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chinchila", "did you mean 'chinchilla'"),
        ("additive:", "names no column"),
        ("product", "did you mean"),
        ("product:a,b,c,d", "one to 3 different names"),
        ("additive:a,b,c,d,e", "one to 4 different names"),
        ("data:n,N", "reads 1 columns"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, message):
    with pytest.raises(errors.InputError, match=message):
        laws.named(name)


def test_a_law_of_ones_own_is_one_declaration():
    mine = laws.Law(
        name="mine",
        columns=("n",),
        formula="L(n) = E + A n^-α",
        expression=lambda p, n: p["E"] + p["A"] * laws.power(n / 1e6, -p["alpha"]),
        linear=("E", "A"),
        nonlinear={"alpha": Range(0.03, 2.5, logarithmic=True)},
    )
    table = power_law(noise=0.003)
    own, known = laws.fit(table, mine, resamples=0), laws.fit(table, "data", resamples=0)
    assert own.parameters["alpha"] == pytest.approx(known.parameters["alpha"], rel=1e-6)
    assert own.parameters["A"] == pytest.approx(known.parameters["A"] * 1e6 ** -known.parameters["alpha"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["chinchilla", "tied", "skaling", "kaplan", "kaplan_floor", "over_training", "bnsl", "m3", "m4"]
)
def test_tables_without_noise_are_fitted_to_rounding(name):
    law = laws.named(name)
    table = isoflop_grid() | {"n": np.geomspace(1e4, 1e8, 54)}
    table |= {"C": 6 * table["N"] * table["D"], "M": table["D"] / table["N"]}
    columns = [table[column] for column in law.columns]
    with jax.enable_x64(True):
        truth = law.in_raw_units(law.parameters_at(middle(law)), law.units_of(columns))
    fitted = laws.fit({k: table[k] for k in law.columns} | {"loss": law.losses(truth, *columns)}, law, resamples=0)
    assert np.abs(fitted.residuals).max() < 1e-6
