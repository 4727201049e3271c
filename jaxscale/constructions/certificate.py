"""What is proved and what was measured of a compiled network, as one document.

    document = certify(approximation)
    document["rounding"]["float32"]["safe"]
    write(document, "folder")                # certificate.json and certificate.html

A certificate holds for the network as compiled: its approximation bound is a theorem, its rounding bounds follow from
its parameters, its measured errors are at grid points, cell midpoints, random points, and around places where the
function is known to be rough.
"""

import math
import pathlib
from typing import Any

import numpy as np

from jaxscale import files
from jaxscale.constructions import capacity
from jaxscale.constructions.approximation import Approximation, probe_points
from jaxscale.constructions.executors import Precision, evaluate
from jaxscale.constructions.network import Network
from jaxscale.constructions.rounding import FORMATS, rounding
from jaxscale.constructions.targets import values_at

# Of programs without an approximation bound: the share of the output's range that rounding may take.
TOLERANCE = 1e-3


def certify(
    made: Approximation | Network,
    tolerance: float | None = None,
    points: int = 2000,
    seed: int = 0,
    precision: Precision = "float64",
    series: bool = False,
    singular: np.ndarray | None = None,
) -> dict[str, Any]:
    """The certificate of an approximation, or of a program of one's own.

    Args:
      made: what was compiled.
      tolerance: rounding that is called safe; the approximation bound if None, or a thousandth of the output's range.
      points: of each kind at most, at which errors are measured.
      seed: of the random ones.
      precision: of the measurement.
      series: whether to measure the error of coarser grids too, for the plot of error against N.
      singular: (n, D) points where the function is known to be rough, which are looked at closely.

    Returns:
      A document of plain values; see `docs/constructions`.
    """
    network = made.network if isinstance(made, Approximation) else made
    shape = network.shape
    low, high = float(network.program.low.min()), float(network.program.high.max())
    bound = made.bound if isinstance(made, Approximation) else None
    if tolerance is None:
        tolerance = bound if bound else TOLERANCE * max(high - low, abs(high), abs(low))
    document: dict[str, Any] = {
        "compiled": {"encoding": network.encoding_name, "depth": len(shape.blocks)},
        "class": _class(network),
        "rounding": {name: _rounding(network, name, tolerance) for name in FORMATS},
        "tolerance": tolerance,
        "blocks": _blocks(network),
        "output": {"low": low, "high": high},
    }
    if isinstance(made, Approximation):
        document |= {
            "domain": made.domain,
            "dimension": made.dimension,
            "grid": made.grid,
            "holder": None
            if made.holder is None
            else {"constant": made.holder.constant, "exponent": made.holder.exponent},
            "approximation_bound": bound,
            "theorem": theorem(made),
            "measured": measure(made, points, seed, precision, singular),
        }
        if bound:
            document["capacity"] = _capacity(made, bound, max(abs(low), abs(high)))
        if series:
            document["series"] = error_series(made, points, seed, singular)
    return document


def measure(
    made: Approximation,
    points: int,
    seed: int,
    precision: Precision = "float64",
    singular: np.ndarray | None = None,
) -> dict[str, Any]:
    """Sup and L² errors at the points of `probe_points`; the L² error is of the random ones."""
    drawn = probe_points(made, points, seed, singular)
    # All at once: one program serves every kind.
    x = np.concatenate(list(drawn.values()))
    found = np.abs(evaluate(made.network, x, precision).astype(float) - values_at(made.target, x))
    errors = dict(zip(drawn, np.split(found, np.cumsum([len(part) for part in drawn.values()])[:-1]), strict=True))
    return {
        "sup": max(float(error.max()) for error in errors.values()),
        "l2": float(np.sqrt(np.mean(errors["random"] ** 2))),
        "points": {kind: len(error) for kind, error in errors.items()},
        "sup_at": {kind: float(error.max()) for kind, error in errors.items()},
        "precision": precision,
    }


def theorem(made: Approximation) -> dict[str, Any]:
    """Sizes by the theorem for the same grid, as formulas and numbers, next to which the compiled ones are read."""
    d, N = made.dimension, made.grid
    l_squared = "N l²"
    if made.atlas is None:
        G = (N + 1) ** d
        return {
            "name": "cube",
            "L_T": {"formula": "2 + ⌈log2 d⌉", "value": 2 + math.ceil(math.log2(d))},
            "l": {"formula": "d (N+1)^d + d + 1", "value": d * G + d + 1},
            "m": {"formula": "d (N+1)^d", "value": d * G},
            "d_embd": {"formula": "5", "value": 5},
            "L_FFN": {"formula": "O(1)", "value": 3},
            "w_FFN": {"formula": "6", "value": 6},
            "kappa": {"formula": f"O(max(|f|, {l_squared}))", "value": None},
        }
    D, G = made.atlas.width, len(made.atlas.centers) * (N + 1) ** d
    return {
        "name": "manifold",
        "L_T": {"formula": "3 + ⌈log2(d+1)⌉", "value": 3 + math.ceil(math.log2(d + 1))},
        "l": {"formula": "D + (d+1) G + 1, G = C_M (N+1)^d", "value": D + (d + 1) * G + 1},
        "m": {"formula": "(d (D+1) + 2D + 1) G", "value": (d * (D + 1) + 2 * D + 1) * G},
        "d_embd": {"formula": "5", "value": 5},
        "L_FFN": {"formula": "O(1)", "value": 3},
        "w_FFN": {"formula": "6", "value": 6},
        "kappa": {"formula": f"O(max(|f|, {l_squared}))", "value": None},
    }


def error_series(made: Approximation, points: int, seed: int, singular: np.ndarray | None = None) -> dict[str, Any]:
    """Sup error and bound of the formula on grids N, N/2, …, and the slope of log error on log N."""
    from jaxscale.constructions.cube import approximate
    from jaxscale.constructions.manifold import approximate_on

    rows: list[dict[str, Any]] = []
    N = made.grid
    while N >= 2 and len(rows) < 6:
        if made.atlas is None:
            coarse = approximate(made.target, made.dimension, grid=N, holder=made.holder, backend="structured")
        else:
            coarse = approximate_on(made.atlas, made.target, grid=N, holder=made.holder, backend="structured")
        x = np.concatenate(list(probe_points(coarse, points, seed, singular).values()))
        tokens = coarse.network.shape.tokens
        parts = np.array_split(x, math.ceil(len(x) * tokens / 2e7))
        sup = max(float(np.abs(coarse.formula(part) - values_at(made.target, part)).max()) for part in parts)
        rows.append({"grid": N, "sup": sup, "bound": coarse.bound, "tokens": tokens})
        N //= 2
    rows.reverse()
    slope = None
    if len(rows) > 1 and all(row["sup"] > 0 for row in rows):
        grids, sups = ([math.log(row[field]) for row in rows] for field in ("grid", "sup"))
        slope = float(np.polyfit(grids, sups, 1)[0])
    return {"rows": rows, "slope": slope}


def write(document: dict[str, Any], folder: str | pathlib.Path, title: str = "construction") -> pathlib.Path:
    """Writes `certificate.json` and `certificate.html` into a folder; returns the path of the page."""
    from jaxscale.constructions.page import page

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "certificate.json", document)
    files.write_text(folder / "certificate.html", page(document, title))
    return folder / "certificate.html"


def _class(network: Network) -> dict[str, Any]:
    shape = network.shape
    return {
        "L_T": len(shape.blocks),
        "m": shape.heads,
        "d_embd": shape.width,
        "l": shape.tokens,
        "L_FFN": shape.ffn_depth,
        "w_FFN": shape.ffn_width,
        "R": max(float(np.abs(network.program.low).max()), float(np.abs(network.program.high).max())),
        "kappa": network.kappa,
        "parameters": shape.parameters,
        "nonzeros": network.nonzeros,
    }


def _rounding(network: Network, precision: str, tolerance: float) -> dict[str, Any]:
    found = rounding(network, precision)
    return {
        "bound": found.bound if math.isfinite(found.bound) else None,
        "leaking_heads": found.leaks,
        "margin": found.margin,
        "margin_of_blocks": [float(margin.min()) for margin in found.margins],
        "safe": bool(found.leaks == 0 and found.bound <= tolerance),
    }


def _blocks(network: Network) -> list[dict[str, Any]]:
    """Of each block: heads, FFN, and what it computes where."""
    rows = []
    for i, block in enumerate(network.shape.blocks, start=1):
        places = [place for place in network.layout if place.block == i]
        rows.append(
            {
                "block": i,
                "heads": block.heads,
                "hidden": list(block.hidden),
                "computes": [
                    {
                        "name": place.name,
                        "entries": len(place.token),
                        "tokens": [int(place.token.min()), int(place.token.max())],
                        "rows": [int(place.row.min()), int(place.row.max())],
                    }
                    for place in places
                ],
            }
        )
    return rows


def _capacity(made: Approximation, epsilon: float, bound: float) -> dict[str, Any]:
    shape, kappa = made.network.shape, made.network.kappa
    low, high = made.network.domain
    largest = float(max(np.abs(low).max(), np.abs(high).max()))
    return {
        "epsilon": epsilon,
        "log_covering_number": capacity.log_covering_number(shape, kappa, epsilon, largest),
        "samples": capacity.samples_for(shape, kappa, epsilon, max(bound, epsilon), largest),
    }
