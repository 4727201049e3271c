"""Does the interval of `dimension.measure` hold the dimension of clouds whose families it has not seen?

python benchmarks/measure_coverage.py --scratch /tmp/measured       # writes benchmarks/results/measure_coverage.json

The 24 clouds of `jaxscale.data.manifolds.benchmark()`, and spheres, flat tori and normal distributions of 2 to 20
dimensions, 60 draws each at n = 1000 and 2500. For each the reference family that it belongs to, and those that contain
it as a limit, are left out of the table. Statistics of draws stay in the scratch folder, so that another table can be
judged at once.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--points", type=int, nargs="+", default=list(POINTS))
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    whole = table.shipped()
    found = {}
    for points in options.points:
        rows = {}
        for label, manifold, left_out in tested():
            drawn = statistics_of_draws(label, manifold, points, options.draws, options.scratch)
            read = jax.vmap(table.read, (None, 0, None))(whole.without(left_out), drawn, float(points))
            value, reach, d = np.asarray(read.log_dimension), np.asarray(read.reach), manifold.dimension
            rows[label] = {
                "dimension": d,
                "left_out": left_out,
                "coverage": float(np.mean(np.abs(value - np.log(d)) <= reach)),
                "mean": float(np.mean(np.exp(value))),
                "percentage_error": float(100 * np.mean(np.abs(np.exp(value) / d - 1))),
                "median_width": float(np.median(np.exp(reach) - np.exp(-reach))),
            }
            said = (f"{name} {value:.3g}" for name, value in rows[label].items() if name != "left_out")
            print(points, label, *said, flush=True)
        benchmark = [row for label, row in rows.items() if label in manifolds.benchmark()]
        rest = [row for label, row in rows.items() if label not in manifolds.benchmark()]
        found[str(points)] = {
            "mean_percentage_error": float(np.mean([row["percentage_error"] for row in benchmark])),
            "least_coverage": float(min(row["coverage"] for row in benchmark)),
            "mean_coverage": float(np.mean([row["coverage"] for row in benchmark])),
            "mean_coverage_of_further": float(np.mean([row["coverage"] for row in rest])),
            "median_width": float(np.median([row["median_width"] for row in benchmark])),
            "clouds": rows,
        }
        print(points, {name: value for name, value in found[str(points)].items() if name != "clouds"}, flush=True)
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
