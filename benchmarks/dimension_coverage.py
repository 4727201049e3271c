"""How often intervals at 95% hold what they should: repeated uniform samples of a cube and a sphere of known dimension.

python benchmarks/dimension_coverage.py             # writes benchmarks/results/dimension_coverage.json; hours on a CPU
python benchmarks/dimension_coverage.py --trials 100 --shapes cube --dimensions 2 5
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import pathlib
import platform

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.dimension import gride, mle, neighborhoods, twonn
from jaxscale.dimension.calibration import DIMENSIONS, apply_references, read_references

POINTS = 2000
# The estimators, each with the neighbors it is given: those it reads, and five at least, as `calibrate` has it.
ESTIMATORS = {
    "mle k=5": (functools.partial(mle, k=5), 5),
    "mle k=10": (functools.partial(mle, k=10), 10),
    "mle k=20": (functools.partial(mle, k=20), 20),
    "twonn": (twonn, 5),
    "gride n1=1": (functools.partial(gride, n1=1), 5),
    "gride n1=2": (functools.partial(gride, n1=2), 5),
    "gride n1=4": (functools.partial(gride, n1=4), 8),
    "gride n1=8": (functools.partial(gride, n1=8), 16),
}


def cloud(shape, d, key):
    if shape == "cube":
        return jax.random.uniform(key, (POINTS, d))
    normal = jax.random.normal(key, (POINTS, d + 1))
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True)


def read_trials(shape, d, names, trials, clouds):
    """Per estimator: reading, its standard error, the analytic one, calibrated dimension and its standard error."""
    place = DIMENSIONS.index(d)
    around = DIMENSIONS[max(0, place - 1) : place + 2]
    references = {}
    for name in names:
        estimator, k = ESTIMATORS[name]
        references[name] = read_references(estimator, POINTS, around, k, clouds=clouds)

    def of_one(key):
        hoods = neighborhoods(cloud(shape, d, key), max(ESTIMATORS[name][1] for name in names))
        rows = []
        for name in names:
            estimator, k = ESTIMATORS[name]
            own = hoods.nearest(k)
            estimate = estimator(own)
            calibrated = apply_references(estimate, own, references[name])
            errors = estimate.standard_error, estimate.analytic_standard_error
            rows.append((estimate.dimension, *errors, calibrated.dimension, calibrated.standard_error))
        return jnp.array(rows)

    # Keys that no reference cloud was drawn from.
    keys = jax.random.split(jax.random.key(20 + d), trials)
    return np.moveaxis(np.asarray(jax.jit(functools.partial(lax.map, of_one))(keys)), 0, -1)


def summary(d, reading, error, analytic, calibrated, calibrated_error):
    """Shares of intervals that hold the mean reading or the truth, in percent, and sizes relative to d in percent."""
    holds = lambda center, value, error: round(100 * float(np.mean(np.abs(center - value) < 1.96 * error)), 1)
    percent = lambda value: round(100 * float(value) / d, 2)
    return {
        "coverage_of_mean": holds(reading, reading.mean(), error),
        "coverage_of_mean_analytic": holds(reading, reading.mean(), analytic),
        "coverage_of_truth": holds(reading, d, error),
        "coverage_of_truth_calibrated": holds(calibrated, d, calibrated_error),
        "spread_percent": percent(reading.std(ddof=1)),
        "mean_error_percent": percent(np.sqrt(np.mean(error**2))),
        "bias_percent": percent(reading.mean() - d),
        "bias_percent_calibrated": percent(calibrated.mean() - d),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--clouds", type=int, default=64, help="reference clouds at each dimension and family")
    parser.add_argument("--shapes", nargs="+", default=["cube", "sphere"], choices=["cube", "sphere"])
    parser.add_argument("--dimensions", nargs="+", type=int, default=[2, 5, 10])
    parser.add_argument("--estimators", nargs="+", default=list(ESTIMATORS), choices=list(ESTIMATORS))
    parser.add_argument("--out", default=pathlib.Path(__file__).parent / "results" / "dimension_coverage.json")
    options = parser.parse_args()
    rows: list[dict] = []
    print(f"{'':26}about the mean     about the truth     spread  error   bias   bias\n"
          f"{'':26}  ours  analytic     raw  calibrated      %      %      %  calibrated %")  # fmt: skip
    for shape in options.shapes:
        for d in options.dimensions:
            values = read_trials(shape, d, options.estimators, options.trials, options.clouds)
            for name, of_estimator in zip(options.estimators, values, strict=True):
                row = {"shape": shape, "dimension": d, "estimator": name, **summary(d, *of_estimator)}
                rows.append(row)
                numbers = list(row.values())[3:]
                print(f"{shape:7} d={d:<3} {name:11}", "".join(f"{number:9}" for number in numbers), flush=True)
            write(options, rows)


def write(options, rows):
    result = {
        "benchmark": "coverage of 95% intervals",
        "points": POINTS,
        "trials": options.trials,
        "reference_clouds": options.clouds,
        "rows": rows,
        "device": jax.devices()[0].device_kind,
        "processor": platform.processor() or platform.machine(),
        "jax": importlib.metadata.version("jax"),
        "date": datetime.date.today().isoformat(),
    }
    pathlib.Path(options.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
