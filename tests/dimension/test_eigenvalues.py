"""Eigenvalues are LAPACK's, and programs that need them can run at once."""

import os
import subprocess
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.dimension.eigenvalues import eigh, eigvalsh

AT_ONCE = """
import concurrent.futures
import numpy as np
from jaxscale.dimension import local_pca

clouds = np.random.default_rng(0).normal(size=(4, 600, 32)).astype(np.float32)

def read(cloud):
    return [float(local_pca(cloud, k=64).dimension) for _ in range(20)]

read(clouds[0])
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(read, clouds))
"""


def symmetric(*shape: int) -> np.ndarray:
    half = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return half + np.swapaxes(half, -1, -2)


def test_those_of_a_batch_of_batches_are_those_of_numpy() -> None:
    matrices = symmetric(2, 3, 7, 7)
    expected = np.linalg.eigvalsh(matrices.astype(float))
    np.testing.assert_allclose(jax.vmap(jax.vmap(eigvalsh))(matrices), expected, rtol=1e-5, atol=1e-5)
    values, vectors = jax.vmap(jax.vmap(eigh))(matrices)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    again = jnp.einsum("...ij,...j,...kj->...ik", vectors, values, vectors)
    np.testing.assert_allclose(again, matrices, rtol=1e-4, atol=1e-5)


def test_gradients_take_them_for_constants() -> None:
    slope = jax.grad(lambda matrices: jnp.sum(jax.vmap(eigvalsh)(matrices)) + jnp.sum(matrices))(jnp.ones((2, 3, 3)))
    np.testing.assert_array_equal(slope, 1)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="LAPACK is called on CPUs")
def test_a_call_of_lapack_takes_one_matrix() -> None:
    """A call with several waits for threads of the pool in one of them; see the module."""
    matrices = symmetric(2, 16, 64, 64)

    def calls(of: Callable[[jax.Array], object]) -> list[str]:
        return [line for line in jax.jit(of).lower(matrices).as_text().splitlines() if "lapack" in line]

    for of in (eigvalsh, eigh):
        found = calls(jax.vmap(jax.vmap(of)))
        assert found and all("tensor<64x64xf32>" in line and "16x64x64" not in line for line in found)
    assert all("16x64x64" in line for line in calls(jnp.linalg.eigvalsh))


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="gives the process two cores")
def test_clouds_read_from_several_threads_do_not_block_each_other() -> None:
    two = sorted(os.sched_getaffinity(0))[:2]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {two})\n{AT_ONCE}"],
        env=environment,
        check=True,
        timeout=120,
    )
