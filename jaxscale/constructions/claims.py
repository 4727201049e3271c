"""What was stated and not proved, checked at points: how smooth a function is, and what `within` said of a program.

    largest_change(f, points, Holder(1.0)).constant    # no Hölder constant below this is true
    refuted_claims(program, points)                   # a sentence for each claim that does not hold

Points can refute a claim and never prove it.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.spatial import cKDTree

from jaxscale.arguments import numpy_seed
from jaxscale.constructions.atoms import Atom
from jaxscale.constructions.expressions import Claim, Expression, atom_values, atoms_of, combined
from jaxscale.constructions.targets import Holder, Target, values_at

# Pairs of points: each with so many of its nearest, and as many drawn at random.
NEAREST = 8
# Numbers of a program held at once.
AT_ONCE = 2e7


class Change(NamedTuple):
    """A difference of a function between two points: the first, or with exponents above one the second or third.

    Attributes:
      x, y: the ends; points of higher differences lie evenly between them.
      change: its absolute value.
      allowed: the most it can be for a function as smooth as was stated.
      constant: the least Hölder constant that allows it.
    """

    x: np.ndarray
    y: np.ndarray
    change: float
    allowed: float
    constant: float


def largest_change(f: Target, x: np.ndarray, holder: Holder, *, key: jax.Array | int = 0) -> Change:
    """Of pairs among the points (n, D), the one whose difference needs the largest Hölder constant.

    The pairs are near neighbors, which show kinks, and random ones, which show what small exponents limit. What the
    values may be off by as floating-point numbers is taken off. With exponents above one, s derivatives are known and
    the difference is the one of order s + 1,

        Δ^(s+1) f(a) = ∫ (D^s f(a + h + uh) - D^s f(a + uh)) h^s B_s(u) du,     ∫ B_s(u) du = 1,

    with steps h and the B-spline B_s ≥ 0, so that it is at most H |h|^s |h|^(β-s).

    Args:
      f: the function.
      x: points (n, D).
      holder: what is stated of it.
      key: a JAX random key, or an int for `jax.random.key`. It draws the random pairs.
    """
    s, beta = holder.order, holder.exponent
    weights = ((-1, 1), (1, -2, 1), (-1, 3, -3, 1))[s]
    rng = np.random.default_rng(numpy_seed("key", key))
    x = np.unique(x, axis=0)
    here = np.repeat(np.arange(len(x)), 2 * NEAREST)
    near = cKDTree(x).query(x, k=list(range(2, NEAREST + 2)))[1]
    near = np.where(near < len(x), near, np.arange(len(x))[:, None])  # of few points there are no more
    there = np.concatenate([near, rng.integers(len(x), size=near.shape)], axis=1).ravel()
    here, there = here[here != there], there[here != there]
    if not len(here):
        return Change(x[0], x[0], 0.0, 0.0, 0.0)
    at_points = values_at(f, x)
    inside = [values_at(f, x[here] + (x[there] - x[here]) * (i / (s + 1))) for i in range(1, s + 1)]
    values = [at_points[here], *inside, at_points[there]]
    change = np.abs(sum(weight * value for weight, value in zip(weights, values, strict=True)))
    noise = sum(map(abs, weights)) * resolution(at_points)
    step = np.linalg.norm(x[there] - x[here], axis=1) / (s + 1)
    needed = np.maximum(change - noise, 0) / step**beta
    worst = int(np.argmax(needed))
    allowed = holder.constant * float(step[worst] ** beta)
    return Change(x[here[worst]], x[there[worst]], float(change[worst]), allowed, float(needed[worst]))


def resolution(values: np.ndarray) -> float:
    """What computed values of a function may be off by: some units in the last place of the largest.

    Of float32 if all of them are numbers of that format, as those of a function that computes in it are.
    """
    largest = float(np.abs(values).max())
    if not math.isfinite(largest) or largest > np.finfo(np.float32).max:
        return 64 * 2.0**-53 * largest
    short = np.all(values.astype(np.float32) == values)
    return 64 * (2.0**-24 if short else 2.0**-53) * largest


def refuted_claims(program: Expression, x: np.ndarray) -> list[str]:
    """A sentence for each `within` of a program that does not hold at one of the points (n, D)."""
    if not program.claims:
        return []
    expressions = [claim.expression for claim in program.claims]
    numbers = sum(atom.size for atom in atoms_of(*expressions))
    names = [name for source in program.sources for name in source.names]
    found: dict[Claim, tuple[float, str]] = {}
    for part in np.array_split(x, math.ceil(len(x) * max(numbers, 1) / AT_ONCE)):
        with np.errstate(over="ignore", invalid="ignore"):  # where claims are false values may grow without bound
            known = atom_values(part, *expressions)
        for claim in program.claims:
            excess, (entry, point), said = _excess(claim, known, len(part))
            if excess > found.get(claim, (0.0, ""))[0]:
                which = "the value" if claim.expression.size == 1 else f"entry {entry} of the value"
                where = _coordinates(names, part[point])
                found[claim] = excess, f"{claim} does not hold: {which} {said}{where}."
    # What rests on a false claim says nothing new.
    return [sentence for claim, (_, sentence) in found.items() if not found.keys() & set(claim.expression.claims)]


def _excess(claim: Claim, known: dict[Atom, np.ndarray], points: int) -> tuple[float, tuple[Any, ...], str]:
    """By how much the worst entry leaves what was claimed, entry and point, and what to say of it."""
    x = claim.expression
    with np.errstate(over="ignore", invalid="ignore"):
        value = combined(x, known, points)
        size = np.abs(x.offset)[:, None] + sum(abs(matrix) @ np.abs(known[atom]) for atom, matrix in x.terms)
        outside = np.zeros(value.shape)
        for end, sign in ((claim.lower, -1), (claim.upper, 1)):
            if end is not None:
                end = np.broadcast_to(end, (x.size,))[:, None]
                outside = np.maximum(outside, sign * (value - end) - 1e-13 * size - 1e-9 * np.abs(end))
    outside = np.where(np.isfinite(value), outside, np.inf)
    worst = np.unravel_index(np.argmax(outside), outside.shape)
    if outside[worst] > 0:
        return float(outside[worst]), worst, f"is {value[worst]:.6g}"
    if claim.active is None:
        return 0.0, (0, 0), ""
    together = sum((matrix != 0).astype(int) @ (known[atom] != 0) for atom, matrix in x.terms) + np.zeros(value.shape)
    worst = np.unravel_index(np.argmax(together), together.shape)
    excess = float(together[worst] - claim.active)
    return excess, worst, f"combines {int(together[worst])} atoms that differ from zero"


def _coordinates(names: Sequence[str], point: np.ndarray) -> str:
    """Where, if there are not too many coordinates to read."""
    if not 1 <= len(point) <= 8:
        return ""
    return " at " + ", ".join(f"{name}={value:.6g}" for name, value in zip(names, point, strict=True))
