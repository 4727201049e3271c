"""Charts cover, lead back to the manifold, and the networks on them stay below their bounds."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import constructions as con
from jaxscale.constructions.approximation import probe_points
from jaxscale.constructions.atlases import Atlas, isometry, make_atlas
from jaxscale.constructions.expressions import depth
from jaxscale.constructions.manifold import bound, coefficients, interpolant, manifold_program
from jaxscale.constructions.targets import cone, crease
from jaxscale.errors import InputError

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def atlases():
    return {
        "circle": con.circle(3, key=KEY),
        "sphere": con.sphere(2, 4, key=KEY),
        "torus": con.torus(5, key=KEY),
        "swiss_roll": con.swiss_roll(3, key=KEY, turns=0.4, height=2.0),
    }


NAMES = ("circle", "sphere", "torus", "swiss_roll")


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_partition_sums_to_one_and_charts_lead_back(name, atlases):
    atlas = atlases[name]
    x = atlas.net[:: max(1, len(atlas.net) // 500)]
    np.testing.assert_allclose(atlas.partition(x).sum(axis=1), 1, rtol=1e-12)
    gram = np.einsum("jDa,jDb->jab", atlas.frames, atlas.frames)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(atlas.dimension), gram.shape), atol=1e-12)
    point, chart = np.nonzero(atlas.squared_distances(x) < atlas.radius**2)
    offset = np.einsum("nDd,nD->nd", atlas.frames[chart], x[point] - atlas.centers[chart])
    np.testing.assert_allclose(atlas.lift(chart, offset), x[point], atol=1e-8)
    assert atlas.distance(x).max() < atlas.tolerance


@pytest.mark.parametrize("name", NAMES)
def test_reach_and_stretch_hold_for_pairs_of_points(name, atlases):
    """Federer: |normal part of q - p| ≤ |q - p|²/2τ; and lifted points part no faster than Λ times their offsets."""
    atlas = atlases[name]
    p, frames = atlas.centers, atlas.frames
    rise = atlas.net[::37] - p[:, None]
    along = np.einsum("jDd,jnD->jnd", frames, rise)
    normal = np.sqrt(np.maximum(np.sum(rise**2, axis=2) - np.sum(along**2, axis=2), 0))
    assert np.all(normal <= np.sum(rise**2, axis=2) / (2 * atlas.reach) + 1e-6)
    rng = np.random.default_rng(0)
    chart = rng.integers(len(p), size=300)
    offset = rng.normal(size=(300, atlas.dimension))
    offset *= 0.99 * atlas.inner * rng.uniform(0, 1, (300, 1)) / np.linalg.norm(offset, axis=1, keepdims=True)
    other = offset + 1e-5 * rng.normal(size=offset.shape)
    apart = np.linalg.norm(atlas.lift(chart, other) - atlas.lift(chart, offset), axis=1)
    assert np.all(apart <= atlas.stretch() * np.linalg.norm(other - offset, axis=1) * (1 + 1e-3))


@pytest.mark.parametrize(
    ("name", "N"),
    [("circle", 12), ("sphere", 4), pytest.param("torus", 4, marks=pytest.mark.slow), ("swiss_roll", 6)],
)
def test_error_stays_below_its_bound(name, N, atlases):
    atlas = atlases[name]
    f = cone(atlas.centers[0], 0.7)
    made = con.approximate_on(atlas, f, grid=N, holder=con.Holder(1.0, 0.7), backend="structured")
    points = np.concatenate(list(probe_points(made, 300, key=0).values()))
    assert np.abs(made.formula(points) - f(points)).max() <= made.bound


@pytest.mark.parametrize(("name", "N"), [("circle", 12), ("sphere", 4), ("torus", 4), ("swiss_roll", 6)])
def test_interpolant_is_what_the_program_computes(name, N, atlases):
    atlas = atlases[name]
    found = coefficients(atlas, lambda x: np.sin(3 * x[:, 0]), N)
    x = atlas.net[:: len(atlas.net) // 100]
    by_program = manifold_program(atlas, N, *found).evaluate(x)
    np.testing.assert_allclose(interpolant(atlas, N, *found[:4])(x), by_program, atol=1e-11)


def slope_on(atlas, axis, grids, beta, elsewhere=0):
    """Slopes of log sup error on log N and on the log of the number of bumps, of a function rough all along a curve.

    The curve crosses the cells of many charts in every position, so that for each N some cell is near the worst.
    As many points of each other kind as `elsewhere` are looked at too.
    """
    f, holder = crease(axis, beta), con.Holder(2 ** (1 - beta), beta)
    places = atlas.net[np.abs(atlas.net @ axis) < 1e-9]
    places = places[:: math.ceil(len(places) / 400)]
    sizes, errors = [], []
    for N in grids:
        found = coefficients(atlas, f, N)
        made = con.Approximation(
            None, f, atlas.dimension, N, holder, bound(atlas, N, holder, found[-1]), "", None, atlas
        )
        x = probe_points(made, 13**atlas.dimension * len(places), places, key=0)["singular"]
        if elsewhere:
            x = np.concatenate([x, *probe_points(made, elsewhere, key=0).values()])
        formula = interpolant(atlas, N, *found[:4])
        errors.append(max(np.abs(formula(part) - f(part)).max() for part in np.array_split(x, len(x) // 10_000 + 1)))
        assert errors[-1] <= made.bound
        sizes.append(len(found[0]))
    return np.polyfit(np.log(grids), np.log(errors), 1)[0], np.polyfit(np.log(sizes), np.log(errors), 1)[0]


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("width", [3, 32])
def test_on_a_circle_the_error_falls_with_its_dimension_and_not_the_width(width, beta):
    atlas = con.circle(width, key=KEY)
    slope, by_size = slope_on(atlas, isometry(2, width, key=KEY)[:, 1], (16, 32, 64, 128), beta)
    assert abs(slope + beta) < 0.1 and abs(by_size + beta) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize(
    ("make", "width", "grids"),
    [
        (con.sphere, 3, (24, 32, 48, 64, 96)),
        (con.sphere, 32, (24, 32, 48, 64, 96)),
        (con.torus, 3, (24, 32, 48, 64)),
    ],
)
def test_on_surfaces_the_error_falls_with_two_dimensions_and_not_the_width(make, width, grids, beta):
    """From a grid on for which the partition of unity is smooth at its scale."""
    atlas = make(width=width, key=KEY)
    slope, by_size = slope_on(atlas, isometry(3, width, key=KEY)[:, 2], grids, beta, 5000)
    assert abs(slope + beta) < 0.1 and abs(by_size + beta / 2) < 0.1


@pytest.mark.parametrize(
    "make",
    [
        con.circle,
        *(lambda d=d: con.sphere(d) for d in (1, 2)),
        pytest.param(lambda: con.sphere(3), marks=pytest.mark.slow, id="sphere(3)"),
        *(pytest.param(make, marks=pytest.mark.slow) for make in (con.torus, con.swiss_roll)),
    ],
)
def test_every_manifold_is_covered_with_defaults(make):
    atlas = make()
    f = cone(atlas.centers[0])
    made = con.approximate_on(atlas, f, grid=np.int64(2), holder=con.Holder(1.0), backend="structured")
    x = atlas.net[:: len(atlas.net) // 200]
    atlas.check(x)
    np.testing.assert_allclose(atlas.partition(x).sum(axis=1), 1, rtol=1e-12)
    assert np.abs(made.formula(x) - f(x)).max() <= made.bound


def test_width_changes_neither_error_nor_tokens():
    errors, tokens = [], []
    for atlas in (con.circle(2), con.circle(20, key=KEY)):
        f = lambda x, c=atlas.centers[0]: np.abs(x @ c)
        made = con.approximate_on(atlas, f, grid=8, backend="structured")
        errors.append(np.abs(made.formula(atlas.net) - f(atlas.net)).max())
        tokens.append(made.network.shape.tokens)
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("options", [{"encoding": "parabola"}, {"encoding": "binary"}, {"backend": "structured"}])
@pytest.mark.parametrize(("make", "N"), [(con.circle, 6), (lambda: con.sphere(2, 4, key=KEY, radius=1.2), 2)])
def test_network_equals_its_formula(make, N, options, definition):
    atlas = make()
    made = con.approximate_on(atlas, lambda x: x[:, 0] ** 2 - x[:, -1], grid=N, **options)
    x = atlas.net[:: len(atlas.net) // 3][:3]
    np.testing.assert_allclose(definition(made.network, x), made.formula(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("make", "N"), [(con.circle, 16), (con.sphere, 4)])
def test_five_rows_suffice_on_manifolds(make, N):
    """Two of data, two of the encoding and the constant, though bumps are shared by products."""
    assert con.approximate_on(make(), lambda x: x[:, 0], grid=N).network.shape.width == 5


@settings(max_examples=3)
@given(st.integers(0, 999), st.integers(2, 6), st.floats(0.4, 1.1), st.integers(3, 12))
def test_random_atlases_of_circles(definition, seed, width, radius, N):
    atlas = con.circle(width, key=jax.random.key(seed), radius=radius)
    f = cone(atlas.net[seed % len(atlas.net)], 0.6)
    made = con.approximate_on(atlas, f, grid=N, holder=con.Holder(1.0, 0.6))
    assert np.abs(made.formula(atlas.net) - f(atlas.net)).max() <= made.bound
    x = atlas.net[[0, 100]]
    np.testing.assert_allclose(definition(made.network, x), made.formula(x), atol=1e-13)


def flat(d):
    """A piece of R^d in R^(d+1), one chart."""
    frame = np.eye(d + 1, d)
    return Atlas(
        name="flat",
        centers=np.zeros((1, d + 1)),
        frames=frame[None],
        radius=1.0,
        lift=lambda chart, offset: offset @ frame.T,
        net=np.stack([-np.ones(d + 1), np.ones(d + 1)]),
        spacing=0.1,
        reach=10.0,
        floor=0.5,
        tolerance=0.1,
    )


@pytest.mark.parametrize("d", range(1, 11))
def test_depth_on_manifolds_depends_on_the_dimension_alone(d):
    rng = np.random.default_rng(0)
    for N in (1, 3, 16):
        node = np.unique(rng.integers(0, N + 1, (12, d)), axis=0)
        program = manifold_program(flat(d), N, np.zeros(len(node), int), node, rng.normal(size=len(node)), 0.0, 1.0)
        assert depth(program) + 1 == 3 + math.ceil(math.log2(d + 1))
        assert len(con.compile(program).shape.blocks) == 3 + math.ceil(math.log2(d + 1))
        assert len(con.compile(program, backend="structured").shape.blocks) == 4 + math.ceil(math.log2(d + 1))


@pytest.mark.thorough
def test_an_atlas_of_points_alone(definition):
    """A cloud on half a cylinder: local planes and quadratic surfaces find their way back to it."""
    rng = np.random.default_rng(0)
    angle, height = rng.uniform(0, np.pi, 4000), rng.uniform(0, 2, 4000)
    cloud = np.stack([np.cos(angle), np.sin(angle), height], axis=1)
    atlas = con.from_points(cloud, radius=0.5)
    assert atlas.dimension == 2
    f = lambda x: np.sin(2 * x[:, 0]) + x[:, 2]
    errors = []
    for N in (4, 8, 16):
        made = con.approximate_on(atlas, f, grid=N, holder=con.Holder(2.0), backend="structured")
        assert made.bound is None  # nothing is known beyond the points
        errors.append(np.abs(made.formula(cloud[:500]) - f(cloud[:500])).max())
    assert errors[2] < 0.4 * errors[0]
    atlas.check(cloud)
    with pytest.raises(InputError, match="away from cloud"):
        atlas.check(1.3 * cloud[:5])
    small = con.approximate_on(con.from_points(cloud, radius=1.0), f, grid=2)
    np.testing.assert_allclose(definition(small.network, cloud[:1]), small.formula(cloud[:1]), atol=1e-12)


def test_epsilon_is_proved_on_a_circle():
    atlas = con.circle()
    made = con.approximate_on(atlas, lambda x: x[:, 0], epsilon=0.2, holder=con.Holder(1.0), backend="structured")
    assert made.bound <= 0.2
    assert np.abs(made.formula(atlas.net) - atlas.net[:, 0]).max() <= made.bound


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: con.circle(1), "Pass a larger width"),
        (lambda: con.sphere(7), "d=7"),
        (lambda: con.sphere(2, radius=1.3), "below √1.5"),
        (lambda: con.torus(minor=2.0, major=1.0), "minor < major"),
        (lambda: con.torus(radius=0.9), "of the reach"),
        (lambda: con.swiss_roll(turns=-1), "positive"),
        (lambda: con.approximate_on(con.circle(), np.sum, grid=2, holder=con.Holder(1.0, 2.0)), "at most 1"),
        (lambda: con.approximate_on(con.circle(), np.sum), "one of grid and epsilon"),
        (lambda: con.approximate_on(con.circle(), np.sum, epsilon=0.1), "needs holder"),
        (lambda: con.approximate_on(con.circle(), np.sum, grid=10**9), "bytes; limit"),
        (lambda: con.approximate_on(con.circle(), lambda x: x[:, 0], grid=4)(np.array([[0.5, 0.5]])), "away from"),
        (lambda: con.from_points(np.zeros((5, 2, 2))), "finite array"),
        (lambda: con.from_points(np.random.default_rng(0).normal(size=(200, 3)), dimension=3), "below the width"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_charts_that_do_not_cover_are_refused():
    whole = con.circle()
    frames = lambda index: whole.frames[: len(index)]
    with pytest.raises(InputError, match="do not cover"):
        make_atlas(
            "circle", whole.net, whole.spacing, 0.8, frames, lambda i, f: whole.lift, 1.0, 1e-6, np.array([0, 1])
        )
