"""A study's folder made up from known numbers."""

import json
import math
import pathlib

import pytest

E, A, ALPHA, PREDICTED = 1.2, 12.0, 0.31, 0.17
SIZES = [256, 512, 1024, 2048, 4096, 8192]
STEPS = range(50, 651, 50)


@pytest.fixture
def build_study(tmp_path):
    """`build_study(**changes)` writes 12 runs named with `prefix`; `changes` replace entries of the verdict."""

    def build(prefix: str = "", **changes) -> pathlib.Path:
        folder = tmp_path / "text_loss"
        rows = [_row(prefix, n, seed) for n in SIZES for seed in (0, 1)]
        for row in rows:
            _write_lines(folder / "runs" / row["run"] / "metrics.jsonl", _metrics(row))
        _write_lines(folder / "table.jsonl", rows)
        (folder / "config.json").write_text(json.dumps(_config()))
        (folder / "verdict.json").write_text(json.dumps(_verdict(rows) | changes))
        return folder

    return build


@pytest.fixture
def study(build_study):
    return build_study()


def _loss(n: int, seed: int) -> float:
    return E + A * n**-ALPHA + 0.04 * math.sin(3 * n + 7 * seed)


def _row(prefix: str, n: int, seed: int) -> dict:
    edge = n == SIZES[-1]
    step = STEPS[-1] if edge else 50 * (2 + SIZES.index(n) + seed)
    return {
        "run": f"{prefix}n={n}_seed={seed}",
        "n": n,
        "seed": seed,
        "loss": _loss(n, seed),
        "step": step,
        "steps": STEPS[-1],
        "epochs": 64 * step / n,
        "stopped": "budget" if edge else "patience",
        "edge": "late" if edge else "",
        "parameters": 123456,
    }


def _metrics(row: dict) -> list[dict]:
    """Falls to the row's loss at the row's step and rises again, as a model that overfits does."""
    train = [{"step": s, "train_loss": 6 * s**-0.2, "learning_rate": 1e-3, "tokens": 4096 * s} for s in STEPS]
    bend = [abs(math.log(s / row["step"])) for s in STEPS]
    valid = [{"step": s, "validation_loss": row["loss"] + 0.6 * b**1.5} for s, b in zip(STEPS, bend, strict=True)]
    return train + valid


def _curve(floor: float, scale: float, exponent: float, width: float) -> dict:
    sizes = [256 * 2 ** (i / 8) for i in range(41)]
    loss = [floor + scale * n**-exponent for n in sizes]
    lower, upper = [x - width for x in loss], [x + width for x in loss]
    return {"n": sizes, "loss": loss, "lower": lower, "upper": upper}


def _config() -> dict:
    model = {"layers": 4, "width": 128, "heads": 4, "vocabulary": 512}
    return {"data": {"kind": "stdlib", "sizes": SIZES}, "model": model, "training": {"steps": 650, "seeds": [0, 1]}}


def _verdict(rows: list[dict]) -> dict:
    return {
        "kind": "scaling",
        "question": "Does the loss fall as fast as the dimension says?",
        "sentence": "The validation loss of this data falls as n^-0.31 (95 % interval 0.20 to 0.45), faster than the "
        "n^-0.17 that its intrinsic dimension of 9.8 guarantees.",
        "agreement": "inconsistent",
        "dimension": {
            "estimate": 9.8,
            "standard_error": 0.3,
            "interval": [9.2, 10.4],
            "layer": 3,
            "k": 20,
            "metric": "cosine",
            "points": 3600,
            "per_seed": [{"run": row["run"], "dimension": 9.8, "standard_error": 0.3} for row in rows[-2:]],
            "by_layer": [
                {"layer": i, "dimension": d, "standard_error": 0.25} for i, d in enumerate([6.1, 8.7, 10.9, 9.8, 7.9])
            ],
        },
        "predicted": {"beta": 1.0, "exponent": PREDICTED, "interval": [0.161, 0.179], "formula": "2β/(2β+d)"},
        "observed": {
            "law": "E + A n^-α",
            "exponent": ALPHA,
            "exponent_interval": [0.2, 0.45],
            "irreducible_loss": E,
            "irreducible_loss_interval": [0.1, 1.6],
            "scale": A,
            "scale_interval": [7.1, 24.0],
            "level": 0.95,
            "curve": _curve(E, A, ALPHA, 0.06),
        },
        "prediction_curve": _curve(-0.35, 9.55, PREDICTED, 0.09),
        "caveats": [
            {"code": "few_decades", "text": "n spans 1.5 decades; exponents from fewer than two are often revised."},
            {"code": "edge", "text": "2 of 12 runs were still falling when their budget ended."},
        ],
        "limits": [
            "The theorem bounds the loss from above: data may scale faster, as here, without contradicting it.",
            "It speaks of the best network of a class, not of the one that training finds.",
        ],
        "corpus": {
            "kind": "stdlib",
            "documents_train": 600,
            "documents_validation": 70,
            "duplicates_removed": 12,
            "tokens_train": 3500000,
            "tokens_validation": 400000,
            "tokenizer": "bpe",
            "vocab_size": 512,
            "skipped": {"hidden": 2, "binary": 1100},
        },
        "versions": {"jaxscale": "0.1.0", "jax": "0.10.2", "python": "3.11.2", "device": "cpu"},
        "seconds": 380.2,
    }


def _write_lines(path: pathlib.Path, values: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
