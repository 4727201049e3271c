"""Meshes that fit, and errors for those that do not."""

import dataclasses
import types

import jax
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.errors import InputError
from jaxscale.sharding import mesh as mesh_module


def test_minus_one_takes_the_devices_that_remain():
    shape = lambda mesh, devices=None: tuple(sharding.make_mesh(mesh, devices).shape.values())
    assert sharding.AXES == ("replica", "fsdp", "context", "tensor")
    assert shape(configs.Mesh(replica=2, fsdp=-1, tensor=2)) == (2, 2, 1, 2)
    assert shape(configs.Mesh(context=4)) == (2, 1, 4, 1)
    assert shape(configs.Mesh(), jax.devices()[:1]) == (1, 1, 1, 1)


def test_slices_divide_the_replicas_and_nothing_else():
    mesh = sharding.make_mesh(configs.Mesh(replica=4, fsdp=2, slices=2))
    halves = mesh.devices.reshape(2, 4)
    assert {device.id for device in halves[0]} == {0, 1, 2, 3} and {device.id for device in halves[1]} == {4, 5, 6, 7}


class Chip:
    """What a mesh asks of a device."""

    platform = "chip"

    def __init__(self, index, slice_index):
        self.id, self.slice_index = index, slice_index


def test_slices_that_devices_name_are_kept_together():
    chips = [Chip(i, i % 2) for i in range(8)]
    array = mesh_module.in_mesh_order(chips, 2, dict(zip(sharding.AXES, (2, 4, 1, 1), strict=True)))
    assert [[chip.slice_index for chip in part] for part in array.reshape(2, 4)] == [[0] * 4, [1] * 4]
    with pytest.raises(InputError, match=r"mesh.slices=4 does not fit: these 8 devices lie in 2 slices"):
        mesh_module.in_mesh_order(chips, 4, dict(zip(sharding.AXES, (8, 1, 1, 1), strict=True)))


def test_axes_that_leave_a_slice_are_named_with_the_slices_they_span():
    def spanned(slices, **sizes):
        sizes = {axis: sizes.get(axis, 1) for axis in sharding.AXES}
        array = mesh_module.in_mesh_order([Chip(i, i // 4) for i in range(8)], slices, sizes)
        mesh = types.SimpleNamespace(devices=array, axis_names=sharding.AXES)
        return mesh_module.spanning(mesh, lambda chip: chip.slice_index)

    assert spanned(2, replica=2, fsdp=4) == spanned(1, replica=8) == {}
    assert spanned(1, fsdp=8) == {"fsdp": 2}
    assert spanned(1, fsdp=4, tensor=2) == {"fsdp": 2}
    assert spanned(1, replica=1, fsdp=1, context=2, tensor=4) == {"context": 2}


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (configs.Mesh(replica=3), "does not fit 8 devices"),
        (configs.Mesh(replica=2, fsdp=2, tensor=1), "does not fit 8 devices"),
        (configs.Mesh(replica=-1, fsdp=-1), "one of them may be -1"),
        (configs.Mesh(replica=0), "must be positive"),
        (configs.Mesh(replica=1, fsdp=8, slices=2), r"mesh.slices=2 must divide mesh.replica=1"),
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
    long = configs.Run(model=configs.Decoder(context=30), training=configs.Training(batch_size=8))
    with pytest.raises(InputError, match=r"model.context=30 does not divide over mesh.context=4"):
        sharding.check_fits(sharding.make_mesh(configs.Mesh(context=4)), long)
