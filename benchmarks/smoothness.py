"""The smoothness read from fields of known smoothness on flat tori, with and without label noise.

python benchmarks/smoothness.py             # writes benchmarks/results/smoothness.json; minutes of CPU

Fractional Brownian fields of variance 1 at 1536 points of a flat torus curved in space, several fields for
each design; 10% label noise is a standard deviation of 0.1.
"""

import argparse
import datetime
import itertools
import json
import os
import pathlib

import jax
import numpy as np

from jaxscale import smoothness
from jaxscale.data import manifolds

RESULTS = pathlib.Path(__file__).parent / "results" / "smoothness.json"
DIMENSIONS, BETAS, NOISES = (1, 2, 4, 8), (0.25, 0.5, 0.75), (0.0, 0.1)
POINTS = 1536


def design(d, beta, noise, fields):
    """Mean reading over the truth, its spread over fields, and the share of intervals that hold the truth."""
    x = np.asarray(manifolds.flat_torus([1.0] * d).sample(POINTS, key=jax.random.key(d)), float)
    labels = smoothness.fractional_field(x, beta, key=jax.random.key(1), fields=fields)
    labels = labels + noise * np.random.default_rng(2).normal(size=labels.shape)
    found = [smoothness.madogram(x, y, key=jax.random.key(index)) for index, y in enumerate(labels)]
    ratio = np.array([one.beta for one in found]) / beta
    # A learning curve costs ten madograms, and says little where 2β/d is small: one for each design without noise.
    kernel = (
        smoothness.kernel_learning_curve(x, labels[0], key=jax.random.key(0)).exponent
        if noise == 0 and d <= 2
        else None
    )
    return {
        "d": d,
        "beta": beta,
        "noise": noise,
        "mean_over_truth": float(ratio.mean()),
        "spread_over_fields": float(ratio.std(ddof=1)),
        "intervals_that_hold_the_truth": float(
            np.mean([one.interval.lower <= beta <= one.interval.upper for one in found])
        ),
        "kernel_exponent": kernel,
        "kernel_exponent_of_theory": 2 * beta / d,
        "scales": [float(end) for end in found[0].scales],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fields", type=int, default=16)
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    rows = []
    for d, beta, noise in itertools.product(DIMENSIONS, BETAS, NOISES):
        rows.append(design(d, beta, noise, options.fields))
        print(json.dumps(rows[-1]), flush=True)
    worst = {
        f"{noise:g}": max(abs(row["mean_over_truth"] - 1) for row in rows if row["noise"] == noise) for noise in NOISES
    }
    results = {
        "points": POINTS,
        "fields": options.fields,
        "largest_error_of_the_mean_by_noise": worst,
        "designs": rows,
        "processor": f"{os.cpu_count()} cores",
        "jax": jax.__version__,
        "numpy": np.__version__,
        "date": datetime.date.today().isoformat(),
    }
    pathlib.Path(options.out).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
