"""Devices that are not there: which names stand for some, and how fast groups of them exchange data."""

import dataclasses
import importlib.util

import jax
import pytest

from jaxscale.ahead import topologies
from jaxscale.errors import InputError
from jaxscale.sharding import chips


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v5e", "is not understood"),
        ("tpu:v5e", "is not understood"),
        ("tpu:v5e:4by4", "is not understood"),
        ("cpu:0", "is not understood"),
        ("tpu:v99:4x4", "'v99' is not known. There are v4, v5e, v5p, v6e, tpu7x"),
        ("gpu:v5e:2x8", "'v5e' is not known. There are a100, h100, h100_pcie, h200, b200, gb200"),
        ("tpu:h100:2x8", "'h100' is not known"),
        ("tpu:v5e:0x4", "sizes must be positive"),
        ("tpu:v4:2x2x1:2", "the network between them is not published"),
        ("gpu:h100:2x8:2", "nodes are its first number"),
        ("gpu:h100:16", "give nodes x GPUs of a node, such as gpu:h100:2x8"),
    ],
)
def test_names_of_nothing_are_refused(name, says):
    with pytest.raises(InputError) as error:
        topologies.describe(name)
    assert says in str(error.value) and name in str(error.value)


def test_more_processors_than_jax_started_with_are_refused():
    with pytest.raises(InputError, match=r"Start anew with XLA_FLAGS=--xla_force_host_platform_device_count=512"):
        topologies.describe("cpu:512")


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("tpu:v5e:4x4", "libtpu", "tpu"), ("gpu:h100:1x8", "jax_cuda13_plugin", "cuda")]
)
def test_a_compiler_that_is_not_installed_names_the_extra(name, package, extra):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(InputError, match=rf"pip install 'jaxscale\[{extra}\]'"):
        topologies.describe(name)


def test_processors_are_those_of_the_host():
    topology = topologies.describe("cpu:4")
    assert topology.devices == tuple(jax.devices()[:4]) and topology.lowering_platform == "cpu"


@dataclasses.dataclass(frozen=True)
class Device:
    coords: tuple = (0, 0, 0)
    slice_index: int = 0
    process_index: int = 0


def tpus(name, shape, places):
    chip = chips.CHIPS[name.split(":")[1]]
    return topologies.Topology(name, "tpu", places, chip, shape), chip


def test_a_line_of_tpus_sends_over_one_port_each_way_round_a_ring_over_two():
    places = tuple(Device((x, 0, 0)) for x in range(4))
    small, chip = tpus("tpu:v5e:4x4", (4, 4), places)
    assert small.sending_rate(places) == chip.link
    pod, chip = tpus("tpu:v5e:16x16", (16, 16), places)
    assert pod.sending_rate(places) == 2 * chip.link
    cubes, chip = tpus("tpu:v5p:4x4x4", (4, 4, 4), places)
    assert cubes.sending_rate(places) == 2 * chip.link


def test_a_plane_of_tpus_sends_along_both_directions():
    places = tuple(Device((x, y, 0)) for x in range(4) for y in range(4))
    small, chip = tpus("tpu:v5e:4x4", (4, 4), places)
    assert small.sending_rate(places) == 2 * chip.link


def test_between_slices_and_nodes_the_network_decides():
    places = tuple(Device((x, 0, 0), slice_index=s) for s in range(2) for x in range(2))
    slices, chip = tpus("tpu:v5p:2x1x1:2", (2, 1, 1), places)
    assert slices.sending_rate(places) == 2 * chip.network
    chip = chips.CHIPS["h100"]
    gpus = tuple(Device(process_index=i // 8) for i in range(16))
    nodes = topologies.Topology("gpu:h100:2x8", "gpu", gpus, chip, (2, 8))
    assert nodes.sending_rate(gpus[:8]) == chip.link
    assert nodes.sending_rate(gpus) == min(chip.link, 8 * chip.network)
    assert nodes.sending_rate(gpus[::8]) == chip.network


def test_the_longest_beginning_names_a_chip():
    assert chips.of_kind("TPU v5 lite") is chips.CHIPS["v5e"]
    assert chips.of_kind("TPU v5") is chips.CHIPS["v5p"]
    assert chips.of_kind("NVIDIA H100 PCIe") is chips.CHIPS["h100_pcie"]
    assert chips.of_kind("NVIDIA H100 80GB HBM3") is chips.CHIPS["h100"]
    assert chips.of_kind("NVIDIA GB200") is chips.CHIPS["gb200"]
    assert chips.of_kind("TPU7x") is chips.CHIPS["tpu7x"]
    assert chips.of_kind("abacus") is None


def test_two_devices_are_a_chip_of_the_data_sheet_of_tpu7x():
    device = chips.CHIPS["tpu7x"]
    assert (2 * device.flops, 2 * device.memory, 2 * device.bandwidth) == (2307e12, 192 * 2**30, 7380e9)
    # Both directions of six ports, and 100 Gbit/s to other slices.
    assert (2 * 12 * device.link, 2 * 8 * device.network) == (1200e9, 100e9)
