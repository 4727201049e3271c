"""Batches made in the background while the devices work, and how long these had to wait for them."""

import concurrent.futures
import time
from typing import Self

import jax

from jaxscale.data import Batches


class Feed:
    """The batches of a run on its devices, the next one made ahead. A context manager.

    Args:
      batches: `data.Batches`.
      sharding: of a batch over devices.
    """

    def __init__(self, batches: Batches, sharding: jax.sharding.Sharding) -> None:
        self._batches, self._sharding = batches, sharding
        self._maker = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: tuple[int, concurrent.futures.Future[jax.Array]] | None = None
        self.waited = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._maker.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> jax.Array:
        """The batch of `step`; adds to `waited`, seconds, what it was not ready by."""
        begun = time.perf_counter()
        made = self._ahead[1] if self._ahead and self._ahead[0] == step else self._make(step)
        batch = made.result()
        self.waited += time.perf_counter() - begun
        self._ahead = step + 1, self._make(step + 1)
        return batch

    def _make(self, step: int) -> concurrent.futures.Future[jax.Array]:
        return self._maker.submit(self._batches.on_device, step, self._sharding)
