"""The theorem on the cube: error below its bound, slopes of −β, and the sizes it states."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import constructions as con
from jaxscale.constructions.approximation import lattice, probe_points
from jaxscale.constructions.cube import bound, interpolation_program
from jaxscale.constructions.expressions import depth
from jaxscale.constructions.targets import cone
from jaxscale.errors import InputError


def near_apex(d, N, count=1500):
    """Points that see the apex of a cone at the origin on the scale of the grid, midpoints of its cells included."""
    rng = np.random.default_rng(0)
    cells = (lattice(d, 3) + 0.5) / N
    points = np.concatenate([cells, rng.uniform(0, 2 / N, (count, d)), np.full((1, d), 0.5 / N)])
    return points[np.all(points <= 1, axis=1)]


def sup_error(made, N, d):
    points = np.concatenate([*probe_points(made, 1500, key=0).values(), near_apex(d, N)])
    return np.abs(made.formula(points) - made.target(points)).max()


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize(("d", "grids"), [(1, (4, 8, 16, 32, 64)), (2, (2, 4, 8, 16)), (3, (2, 4, 8, 12))])
def test_error_falls_as_the_grid_to_the_power_of_minus_beta_and_stays_below_its_bound(d, grids, beta):
    errors = []
    for N in grids:
        made = con.approximate(cone(np.zeros(d), beta), d, grid=N, holder=con.Holder(1.0, beta), backend="structured")
        errors.append(sup_error(made, N, d))
        assert errors[-1] <= made.bound
    slope = np.polyfit(np.log(grids), np.log(errors), 1)[0]
    assert abs(slope + beta) < 0.1


@pytest.mark.parametrize("backend", ["pairwise", "structured"])
@pytest.mark.parametrize("d", range(1, 11))
def test_every_dimension_is_approximated(d, backend):
    made = con.approximate(cone(np.zeros(d)), np.int64(d), grid=np.int32(1), holder=con.Holder(1.0), backend=backend)
    x = np.random.default_rng(0).uniform(size=(50, d))
    assert np.abs(made.formula(x) - made.target(x)).max() <= made.bound
    assert con.rounding(made.network, "float64").leaks == 0


def test_bound_is_attained_in_one_dimension():
    """A cone with its apex at a grid point: midway between two grid points the error is all that is allowed."""
    made = con.approximate(lambda x: np.abs(x[:, 0] * 8 % 2 - 1) / 8, 1, grid=4, holder=con.Holder(1.0))
    x = np.linspace(0, 1, 4001)[:, None]
    assert np.abs(made.formula(x) - made.target(x)).max() > 0.99 * made.bound


@settings(max_examples=25)
@given(st.integers(0, 9999), st.sampled_from([1, 2, 3]), st.floats(0.2, 1.0))
def test_random_hoelder_functions_stay_below_their_bounds(seed, d, beta):
    """Σ a_i min_k |x - z_ik|^β has the Hölder constant Σ |a_i|."""
    rng = np.random.default_rng(seed)
    a, z = rng.normal(size=3), rng.uniform(size=(3, 4, d))
    f = lambda x: np.linalg.norm(x[:, None, None] - z, axis=-1).min(axis=2) ** beta @ a
    N = int(rng.integers(1, 6))
    made = con.approximate(f, d, grid=N, holder=con.Holder(np.abs(a).sum(), beta))
    points = np.concatenate([*probe_points(made, 300, key=seed).values(), z.reshape(-1, d)])
    assert np.abs(made.formula(points) - f(points)).max() <= made.bound
    assert made.formula(points).min() >= f(lattice(d, N) / N).min() - 1e-12  # an average of values


@pytest.mark.parametrize(("beta", "constant"), [(1.5, 3.0), (2.0, 4.0), (3.0, 8.0)])
@pytest.mark.parametrize("d", [1, 2])
def test_taylor_polynomials_reach_higher_orders(d, beta, constant, definition):
    """cos 2x has Lipschitz derivatives of constants 4 and 8; |f''| ≤ 4 and |f'| ≤ 2 bound the 1.5-Hölder constant."""
    f = lambda x: jnp.cos(2 * x[:, 0]) if d == 1 else jnp.cos(1.2 * x[:, 0] + 1.6 * x[:, 1])
    grids, errors = (4, 8, 16), []
    for N in grids:
        made = con.approximate(f, d, grid=N, holder=con.Holder(constant, beta), backend="structured")
        points = np.concatenate([*probe_points(made, 500, key=0).values()])
        errors.append(np.abs(made.formula(points) - np.asarray(f(points))).max())
        assert errors[-1] <= made.bound
    assert np.polyfit(np.log(grids), np.log(errors), 1)[0] < -beta + 0.1
    coarse = con.approximate(f, d, grid=2, holder=con.Holder(constant, beta))
    np.testing.assert_allclose(definition(coarse.network, points[:5]), coarse.formula(points[:5]), atol=1e-13)


@pytest.mark.parametrize("encoding", ["quarter_circle", "full_circle", "parabola", "binary", "structured"])
@pytest.mark.parametrize(("d", "N"), [(1, 8), (2, 4), (3, 2)])
def test_network_equals_its_formula(d, N, encoding, definition):
    options = {"backend": "structured"} if encoding == "structured" else {"encoding": encoding}
    made = con.approximate(cone(np.full(d, 0.3), 0.5), d, grid=N, **options)
    x = np.random.default_rng(0).uniform(size=(6, d))
    tolerance = 1e-12 if "circle" in encoding else 1e-15
    np.testing.assert_allclose(definition(made.network, x), made.formula(x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("d", range(1, 11))
def test_depth_depends_on_the_dimension_alone(d):
    """Two blocks and a tree of products, for every accuracy; one more with addresses."""
    expected = 2 + math.ceil(math.log2(d))
    for N in (1, 2, 3):
        if (N + 1) ** d > 70_000:
            continue
        program = interpolation_program(d, N, np.linspace(1, 2, (N + 1) ** d))
        assert depth(program) + 1 == expected
        if (N + 1) ** d <= 1100:
            assert len(con.compile(program).shape.blocks) == expected
            assert len(con.compile(program, backend="structured").shape.blocks) == expected + (d > 1)


@pytest.mark.parametrize(("d", "N"), [(1, 8), (2, 5), (3, 3), (4, 2)])
def test_sizes_are_within_those_of_the_theorem(d, N):
    made = con.approximate(cone(np.zeros(d)), d, grid=N, holder=con.Holder(1.0))
    shape, G = made.network.shape, (N + 1) ** d
    assert shape.width == 5
    assert shape.tokens <= d * G + d + 1
    assert shape.heads <= d * G + d + 1  # with the heads that keep shared ramps while rows are emptied
    assert (shape.ffn_depth, shape.ffn_width) == (3, 3)


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0, 3.0])
def test_epsilon_chooses_the_least_grid(beta):
    holder = con.Holder(2.0, beta)
    made = con.approximate(lambda x: jnp.sum(x, axis=-1), 2, epsilon=0.3, holder=holder, backend="structured")
    assert bound(2, made.grid, holder) == made.bound <= 0.3
    assert made.grid == 1 or bound(2, made.grid - 1, holder) > 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: con.Holder(1.0, 0.0), "out of range"),
        (lambda: con.Holder(1.0, 3.5), "out of range"),
        (lambda: con.Holder(-1.0), "not negative"),
        (lambda: con.approximate(lambda x: x[0], 2, grid=2), "Vectorize"),
        (lambda: con.approximate(lambda x: float(x[0, 0]), 2, grid=2), "Vectorize"),
        (lambda: con.approximate(lambda x: 1 / 0, 1, grid=2), "ZeroDivisionError"),
        (lambda: con.approximate(lambda x: np.where(x[:, 0] > 0.9, np.nan, 1.0), 1, grid=2), "nan at"),
        (lambda: con.approximate(np.sum, 0, grid=2), "dim=0"),
        (lambda: con.approximate(np.sum, 2.0, grid=2), "dim=2.0 must be an integer"),
        (lambda: con.approximate(np.sum, 1), "one of grid and epsilon"),
        (lambda: con.approximate(np.sum, 1, grid=0), "grid=0"),
        (lambda: con.approximate(np.sum, 1, epsilon=-1.0, holder=con.Holder(1.0)), "positive"),
        (lambda: con.approximate(np.sum, 1, epsilon=0.1), "needs holder"),
        (lambda: con.approximate(np.sum, 6, epsilon=1e-3, holder=con.Holder(1.0)), r"N=1225 .* bytes; limit"),
        (lambda: con.approximate(lambda x: np.array(x[:, 0]), 1, grid=2, holder=con.Holder(1.0, 1.5)), "jax.numpy"),
        (lambda: con.approximate(cone(np.zeros(1)), 1, grid=2)(np.array([[1.5]])), r"outside \[0, 1\]"),
        (lambda: con.approximate(cone(np.zeros(1)), 1, grid=2)(np.zeros((3, 2))), "one point a row"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
