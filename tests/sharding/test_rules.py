"""Every parameter of every model option has a rule, and states are laid out by it."""

import math

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import sharding, training

MESH = configs.Mesh(replica=1, fsdp=4, tensor=2)


OPTIONS = [
    {},
    {"activation": "swiglu"},
    {"positions": "learned"},
    {"tied": False},
    {"norm": "layer", "bias": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_parameter_has_a_rule_and_moments_follow_it(options):
    run = configs.Run(model=configs.Decoder(layers=1, width=16, heads=2, hidden=32, context=8, **options), mesh=MESH)
    state = training.program(run, 64, sharding.make_mesh(MESH)).abstract
    specs = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.sharding.spec
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)
    }
    assert specs["block_0/attention/query/kernel"] == P("fsdp", "tensor")
    assert specs["block_0/mlp/down/kernel"] == P("tensor", "fsdp")
    assert specs["embed"] == P("tensor", "fsdp")
    moments = {
        jax.tree_util.keystr(p, simple=True, separator="/"): leaf.sharding.spec
        for p, leaf in jax.tree_util.tree_leaves_with_path(state.moments)
    }
    for name, spec in specs.items():
        assert [s for path, s in moments.items() if path.endswith("mu/" + name)] == [spec]


def test_stacked_blocks_are_laid_out_like_single_ones():
    mesh = sharding.make_mesh(MESH)
    for name, shape in (("attention/query/kernel", (16, 16)), ("mlp/up/bias", (32,)), ("norm_mlp/scale", (16,))):
        single = sharding.spec(f"block_0/{name}", shape, mesh)
        assert sharding.spec(f"params/blocks/block/{name}", (6, *shape), mesh) == P(None, *single)


def test_every_parameter_is_divided_over_all_devices():
    mesh = sharding.make_mesh(MESH)
    model = configs.Decoder(
        layers=2, width=16, heads=2, hidden=32, context=8, positions="learned", norm="layer", bias=True, scan=True
    )
    abstract = training.program(configs.Run(model=model, mesh=MESH), 64, mesh).abstract
    for path, leaf in jax.tree_util.tree_leaves_with_path(abstract.params):
        divided = math.prod(leaf.shape) // math.prod(leaf.sharding.shard_shape(leaf.shape))
        # Vectors of the stream's width, and positions, are no tensor axis's to divide.
        assert divided == 8 or (divided == 4 and "tensor" not in str(leaf.sharding.spec)), path


def test_an_axis_that_does_not_divide_is_left_whole():
    mesh = sharding.make_mesh(MESH)
    assert sharding.spec("embed", (257, 16), mesh) == P(None, "fsdp")
    assert sharding.spec("up/bias", (32,), mesh) == P(("tensor", "fsdp"))
    assert sharding.spec("up/bias", (6,), mesh) == P("tensor")


def test_a_parameter_without_a_rule_is_an_error():
    with pytest.raises(KeyError, match="no partition rule matches parameter 'surprise'"):
        sharding.spec("surprise", (4, 4), sharding.make_mesh(MESH))


def test_a_sharded_state_holds_one_eighth_of_the_large_matrices_per_device():
    run = configs.Run(model=configs.Decoder(layers=1, width=16, heads=2, hidden=32, context=8), mesh=MESH)
    state = training.program(run, 64, sharding.make_mesh(MESH)).init(jax.random.key(0))
    kernel = state.params["block_0"]["mlp"]["up"]["kernel"]
    assert {shard.data.size for shard in kernel.addressable_shards} == {kernel.size // 8}
    assert np.isfinite(np.asarray(kernel)).all()
