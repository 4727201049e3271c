"""What is proved and what was measured of a compiled network, as one document.

    document = certify(approximation)        # a verdict (docs/verdict.md), and keys of its own beside it
    document["rounding"]["float32"]["safe"]
    write(document, "folder")                # certificate.json and certificate.html

A certificate holds for the network as compiled: its approximation bound is a theorem, its rounding bounds follow from
its parameters, its measured errors are at grid points, cell midpoints, random points, and around places where the
function is known to be rough. The theorem rests on the smoothness that was stated, the rounding bounds of a program on
what was said by `within`: points that refute either are looked for, and `refuted` says what they show.
"""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxscale import files
from jaxscale.arguments import integer, numpy_seed, random_key
from jaxscale.constructions import capacity, claims
from jaxscale.constructions.approximation import Approximation, probe_points
from jaxscale.constructions.executors import Precision, evaluate
from jaxscale.constructions.expressions import Expression, atoms_of
from jaxscale.constructions.network import Network
from jaxscale.constructions.roundoff import FORMATS, Rounding, rounding
from jaxscale.constructions.targets import values_at
from jaxscale.errors import InputError
from jaxscale.page.numerals import number as written
from jaxscale.verdict import Agreement, Stopwatch, caveat, complete, number

# Without an approximation bound: the share of the range of values of an output that rounding may take.
TOLERANCE = 1e-3
# Of a program's box so many corners at most are looked at.
LARGEST_CORNERS = 1024
QUESTION = "A transformer written down, not trained: how far can it be from its function?"
LIMITS = (
    "Points can refute what was stated and never prove it: the bound rests on the stated smoothness, rounding on what "
    "`within` says of a program.",
    "A bound on the error says that such weights exist, not that training finds them.",
)


def certify(
    made: Approximation | Network,
    tolerance: float | None = None,
    n: int = 2000,
    precision: Precision = "float64",
    series: bool = False,
    singular: np.ndarray | None = None,
    *,
    key: jax.Array | int = 0,
) -> dict[str, Any]:
    """The certificate of an approximation, or of a program of one's own.

    Args:
      made: what was compiled.
      tolerance: rounding that is called safe. If None, the approximation bound; without one a thousandth of the range
        that the values of each output were seen to take, which is no wider than the range they do take. Of an output
        that was seen to take one value, a thousandth of that.
      n: points of each kind at most, at which errors and claims are measured.
      precision: of the measurement.
      series: whether to measure the error of coarser grids too, for the plot of error against N.
      singular: (n, D) points where the function is known to be rough, which are looked at closely.
      key: a JAX random key, or an int for `jax.random.key`. It draws the random points.

    Returns:
      A verdict (docs/verdict.md) with keys of its own, plain values; see `docs/constructions`. Its `refuted` holds a
      sentence for each thing stated that points show to be false: then it is "inconsistent", and neither the
      approximation bound nor "safe" can be relied on.

    Raises:
      InputError: `n` or `tolerance` is out of range, or f is not finite at one of the points.
    """
    n, key = integer("n", n, 1), random_key("key", key)
    if tolerance is not None and not 0 <= (tolerance := float(tolerance)) < math.inf:
        raise InputError(f"tolerance={tolerance} must be finite and not negative. Pass such a number.")
    with (watch := Stopwatch()).stage("certifying"):
        document = _certified(made, tolerance, n, precision, series, singular, key)
        found = {"kind": "construct"} | _conclusion(document, made) | document
    return complete(found, watch)


def _certified(
    made: Approximation | Network,
    tolerance: float | None,
    n: int,
    precision: Precision,
    series: bool,
    singular: np.ndarray | None,
    key: jax.Array,
) -> dict[str, Any]:
    """What `certify` adds to a verdict."""
    seed = numpy_seed("key", key)
    network = made.network if isinstance(made, Approximation) else made
    rounded = {name: rounding(network, name) for name in FORMATS}
    document: dict[str, Any] = {
        "compiled": {"encoding": network.encoding_name, "depth": len(network.shape.blocks)},
        "class": _class(network),
        "blocks": _blocks(network),
    }
    bound = None
    if isinstance(made, Approximation):
        drawn = probe_points(made, n, singular, key=key)
        x = np.concatenate(list(drawn.values()))
        values = values_at(made.target, x)[:, None]
        document |= _of_approximation(made, drawn, values[:, 0], precision)
        if series:
            document["series"] = error_series(made, n, singular, key=key)
        refuted = _refuted_smoothness(document, made, x, key, rounded[precision].bound)
        bound = None if refuted else made.bound
    else:
        x = _points_of_box(network, n, seed)
        values, refuted = _values_of(network.program, x), []
    false_claims = claims.refuted_claims(network.program, _some(x, network, seed))
    given = tolerance if tolerance is not None else bound or None
    tolerances = _tolerances(values) if given is None else np.array([given])
    lower, upper = float(network.program.lower.min()), float(network.program.upper.max())
    document |= {
        "output": {
            "lower": lower,
            "upper": upper,
            "taken": [_finite(float(end)) for end in (values.min(), values.max())],
        },
        "refuted": refuted + false_claims,
        # The bounds on rounding rest on intervals.
        "rounding": {name: _rounding(found, tolerances, not false_claims) for name, found in rounded.items()},
        # Of several outputs the narrowest; one that is zero everywhere is exact.
        "tolerance": float(np.min(tolerances, where=tolerances > 0, initial=tolerances.max())),
    }
    if refuted and isinstance(made, Approximation):
        document |= {"approximation_bound": None, "refuted_bound": made.bound}
    if bound and isinstance(made, Approximation):
        document["capacity"] = _capacity(made, bound, max(abs(lower), abs(upper)))
    return document


def _conclusion(document: Mapping[str, Any], made: Approximation | Network) -> dict[str, Any]:
    """What a verdict says of any kind, from the rest of a certificate."""
    return {
        "question": QUESTION,
        "sentence": _sentence(document),
        "agreement": _agreement(document, made),
        "numbers": [*_numbers(document)],
        "caveats": [*_caveats(document)],
        "limits": list(LIMITS),
    }


def _sentence(document: Mapping[str, Any]) -> str:
    sizes, bound = document["class"], document.get("approximation_bound")
    where = f" on the {document['domain']}" if "domain" in document else ""
    size = f"{sizes['L_T']} blocks, {written(sizes['l'])} tokens, {written(sizes['parameters'])} parameters{where}."
    if document["refuted"]:
        return " ".join([*document["refuted"], size])
    found = "No bound on the approximation is claimed."
    if bound is not None:
        found = f"Nowhere is the error larger than {written(bound)}; the largest found is "
        found += f"{written(document['measured']['sup'])}."
    safe = [name for name, row in document["rounding"].items() if row["safe"]]
    return f"{found} Rounding is safe in {', '.join(safe) or 'no format'}. {size}"


def _agreement(document: Mapping[str, Any], made: Approximation | Network) -> Agreement | None:
    """Of points with a proved error, or with what `within` says of a program; an error above its bound is `refuted`."""
    if document["refuted"]:
        return "inconsistent"
    stated = made.bound is not None if isinstance(made, Approximation) else bool(made.program.claims)
    return "consistent" if stated else None


def _numbers(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if measured := document.get("measured"):
        predicted = document.get("refuted_bound", document["approximation_bound"])
        yield number("largest error found", measured["sup"], None, predicted)
        yield number("L² error at random points", measured["l2"])
    if series := document.get("series"):
        holder = document["holder"]
        yield number("slope of log error on log N", series["slope"], None, holder and -holder["exponent"])
    for name, row in document["rounding"].items():
        yield number(f"bound on rounding in {name}", row["bound"])


def _caveats(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    unsafe = [name for name, row in document["rounding"].items() if not row["safe"]]
    if unsafe:
        text = f"Not safe in {', '.join(unsafe)}: a head may leak, or rounding move the output too far."
        yield caveat("unsafe_formats", text)
    if "measured" in document and document["approximation_bound"] is None and not document["refuted"]:
        yield caveat("no_bound", "No error is proved: between the points that were looked at it may be larger.")


def _of_approximation(
    made: Approximation, drawn: dict[str, np.ndarray], values: np.ndarray, precision: Precision
) -> dict[str, Any]:
    """What a certificate says of an approximation beyond what it says of any network."""
    holder = made.holder
    return {
        "domain": made.domain,
        "dimension": made.dimension,
        "grid": made.grid,
        "holder": None if holder is None else {"constant": holder.constant, "exponent": holder.exponent},
        "approximation_bound": made.bound,
        "theorem": theorem(made),
        "measured": _measured(made, drawn, values, precision),
    }


def _points_of_box(network: Network, n: int, seed: int) -> np.ndarray:
    """Points of a program's domain: random ones, and corners."""
    lower, upper = network.domain
    D, rng = len(lower), np.random.default_rng(seed)
    corners = np.arange(2**D) if 2**D <= LARGEST_CORNERS else rng.integers(2**62, size=LARGEST_CORNERS)
    at_upper = (corners[:, None] >> np.arange(D) % 62) & 1
    return np.concatenate([np.where(at_upper, upper, lower), rng.uniform(lower, upper, (n, D))])


def _values_of(program: Expression, x: np.ndarray) -> np.ndarray:
    """(n, outputs) by the formula, some points at a time."""
    size = sum(atom.size for atom in atoms_of(program)) + program.size
    parts = np.array_split(x, math.ceil(len(x) * size / claims.AT_ONCE))
    with np.errstate(over="ignore", invalid="ignore"):  # where a claim of `within` is false
        return np.concatenate([program.evaluate(part).reshape(len(part), -1) for part in parts])


def _some(x: np.ndarray, network: Network, seed: int) -> np.ndarray:
    """So many of the points that the formula costs little next to the rest."""
    few = max(16, int(claims.AT_ONCE / network.shape.tokens))
    return x if len(x) <= few else x[np.random.default_rng(seed).choice(len(x), few, replace=False)]


def _tolerances(values: np.ndarray) -> np.ndarray:
    """(outputs,) from the values (n, outputs) seen."""
    values = np.where(np.all(np.isfinite(values), axis=0), values, 0)
    taken = np.ptp(values, axis=0)
    tolerances: np.ndarray = TOLERANCE * np.where(taken > 0, taken, np.abs(values).max(axis=0))
    return tolerances


def _refuted_smoothness(
    document: dict[str, Any], made: Approximation, x: np.ndarray, key: jax.Array | int, rounded: float
) -> list[str]:
    """What shows that the function is rougher than was stated, in a sentence; nothing if nothing does.

    The least constant that the points allow is added to the document.
    """
    holder, measured = made.holder, document["measured"]
    if holder is None:
        return []
    change = claims.largest_change(made.target, x, holder, key=key)
    document["holder"]["at_least"] = change.constant
    stated = f"The stated Hölder constant {holder.constant:.6g} of exponent {holder.exponent:g} is refuted"
    if change.constant > holder.constant * (1 + 1e-9):
        does = ("changes by", "has a second difference of", "has a third difference of")[holder.order]
        return [
            f"{stated}: between {_point(change.x)} and {_point(change.y)} the function {does} {change.change:.4g}, "
            f"where {change.allowed:.4g} is allowed. The constant is at least {rounded_up(change.constant)}."
        ]
    seen = [(made.grid, measured["sup"], made.bound, rounded)]
    seen += [(row["grid"], row["sup"], row["bound"], 0.0) for row in document.get("series", {}).get("rows", [])]
    noise = claims.resolution(values_at(made.target, x))
    for N, sup, bound, off in seen:
        if bound is not None and sup > bound * (1 + 1e-9) + off + noise:
            return [f"{stated}: with N = {N} the error is {sup:.4g} at a point, where it allows {bound:.4g}."]
    return []


def rounded_up(constant: float) -> str:
    """To three digits, none below the constant but for its own rounding."""
    unit = 10.0 ** (math.floor(math.log10(constant)) - 2)
    return f"{math.ceil(constant / unit * (1 - 1e-9)) * unit:.6g}"


def _point(x: np.ndarray) -> str:
    """A point in brackets; of many coordinates the first few."""
    shown = ", ".join(f"{value:.4g}" for value in x[:4])
    return f"({shown}{', …' if len(x) > 4 else ''})"


def _measured(
    made: Approximation, drawn: dict[str, np.ndarray], values: np.ndarray, precision: Precision
) -> dict[str, Any]:
    """Sup and L² errors at the points of `probe_points`, where f has these values; the L² error is of random ones."""
    # All at once: one program serves every kind.
    found = np.abs(evaluate(made.network, np.concatenate(list(drawn.values())), precision).astype(float) - values)
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


def error_series(
    made: Approximation, n: int, singular: np.ndarray | None = None, *, key: jax.Array | int
) -> dict[str, Any]:
    """Sup error and bound of the formula on grids N, N/2, …, and the slope of log error on log N.

    Args:
      made: of the finest grid.
      n, singular: as for `certify`.
      key: a JAX random key, or an int for `jax.random.key`. It draws the random points.
    """
    from jaxscale.constructions.cube import approximate
    from jaxscale.constructions.manifold import approximate_on

    rows: list[dict[str, Any]] = []
    N = made.grid
    while N >= 2 and len(rows) < 6:
        if made.atlas is None:
            coarse = approximate(made.target, made.dimension, grid=N, holder=made.holder, backend="structured")
        else:
            coarse = approximate_on(made.atlas, made.target, grid=N, holder=made.holder, backend="structured")
        x = np.concatenate(list(probe_points(coarse, n, singular, key=key).values()))
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
        "R": max(float(np.abs(network.program.lower).max()), float(np.abs(network.program.upper).max())),
        "kappa": network.kappa,
        "parameters": shape.parameters,
        "nonzeros": network.nonzeros,
    }


def _rounding(found: Rounding, tolerances: np.ndarray, sound: bool) -> dict[str, Any]:
    return {
        "bound": _finite(found.bound),
        "leaking_heads": found.leaks,
        "margin": _finite(found.margin),
        "margin_of_blocks": [_finite(float(margin.min())) for margin in found.margins],
        "safe": bool(sound and found.leaks == 0 and np.all(np.array(found.bounds) <= tolerances)),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
    lower, upper = made.network.domain
    largest = float(max(np.abs(lower).max(), np.abs(upper).max()))
    return {
        "epsilon": epsilon,
        "log_covering_number": capacity.log_covering_number(shape, kappa, epsilon, largest),
        "samples": capacity.samples_for(shape, kappa, epsilon, max(bound, epsilon), largest),
    }
