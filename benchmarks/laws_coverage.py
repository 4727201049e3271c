"""Do the intervals of fitted laws hold the truth as often as they say, and do warnings come when they should?

python benchmarks/laws_coverage.py                   # writes benchmarks/results/laws_coverage.json; an hour of CPU
python benchmarks/laws_coverage.py --only shared --tables 50

Simulated tables of 60 runs, ten model sizes by six amounts of data, around the parameters of Hoffmann et al. 2022,
fitted as `laws.fit` does by default. With 300 tables a share of 95% has a standard error of 1.3 points.
"""

import argparse
import datetime
import json
import os
import pathlib

import jax
import numpy as np

from jaxscale import laws, theory
from jaxscale.laws import fitting, identifiability

RESULTS = pathlib.Path(__file__).parent / "results" / "laws_coverage.json"
TRUTH = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
RESAMPLES = 1000
NOISE = 0.005
FLAT = 3.84  # χ² of one degree of freedom at 95%


def table(rng, design):
    """60 runs whose log losses err by `NOISE` (standard deviation), in one of three ways."""
    N = np.repeat(np.geomspace(5e7, 1.5e10, 10), 6)
    D = N * np.tile(np.geomspace(4, 120, 6), 10)
    loss = TRUTH["E"] + TRUTH["A"] * N ** -TRUTH["alpha"] + TRUTH["B"] * D ** -TRUTH["beta"]
    error = rng.laplace(size=60) / np.sqrt(2)
    if design == "heteroscedastic":  # four times the noise for the smallest model as for the largest
        error = error * np.geomspace(2, 0.5, 10).repeat(6)
    if design == "shared":
        error = np.sqrt(0.5) * (error + rng.normal(size=10).repeat(6))
    return {"N": N, "D": D, "loss": loss * np.exp(NOISE * error)}


def coverage(design, tables):
    """Shares of intervals that hold α, β, α_C and the exponent of the best size."""
    split = lambda p: theory.compute_split(p["alpha"], p["beta"])
    wanted = {
        "alpha": lambda p: p["alpha"],
        "beta": lambda p: p["beta"],
        "alpha_C": lambda p: split(p).loss,
        "size_exponent": lambda p: split(p).size,
    }
    rng = np.random.default_rng(0)
    held = {name: 0 for name in wanted}
    widths = {name: [] for name in wanted}
    for index in range(tables):
        optimum = laws.fit(table(rng, design), "chinchilla", resamples=0)
        fit = fitting.with_draws(optimum, jax.random.key(index), "auto", RESAMPLES)
        for name, of in wanted.items():
            lower, upper = fit.quantity(of).interval
            held[name] += bool(lower <= of(TRUTH) <= upper)
            widths[name].append(float(upper - lower))
    return {
        "tables": tables,
        "groups": fit.runs.group_by,
        "coverage": {name: count / tables for name, count in held.items()},
        "median_width": {name: float(np.median(values)) for name, values in widths.items()},
    }


def identifiability_rates(tables):
    """Shares of tables that are called not identified: where no floor can be seen in one decade, and where it can."""
    rng = np.random.default_rng(1)

    def called(sizes, noise):
        n = np.repeat(np.logspace(5, 5 + sizes, 7), 2)
        loss = (1.5 + 2 * (n / 1e5) ** -0.3) * np.exp(noise * rng.normal(size=14))
        fit = laws.fit({"n": n, "loss": loss}, "data", resamples=0)
        return identifiability.flatness(fit.problem, fit.search)["E"] < FLAT

    return {
        "tables": tables,
        "called_over_one_decade_with_2%_noise": float(np.mean([called(1, 0.02) for _ in range(tables)])),
        "called_over_two_decades_with_0.3%_noise": float(np.mean([called(2, 0.003) for _ in range(tables)])),
    }


PARTS = {
    "independent": lambda tables: coverage("independent", tables),
    "heteroscedastic": lambda tables: coverage("heteroscedastic", tables),
    "shared": lambda tables: coverage("shared", tables),
    "identifiability": identifiability_rates,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    results = json.loads(out.read_text()) if out.exists() else {}
    for name in options.only:
        results[name] = PARTS[name](options.tables) | {
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
            "processor": f"{os.cpu_count()} cores",
            "jax": jax.__version__,
            "date": datetime.date.today().isoformat(),
        }
        print(name, json.dumps(results[name], indent=2), flush=True)
        out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
