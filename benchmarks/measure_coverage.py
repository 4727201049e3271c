"""Does the interval of `dimension.measure` hold the dimension of clouds whose families it has not seen?

python benchmarks/measure_coverage.py --scratch /tmp/measured       # writes benchmarks/results/measure_coverage.json

The 24 clouds of `jaxscale.data.manifolds.benchmark()`, and spheres, flat tori and normal distributions of 2 to 20
dimensions, 60 draws each at n = 1000 and 2500. For each the reference family that it belongs to, and those that contain
it as a limit, are left out of the table; `own` leaves out the first of these alone, `whole` nothing. Statistics of
draws stay in the scratch folder, so that another table can be judged at once.
"""

import argparse
import datetime
import json
import os
import pathlib

import jax
import numpy as np

from jaxscale.data import manifolds
from jaxscale.dimension import neighborhoods
from jaxscale.dimension.references import statistics, table

RESULTS = pathlib.Path(__file__).parent / "results" / "measure_coverage.json"
POINTS = (1000, 2500)
OWN = {
    ("M1",): ("sphere", "ellipsoid"),
    ("M2", "M9", "M10a", "M10b", "M10c", "M10d"): ("cube", "box"),
    ("M12",): ("gaussian", "spectrum"),
    ("M4", "M6", "M8"): ("spirals",),
    ("M5a", "M13b"): ("curves",),
    ("M5b", "M11"): ("strips",),
    ("M7",): ("rolls",),
    ("M13a",): ("rolls", "strips"),
    ("Mbeta",): ("skewed",),
    ("Mn1", "Mn2"): ("tangents",),
    ("Mp1", "Mp2", "Mp3"): ("quadratic",),
}
FURTHER = {
    "sphere": (manifolds.sphere, ("sphere", "ellipsoid"), (2, 5, 10, 20)),
    "flat_torus": (lambda d: manifolds.flat_torus([1.0] * d), ("torus",), (2, 5, 10, 20)),
    "gaussian": (manifolds.gaussian, ("gaussian", "spectrum"), (2, 5, 10, 20)),
}


def tested():
    """(label, manifold, families to leave out)."""
    own = {label: families for labels, families in OWN.items() for label in labels}
    for label, manifold in manifolds.benchmark().items():
        yield label, manifold, own.get(label, ())
    for name, (make, families, dimensions) in FURTHER.items():
        for d in dimensions:
            yield f"{name}({d})", make(d), families


def statistics_of_draws(label, manifold, points, draws, scratch):
    path = scratch / f"{label}_{points}.npy"
    rows = list(np.load(path)) if path.exists() else []
    for index in range(len(rows), draws):
        cloud = np.asarray(manifold.sample(points, key=jax.random.fold_in(jax.random.key(24), index)))
        cloud = np.pad(cloud, ((0, 0), (0, max(8, 2 ** int(np.ceil(np.log2(cloud.shape[1])))) - cloud.shape[1])))
        rows.append(np.asarray(statistics.of(neighborhoods(cloud, statistics.NEIGHBORS))))
    np.save(path, np.array(rows))
    return np.array(rows[:draws])


def judged(references, drawn, points, d):
    """How far draws are off, how often the interval holds d, and its width as a share of the dimension found."""
    read = jax.vmap(table.read, (None, 0, None))(references, drawn, float(points))
    value, reach = np.asarray(read.log_dimension), np.asarray(read.reach)
    return {
        "dimension": d,
        "coverage": float(np.mean(np.abs(value - np.log(d)) <= reach)),
        "mean": float(np.mean(np.exp(value))),
        "percentage_error": float(100 * np.mean(np.abs(np.exp(value) / d - 1))),
        "median_width": float(np.median(np.exp(reach) - np.exp(-reach))),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS))
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    whole = table.shipped()
    of_tables = {key for _, _, families in tested() for key in (families, families[:1]) if key}
    left = {key: whole.without(key) for key in of_tables}
    found = {}
    for points in options.points:
        found[str(points)] = {"left_out": {}, "own": {}, "whole": {}}
        for label, manifold, families in tested():
            drawn = statistics_of_draws(label, manifold, points, options.draws, options.scratch)
            for way, left_out in {"left_out": families, "own": families[:1], "whole": ()}.items():
                references = left[left_out] if left_out else whole
                row = judged(references, drawn, points, manifold.dimension) | {"without": left_out}
                found[str(points)][way][label] = row
            print(points, label, found[str(points)]["left_out"][label], flush=True)
        for way, rows in found[str(points)].items():
            benchmark = [row for label, row in rows.items() if label in manifolds.benchmark()]
            further = [row for label, row in rows.items() if label not in manifolds.benchmark()]
            of = lambda name, rows=benchmark: [row[name] for row in rows]
            rows["summary"] = {
                "mean_percentage_error": float(np.mean(of("percentage_error"))),
                "least_coverage": float(min(of("coverage"))),
                "mean_coverage": float(np.mean(of("coverage"))),
                "median_width": float(np.median(of("median_width"))),
                "least_coverage_of_further": float(min(row["coverage"] for row in further)),
                "mean_coverage_of_further": float(np.mean([row["coverage"] for row in further])),
            }
            print(points, way, rows["summary"], flush=True)
    stamp = {
        "draws": options.draws,
        "references": len(whole.error),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processor": f"{os.cpu_count()} cores",
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
    }
    options.out.write_text(json.dumps(found | stamp, indent=2) + "\n")


if __name__ == "__main__":
    main()
