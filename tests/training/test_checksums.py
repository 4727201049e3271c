"""Checksums of arrays: what they should be, that every bit counts, and that devices do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.training.checksums import checksums, differing


def mixed(x):
    """MurmurHash3's finalizer as its author gives it, in Python's integers."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * factor % 2**32
    return x ^ (x >> 16)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "int8", "bool"])
def test_the_sum_is_that_of_plain_integers(dtype):
    array = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)) * 10, dtype)
    unsigned = {1: np.uint8, 2: np.uint16, 4: np.uint32}[array.dtype.itemsize]
    bits = np.asarray(array).view(unsigned).ravel().tolist()
    wanted = sum(mixed(bit ^ mixed(place)) for place, bit in enumerate(bits)) % 2**32
    assert checksums({"a": {"b": array}}) == {"a/b": wanted}


def test_every_bit_and_every_place_counts():
    array = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    array[0] = 0
    kept = checksums({"w": array})
    assert differing({"w": array.copy()}, kept) == []
    for bit in range(8 * array.nbytes):
        changed = array.copy()
        changed.view(np.uint8).reshape(-1)[bit // 8] ^= 1 << bit % 8
        assert differing({"w": changed}, kept) == ["w"]
    assert differing({"w": array[::-1]}, kept) == ["w"]
    assert differing({"w": array, "v": array}, kept) == ["v"]


def test_devices_and_their_number_do_not_count():
    array = jnp.asarray(np.random.default_rng(0).normal(size=(8, 24)), jnp.float32)
    whole = checksums({"w": array})
    for shape, spec in (((8, 1), ("x", "y")), ((2, 4), ("x", "y")), ((4, 2), (None, "x"))):
        mesh = jax.make_mesh(shape, ("x", "y"))
        where = jax.NamedSharding(mesh, jax.P(*spec))
        assert checksums({"w": jax.device_put(array, where)}) == whole
