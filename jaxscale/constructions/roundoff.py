"""What rounding can do to a network: a bound on the error of its output, format by format, and the heads that may leak.

    rounding(network, "float32").bound, .leaks, .margin

Errors are carried through the blocks together with bounds on the numbers themselves, in the way of running error
analysis (Higham 2002, chapter 3): a product adds its relative rounding, a sum of n terms (n-1) u of the sum of their
absolute values, in any order. Three things make the bound follow what happens:

- A sum of terms that are all multiples of one unit, with every partial sum below 2^p units, is exact in any order.
  Where a functional of an encoding is exact, so is selection: the matching pair adds data + 0 + 0.
- Other pairs add nothing as long as their scores are computed as negative. What may push one above zero is compared
  with its distance from zero; if that does not suffice, the head leaks, and the bound says how much.
- What is computed is bounded not only by what it should be and the error: ReLUs bound what they pass on.
- Of the terms of a last sum only those differ from zero, in floating point too, whose bumps hold the point.

Numbers below the normal ones of a format may be taken for zero, as accelerators do. Where a number may exceed the
largest of the format nothing is bounded.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jaxscale.constructions.encodings import unit
from jaxscale.constructions.network import Network, Selection
from jaxscale.errors import InputError


@dataclasses.dataclass(frozen=True)
class Format:
    """Bits, the leading one counted, of what enters matrix products and of what is stored and summed.

    Normal numbers lie between `tiny` and `largest`.
    """

    inputs: int
    sums: int
    tiny: float = float(np.finfo(np.float32).tiny)
    largest: float = float(np.finfo(np.float32).max)

    @property
    def u(self) -> float:
        """Unit roundoff of sums."""
        return 2.0**-self.sums

    @property
    def u_inputs(self) -> float:
        """Relative error of rounding to a matmul input; zero where sums are stored as they enter."""
        return 0.0 if self.inputs == self.sums else 2.0**-self.inputs

    @property
    def u_weights(self) -> float:
        """Relative error of a float64 parameter when it enters a product."""
        return 2.0**-self.inputs


FORMATS = {
    "float64": Format(53, 53, float(np.finfo(float).tiny), float(np.finfo(float).max)),
    "float32": Format(24, 24),
    "tf32": Format(11, 24),
    "bf16": Format(8, 24),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rounding:
    """Of a network in one format.

    Attributes:
      bounds: |computed - exact| of each output, at any point of the domain, at most; infinite where a number may exceed
        the largest of the format.
      margins: (M,) for each block: how far every score that should be negative stays below zero, as a share of the
        largest data score; negative where the head may leak.
    """

    bounds: tuple[float, ...]
    margins: tuple[np.ndarray, ...]

    @property
    def bound(self) -> float:
        """The largest of any output."""
        return max(self.bounds)

    @property
    def margin(self) -> float:
        """The least margin of any head."""
        return min(float(margin.min()) for margin in self.margins)

    @property
    def leaks(self) -> int:
        """Heads that may leak."""
        return sum(int(np.sum(margin < 0)) for margin in self.margins)


def rounding(network: Network, precision: str) -> Rounding:
    """Bounds on the rounding error of a network in "float64", "float32", "tf32" or "bf16"; see the module.

    Raises:
      InputError: an unknown precision.
    """
    if precision not in FORMATS:
        raise InputError(f"precision={precision!r} is not one of {', '.join(FORMATS)}. Pass one of these.")
    # What overflows here becomes infinite or nan, and so does the bound.
    with np.errstate(over="ignore", invalid="ignore"):
        return _rounding(network, FORMATS[precision])


def _rounding(network: Network, form: Format) -> Rounding:
    start = network.encoding.copy()
    for i, row in enumerate(network.shape.learned_rows):
        start[:, row] += network.params["learned"][:, i]
    R = network.streams[0][0].shape[1]
    known = Known(start, R, form)
    error = known.error.copy()
    inputs = tuple(np.reshape(np.array(network.shape.inputs, int), (-1, 2)).T)
    error[inputs] = _magnitude(network.streams[0])[inputs] * form.u + form.tiny
    largest = known.with_data(network.streams[0]) + error  # as computed
    margins, peak = [], float(largest.max())
    for i, selection in enumerate(network.selections):
        weights = network.params[f"block_{i}"]
        size = known.with_data(network.streams[i])
        added, margin = _attention(weights, selection, size, error, largest, known)
        margins.append(margin)
        attended = known.with_data(network.attended[i])
        error = error + added + form.u * attended * (added > 0)
        peak = max(peak, _peak(weights, largest.max(axis=0), selection))
        lower, upper = known.ends(network.attended[i], error)
        found, hidden = _largest_of_feed_forward(weights, lower, upper, form)
        before = attended + error
        out = _feed_forward(weights, attended, error, form)
        after = known.with_data(network.streams[i + 1])
        # A row that is emptied is subtracted from itself, as it enters a product.
        emptied = (after.max(axis=0) == 0) & (attended.max(axis=0) > 0)
        error = np.where(emptied, form.u_inputs * attended, error + out + form.u * after * (out > 0))
        largest = np.minimum(after + error, (before + found) * (1 + form.u))
        peak = max(peak, hidden, float(before.max()), float(largest.max()))
    bounds = [float(error[token, row]) for token, row in network.shape.outputs]
    held = peak < form.largest and not any(map(math.isnan, bounds))
    return Rounding(tuple(bounds) if held else (math.inf,) * len(bounds), tuple(margins))


def _peak(weights: Mapping[str, np.ndarray], largest: np.ndarray, selection: Selection) -> float:
    """A bound on every number that attention makes, partial sums included, for tokens whose rows are at most this."""
    q, k, v = (np.abs(weights[name]) @ largest for name in ("query", "key", "value"))
    scores = np.sum(q * k, axis=1)
    pairs = int(np.count_nonzero(selection.token >= 0))
    return float(max(q.max(), k.max(), v.max(), scores.max(), pairs * np.max(scores[:, None] * v)))


class Known:
    """What every block has in common: rows that do not change, how well the format holds them, and the format."""

    def __init__(self, start: np.ndarray, data_rows: int, form: Format) -> None:
        self.start, self.rows, self.form = start, data_rows, form
        self.error = np.abs(start) * np.where(_fits(start, form.sums), 0, form.u)
        self.enters = _fits(start, form.inputs)  # whether an entry enters products as it is
        self.enters[:, :data_rows] = False
        self.columns = np.all(self.enters, axis=0)
        self.unit = unit(start).min(axis=0)
        self.largest = np.abs(start).max(axis=0)

    def with_data(self, interval: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """(l, E) bounds on all rows, from intervals of the data rows."""
        return np.concatenate([_magnitude(interval), np.abs(self.start[:, self.rows :])], axis=1)

    def ends(self, interval: tuple[np.ndarray, np.ndarray], error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends, (l, E) each, of all rows as computed."""
        lower, upper = (np.concatenate([end, self.start[:, self.rows :]], axis=1) for end in interval)
        return lower - error, upper + error


@dataclasses.dataclass(frozen=True)
class Side:
    """Queries or keys of the pairs that meet: bounds on their data rows (M, P, r), and on those of any token (M, r).

    Attributes:
      size, error: of data rows.
      most, worst: size of data rows for any token, in exact arithmetic and as computed.
      noise: (M, P) what selection rows may differ from zero by, together.
      worst_noise: (M,) the same for any token, where they need not be zero.
    """

    size: np.ndarray
    error: np.ndarray
    most: np.ndarray
    worst: np.ndarray
    noise: np.ndarray
    worst_noise: np.ndarray


def _side(
    kernel: np.ndarray,
    data: int,
    at: np.ndarray,
    size: np.ndarray,
    error: np.ndarray,
    largest: np.ndarray,
    known: Known,
) -> Side:
    form, read = known.form, np.abs(kernel[:, :data])
    coarse = _lost(kernel[:, :data], form.inputs, form.u_weights, form)
    shifts = np.all((read == 0) | (np.frexp(read)[0] == 0.5), axis=2)  # powers of two round nothing
    steps = np.maximum(np.count_nonzero(read, axis=2) - 1, 0) + (0 if form.u_inputs else ~shifts)
    # What leaves a projection is rounded when it enters the scores, unless it is the constant one.
    again = np.where(np.any(read[:, :, :-1] != 0, axis=2), form.u_inputs, 0)
    enters = error + form.u_inputs * np.where(known.enters, 0, size)
    project: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda matrix, x: np.einsum(
        "mre,mpe->mpr", matrix, x, optimize=True
    )
    sizes = project(read, size[at])
    errors = project(read, enters[at]) + project(coarse, size[at]) + (form.u * steps + again)[:, None] * sizes
    errors += form.tiny * (steps + 1)[:, None] * (sizes > 0)
    most = read @ size.max(axis=0)
    seen = largest * (1 + form.u_inputs * ~known.enters)
    worst = (read + coarse) @ seen.max(axis=0) * (1 + form.u * steps + again)
    noise, worst_noise = _selection_noise(kernel[:, data:], at, known)
    return Side(sizes, errors, most, worst, noise, worst_noise)


def _selection_noise(kernel: np.ndarray, at: np.ndarray, known: Known) -> tuple[np.ndarray, np.ndarray]:
    """(M, P) for the tokens of pairs, (M,) for any token: errors of the projections that select.

    Zero where the projection is exact: for all tokens if entries of all fit the format, else for those of the pair.
    """
    form = known.form
    relative = 2 * form.u_weights + (kernel.shape[2] + 1) * form.u
    total = np.abs(kernel) @ known.largest
    used = kernel != 0
    grain = np.min(np.where(used, unit(kernel) * known.unit, np.inf), axis=2)
    exact = np.all(_fits(kernel, form.inputs) & (known.columns | ~used), axis=2) & (total <= 2.0**form.sums * grain)
    worst_noise = np.sum(np.where(exact, 0, relative * total), axis=1)
    noise = np.zeros(at.shape)
    for head in np.array_split(np.nonzero(~np.all(exact, axis=1))[0], 1 + at.size // 50_000):
        terms = kernel[head][:, None] * known.start[at[head]][:, :, None]
        fits = _fits(kernel[head], form.inputs)[:, None] & known.enters[at[head]][:, :, None]
        heavy = np.maximum(np.maximum(terms, 0).sum(axis=3), np.maximum(-terms, 0).sum(axis=3))
        here = np.all(fits | (terms == 0), axis=3) & (heavy <= 2.0**form.sums * unit(terms).min(axis=3))
        noise[head] = np.sum(np.where(here, 0, relative * np.abs(terms).sum(axis=3)), axis=2)
    return noise, worst_noise


def _attention(
    weights: Mapping[str, np.ndarray],
    selection: Selection,
    size: np.ndarray,
    error: np.ndarray,
    largest: np.ndarray,
    known: Known,
) -> tuple[np.ndarray, np.ndarray]:
    """(l, E) bounds on the error of what heads add, and (M,) margins."""
    form, data = known.form, selection.data
    valid = selection.token >= 0
    token, seen = np.where(valid, selection.token, 0), np.where(valid, selection.seen, 0)
    q = _side(weights["query"], data, token, size, error, largest, known)
    k = _side(weights["key"], data, seen, size, error, largest, known)
    score = np.sum(q.size * k.size, axis=2)
    score_error = np.sum(q.error * k.size + q.size * k.error + q.error * k.error, axis=2)
    steps = data - 1 + (0 if form.u_inputs else 1)
    # The other side of a selection row is the constant one where it is not zero.
    score_error += (form.u * steps + form.u_inputs) * score + (q.noise + k.noise) * (1 + 4 * form.u)
    score_error += form.tiny * (steps + 1) * (score > 0)
    added = _sums(weights["value"], selection, valid, token, seen, score, score_error, size, error, known)
    # Any other pair: its data score and the rounding of both must stay below what selection takes.
    excess = np.maximum(np.sum(q.worst * k.worst, axis=1) - np.sum(q.most * k.most, axis=1), 0)
    kept = selection.scale * selection.gap * (1 - form.u_inputs) - (q.worst_noise + k.worst_noise)
    room = np.where(selection.bound > 0, kept - selection.bound * (1 + form.u * steps) - excess, 0)
    room = np.where(np.isnan(room), -np.inf, room)
    if np.any(room < 0):
        value = np.abs(weights["value"]) @ (size + error).max(axis=0)
        added = added + len(size) * (np.maximum(-room, 0) @ value)
    return added, room / np.where(selection.bound > 0, selection.bound, 1)


def _sums(
    value: np.ndarray,
    selection: Selection,
    valid: np.ndarray,
    token: np.ndarray,
    seen: np.ndarray,
    score: np.ndarray,
    score_error: np.ndarray,
    size: np.ndarray,
    error: np.ndarray,
    known: Known,
) -> np.ndarray:
    """(l, E) bounds on the error of the sums that heads form in each row of each token."""
    form = known.form
    added = np.zeros_like(size)
    coarse = _lost(value, form.inputs, form.u_weights, form)
    for row in np.nonzero(np.any(value != 0, axis=(0, 2)))[0]:
        heads = np.nonzero(np.any(value[:, row] != 0, axis=1))[0]
        used, entries = valid[heads], np.abs(value[heads, row])
        seen_size, seen_error = size[seen[heads]], error[seen[heads]]
        v = np.einsum("me,mpe->mp", entries, seen_size)
        v_error = np.einsum("me,mpe->mp", coarse[heads, row], seen_size) + np.einsum("me,mpe->mp", entries, seen_error)
        v_error += form.u_inputs * v
        s, s_error = score[heads], score_error[heads]
        each = (s_error * v + s * v_error + s_error * v_error + form.u * s * v + form.tiny * (s * v > 0))[used]
        amount, place = (s * v)[used], token[heads][used]
        count, total, off = (np.bincount(place, x, minlength=len(size)) for x in (None, amount, each))
        for target, most in selection.active.items():
            if count[target] > most:
                here = place == target
                count[target], total[target], off[target] = most, most * amount[here].max(), most * each[here].max()
        added[:, row] = off + form.u * np.maximum(count - 1, 0) * total
    return added


def _feed_forward(weights: Mapping[str, np.ndarray], size: np.ndarray, error: np.ndarray, form: Format) -> np.ndarray:
    """(l, E) bounds on the error of what the FFN adds."""
    depth = sum(name.startswith("kernel_") for name in weights)
    for i in range(depth):
        kernel, bias = weights[f"kernel_{i}"], weights[f"bias_{i}"]
        entries = np.abs(kernel)
        coarse = _lost(kernel, form.inputs, form.u_weights, form)
        off = _lost(bias, form.sums, form.u, form)
        rounds = np.any((kernel != 0) & (np.frexp(entries)[0] != 0.5), axis=0) * (0 if form.u_inputs else 1)
        steps = np.maximum(np.count_nonzero(kernel, axis=0) - 1, 0) + rounds + (bias != 0)
        total = size @ entries + np.abs(bias)
        error = (error + form.u_inputs * size) @ entries + size @ coarse + off + form.u * steps * total
        error += form.tiny * (steps + 1) * (size @ entries > 0)
        size = total
    return error if depth else np.zeros_like(error)


def _largest_of_feed_forward(
    weights: Mapping[str, np.ndarray], lower: np.ndarray, upper: np.ndarray, form: Format
) -> tuple[np.ndarray, float]:
    """(l, E) bounds on what the FFN is computed to add, for arguments within [lower, upper]; on any partial sum.

    Each term of a computed sum is off by a small factor, never by a share of the others: a network that is bounded
    whatever it reads, as a trapezoid is, stays so in every format.
    """
    depth = sum(name.startswith("kernel_") for name in weights)
    peak = 0.0
    for i in range(depth):
        kernel, bias = weights[f"kernel_{i}"], weights[f"bias_{i}"]
        peak = max(peak, float(np.max(np.maximum(np.abs(lower), np.abs(upper)) @ np.abs(kernel) + np.abs(bias))))
        slack = 2 * (form.u_inputs + form.u_weights) + (np.count_nonzero(kernel, axis=0).max() + 2) * form.u
        lower, upper = lower - slack * np.abs(lower), upper + slack * np.abs(upper)
        up, down, off = np.maximum(kernel, 0), np.minimum(kernel, 0), slack * np.abs(bias)
        lower, upper = lower @ up + upper @ down + bias - off, upper @ up + lower @ down + bias + off
        if i < depth - 1:
            lower, upper = np.maximum(lower, 0), np.maximum(upper, 0)
    return (np.maximum(np.abs(lower), np.abs(upper)) if depth else np.zeros_like(lower)), 2 * peak


def _lost(x: np.ndarray, bits: int, relative: float, form: Format) -> np.ndarray:
    """What parameters lose on the way into a format."""
    lost: np.ndarray = np.abs(x) * np.where(_fits(x, bits), 0, relative) + np.where(np.abs(x) < form.tiny, np.abs(x), 0)
    return lost


def _fits(x: np.ndarray, bits: int) -> np.ndarray:
    """Whether numbers need no more than `bits` bits, the leading one counted."""
    lowest = unit(x)
    fits: np.ndarray = np.isinf(lowest) | (np.abs(x) < 2.0**bits * lowest)
    return fits


def _magnitude(interval: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    lower, upper = interval
    magnitude: np.ndarray = np.maximum(np.abs(lower), np.abs(upper))
    return magnitude
