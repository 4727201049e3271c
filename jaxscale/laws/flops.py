"""What a run costs in FLOP, by a convention or by a column of the table, and what a token costs at any size.

    flops = count_flops(table, "with-attention")
    flops.table                        # the table, with C by that count
    frontier(fit, 1e24, flops)         # the best split of 1e24 FLOP of that count

Conventions differ by tens of percent for small models, and exponents of C with them (Porian et al. 2024, arXiv
2406.19146; Pearce & Song 2024, arXiv 2406.12907).
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxscale.errors import InputError
from jaxscale.laws.results import STATIC
from jaxscale.laws.runs import Finding, Table, columns_of, numbers

FLOPS = 6.0  # per parameter and token (Kaplan et al. 2020)
_VISIBLE_SCATTER = 0.05
_ROUNDING = 1e-6
# The columns that each convention reads beside N and D.
CONVENTIONS = {
    "6ND": (),
    "with-embeddings": ("vocabulary", "width"),
    "with-attention": ("layers", "width", "context"),
}
_FORMULAS = {
    "6ND": "6 N D",
    "with-embeddings": "6 (N + vocabulary width) D",
    "with-attention": "(6 N + 12 layers width context) D",
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlopCount:
    """How FLOP are counted, and what a token costs: `base` N + `scale` N^`exponent`.

    Attributes:
      name: of the convention or column.
      formula: of C, for a reader.
      table: the table's columns, with C by this count.
      base: 6 for a convention, 0 for a column.
      scale, exponent: the rest, a power of N fitted to the runs, for sizes that were not trained.
      findings: (code, sentence) pairs.
    """

    name: str = dataclasses.field(metadata=STATIC)
    formula: str = dataclasses.field(metadata=STATIC)
    table: dict[str, Any]
    base: float
    scale: float
    exponent: float
    findings: tuple[Finding, ...] = dataclasses.field(metadata=STATIC)

    @property
    def is_plain(self) -> bool:
        """Whether C is 6 N D."""
        return self.base == FLOPS and self.scale == 0

    @property
    def power(self) -> tuple[float, float] | None:
        """c and s > 0 where C is c N^s D."""
        if self.is_plain:
            return FLOPS, 1.0
        return (self.scale, self.exponent) if self.base == 0 and self.exponent > 0 else None

    def per_token(self, N: np.ndarray) -> np.ndarray:
        """FLOP for each token at sizes of any shape."""
        cost: np.ndarray = self.base * N + self.scale * N**self.exponent
        return cost

    def tokens(self, N: np.ndarray, compute: np.ndarray) -> np.ndarray:
        """The tokens that a budget affords."""
        count: np.ndarray = compute / self.per_token(N)
        return count


PLAIN = FlopCount("6ND", _FORMULAS["6ND"], {}, FLOPS, 0.0, 1.0, ())


def count_flops(table: Table, by: str = "6ND") -> FlopCount:
    """The FLOP of every run of a table, forward and backward, and their dependence on N.

    Args:
      table: with N, D, and what `by` needs.
      by: "6ND"; "with-embeddings", 6 (N + vocabulary width) D for an N that leaves out the table of embeddings, whose
        product with the last state every token pays for; "with-attention", which adds 12 layers width context for
        each token, the whole context taken (Chowdhery et al. 2022, appendix B); or the name of a column of FLOP, or
        of anything else that compute is counted in.

    Raises:
      InputError: for an unknown convention or a column that is not there.
    """
    cells = columns_of(table)
    if not isinstance(by, str) or (by not in CONVENTIONS and by not in cells):
        lower = {name.lower(): name for name in [*cells, *CONVENTIONS]}
        near = [lower[name] for name in difflib.get_close_matches(str(by).lower(), lower, n=1)]
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(
            f"flops={by!r} is neither a convention nor a column of the table{hint} Pass one of "
            f"{', '.join(CONVENTIONS)}, or a column: {', '.join(cells)}."
        )
    if by not in CONVENTIONS:
        return _of_column(table, cells, by)
    needed = CONVENTIONS[by]
    missing = [name for name in needed if name not in cells]
    if missing:
        raise InputError(
            f"flops={by!r} counts {_FORMULAS[by]}, and the table has no {' and no '.join(missing)}. Name the columns "
            f"that hold them (on the command line --map {' '.join(f'{name}=SOURCE' for name in missing)})."
        )
    read = numbers(table, ("N", "D", *needed))
    extra = np.zeros_like(read["N"])
    if by == "with-embeddings":
        extra = FLOPS * read["vocabulary"] * read["width"]
    elif by == "with-attention":
        extra = 12 * read["layers"] * read["width"] * read["context"]
    per_token = FLOPS * read["N"] + extra
    scale, exponent = _power(read["N"], extra) if needed else (0.0, 1.0)
    count = FlopCount(by, _FORMULAS[by], cells | {"C": per_token * read["D"]}, FLOPS, scale, exponent, ())
    return dataclasses.replace(count, findings=_findings(count, read["N"], per_token))


def _of_column(table: Table, cells: Mapping[str, np.ndarray], by: str) -> FlopCount:
    read = numbers(dict(cells) | {"C": cells[by]}, ("N", "D", "C"))
    per_token = read["C"] / read["D"]
    table = dict(cells) | {"C": read["C"]}
    if np.allclose(per_token, FLOPS * read["N"], rtol=_ROUNDING):
        return dataclasses.replace(PLAIN, table=table)
    scale, exponent = _power(read["N"], per_token)
    count = FlopCount(by, by, table, 0.0, scale, exponent, ())
    return dataclasses.replace(count, findings=_findings(count, read["N"], per_token))


def _power(N: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """c and s of c N^s through the values, in logarithms."""
    x, y = np.log(N), np.log(values)
    if np.ptp(x) == 0:
        return float(np.exp(y.mean() - x.mean())), 1.0
    slope, level = np.polyfit(x - x.mean(), y, 1)
    return float(np.exp(level - slope * x.mean())), float(slope)


def _findings(count: FlopCount, N: np.ndarray, per_token: np.ndarray) -> tuple[Finding, ...]:
    off = np.abs(np.log(count.per_token(N) / per_token))
    if off.max() <= np.log1p(_VISIBLE_SCATTER):
        return ()
    return (
        (
            "flops_vary",
            f"C / D of runs of one N differ, or bend: a power of N misses them by up to {np.expm1(off.max()):.0%}. "
            "Best splits take that power.",
        ),
    )
