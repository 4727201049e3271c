"""Meshes that fit, and errors for those that do not."""

import dataclasses

import jax
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.errors import InputError


def test_minus_one_takes_the_devices_that_remain():
    assert dict(sharding.make_mesh(configs.Mesh(replica=2, fsdp=-1, tensor=2)).shape) == {
        "replica": 2,
        "fsdp": 2,
        "tensor": 2,
    }
    assert dict(sharding.make_mesh(configs.Mesh(), jax.devices()[:1]).shape) == {"replica": 1, "fsdp": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (configs.Mesh(replica=3), "does not fit 8 devices"),
        (configs.Mesh(replica=2, fsdp=2, tensor=1), "does not fit 8 devices"),
        (configs.Mesh(replica=-1, fsdp=-1), "one of them may be -1"),
        (configs.Mesh(replica=0), "must be positive"),
    ],
)
def test_meshes_that_do_not_fit_are_refused(mesh, message):
    with pytest.raises(InputError, match=message):
        sharding.make_mesh(mesh)


def test_batch_and_heads_must_divide():
    mesh = sharding.make_mesh(configs.Mesh(replica=4, tensor=2))
    run = configs.Run(training=configs.Training(batch_size=6))
    with pytest.raises(InputError, match=r"training.batch_size=6 does not divide over replica × fsdp = 4 devices"):
        sharding.check_fits(mesh, run)
    halves = configs.Training(batch_size=12, accumulation=2)
    with pytest.raises(InputError, match=r"batch_size=12 in 2 parts .* Use a multiple of 8"):
        sharding.check_fits(mesh, dataclasses.replace(run, training=halves))
    odd = configs.Run(model=configs.Decoder(width=120, heads=3), training=configs.Training(batch_size=8))
    with pytest.raises(InputError, match=r"model.heads=3 does not divide over mesh.tensor=2"):
        sharding.check_fits(mesh, odd)
