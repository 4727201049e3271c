"""Fits that many tests read."""

import jax
import pytest

from jaxscale import laws
from tests.laws import tables


@pytest.fixture(scope="session")
def chinchilla():
    """A fit of 54 runs on six budgets with 0.3% noise, with draws and influence."""
    return laws.fit(tables.isoflop_grid(noise=0.003), "chinchilla", key=jax.random.key(0), resamples=400)
