"""The dimension by comparison with reference clouds: what its interval holds, and what must not change it."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from rich.console import Console

from jaxscale import cli, dimension
from jaxscale.data import manifolds
from jaxscale.dimension import measurement
from jaxscale.dimension.page import print_clouds
from jaxscale.dimension.references import clouds, statistics, table
from jaxscale.errors import InputError

N = 400


def cloud(d=4, n=N, seed=0):
    return np.random.default_rng(seed).uniform(size=(n, d)).astype(np.float32)


@pytest.fixture(scope="module")
def found():
    return dimension.measure(cloud())


def test_the_interval_holds_the_dimension_and_what_is_plain_stays_apart(found):
    lower, upper = found.interval
    assert lower < 4 < upper and lower < found.dimension < upper
    plain = dimension.mle(cloud())
    assert found.plain.dimension == plain.dimension
    # What is not known of the kind of cloud is more than chance.
    assert upper - lower > plain.interval()[1] - plain.interval()[0]
    np.testing.assert_allclose(jnp.sum(found.alike), 1, rtol=1e-5)
    assert set(found.most_alike) & {"cube", "box", "tangents", "product"} and found.caveats == ()


@pytest.mark.parametrize(
    "manifold",
    [
        manifolds.mobius(),
        pytest.param(manifolds.harmonic_curve(5), marks=pytest.mark.thorough),
        pytest.param(manifolds.torus((4.0, 1.0)), marks=pytest.mark.thorough),
    ],
    ids=lambda m: m.name,
)
def test_shapes_that_are_no_reference_are_held(manifold):
    found = dimension.measure(manifold.sample(N, key=5))
    assert found.interval[0] < manifold.dimension < found.interval[1]


def test_neither_scale_nor_place_nor_turning_nor_order_nor_empty_columns_matter(found):
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    moved = 30 * np.pad(cloud(), ((0, 0), (0, 4))) @ turn + 7
    other = dimension.measure(moved[rng.permutation(N)].astype(np.float32))
    np.testing.assert_allclose(other.dimension, found.dimension, rtol=2e-3)
    np.testing.assert_allclose(other.interval, found.interval, rtol=1e-2)


@pytest.mark.thorough
def test_jit_vmap_and_shards_give_the_same(found):
    x = jnp.asarray(cloud())
    np.testing.assert_allclose(jax.jit(dimension.measure)(x).dimension, found.dimension, rtol=1e-4)
    both = jax.vmap(dimension.measure)(jnp.stack([x, x[::-1]]))
    np.testing.assert_allclose(both.dimension, [found.dimension] * 2, rtol=1e-3)
    rows = NamedSharding(jax.make_mesh((8,), ("rows",)), PartitionSpec("rows"))
    np.testing.assert_allclose(dimension.measure(jax.device_put(x, rows)).interval, found.interval, rtol=1e-4)


@pytest.mark.thorough
def test_rows_of_nan_under_jit_give_nan_and_are_dropped_on_request(found):
    x = np.concatenate([cloud(), np.full((1, 4), np.nan, np.float32)])
    traced = jax.jit(dimension.measure)(x)
    assert np.isnan(traced.dimension) and np.isnan(traced.interval[0])
    np.testing.assert_allclose(dimension.measure(x, nonfinite="drop").dimension, found.dimension, rtol=1e-4)


def test_documents_widen_the_interval(found):
    rng = np.random.default_rng(1)
    centers = np.repeat(rng.uniform(size=(20, 4)), N // 20, axis=0)
    near = (centers + 0.02 * rng.normal(size=(N, 4))).astype(np.float32)
    alone = dimension.measure(near)
    together = dimension.measure(near, clusters=np.repeat(np.arange(20), N // 20))
    assert together.dimension == alone.dimension
    assert together.interval[1] - together.interval[0] > alone.interval[1] - alone.interval[0]


@pytest.mark.thorough
def test_a_large_cloud_is_read_in_parts(monkeypatch):
    monkeypatch.setattr(measurement, "LARGEST", N)
    x = cloud(n=3 * N)
    found = dimension.measure(x)
    parts = np.split(np.asarray(jax.random.permutation(jax.random.key(0), 3 * N)), 3)
    alone = [statistics.of(dimension.neighborhoods(x[part], statistics.NEIGHBORS)) for part in parts]
    by_hand = table.read(table.shipped(), jnp.mean(jnp.stack(alone), axis=0), float(N))
    np.testing.assert_allclose(jnp.log(found.dimension), by_hand.log_dimension, atol=1e-4)
    assert found.points_used == 3 * N


def test_what_it_cannot_read_is_refused():
    with pytest.raises(InputError, match="x has 60 distinct points; its dimension needs 100"):
        dimension.measure(cloud(n=60))
    with pytest.raises(InputError, match="x has 50 distinct points"):
        dimension.measure(np.repeat(cloud(n=50), 4, axis=0))
    repeated = jax.jit(dimension.measure)(np.repeat(cloud(n=50), 8, axis=0))
    assert np.isnan(repeated.dimension) and np.isnan(repeated.interval[1])
    with pytest.raises(InputError, match=r"k=20\. Pass neighborhoods\(x, k=32\)"):
        dimension.measure(dimension.neighborhoods(cloud(), 20))


@pytest.mark.thorough
def test_what_a_reader_must_know_is_said():
    few = dict(dimension.measure(cloud(n=120)).caveats)
    assert "120 points" in few["few_points"]
    high = dict(dimension.measure(cloud(40)).caveats)
    assert "take the interval for the answer" in high["kinds_disagree"]
    # Four tight clumps far apart: nearly all that is read is their distance.
    rng = np.random.default_rng(0)
    clumps = rng.normal(size=(4, 3))[np.arange(N) % 4] + 1e-4 * rng.normal(size=(N, 3)) ** 3
    assert "unlike_references" in dict(dimension.measure(clumps).caveats)


@pytest.mark.parametrize(
    "family", ["torus", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("rolls", "mixture"))]
)
def test_the_table_is_that_of_its_clouds(family):
    """What is in the package was read from these clouds by these statistics."""
    shipped = table.shipped()
    points, d = clouds.reference_cloud(family, 3, 200)
    width = max(8, 2 ** int(np.ceil(np.log2(points.shape[1]))))
    wide = np.pad(points, ((0, 0), (0, width - points.shape[1])))
    read = statistics.of(dimension.neighborhoods(wide, statistics.NEIGHBORS))
    feature = (np.append(read, np.log(200)) - shipped.center) * shipped.scale
    off = np.max(np.abs(shipped.features - feature), axis=1)
    place = int(np.argmin(off))
    assert off[place] < 0.05 and shipped.families[shipped.family[place]] == family
    np.testing.assert_allclose(np.exp(shipped.log_dimension[place]), d, rtol=1e-5)


def test_errors_are_those_of_other_families():
    """A family of clouds unlike all others is seen wrong by them, and its own members do not help."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(600, len(statistics.NAMES))).astype(np.float32)
    d = np.exp(1 + 0.3 * found[:, 0])
    family = np.arange(600) % 3
    d[family == 2] *= 2
    made = table.made(found, np.full(600, 1000), d, family, ("a", "b", "c"))
    of_c = np.median(made.error[family == 2])
    np.testing.assert_allclose(of_c, np.log(2), atol=0.15)
    left = made.without(("c",))
    assert len(left.error) == 400 and not np.any(left.family == 2)
    read = table.read(left, jnp.asarray(found[0]), 1000.0)
    np.testing.assert_allclose(read.log_dimension, np.log(d[0]), atol=0.1)


@pytest.mark.thorough
@pytest.mark.parametrize("family", sorted(clouds.FAMILIES))
def test_reference_clouds_have_the_dimension_that_they_say(family):
    """The rank of neighborhoods is no more than d where there is no noise, and numbers stand for the same clouds."""
    kind = clouds.FAMILIES[family]
    d = min(max(2, kind.least), kind.most)
    points = kind.draw(np.random.default_rng(1), 3000, d)
    assert points.shape[0] == 3000 and np.isfinite(points).all()
    reading = dimension.mle(np.asarray(points, np.float32), k=10, duplicates="keep").dimension
    np.testing.assert_allclose(reading, d, rtol=0.25)
    first, again = clouds.reference_cloud(family, 5, 150), clouds.reference_cloud(family, 5, 150)
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1] and kind.least <= first[1] <= kind.most


def test_results_are_trees(found):
    leaves, tree = jax.tree.flatten(found)
    assert dataclasses.is_dataclass(jax.tree.unflatten(tree, leaves))


def test_the_command_says_it_first(found, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("cube.npy", cloud())
    np.save("few.npy", cloud(n=60))
    arguments = ["dimension", "cube.npy", "few.npy", "--estimators", "mle", "--json"]
    assert cli.main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    (cube, few), first = document["clouds"], document["numbers"][0]
    np.testing.assert_allclose([cube["measured"]["dimension"], first["value"]], found.dimension, rtol=1e-5)
    np.testing.assert_allclose(first["interval"], found.interval, rtol=1e-5)
    assert first["name"] == "d of cube.npy" and document["sentence"].startswith("cube.npy: d = ")
    assert "measured" not in few and "not_compared" in {one["code"] for one in document["caveats"]}
    assert cli.main([*arguments, "--plain"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert "measured" not in plain["clouds"][0] and "by mle" in plain["numbers"][0]["name"]
    print_clouds(document, Console(width=120))
    printed = capsys.readouterr().out
    assert printed.index("95% interval") < printed.index("spread (95%)")
