"""Whether `read_scales` tells noise from curvature: clouds of known dimension, with and without noise of known size.

python benchmarks/dimension_scales.py             # writes benchmarks/results/dimension_scales.json; minutes on a CPU
python benchmarks/dimension_scales.py --draws 2 --widths 10

The limits of `read_scales` were chosen on other draws of clouds; those of `UNSEEN` had no part in it.
"""

import argparse
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import pathlib
import platform
import time

import jax
import numpy as np

from jaxscale.dimension import by_k, mle, neighborhoods, read_scales

POINTS = 2000
KS = (4, 8, 16, 32, 64)
# Distance that noise puts between two points, over the mean distance of the nearest neighbors without noise.
LEVELS = (0.0, 1.0, 2.0)


def swiss_roll(rng, n):
    t = np.pi * (1.5 + 3 * rng.uniform(size=n))
    return np.stack([t * np.cos(t), 21 * rng.uniform(size=n), t * np.sin(t)], axis=1)


def sphere(d):
    def draw(rng, n):
        normal = rng.normal(size=(n, d + 1))
        return normal / np.linalg.norm(normal, axis=1, keepdims=True)

    return draw


def torus(rng, n):
    v = rng.uniform(size=(8 * n, 2)) * [2 * np.pi, 1]
    v = v[v[:, 1] < (2 + np.cos(v[:, 0])) / 3][:n, 0]  # uniform in area
    u = rng.uniform(size=n) * 2 * np.pi
    return np.stack([(2 + np.cos(v)) * np.cos(u), (2 + np.cos(v)) * np.sin(u), np.sin(v)], axis=1)


def flat_torus(rng, n):
    angles = rng.uniform(size=(n, 2)) * 2 * np.pi
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def cube(d):
    return lambda rng, n: rng.uniform(size=(n, d))


def s_curve(rng, n):
    t = 3 * np.pi * (rng.uniform(size=n) - 0.5)
    return np.stack([np.sin(t), 2 * rng.uniform(size=n), np.sign(t) * (np.cos(t) - 1)], axis=1)


def moebius(rng, n):
    u, v = rng.uniform(size=n) * 2 * np.pi, rng.uniform(-1, 1, size=n)
    radius = 1 + v / 2 * np.cos(u / 2)
    return np.stack([radius * np.cos(u), radius * np.sin(u), v / 2 * np.sin(u / 2)], axis=1)


def helix(rng, n):
    t = rng.uniform(size=n) * 4 * np.pi
    return np.stack([np.cos(t), np.sin(t), t / 3], axis=1)


def paraboloid(rng, n):
    u = rng.uniform(-1, 1, size=(n, 3))
    return np.concatenate([u, np.sum(u**2, axis=1, keepdims=True)], axis=1)


# How to draw, the dimension, and whether it is flat.
CLOUDS = {
    "Swiss roll": (swiss_roll, 2, False),
    "sphere, d = 2": (sphere(2), 2, False),
    "torus": (torus, 2, False),
    "flat torus": (flat_torus, 2, False),
    "cube, d = 3": (cube(3), 3, True),
    "square": (cube(2), 2, True),
    "Möbius strip": (moebius, 2, False),
    "sphere, d = 5": (sphere(5), 5, False),
    "S-curve": (s_curve, 2, False),
    "helix": (helix, 1, False),
    "sphere, d = 3": (sphere(3), 3, False),
    "paraboloid, d = 3": (paraboloid, 3, False),
    "cube, d = 4": (cube(4), 4, True),
}
UNSEEN = ("S-curve", "helix", "sphere, d = 3", "paraboloid, d = 3", "cube, d = 4")


def graph_mle(hoods):
    """`mle` with the standard error of the neighbor graph, rougher than that of halves and a tenth the work."""
    return mle(dataclasses.replace(hoods, points=None, lists=None), k=hoods.k)


def read(clouds):
    """The reading of each cloud, stacked."""

    def of_one(x):
        hoods = neighborhoods(x, KS[-1])
        return read_scales(by_k(hoods, KS, graph_mle), hoods)

    return jax.tree.map(lambda *values: np.stack(values), *(jax.device_get(of_one(x)) for x in clouds))


@functools.cache
def nearest_distance(name):
    """Mean distance of the nearest neighbor without noise."""
    plain = CLOUDS[name][0](np.random.default_rng(0), POINTS)
    return float(np.mean(neighborhoods(plain.astype(np.float32), 1).distances))


def drawn(name, width, level, draws, rng):
    """Clouds (draws, n, width) in a random position, and the standard deviation of the noise of each."""
    draw, d, _ = CLOUDS[name]
    deviation = level * nearest_distance(name) / np.sqrt(2 * max(width - d, 1))
    clouds, deviations = [], []
    for _ in range(draws):
        plain = draw(rng, POINTS)
        basis, _ = np.linalg.qr(rng.normal(size=(width, width)))
        clouds.append(plain @ basis[: plain.shape[1]] + deviation * rng.normal(size=(POINTS, width)))
        deviations.append(deviation)
    return np.asarray(clouds, np.float32), np.asarray(deviations)


def row(name, width, level, reading, deviations):
    d = CLOUDS[name][1]
    lower, upper = map(np.asarray, reading.plateau.interval())
    found = np.asarray(reading.plateau.found)
    noise = np.asarray(reading.noise)
    ratios = (np.asarray(reading.noise_deviation) / deviations)[noise] if level else np.zeros(0)
    holds = (lower <= d) & (d <= upper) & found
    values = lambda column: [None if not np.isfinite(v) else round(float(v), 4) for v in np.asarray(column)]
    return {
        "cloud": name,
        "width": width,
        "level": level,
        "draws": len(noise),
        "noise_claimed": int(noise.sum()),
        "noise_excluded": int(np.asarray(reading.noise_excluded).sum()),
        "deviation_ratios": [round(float(ratio), 4) for ratio in ratios],
        "curvature_claimed": int(np.asarray(reading.curvature).sum()),
        "plateaus": int(found.sum()),
        "plateaus_that_hold_d": int(holds.sum()),
        "plateau_dimension": values(reading.plateau.dimension),
        "small": values(reading.small.dimension),
        "large": values(reading.large.dimension),
        "recommended_k": [int(k) for k in np.asarray(reading.recommended_k)],
    }


def summary(rows):
    """Shares over rows: of clouds without noise, of those with noise at least as wide as neighbors are apart."""
    share = lambda some, field, of="draws": [sum(r[field] for r in some), sum(r[of] for r in some)] if some else None
    clean = [r for r in rows if r["level"] == 0]
    loud = [r for r in rows if r["level"] >= 1]
    ratios = [ratio for r in rows if r["level"] for ratio in r["deviation_ratios"]]
    return {
        "noise_claimed_without_noise": share(clean, "noise_claimed"),
        "noise_found": share(loud, "noise_claimed"),
        "deviation_ratio": [round(float(q), 3) for q in np.quantile(ratios, [0.5, 0.1, 0.9])] if ratios else None,
        "curvature_claimed_flat": share([r for r in rows if CLOUDS[r["cloud"]][2]], "curvature_claimed"),
        "curvature_claimed_bent_without_noise": share(
            [r for r in clean if not CLOUDS[r["cloud"]][2]], "curvature_claimed"
        ),
        "plateaus": share(rows, "plateaus"),
        "plateaus_that_hold_d": share(rows, "plateaus_that_hold_d", "plateaus"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2, help="clouds of each kind, width and level of noise")
    parser.add_argument("--widths", nargs="+", type=int, default=[3, 10, 50])
    parser.add_argument("--clouds", nargs="+", default=list(CLOUDS), choices=list(CLOUDS))
    parser.add_argument("--seed", type=int, default=20261)
    parser.add_argument("--out", default=pathlib.Path(__file__).parent / "results" / "dimension_scales.json")
    options = parser.parse_args()
    rng, rows, started = np.random.default_rng(options.seed), [], time.time()
    for width in options.widths:
        for name in options.clouds:
            narrowest = CLOUDS[name][0](rng, 2).shape[1]
            for level in LEVELS if narrowest <= width else ():
                if level and width == CLOUDS[name][1]:
                    continue  # noise has no direction of its own
                clouds, deviations = drawn(name, width, level, options.draws, rng)
                rows.append(row(name, width, level, jax.device_get(read(clouds)), deviations))
                said = {key: rows[-1][key] for key in ("noise_claimed", "curvature_claimed", "plateaus")}
                print(f"{name:18} D={width:<3} noise {level:<4}", said, flush=True)
    result = {
        "benchmark": "noise told from curvature, and plateaus, against scale",
        "points": POINTS,
        "ks": KS,
        "draws": options.draws,
        "seed": options.seed,
        "all": summary(rows),
        "unseen_clouds": UNSEEN,
        "unseen": summary([r for r in rows if r["cloud"] in UNSEEN]),
        "clouds": {name: summary([r for r in rows if r["cloud"] == name]) for name in options.clouds},
        "widths": {width: summary([r for r in rows if r["width"] == width]) for width in options.widths},
        "rows": rows,
        "seconds": round(time.time() - started),
        "device": jax.devices()[0].device_kind,
        "processor": platform.processor() or platform.machine(),
        "jax": importlib.metadata.version("jax"),
        "date": datetime.date.today().isoformat(),
    }
    pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({"all": result["all"], **result["clouds"]}, indent=1))


if __name__ == "__main__":
    main()
