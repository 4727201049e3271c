"""Model FLOPs against what devices can do."""

import dataclasses

import jax
import pytest

from jaxscale import config as configs
from jaxscale.training import throughput


@dataclasses.dataclass
class Device:
    device_kind: str
    platform: str = "tpu"


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v5e", 197e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("TPU v99", None),
    ],
)
def test_the_most_specific_name_decides(kind, peak):
    assert throughput.peak_flops([Device(kind)] * 4) == (4 * peak if peak else None)


def test_the_host_is_measured_once_for_all_its_devices():
    peak = throughput.peak_flops(jax.devices())
    assert 1e9 < peak < 1e14
    assert throughput.peak_flops(jax.devices()[:1]) == peak


def test_a_step_costs_three_forward_passes():
    run = configs.Run(
        model=configs.Decoder(layers=1, width=8, heads=2, hidden=16, context=4), training=configs.Training(batch_size=2)
    )
    # per token: 4·8² attention maps, 2·8·16 MLP, 2·4·8 attention products, 8·10 output; 2 FLOPs each
    assert throughput.training_flops(run, 10) == 3 * (2 * 4) * 2 * (256 + 256 + 64 + 80)
