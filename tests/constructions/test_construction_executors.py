"""Every way of running a network gives the numbers of the definition."""

import re

import jax
import numpy as np
import pytest

from jaxscale import constructions as con
from jaxscale.constructions import executors, sharded
from jaxscale.constructions.targets import cone
from jaxscale.errors import InputError


@pytest.fixture(scope="module")
def networks():
    f = cone(np.array([0.3, 0.6]))
    return {
        "parabola": con.approximate(f, 2, grid=3),
        "structured": con.approximate(f, 2, grid=3, backend="structured"),
    }


POINTS = np.random.default_rng(0).uniform(size=(5, 2))


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["parabola", "structured"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_dense_chunked_sharded_and_gather_agree(name, precision, networks):
    made = networks[name]
    wanted = made.formula(POINTS)
    tolerance = {"float64": 1e-12, "float32": 1e-5}[precision]
    for executor in ("dense", "chunked", "sharded", "gather"):
        found = con.evaluate(made.network, POINTS, precision, executor, memory=2e4 if executor == "chunked" else 1e9)
        assert found.dtype == precision
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance, err_msg=executor)


@pytest.mark.parametrize("axes", [{"head": 8}, {"head": 2, "query": 2, "key": 2}])
def test_eight_devices_need_one_all_reduce_a_block(axes, networks):
    network = networks["parabola"].network
    mesh = sharded.mesh_of(jax.devices(), **axes)
    module, variables = network.module(), network.variables(np.float64)
    with jax.enable_x64(True):
        compiled = sharded.run.lower(module, variables, POINTS, mesh).compile()
        calls = re.findall(r" all-reduce(?:-start)?\(", compiled.as_text())
        assert len(calls) == len(network.shape.blocks)
        np.testing.assert_allclose(compiled(variables, POINTS), networks["parabola"].formula(POINTS), atol=1e-12)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_short_formats_round_the_same_inputs_in_every_executor(precision, networks):
    made = networks["structured"]
    dense = con.evaluate(made.network, POINTS, precision, "dense")
    gather = con.evaluate(made.network, POINTS, precision, "gather")
    exact = made.formula(POINTS)
    u = {"tf32": 2.0**-11, "bf16": 2.0**-8}[precision]
    assert 0 < np.abs(dense - exact).max() < 200 * u
    np.testing.assert_allclose(gather, dense, atol=30 * u)


def test_choice_follows_size_and_parameters(networks):
    network = networks["parabola"].network
    assert executors.choose(network, 5) == "dense"
    assert executors.choose(network, 10**7) == "gather"
    assert executors.choose(network, 10**7, trained=True) == "chunked"
    assert executors.choose(network, 5, mesh=True) == "sharded"


def test_parameters_of_ones_own_are_used(networks):
    made = networks["structured"]
    doubled = made.network.params | {"learned": 2 * made.network.params["learned"]}
    found = con.evaluate(made.network, POINTS, params=doubled)
    np.testing.assert_allclose(found, 2 * made.formula(POINTS), atol=1e-12)
    with pytest.raises(InputError, match="compiled heads only"):
        con.evaluate(made.network, POINTS, executor="gather", params=doubled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "float64, float32, tf32, bf16"),
        ({"executor": "magic"}, "dense, chunked, sharded, gather"),
        ({"x": np.zeros((0, 2))}, "no points"),
        ({"x": np.full((1, 2), np.nan)}, "outside"),
        ({"mesh": jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))}, "mesh_of"),
    ],
)
def test_bad_input_is_refused(options, message, networks):
    options = dict(options)
    with pytest.raises(InputError, match=message):
        con.evaluate(networks["parabola"].network, options.pop("x", POINTS), **options)


@pytest.mark.slow
def test_600_000_heads_by_gather():
    """The whole network at a few points; the time for a thousand is in benchmarks/constructions.py."""
    made = con.approximate(cone(np.zeros(3)), 3, grid=85)
    assert made.network.shape.heads >= 600_000
    x = np.random.default_rng(0).uniform(size=(8, 3))
    np.testing.assert_allclose(con.evaluate(made.network, x, executor="gather"), made.formula(x), atol=1e-12)
