"""Eigenvalues of symmetric matrices, one matrix at a time: programs that run at once cannot block each other.

eigvalsh(matrix_DxD)                              # (D,), as jnp.linalg.eigvalsh; under vmap a loop on CPUs
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

# On CPUs jaxlib 0.10 divides a batch of matrices among the threads of XLA's pool and waits for them, in a thread of the
# same pool. As many such calls as the pool has threads, from several programs or within one, wait for ever: none is
# left to do the work. A single matrix is done at once, in the thread that asks for it, whatever else runs. A loop over
# 512 matrices of 64 x 64 takes as many processor seconds as the batch does.


@custom_vmap
def _eigvalsh(matrix_DxD: jax.Array) -> jax.Array:
    values_D: jax.Array = jnp.linalg.eigvalsh(matrix_DxD)
    return values_D


@_eigvalsh.def_vmap
def _(size: int, batched: Sequence[bool], matrix_BxDxD: jax.Array) -> tuple[jax.Array, bool]:
    one_by_one = functools.partial(lax.map, _eigvalsh)
    return lax.platform_dependent(matrix_BxDxD, cpu=one_by_one, default=jnp.linalg.eigvalsh), True


@custom_vmap
def _eigh(matrix_DxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    values_D, vectors_DxD = jnp.linalg.eigh(matrix_DxD)
    return values_D, vectors_DxD


@_eigh.def_vmap
def _(
    size: int, batched: Sequence[bool], matrix_BxDxD: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[bool, bool]]:
    one_by_one = functools.partial(lax.map, _eigh)
    together: Callable[[jax.Array], tuple[jax.Array, jax.Array]] = lambda matrices: tuple(jnp.linalg.eigh(matrices))
    return lax.platform_dependent(matrix_BxDxD, cpu=one_by_one, default=together), (True, True)


def eigvalsh(matrix_DxD: jax.Array) -> jax.Array:
    """(D,) eigenvalues of a symmetric (D, D) matrix, ascending, taken for constants by gradients."""
    eigenvalues_D: jax.Array = _eigvalsh(lax.stop_gradient(matrix_DxD))
    return eigenvalues_D


def eigh(matrix_DxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(D,) eigenvalues as of `eigvalsh`, and the (D, D) eigenvectors, in columns."""
    eigenvalues_D, vectors_DxD = _eigh(lax.stop_gradient(matrix_DxD))
    return eigenvalues_D, vectors_DxD
