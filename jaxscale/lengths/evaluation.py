"""What trained limit transformers do at every length: losses, errors at worst, where they look, and whether they look.

    losses_C, valid_C = losses(net, cells, params, lengths_C, n=8192, key=key)          # jnp.inf is a length too
    collapsed = collapse(net, one, task)              # of one network's parameters; above COLLAPSED: on one value

Losses are mean squared errors |f(x) - f*(x)|², summed over the outputs.
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.lengths import adversarial
from jaxscale.lengths.kgram import KGramTask
from jaxscale.lengths.strings import Statistics
from jaxscale.lengths.sweep import Cells
from jaxscale.lengths.tasks import ModPTask, SimpleTask
from jaxscale.lengths.transformer import LimitTransformer

# Attention of which more lies on one token value, where all values are equally frequent, cannot count.
COLLAPSED = 0.95
# Tokens of strings that are held in memory at once.
TOKENS_AT_ONCE = 1 << 18
FEWEST_STRINGS, MOST_TOKENS = 16, 1 << 21


def losses(
    net: LimitTransformer,
    cells: Cells,
    params: Any,
    lengths_C: np.ndarray | jax.Array,
    n: int,
    *,
    key: jax.Array | int,
) -> tuple[jax.Array, jax.Array]:
    """Mean squared error of every run at a length of its own, (C,), and the share of strings that have a target (C,).

    Where all strings can be listed the mean is exact (`SimpleTask.every_statistics`); else it is over `n` draws
    of counts, or for the k-gram over so many strings, or fewer, that they have 2^21 tokens.

    Args:
      net, cells, params: as in `sweep`.
      lengths_C: (C,) lengths, `jnp.inf` for the limit; of the k-gram all the same and concrete.
      n: strings drawn.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    key = random_key("key", key)
    found: tuple[jax.Array, jax.Array]
    if not isinstance(cells.task, KGramTask):
        found = _statistic_losses(net, cells, params, jnp.asarray(lengths_C, jnp.float32), key, n)
    elif (length := float(lengths_C[0])) == float("inf"):
        found = _limit_losses(net, cells, params, key, n)
    else:
        strings = min(n, max(FEWEST_STRINGS, int(MOST_TOKENS / length)))
        found = _string_losses(net, cells, params, key, int(length), strings)
    return found


def drawn_statistics(
    task: SimpleTask | ModPTask, length: float | jax.Array, ends: int | jax.Array, n: int, *, key: jax.Array | int
) -> tuple[Statistics, jax.Array]:
    """`Statistics` of strings of one length with their probabilities: all of them, or `n` draws.

    Args:
      task: a `SimpleTask` or a `ModPTask`.
      length: of the strings, `jnp.inf` too.
      ends: the residue of the last token at infinite length.
      n: draws; static.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    if isinstance(task, SimpleTask) and task.alphabet == 2:
        return task.every_statistics(length)
    keys_B = jax.random.split(random_key("key", key), n)
    return jax.vmap(lambda key: task.sample_statistics(length, ends, key=key))(keys_B), jnp.full(n, 1 / n)


def squared_errors(net: LimitTransformer, params: Any, task: SimpleTask | ModPTask, seen: Statistics) -> jax.Array:
    """|f - f*|² for each of a batch of `Statistics`, (B,)."""
    outputs_BxO = jax.vmap(lambda seen: cast(jax.Array, net.apply({"params": params}, seen, method="summarized")))(seen)
    return jnp.sum((outputs_BxO - jax.vmap(task.target_of)(seen).value) ** 2, axis=1)


@functools.partial(jax.jit, static_argnames=("net", "samples"))
def _statistic_losses(
    net: LimitTransformer, cells: Cells, params: Any, lengths_C: jax.Array, key: jax.Array, samples: int
) -> tuple[jax.Array, jax.Array]:
    def one(inputs: tuple[SimpleTask | ModPTask, jax.Array, Any, jax.Array]) -> jax.Array:
        task, train_length, params, length = inputs
        # At infinite length the query has the residue that strings of the train length end at.
        seen, weight_B = drawn_statistics(task, length, train_length % task.period, samples, key=key)
        return jnp.sum(squared_errors(net, params, task, seen) * weight_B)

    losses_C = jax.lax.map(one, (cells.task, cells.length, params, lengths_C))
    return losses_C, jnp.ones_like(losses_C)


@functools.partial(jax.jit, static_argnames=("net", "length", "strings"))
def _string_losses(
    net: LimitTransformer, cells: Cells, params: Any, key: jax.Array, length: int, strings: int
) -> tuple[jax.Array, jax.Array]:
    def one(inputs: tuple[KGramTask, Any]) -> tuple[jax.Array, jax.Array]:
        task, params = inputs

        def error(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            tokens_T = task.sample(length, length, key=key)
            target = task.target(tokens_T, length)
            output_O = cast(jax.Array, net.apply({"params": params}, tokens_T, length, method="running"))
            return jnp.sum((output_O - target.value) ** 2), target.valid

        at_once = max(1, min(strings, TOKENS_AT_ONCE // length))
        errors_B, valid_B = jax.lax.map(error, jax.random.split(key, strings), batch_size=at_once)
        return jnp.sum(errors_B * valid_B) / jnp.maximum(jnp.sum(valid_B), 1), jnp.mean(valid_B)

    of_runs: tuple[jax.Array, jax.Array] = jax.lax.map(one, (cells.task, params))
    return of_runs


@functools.partial(jax.jit, static_argnames=("net", "samples"))
def _limit_losses(
    net: LimitTransformer, cells: Cells, params: Any, key: jax.Array, samples: int
) -> tuple[jax.Array, jax.Array]:
    def one(inputs: tuple[KGramTask, Any]) -> jax.Array:
        task, params = inputs

        def error(key: jax.Array) -> jax.Array:
            string = task.sample_limit(net.locality, key=key)
            output_O = cast(jax.Array, net.apply({"params": params}, string.law, string.recent, method="limit"))
            return jnp.sum((output_O - string.value) ** 2)

        return jnp.mean(jax.lax.map(error, jax.random.split(key, min(samples, 512)), batch_size=64))

    losses_C = jax.lax.map(one, (cells.task, params))
    return losses_C, jnp.ones_like(losses_C)


def hard_errors(
    net: LimitTransformer, cells: Cells, params: Any, length: int, each: int = 32, *, key: jax.Array | int
) -> dict[str, list[Any]]:
    """Largest and mean error |f - f*| of every run on strings to fail on, by kind.

    Args:
      net, cells, params: as in `sweep`.
      length: of the strings.
      each: strings of a kind.
      key: a JAX random key, or an int for `jax.random.key`.

    Returns:
      {"kinds": names, "largest": (C, kinds) lists, "mean": likewise}; strings without a target are left out.
    """
    of_strings = isinstance(cells.task, KGramTask)
    errors = _hard_string_errors if of_strings else _hard_statistic_errors
    largest_CxK, mean_CxK = errors(net, cells, params, length, random_key("key", key), each)
    kinds = list(adversarial.STRING_KINDS if of_strings else adversarial.STATISTIC_KINDS)
    return {"kinds": kinds, "largest": largest_CxK.tolist(), "mean": mean_CxK.tolist()}


@functools.partial(jax.jit, static_argnames=("net", "length", "each"))
def _hard_string_errors(
    net: LimitTransformer, cells: Cells, params: Any, length: int, key: jax.Array, each: int
) -> tuple[jax.Array, jax.Array]:
    def one(inputs: tuple[KGramTask, Any]) -> tuple[jax.Array, jax.Array]:
        task, params = inputs
        _, tokens_NxT = adversarial.hard_strings(task, length, each, key=key)

        def error(tokens_T: jax.Array) -> tuple[jax.Array, jax.Array]:
            target = task.target(tokens_T, length)
            output_O = cast(jax.Array, net.apply({"params": params}, tokens_T, length, method="running"))
            return jnp.sqrt(jnp.sum((output_O - target.value) ** 2)), target.valid

        at_once = max(1, TOKENS_AT_ONCE // length)
        errors_N, valid_N = jax.lax.map(error, tokens_NxT, batch_size=min(at_once, len(tokens_NxT)))
        return _by_kind(errors_N, valid_N, each)

    of_runs: tuple[jax.Array, jax.Array] = jax.lax.map(one, (cells.task, params))
    return of_runs


@functools.partial(jax.jit, static_argnames=("net", "each"))
def _hard_statistic_errors(
    net: LimitTransformer, cells: Cells, params: Any, length: int, key: jax.Array, each: int
) -> tuple[jax.Array, jax.Array]:
    def one(inputs: tuple[SimpleTask | ModPTask, Any]) -> tuple[jax.Array, jax.Array]:
        task, params = inputs
        _, seen = adversarial.hard_statistics(task, length, each, key=key)
        errors_N = jnp.sqrt(squared_errors(net, params, task, seen))
        return _by_kind(errors_N, jax.vmap(task.target_of)(seen).valid, each)

    of_runs: tuple[jax.Array, jax.Array] = jax.lax.map(one, (cells.task, params))
    return of_runs


def _by_kind(errors_N: jax.Array, valid_N: jax.Array, each: int) -> tuple[jax.Array, jax.Array]:
    """The largest error and the mean of each kind, (K,), of strings that have a target."""
    errors_KxE, valid_KxE = errors_N.reshape(-1, each), valid_N.reshape(-1, each)
    total_K = jnp.maximum(jnp.sum(valid_KxE, axis=1), 1)
    return jnp.max(errors_KxE * valid_KxE, axis=1), jnp.sum(errors_KxE * valid_KxE, axis=1) / total_K


def even_statistics(task: SimpleTask | ModPTask, query: int | jax.Array = 0, ends: int | jax.Array = 0) -> Statistics:
    """`Statistics` of an infinite string in which all symbols are equally frequent at every residue."""
    residue_R = jnp.arange(task.rows)
    share_R = jnp.where(residue_R < task.period, 1.0, 0) / (task.alphabet * task.period)
    bulk_SxR = jnp.broadcast_to(share_R, (task.alphabet, task.rows)).astype(jnp.float32)
    suffix, period = jnp.full(1, query, jnp.int32), jnp.asarray(task.period, jnp.int32)
    return Statistics(bulk_SxR, suffix, jnp.asarray(ends, jnp.int32), period, jnp.float32(jnp.inf))


def attention(net: LimitTransformer, params: Any, task: SimpleTask | ModPTask, ends: int | jax.Array = 0) -> jax.Array:
    """Where a one-layer transformer looks when all symbols are equally frequent, by query symbol: (S, H, S, R)."""
    look: Callable[[jax.Array], jax.Array] = lambda query: net.apply(
        {"params": params}, even_statistics(task, query, ends), method="attention"
    )[0]
    looks_SxHxSxR: jax.Array = jax.vmap(look)(jnp.arange(task.alphabet))
    return looks_SxHxSxR


def collapse(net: LimitTransformer, params: Any, task: SimpleTask | ModPTask, ends: int | jax.Array = 0) -> jax.Array:
    """The largest share of attention on one token value where all are equally frequent: 1/S at best, 1 at worst.

    Of the heads the most even one counts, and of the last tokens the worst: a network that counts in strings that end
    in one symbol and looks at a single value in those that end in another is wrong on half of all strings.
    """
    by_symbol_SxHxS = jnp.sum(attention(net, params, task, ends), axis=-1)
    return jnp.max(jnp.min(jnp.max(by_symbol_SxHxS, axis=2), axis=1))


def mass_on_residue(net: LimitTransformer, params: Any, task: ModPTask, ends: int | jax.Array = 0) -> jax.Array:
    """The share of attention on the residue that `ModPTask` asks for, mean over queries, of the best head."""
    by_residue_SxHxR = jnp.sum(attention(net, params, task, ends), axis=2)
    return jnp.max(jnp.mean(by_residue_SxHxR[..., task.residue], axis=0))


def head_offsets(params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What the first layer of a k-gram network learned: by head the distance of its largest φ, that φ, and the next.

    The construction has φ = c > 1 at the distances 1..k, a head for each, and 0 elsewhere.
    """
    bias_HxW = params["layer_0"]["bias"]
    ordered_HxW = jnp.sort(bias_HxW, axis=1)
    return jnp.argmax(bias_HxW, axis=1), ordered_HxW[:, -1], ordered_HxW[:, -2]
