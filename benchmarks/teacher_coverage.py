"""How often a teacher's study says the right thing where theory holds: points of known d, probabilities of known β.

python benchmarks/teacher_coverage.py                # writes benchmarks/results/teacher_coverage.json; minutes of CPU
python benchmarks/teacher_coverage.py --repetitions 20 --workdir runs/teacher_coverage   # goes on from what is there

In place of a teacher's states are points of a sphere of dimension d, which has no boundary and is alike everywhere; in
place of its probabilities the softmax of fields of smoothness β, whose squared differences grow as distance to the 2β
over nearly all distances there are. For nearest neighbors the theory then holds by construction: their best squared
error falls as n^(-2β/(2β+d)). Windows and documents are walks on the sphere, so that contexts of a document depend on
each other as those of a text do. All else is the study's own, at its default numbers but with fewer training windows:
its readings of d and β, its nearest neighbors, their exponent, and what it says of the two together.

It is asked at the true β and the d it read, at the β it read, and with d halved and doubled, which it should refute.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from jaxscale import studies, theory
from jaxscale.data import fields
from jaxscale.studies.teacher import contexts, forward, readings, study, verdict
from jaxscale.studies.teacher.config import labeled

RESULTS = pathlib.Path(__file__).parent / "results" / "teacher_coverage.json"
SETTINGS = tuple((d, beta) for d in (2, 4) for beta in (0.5, 1.0))
OUTCOMES = 4
# Standard deviation of the logits: the probabilities differ from their mean by as much as labels do from them, nearly,
# as those of a language model do.
PEAKED = 2.0
# Of a step of a walk, in each coordinate, over the radius.
STEP = 0.5
# Of the sphere, where the longest waves are 2π: four times as long as the way to the opposite point.
RADIUS = 0.5
OCTAVES, WAVES = 10, 64
# Without a kernel reference.
STUDY = studies.TeacherStudy(
    contexts=studies.Contexts(training=400), sizes=(448, 963, 2069, 4446, 9552, 20521), largest_kernel=1
)


def walks(key, windows, positions, d):
    """Points of windows on the unit sphere, (W, P, d + 1): uniform each, near the one before it."""
    noise = jax.random.normal(key, (positions, windows, d + 1))
    onto = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def step(x, noise):
        return onto(x + STEP * noise), x

    _, found = jax.lax.scan(step, onto(noise[0]), jnp.roll(noise, -1, axis=0))
    return jnp.swapaxes(found, 0, 1)


def material(d, beta, repetition):
    """What a teacher would have said, on points of a sphere."""
    walk_key, field_key = jax.random.split(jax.random.fold_in(jax.random.key(int(1000 * beta) + d), repetition))
    wanted, each = STUDY.contexts, STUDY.contexts.windows_per_document
    part = [0] * wanted.training
    for index in range(wanted.held_out):
        share = (index - index % each) / wanted.held_out
        part.append(1 if share < contexts.VALIDATION else 2 if share < contexts.VALIDATION + contexts.GEOMETRY else 3)
    documents = np.arange(len(part)) // each
    positions = labeled(STUDY)
    points = RADIUS * walks(walk_key, int(documents[-1]) + 1, each * positions, d)
    points = points.reshape(-1, positions, d + 1)[: len(part)]
    flat = points.reshape(-1, d + 1)
    logits = jnp.stack(
        [
            fields.normalized(fields.weierstrass(d + 1, beta, OCTAVES, WAVES, key=key), flat)(flat)
            for key in jax.random.split(field_key, OUTCOMES)
        ],
        axis=-1,
    )
    probabilities = np.asarray(jax.nn.softmax(PEAKED * logits)).reshape(*points.shape[:2], OUTCOMES)
    none = np.zeros(points.shape[:2], np.int32)
    windows = contexts.Windows(none, documents.astype(np.int32), np.asarray(part, np.int8), {})
    seeded = dataclasses.replace(STUDY, seeds=tuple(10 * repetition + seed for seed in STUDY.seeds))
    states = {0: np.asarray(points)}
    truth = forward.of_arrays(seeded, windows, probabilities, none, none.astype(np.float32), states)
    return study.Material(windows, truth, none, tuple(map(str, range(OUTCOMES))))


def measured(d, beta, repetition):
    """What the study reads and how its nearest neighbors err, as plain values, with nothing concluded yet."""
    started, processor = time.perf_counter(), time.process_time()
    simulated = material(d, beta, repetition)
    (reading,) = study._geometry(STUDY, simulated)
    (neighbors,) = study._references(STUDY, simulated)
    test = simulated.truth_of("test").astype(float)
    mean = simulated.truth_of("training").astype(float).mean(axis=(0, 1))
    return {
        "d": d,
        "beta": beta,
        "repetition": repetition,
        "reading": reading,
        "neighbors": neighbors,
        "document": simulated.windows.document[simulated.windows.of("test")].tolist(),
        "constant": float(np.sum((test - mean) ** 2, axis=-1).mean()),
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
    }


def with_dimension(reading, factor):
    """A reading as if d were `factor` times what it is."""
    dimension = reading["dimension"]
    ends = [factor * end for end in dimension["interval"]]
    return reading | {"dimension": dimension | {"dimension": factor * dimension["dimension"], "interval": ends}}


def with_smoothness(reading, beta):
    """A reading as if β were known."""
    return reading | {
        "smoothness": reading["smoothness"] | {"beta": beta, "interval": [beta, beta], "identified": True}
    }


def holds(interval, truth):
    return interval[0] <= truth <= interval[1]


def beside(reading, neighbors, weight):
    """What the study says of nearest neighbors beside a reading."""
    claimed = reading | {"predicted": readings.predictions(STUDY, reading)}
    layer = verdict._layer(STUDY, claimed, [neighbors], weight, {"interval": [0.0, 1.0]})
    return layer["references"]["neighbors"]


def concluded(row):
    """Which intervals of a repetition hold the truth, and what the study says at the d it read, half and twice that."""
    place = np.unique(row["document"], return_inverse=True)[1]
    weight = np.bincount(place) / len(place)
    true = with_smoothness(row["reading"], row["beta"])
    said = {}
    for name, reading in (("true", true), ("measured", row["reading"])):
        for factor in (1.0, 0.5, 2.0):
            neighbors = beside(with_dimension(reading, factor), row["neighbors"], weight)
            said[f"{name} {factor:g}"] = neighbors["agreement"]["measured"]
    in_n = {name: value for name, value in row["neighbors"].items() if name != "variances"}
    said["true 1 in n"] = beside(true, in_n, weight)["agreement"]["measured"]
    dimension, smoothness = row["reading"]["dimension"], row["reading"]["smoothness"]
    low, high = smoothness["interval"]
    exponent, law = float(theory.data_exponent(row["d"], row["beta"])), neighbors["at_equal_noise"]
    return {
        "d": dimension["dimension"],
        "d_holds": holds(dimension["interval"], row["d"]),
        "beta": smoothness["beta"],
        # Where β is not identified the study goes on with the lower end alone.
        "beta_holds": holds((low, high if smoothness["identified"] else np.inf), row["beta"]),
        "identified": smoothness["identified"],
        "exponent": law["exponent"],
        "exponent_in_n": neighbors["exponent"],
        "exponent_holds": holds(law["interval"], exponent),
        "half_width": (law["interval"][1] - law["interval"][0]) / 2,
        "said": said,
    }


def share(answers):
    """Of answers True and False, as a share with how many there are; None of none."""
    answers = list(answers)
    return {"share": float(np.mean(answers)) if answers else None, "of": len(answers)}


def summary(rows):
    """Shares of repetitions, by what was asked."""
    found = [concluded(row) for row in rows]
    identified = [one for one in found if one["identified"]]
    refuted = lambda some, *asked: share(one["said"][question] == "inconsistent" for one in some for question in asked)
    return {
        "d_holds": share(one["d_holds"] for one in found),
        "beta_holds": share(one["beta_holds"] for one in found),
        "identified": share(one["identified"] for one in found),
        "exponent_holds": share(one["exponent_holds"] for one in found),
        "mean_d": float(np.mean([one["d"] for one in found])),
        "mean_beta": float(np.mean([one["beta"] for one in found])),
        "mean_exponent": float(np.mean([one["exponent"] for one in found])),
        "mean_exponent_in_n": float(np.mean([one["exponent_in_n"] for one in found])),
        "spread_of_exponents": float(np.std([one["exponent"] for one in found], ddof=1)) if len(found) > 1 else None,
        "typical_half_width": float(np.median([one["half_width"] for one in found])),
        "refuted": refuted(found, "true 1"),
        "refuted_in_n": refuted(found, "true 1 in n"),
        "consistent": share(one["said"]["true 1"] == "consistent" for one in found),
        "half_refuted": refuted(found, "true 0.5"),
        "twice_refuted": refuted(found, "true 2"),
        "half_or_twice_refuted": refuted(found, "true 0.5", "true 2"),
        "refuted_at_measured_beta": refuted(identified, "measured 1"),
        "half_or_twice_refuted_at_measured_beta": refuted(identified, "measured 0.5", "measured 2"),
    }


def line(name, found):
    percent = lambda key: "    —" if found[key]["share"] is None else f"{100 * found[key]['share']:5.0f}"
    keys = ("d_holds", "beta_holds", "exponent_holds", "refuted", "half_refuted", "twice_refuted")
    measured = ("identified", "refuted_at_measured_beta", "half_or_twice_refuted_at_measured_beta")
    shares = " ".join(map(percent, keys + measured))
    return f"{name:14} {shares}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=12, help="of each setting")
    parser.add_argument("--workdir", default="runs/teacher_coverage", help="what is measured is kept here, a line each")
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    path = pathlib.Path(options.workdir) / "repetitions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    done = {(row["d"], row["beta"], row["repetition"]) for row in rows}
    for number, (d, beta) in itertools.product(range(options.repetitions), SETTINGS):
        if (d, beta, number) not in done:
            rows.append(measured(d, beta, number))
            with path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(rows[-1]) + "\n")
    rows = [row for row in rows if row["repetition"] < options.repetitions]
    print("percent              holds          refuted        at measured β     exponent\n"
          "                d     β   exp    at d   d/2   2d  known  at d   off")  # fmt: skip
    settings = []
    for d, beta in SETTINGS:
        some = summary([row for row in rows if (row["d"], row["beta"]) == (d, beta)])
        settings.append({"d": d, "beta": beta, "exponent": float(theory.data_exponent(d, beta))} | some)
        exponent = f"{some['mean_exponent']:.3f} ± {some['typical_half_width']:.3f}"
        print(line(f"d = {d}, β = {beta:g}", some), f"  {exponent}, theory {settings[-1]['exponent']:.3f}")
    every = summary(rows)
    print(line("all", every))
    aside = ("mean_d", "mean_beta", "mean_exponent", "mean_exponent_in_n", "spread_of_exponents", "typical_half_width")
    result = {
        "repetitions": len(rows),
        "sizes": list(STUDY.sizes),
        "seeds": len(STUDY.seeds),
        "all": {name: value for name, value in every.items() if name not in aside},
        "settings": settings,
        "seconds": sum(row["seconds"] for row in rows),
        "processor_seconds": sum(row["processor_seconds"] for row in rows),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "jax": jax.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "date": datetime.date.today().isoformat(),
    }
    pathlib.Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
