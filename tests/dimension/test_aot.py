"""Compiled for eight chips of a TPU v5e, which need not be there: no chip gathers the cloud, none waits for a shard."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxscale import dimension

pytest.importorskip("libtpu", reason="needs the compiler for TPUs: pip install libtpu")
pytestmark = pytest.mark.slow

N, WIDTH, CHIPS = 65_536, 768, 8
SHARD = N // CHIPS * WIDTH * 4


@pytest.fixture
def compiled_for_tpu(monkeypatch):
    """Compiles a function of N points, sharded by rows."""
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4").devices
    rows = NamedSharding(Mesh(np.array(chips), ("fsdp",), axis_types=(AxisType.Explicit,)), PartitionSpec("fsdp"))
    points = jax.ShapeDtypeStruct((N, WIDTH), jnp.float32, sharding=rows)
    return lambda function: jax.jit(function).trace(points).lower(lowering_platforms=("tpu",)).compile()


def test_the_next_shard_travels_while_the_present_one_is_searched(compiled_for_tpu):
    compiled = compiled_for_tpu(lambda x: dimension.neighbors(x, k=20))
    program = compiled.as_text()
    assert " all-gather" not in program
    # One transfer for the own shard, and one for those in the loop; loops of the search lie within both.
    shard = rf"collective-permute-start\S* = \(f32\[{N // CHIPS},{WIDTH}\].*?collective-permute-done"
    transfers = re.findall(shard, program, re.DOTALL)
    assert len(transfers) == 2
    assert all(" while(" in meanwhile for meanwhile in transfers)
    # The present shard, the next, and the tiles of the one searched; lists of neighbors take the rest.
    assert compiled.memory_analysis().temp_size_in_bytes < 3.5 * SHARD


def test_an_estimate_gathers_numbers_of_points_but_no_coordinates(compiled_for_tpu):
    compiled = compiled_for_tpu(lambda x: dimension.mle(x, k=20).dimension)
    assert f"[{N},{WIDTH}]" not in compiled.as_text()
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * SHARD
