"""Batches as a pure function of (seed, step): nothing to save, nothing to restore, the same on any number of hosts.

batches = Batches.of(store.train, n=65536, context=128, batch_size=32, key=0)
batches.rows(step)                                  # (32, 129) int32: inputs and, one to the right, targets
batches.on_device(step, sharding)                   # the same as one global array; each host reads only its rows
"""

import dataclasses
import functools
from typing import cast

import jax
import numpy as np

from jaxscale.arguments import numpy_seed
from jaxscale.data.store import Split
from jaxscale.errors import InputError


@dataclasses.dataclass(frozen=True)
class Batches:
    """Epochs over the `n` tokens from place `start` on (around the end), cut into windows of `context` + 1.

    The last token of a window is the first of the next. Every epoch draws its own offset and its own order of windows;
    the `n` tokens are taken as a circle, so that each epoch has exactly n // context windows whatever the offset.
    """

    tokens: np.ndarray
    n: int
    start: int
    context: int
    batch_size: int
    seed: int

    @classmethod
    def of(cls, split: Split, n: int | None, context: int, batch_size: int, *, key: jax.Array | int) -> "Batches":
        """Batches over `n` tokens (None: all) of a `data.Split`, from a piece of it that is drawn.

        For one key the tokens of a smaller set are the first of a larger one.

        Args:
          split: to take tokens from.
          n: tokens; None for all.
          context: tokens a sequence predicts from.
          batch_size: sequences of a step.
          key: a JAX random key, or an int for `jax.random.key`.

        Raises:
          InputError: fewer tokens than a sequence needs, or more than there are.
        """
        have, seed = len(split.tokens), numpy_seed("key", key) % 2**64
        n = have if n is None else n
        if n > have:
            raise InputError(
                f"tokens={n} is more than the corpus's {have} training tokens. Train on fewer, or give more text."
            )
        if n <= context:
            raise InputError(
                f"tokens={n} is no more than the context of {context}. Use more tokens or a shorter context."
            )
        piece = np.random.Generator(np.random.Philox(key=[seed, 2**63])).integers(len(split.starts) - 1)
        return cls(split.tokens, n, int(split.starts[piece]), context, batch_size, seed)

    @property
    def windows(self) -> int:
        """Windows of an epoch."""
        return self.n // self.context

    def rows(self, step: int, start: int | None = 0, stop: int | None = None) -> np.ndarray:
        """Rows `start` to `stop` of a step's batch, (rows, context + 1) int32."""
        return self._sequences(step * self.batch_size + np.arange(self.batch_size)[start:stop])

    def of_steps(self, step: int, count: int) -> np.ndarray:
        """The batches of `count` steps from `step` on, (count, batch_size, context + 1) int32."""
        places = step * self.batch_size + np.arange(count * self.batch_size)
        return self._sequences(places).reshape(count, self.batch_size, self.context + 1)

    def on_device(self, step: int, sharding: jax.sharding.Sharding) -> jax.Array:
        """A step's batch as a global array; each process builds only the rows of its own devices."""
        shape = (self.batch_size, self.context + 1)
        return jax.make_array_from_callback(
            shape, sharding, lambda index: self._shard(step, cast(tuple[slice, ...], index))
        )

    def _shard(self, step: int, index: tuple[slice, ...]) -> np.ndarray:
        return self.rows(step, index[0].start, index[0].stop)

    def _sequences(self, places: np.ndarray) -> np.ndarray:
        """Sequences at `places` of the endless row of epochs, (places, context + 1) int32."""
        epochs, windows = np.divmod(places, self.windows)
        first = np.empty(len(places), np.int64)
        for epoch in np.unique(epochs):
            offset, order = _epoch_order(self.seed, int(epoch), self.n, self.windows)
            here = epochs == epoch
            first[here] = offset + order[windows[here]] * self.context
        index = (first[:, None] + np.arange(self.context + 1)) % self.n
        return np.asarray(self.tokens[(self.start + index) % len(self.tokens)], np.int32)


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, size: int, windows: int) -> tuple[int, np.ndarray]:
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return int(generator.integers(size)), generator.permutation(windows)


def evaluation_windows(tokens: np.ndarray, context: int, sequences: int) -> np.ndarray:
    """`sequences` windows spread evenly over the held-out tokens (or all there are), (sequences, context + 1) int32."""
    windows = (len(tokens) - 1) // context
    if windows == 0:
        raise InputError(
            f"the held-out documents have {len(tokens)} tokens, fewer than one sequence of context={context}. "
            "Raise corpus.held_out_fraction, give more text, or shorten the context."
        )
    chosen = np.linspace(0, windows - 1, min(sequences, windows)).astype(int)
    index = chosen[:, None] * context + np.arange(context + 1)
    return np.asarray(tokens[index], np.int32)
