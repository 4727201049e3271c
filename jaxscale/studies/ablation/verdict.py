"""What moves the measured dimension, and what does not: readings pooled over seeds, each beside the base's."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxscale.studies import geometry
from jaxscale.studies.ablation.config import DimensionAblation
from jaxscale.verdict import number

Row = dict[str, Any]  # of `table.jsonl`: a reading, with its factor and value, and the run it is of

# What a factor is a property of, in the order of the page.
KINDS = {
    "width": "model",
    "layers": "model",
    "heads": "model",
    "context": "model",
    "training": "model",
    "corpus": "text",
    "layer": "measurement",
    "k": "measurement",
    "points": "measurement",
    "metric": "measurement",
    "estimator": "measurement",
    "position": "measurement",
}
LIMITS = (
    "Differences are compared one at a time, as if their errors were independent: readings of the same embeddings are "
    "not, so small differences between them are surer than said here.",
    "Models of one family on small corpora, at the base's learning rate; each early-stopped at its own minimum.",
    "Dimensions are read at a scale, that of k neighbors among the points: other k and other numbers of points are "
    "other scales, and a large dimension is read too low at every one of them.",
)


def verdict(study: DimensionAblation, rows: Sequence[Row]) -> dict[str, Any]:
    """Readings by factor and value with intervals, which of them differ from the base's, and a sentence."""
    z = statistics.NormalDist().inv_cdf((1 + study.level) / 2)
    base = _reading([row for row in rows if row["factor"] == "base"], z)
    factors = []
    for factor, kind in KINDS.items():
        own = [row for row in rows if row["factor"] == factor]
        values = []
        for value in dict.fromkeys(row["value"] for row in own):
            reading = _reading([row for row in own if row["value"] == value], z)
            apart = abs(reading["dimension"] - base["dimension"])
            both = math.hypot(reading["standard_error"], base["standard_error"])
            values.append({"value": value} | reading | {"differs": apart > z * both})
        if values:
            factors.append({"factor": factor, "kind": kind, "values": values})
    return {
        "question": "What does the measured dimension depend on?",
        "base": base | {"k": study.dimension.k, "metric": study.dimension.metric},
        "factors": factors,
        "sentence": _sentence(base, factors),
        "agreement": None,
        "numbers": [number("dimension of the base model's embeddings", base["dimension"], base["interval"])],
        "caveats": [],
        "limits": list(LIMITS),
    }


def _reading(rows: Sequence[Row], z: float) -> dict[str, Any]:
    pooled = geometry.pooled(rows)
    half = z * pooled["standard_error"]
    losses = [row["loss"] for row in rows]
    return pooled | {
        "interval": [pooled["dimension"] - half, pooled["dimension"] + half],
        "points": min(row["points"] for row in rows),
        "loss": sum(losses) / len(losses),
        "runs": len(rows),
    }


def _sentence(base: Mapping[str, Any], factors: Sequence[Mapping[str, Any]]) -> str:
    low, high = base["interval"]
    said = [f"The base model's embeddings have dimension {base['dimension']:.2f} [{low:.2f}, {high:.2f}]."]
    for kind, of in (("model", "the model"), ("text", "the text"), ("measurement", "the measurement")):
        moved: list[str] = []
        still: list[str] = []
        for one in factors:
            if one["kind"] == kind:
                found = [value["dimension"] for value in one["values"]]
                differs = any(value["differs"] for value in one["values"])
                span = f"{min(found):.2f}" + (f" to {max(found):.2f}" if len(found) > 1 else "")
                (moved if differs else still).append(f"{one['factor']} ({span})")
        parts = [f"{', '.join(moved)} {'move' if len(moved) > 1 else 'moves'} it beyond doubt"] * bool(moved)
        parts += [
            f"{', '.join(still)} {'do not' if len(still) > 1 else 'does not'}" + " move it beyond doubt" * (not moved)
        ] * bool(still)
        if parts:
            said.append(f"Of {of}, {'; '.join(parts)}.")
    return " ".join(said)
