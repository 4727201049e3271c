"""Every sampler draws from the distribution it names, jitted, and the combinators do to it what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxscale
from jaxscale import dimension
from jaxscale.data import manifolds
from jaxscale.errors import InputError

# Of the generator that compiles fastest: samplers ask for numbers without a care whence they come.
KEY = jax.random.key(0, impl="rbg")
N = 2000
BENCHMARK = manifolds.benchmark()
LABELS = list(BENCHMARK)


def kolmogorov_smirnov(values, cdf):
    """√n times the largest distance of the empirical from the given distribution; above 1.95 once in a thousand."""
    values = np.sort(np.asarray(values, float).ravel())
    steps = np.arange(len(values) + 1) / len(values)
    exact = cdf(values)
    return np.sqrt(len(values)) * max(np.max(exact - steps[:-1]), np.max(steps[1:] - exact))


# The published definitions once more, in plain NumPy and float64, written point by point where the paper does so.


def spirals(rng, n, d, copies):
    p = rng.uniform(size=(n, d))
    columns = []
    for i in range(d):
        radius = p[:, (i + 1) % d]
        columns += [radius * np.cos(2 * np.pi * p[:, i]), radius * np.sin(2 * np.pi * p[:, i])]
    return np.stack(columns * copies, axis=1)


def affine_3_in_5(rng, n):
    p1, p2, p3 = 4 * rng.uniform(size=(3, n))
    return np.stack(
        [
            1.2 * p1 - 0.5 * p2 + 3,
            0.5 * p1 + 0.9 * p3 - 1,
            -0.5 * p1 - 0.2 * p2 + p3,
            0.4 * p1 - 0.9 * p2 - 0.1 * p3,
            1.1 * p1 - 0.3 * p3 + 8,
        ],
        axis=1,
    )


def concentrated(rng, n):
    p = rng.uniform(size=(4, n))
    return np.stack(
        [
            p[1] ** 2 * np.cos(2 * np.pi * p[0]),
            p[2] ** 2 * np.sin(2 * np.pi * p[0]),
            p[1] + p[2] + (p[1] - p[3]) ** 2,
            p[1] - 2 * p[2] + (p[0] - p[3]) ** 2,
            -p[1] - 2 * p[2] + (p[2] - p[3]) ** 2,
            p[0] ** 2 - p[1] ** 2 + p[2] ** 2 - p[3] ** 2,
        ],
        axis=1,
    )


def flat_cube(rng, n, d):
    return np.concatenate([rng.uniform(size=(n, d)), np.zeros((n, 1))], axis=1)


def moebius(rng, n):
    φ, r = rng.uniform(0, 2 * np.pi, n), rng.uniform(-1, 1, n)
    x = (1 + 0.5 * r * np.cos(5 * φ)) * np.cos(φ)
    y = (1 + 0.5 * r * np.cos(5 * φ)) * np.sin(φ)
    return np.stack([x, y, 0.5 * r * np.sin(5 * φ)], axis=1)


def helix(rng, n):
    t = rng.uniform(0, 2 * np.pi, n)
    return np.stack([(2 + np.cos(8 * t)) * np.cos(t), (2 + np.cos(8 * t)) * np.sin(t), np.sin(8 * t)], axis=1)


def helicoid(rng, n):
    r, φ = rng.uniform(-np.pi, np.pi, n), rng.uniform(0, 2 * np.pi, n)
    return np.stack([r * np.sin(φ), r * np.cos(φ), φ], axis=1)


def roll(rng, n):
    r, φ = rng.uniform(-np.pi, np.pi, n), rng.uniform(0, 2 * np.pi, n)
    return np.stack([φ * np.sin(2.5 * φ), r, φ * np.cos(2.5 * φ)], axis=1)


def s_curve(rng, n):
    t, h = rng.uniform(-1.5 * np.pi, 1.5 * np.pi, n), rng.uniform(0, 2, n)
    return np.stack([np.sin(t), h, np.where(t > 0, np.cos(t) - 1, 1 - np.cos(t))], axis=1)


def curve(rng, n, width):
    φ = rng.uniform(0, 2 * np.pi, n)
    columns = []
    for j in range(width):
        columns.append((φ / (2 * np.pi) + sum(np.sin((k + 1) * φ) for k in range(j))) / (j + 1))
    return np.stack(columns, axis=1)


def skewed(rng, n, d):
    x = rng.beta(10, 0.5, size=(n, d))
    half = np.hstack([x * np.sin(np.cos(2 * np.pi * x)), x * np.cos(np.sin(2 * np.pi * x))])
    return np.hstack([half, half])


def tangents(rng, n, d):
    x = rng.uniform(size=(n, d))
    first = [np.tan(x[:, i] * np.cos(x[:, d - 1 - i])) for i in range(d)]
    second = [np.arctan(x[:, d - 1 - i] * np.sin(x[:, i])) for i in range(d)]
    return np.stack((first + second) * 2, axis=1)


def paraboloid(rng, n, d):
    shared = rng.exponential(size=n)
    x = np.stack([1 / (1 + rng.exponential(size=n) / shared) for _ in range(d)], axis=1)
    y = np.hstack([x, np.sum(x**2, axis=1, keepdims=True)])
    return np.hstack([y, np.sin(y), y**2])


def sphere(rng, n, d):
    x = rng.normal(size=(n, d + 1))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


PUBLISHED = {
    "M1": lambda rng, n: sphere(rng, n, 10),
    "M2": affine_3_in_5,
    "M3": concentrated,
    "M4": lambda rng, n: spirals(rng, n, 4, 1),
    "M5a": helix,
    "M5b": helicoid,
    "M6": lambda rng, n: spirals(rng, n, 6, 3),
    "M7": roll,
    "M8": lambda rng, n: spirals(rng, n, 12, 3),
    "M9": lambda rng, n: rng.uniform(-2.5, 2.5, size=(n, 20)),
    "M10a": lambda rng, n: flat_cube(rng, n, 10),
    "M10b": lambda rng, n: flat_cube(rng, n, 17),
    "M10c": lambda rng, n: flat_cube(rng, n, 24),
    "M10d": lambda rng, n: flat_cube(rng, n, 70),
    "M11": moebius,
    "M12": lambda rng, n: rng.normal(size=(n, 20)),
    "M13a": s_curve,
    "M13b": lambda rng, n: curve(rng, n, 13),
    "Mbeta": lambda rng, n: skewed(rng, n, 10),
    "Mn1": lambda rng, n: tangents(rng, n, 18),
    "Mn2": lambda rng, n: tangents(rng, n, 24),
    "Mp1": lambda rng, n: paraboloid(rng, n, 3),
    "Mp2": lambda rng, n: paraboloid(rng, n, 6),
    "Mp3": lambda rng, n: paraboloid(rng, n, 9),
}
DIMENSIONS = {
    **{"M1": (10, 11), "M2": (3, 5), "M3": (4, 6), "M4": (4, 8), "M5a": (1, 3), "M5b": (2, 3), "M6": (6, 36)},
    **{"M7": (2, 3), "M8": (12, 72), "M9": (20, 20), "M10a": (10, 11), "M10b": (17, 18), "M10c": (24, 25)},
    **{"M10d": (70, 71), "M11": (2, 3), "M12": (20, 20), "M13a": (2, 3), "M13b": (1, 13), "Mbeta": (10, 40)},
    **{"Mn1": (18, 72), "Mn2": (24, 96), "Mp1": (3, 12), "Mp2": (6, 21), "Mp3": (9, 30)},
}


def test_the_benchmark_has_the_dimensions_of_the_literature():
    assert {label: (m.dimension, m.width) for label, m in BENCHMARK.items()} == DIMENSIONS


@pytest.mark.thorough
@pytest.mark.parametrize("label", LABELS)
def test_the_benchmark_draws_from_the_published_distributions(label):
    """Characteristic functions at random frequencies agree: of single columns, of pairs, of all together."""
    n, rng = 8000, np.random.default_rng(7)
    ours = np.asarray(BENCHMARK[label].sample(n, key=KEY), float)
    theirs = PUBLISHED[label](rng, n)
    scale = np.maximum(theirs.std(0), 1e-6)
    width = ours.shape[1]
    frequencies = [np.eye(width)[i % width] * rng.normal() * 2 for i in range(max(width, 20))]
    frequencies += [np.eye(width)[i % width] + np.eye(width)[(i * 7 + 1) % width] * rng.normal() for i in range(40)]
    frequencies += [rng.normal(size=width) * 2 / np.sqrt(width) for _ in range(40)]
    phases = [(x - theirs.mean(0)) / scale @ np.array(frequencies).T for x in (ours, theirs)]
    # Real and imaginary parts have variances below 1/n in each sample; 5.5 standard errors over 24 × 200 numbers.
    for part in (np.cos, np.sin):
        difference = np.mean(part(phases[0]), axis=0) - np.mean(part(phases[1]), axis=0)
        assert np.max(np.abs(difference)) < 5.5 * np.sqrt(2 / n)
    # Where the formula is a copy of columns or a constant, it is so to the last bit, which no statistic sees.
    assert np.linalg.matrix_rank(ours[:200], tol=1e-3) == np.linalg.matrix_rank(theirs[:200], tol=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("manifold", "tolerance"),
    [  # Three standard errors of the estimate at n = 2000 and k = 10, and a few percent for curvature and boundaries.
        # For the equations, holes and gaps of those that are slow other tests ask.
        (manifolds.ball(3), 0.25),
        (manifolds.torus(), 0.12),
        pytest.param(manifolds.torus((4, 2, 1)), 0.25, marks=pytest.mark.slow),
        pytest.param(manifolds.swiss_roll(holes=[(4, 5, -1, 1)]), 0.15, marks=pytest.mark.slow),
        (manifolds.cantor(2), 0.1),
        pytest.param(manifolds.cantor(3, 0.25), 0.15, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_shapes_and_fractals_read_their_dimension(manifold, tolerance):
    x = manifold.sample(N, key=KEY)
    assert x.shape == (N, manifold.width) and x.dtype == jnp.float32
    padded = np.pad(x, ((0, 0), (0, 8 - manifold.width)))  # of one shape, so that the estimator compiles once
    assert abs(dimension.mle(padded, k=10).dimension - manifold.dimension) < tolerance


def test_dimensions_of_fractals_are_those_of_self_similarity():
    assert manifolds.cantor(2).dimension == pytest.approx(2 * np.log(2) / np.log(3))
    product = manifolds.product(manifolds.cantor(), manifolds.cube(2))
    assert product.dimension == pytest.approx(2 + np.log(2) / np.log(3)) and product.width == 3


def test_spheres_and_balls_are_uniform():
    sphere = np.asarray(manifolds.sphere(2).sample(N, key=KEY), float)
    np.testing.assert_allclose(np.linalg.norm(sphere, axis=1), 1, rtol=1e-6)
    assert kolmogorov_smirnov(sphere[:, 0], lambda x: (x + 1) / 2) < 1.95  # Archimedes: each coordinate is uniform
    ball = np.asarray(manifolds.ball(5).sample(N, key=KEY), float)
    assert kolmogorov_smirnov(np.linalg.norm(ball, axis=1), lambda r: r**5) < 1.95


def test_a_torus_is_uniform_over_its_surface():
    x, y, z = np.asarray(manifolds.torus((2, 1)).sample(N, key=KEY), float).T
    np.testing.assert_allclose((np.hypot(x, y) - 2) ** 2 + z**2, 1, atol=1e-5)
    # The angle around the tube has density (2 + cos θ) / 4π.
    θ = np.arctan2(z, np.hypot(x, y) - 2)
    assert kolmogorov_smirnov(θ, lambda t: 0.5 + (2 * t + np.sin(t)) / (4 * np.pi)) < 1.95


def test_a_torus_of_more_dimensions_satisfies_its_equation():
    x, y, z, w = np.asarray(manifolds.torus((4, 2, 1)).sample(N, key=KEY), float).T
    np.testing.assert_allclose((np.hypot(np.hypot(x, y) - 4, z) - 2) ** 2 + w**2, 1, atol=1e-5)


def test_flat_tori_are_products_of_circles():
    x = np.asarray(manifolds.flat_torus((3, 0.5)).sample(N, key=KEY), float)
    np.testing.assert_allclose(np.hypot(x[:, :2], x[:, 2:]), np.tile([3, 0.5], (N, 1)), rtol=1e-5)


def test_a_hole_in_the_roll_is_empty_and_the_rest_is_not():
    x, r, z = np.asarray(manifolds.swiss_roll(holes=[(2, 3, -1, 1), (4, 6, 0, 2)]).sample(N, key=KEY), float).T
    φ = np.hypot(x, z)
    assert not np.any((φ > 2.001) & (φ < 2.999) & (abs(r) < 1)) and not np.any(
        (φ > 4.001) & (φ < 5.999) & (r > 0) & (r < 2)
    )
    assert np.any((φ > 2) & (φ < 3) & (r > 1)) and np.any((φ > 4) & (φ < 6) & (r < 0))


def test_cantor_points_have_no_middle_third_at_any_scale():
    x = np.asarray(manifolds.cantor().sample(N, key=KEY), float)[:, 0]
    for _ in range(8):  # each step costs a factor of three of float32's precision
        assert np.all((x < 1 / 3 + 1e-2) | (x > 2 / 3 - 1e-2)) and 0.4 < np.mean(x < 0.5) < 0.6
        x = 3 * np.where(x < 0.5, x, x - 2 / 3)


def test_embedding_keeps_distances_and_dimension():
    cloud = manifolds.sphere(3)
    embedded = manifolds.embed(cloud, 100, key=jax.random.key(1))
    assert embedded.dimension == 3 and embedded.width == 100
    x, y = (np.asarray(m.sample(300, key=KEY), float) for m in (cloud, embedded))
    np.testing.assert_allclose(y @ y.T, x @ x.T, atol=2e-6)
    assert np.mean(y**2, axis=0).max() < 0.05  # spread over all columns, not padded with zeros


def test_noise_is_normal_in_every_ambient_coordinate():
    point = manifolds.affine(np.zeros((4, 2)), [1, 2, 3, 4])
    assert point.dimension == 0
    x = np.asarray(manifolds.with_noise(point, 0.5).sample(N, key=KEY), float) - [1, 2, 3, 4]
    # Standard errors of a standard deviation and a correlation at n = 2000 are 1.6% and 2.2%.
    np.testing.assert_allclose(np.cov(x.T), 0.25 * np.eye(4), atol=0.025)
    assert manifolds.with_noise(manifolds.sphere(2), 0.1).dimension == 2


def test_noise_is_independent_of_the_points():
    cloud = manifolds.with_noise(manifolds.gaussian(1), 1.0)
    x = np.asarray(cloud.sample(5 * N, key=KEY), float)
    assert np.var(x) == pytest.approx(2, rel=0.1)  # four were the draws the same, by one key


def test_points_that_are_never_accepted_are_nan_rather_than_waited_for():
    everywhere = manifolds.swiss_roll(holes=[(-1, 7, -4, 4)])
    assert np.all(np.isnan(everywhere.sample(4, key=KEY)))


def test_a_product_has_independent_factors():
    x = np.asarray(
        manifolds.product(manifolds.cube(1), manifolds.cube(1), manifolds.sphere(2)).sample(N, key=KEY), float
    )
    assert x.shape == (N, 5) and abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1]) < 0.1


@pytest.mark.parametrize(
    "manifold",
    [
        manifolds.embed(manifolds.torus(), 8, key=jax.random.key(1)),
        manifolds.with_noise(manifolds.product(manifolds.cantor(), manifolds.cube(1)), 0.1),
    ],
    ids=lambda m: m.name,
)
def test_samplers_are_functions_of_the_key_under_jit_and_vmap(manifold):
    keys = jax.random.split(jax.random.key(0), 3)
    plain = [np.asarray(manifold.sample(50, key=key)) for key in keys]
    assert not np.array_equal(plain[0], plain[1])
    np.testing.assert_array_equal(plain[0], manifold.sample(50, key=keys[0]))
    # Fusion may change the last bit.
    together = jax.jit(jax.vmap(lambda key: manifold.sample(50, key=key)))
    np.testing.assert_allclose(together(keys), plain, rtol=1e-5, atol=1e-6)


def test_sampling_compiles_once_for_a_manifold_and_a_size():
    traces = []

    def draw(key, n):
        traces.append(n)
        return jax.random.normal(key, (n, 2))

    manifold = manifolds.Manifold("counted", 2, 2, draw)
    manifold.sample(5, key=KEY), manifold.sample(5, key=jax.random.fold_in(KEY, 1))
    assert traces == [5]


def test_bad_input_is_named():
    for call, message in {
        lambda: manifolds.sphere(0): "d must be a positive integer; it is 0",
        lambda: manifolds.sphere(2).sample(0, key=KEY): "n must be at least 1; it is 0",
        lambda: manifolds.embed(manifolds.sphere(2), 2, key=KEY): r"width=2 cannot hold sphere\(2\), which needs 3",
        lambda: manifolds.with_noise(manifolds.sphere(2), -1): "sigma must not be negative; it is -1",
        lambda: manifolds.torus((1, 2)): "each of radii must exceed the sum of those after it",
        lambda: manifolds.flat_torus(()): "radii must be positive",
        lambda: manifolds.cantor(1, 0.6): "ratio must lie between 0 and 1/2",
        lambda: manifolds.affine([1, 2]): r"matrix must have shape \(width, m\); it has shape \(2,\)",
        lambda: manifolds.swiss_roll([(3, 2, 0, 1)]): "holes must be rectangles",
        lambda: manifolds.product(): "product needs at least one manifold",
    }.items():
        with pytest.raises(InputError, match=message):
            call()


def test_manifolds_are_offered_at_the_top():
    assert jaxscale.manifolds is manifolds
