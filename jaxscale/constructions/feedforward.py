"""The FFN of a block, put together from what it must do to each token: apply networks to rows, and clear rows."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxscale.constructions.atoms import Kind, Layers


@dataclasses.dataclass(frozen=True)
class Use:
    """A network that reads the rows `sources` of a token and adds its value to the row `target`.

    As it runs on every token, its value at zero is taken off: tokens whose sources are empty stay as they are.
    """

    kind: Kind
    sources: tuple[int, ...]
    target: int


@dataclasses.dataclass(frozen=True)
class Clear:
    """A row to be emptied; if it is `signed`, its positive and negative parts take a hidden unit each."""

    row: int
    signed: bool


def ffn_layers(width: int, uses: Sequence[Use], clears: Sequence[Clear]) -> Layers:
    """Affine maps of an FFN on tokens of `width` rows, to be used as x + FFN(x); none if there is nothing to do.

    Networks and clearings lie side by side. Shallower ones are carried on by identities, as hidden units are not
    negative.
    """
    parts = [(use.sources, use.target, _without_value_at_zero(_hidden(use.kind.layers))) for use in uses]
    for clear in clears:
        split = np.array([[1.0, -1.0]] if clear.signed else [[1.0]])
        parts.append(((clear.row,), clear.row, ((split, np.zeros(split.shape[1])), (-split.T, np.zeros(1)))))
    if not parts:
        return ()
    depth = max(len(layers) for *_, layers in parts)
    columns = [_carried(layers, depth) for *_, layers in parts]
    first = np.zeros((width, sum(layers[0][0].shape[1] for layers in columns)))
    last = np.zeros((sum(layers[-1][0].shape[0] for layers in columns), width))
    last_bias = np.zeros(width)
    start_in = start_out = 0
    for (sources, target, _), layers in zip(parts, columns, strict=True):
        kernel, end = layers[0][0], layers[-1]
        first[list(sources), start_in : start_in + kernel.shape[1]] = kernel
        last[start_out : start_out + end[0].shape[0], target] = end[0][:, 0]
        last_bias[target] += end[1][0]
        start_in, start_out = start_in + kernel.shape[1], start_out + end[0].shape[0]
    joined: Callable[[int], np.ndarray] = lambda i: np.concatenate([layers[i][1] for layers in columns])
    middle = [(_block_diagonal([layers[i][0] for layers in columns]), joined(i)) for i in range(1, depth - 1)]
    return ((first, joined(0)), *middle, (last, last_bias))


def _hidden(layers: Layers) -> Layers:
    """At least one hidden layer: an affine map alone is split into its positive and negative part."""
    if len(layers) > 1:
        return layers
    kernel, bias = layers[0]
    return (np.hstack([kernel, -kernel]), np.hstack([bias, -bias])), (np.array([[1.0], [-1.0]]), np.zeros(1))


def _without_value_at_zero(layers: Layers) -> Layers:
    kernel, bias = layers[-1]
    at_zero = Kind("", layers).at_zero
    return (*layers[:-1], (kernel, bias - at_zero))


def _carried(layers: Layers, depth: int) -> Layers:
    width = layers[-1][0].shape[0]
    identities = [(np.eye(width), np.zeros(width))] * (depth - len(layers))
    return (*layers[:-1], *identities, layers[-1])


def _block_diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    out = np.zeros(np.sum([block.shape for block in blocks], axis=0))
    row = column = 0
    for block in blocks:
        out[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return out
