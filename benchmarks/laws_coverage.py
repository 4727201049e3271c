"""Do the intervals of fitted laws hold the truth as often as they say, and do warnings come when they should?

python benchmarks/laws_coverage.py                   # writes benchmarks/results/laws_coverage.json; minutes of CPU
python benchmarks/laws_coverage.py --only shared --tables 1000      # goes on from the tables that are there

Simulated tables around the parameters of Hoffmann et al. 2022, fitted as `laws.fit` does by default: 60 runs, ten model
sizes by six amounts of data; fewer sizes, whose runs share half of the variance of their errors; and 20 or 12 runs of
as many sizes. With 300 tables a share of 95% has a standard error of 1.3 points. `warnings_…` count each code on 60
runs around a true law, and `…_bent` around one whose largest sizes end 4% above it.
"""

import argparse
import collections
import datetime
import functools
import json
import os
import pathlib

import jax
import numpy as np
from scipy import optimize, stats

from jaxscale import laws, theory
from jaxscale.laws import fitting
from jaxscale.laws.selection import forecast_failed

RESULTS = pathlib.Path(__file__).parent / "results" / "laws_coverage.json"
TRUTH = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
RESAMPLES = 400
NOISE = 0.005
CHUNK = 20  # tables between two writes of the results
DESIGNS = ("independent", "heteroscedastic", "shared")
FEW = {"shared_8x5": (8, 5), "shared_6x6": (6, 6), "shared_5x8": (5, 8)}
SCATTERED = {"scattered_20": 20, "scattered_12": 12}
ERRORS = ("independent", "shared", "student")
BEND = 0.04
DELTA, SCALE = 1e-3, 1e6  # of the objective; SciPy's tolerances are absolute


def loss_at(N, D, p):
    return p["E"] + p["A"] * N ** -p["alpha"] + p["B"] * D ** -p["beta"]


def table(design, index):
    """Runs whose log losses err by `NOISE` (standard deviation)."""
    if design in SCATTERED:
        rng, runs = np.random.default_rng([101, SCATTERED[design], index]), SCATTERED[design]
        N = 10 ** rng.uniform(7.5, 10, runs)
        D = N * 10 ** rng.uniform(0.6, 2.1, runs)
        return {"N": N, "D": D, "loss": loss_at(N, D, TRUTH) * np.exp(NOISE * rng.normal(size=runs))}
    sizes, each = FEW.get(design, (10, 6))
    N = np.repeat(np.geomspace(5e7, 1.5e10, sizes), each)
    D = N * np.tile(np.geomspace(4, 120, each), sizes)
    if design in FEW:
        rng = np.random.default_rng([102, sizes, index])
        error = np.sqrt(0.5) * (rng.normal(size=len(N)) + rng.normal(size=sizes).repeat(each))
        return {"N": N, "D": D, "loss": loss_at(N, D, TRUTH) * np.exp(NOISE * error)}
    rng = np.random.default_rng([DESIGNS.index(design), index])
    error = rng.laplace(size=60) / np.sqrt(2)
    if design == "heteroscedastic":  # four times the noise for the smallest model as for the largest
        error = error * np.geomspace(2, 0.5, 10).repeat(6)
    if design == "shared":
        error = np.sqrt(0.5) * (error + rng.normal(size=10).repeat(6))
    return {"N": N, "D": D, "loss": loss_at(N, D, TRUTH) * np.exp(NOISE * error)}


def coverage(design, tables, before):
    """Shares of intervals that hold α, β, E, α_C, the best size's exponent, and the loss a decade beyond N and D.

    Over the tables of `before` too.
    """
    split = lambda p: theory.compute_split(p["alpha"], p["beta"])
    wanted = {
        "alpha": lambda p: p["alpha"],
        "beta": lambda p: p["beta"],
        "E": lambda p: p["E"],
        "alpha_C": lambda p: split(p).loss,
        "size_exponent": lambda p: split(p).size,
        "loss_a_decade_out": None,
    }
    counts = before.get("counts") or {name: {"held": 0, "below": 0, "above": 0} for name in wanted}
    log_widths = {name: np.log(before["typical_width"][name]) * before["tables"] if before else 0.0 for name in wanted}
    for index in range(before.get("tables", 0), tables):
        optimum = laws.fit(table(design, index), "chinchilla", resamples=0)
        fit = fitting.with_draws(optimum, jax.random.key(index), "auto", RESAMPLES)
        N, D = (10 * x.max() for x in fit.runs.values)
        wanted["loss_a_decade_out"] = functools.partial(loss_at, N, D)
        for name, of in wanted.items():
            lower, upper = fit.quantity(of).interval
            side = "below" if upper < of(TRUTH) else "above" if lower > of(TRUTH) else "held"
            counts[name][side] += 1
            log_widths[name] += float(np.log(upper - lower))
        if (index + 1) % CHUNK == 0 or index + 1 == tables:
            done = index + 1
            yield {
                "tables": done,
                "resamples": RESAMPLES,
                "groups": fit.runs.group_by,
                "bootstrap": fit.bootstrap,
                "coverage": {name: count["held"] / done for name, count in counts.items()},
                "counts": counts,
                "typical_width": {name: float(np.exp(total / done)) for name, total in log_widths.items()},
            }


def warned_table(errors, bend, index):
    """60 runs with errors of one of three kinds; losses bend upwards over the largest quarter of the range of N."""
    rng = np.random.default_rng([103, ERRORS.index(errors), index])
    N = np.repeat(np.geomspace(5e7, 1.5e10, 10), 6)
    D = N * np.tile(np.geomspace(4, 120, 6), 10)
    error = rng.standard_t(3, size=60) / np.sqrt(3) if errors == "student" else rng.normal(size=60)
    if errors == "shared":
        error = np.sqrt(0.5) * (error + rng.normal(size=10).repeat(6))
    share = np.log(N / N.min()) / np.log(N.max() / N.min())
    return {
        "N": N,
        "D": D,
        "loss": loss_at(N, D, TRUTH) * (1 + bend * np.maximum(share - 0.75, 0) / 0.25) * np.exp(NOISE * error),
    }


def warnings(errors, bend, tables, before):
    """Shares of tables with each warning, over the tables of `before` too."""
    counts = collections.Counter(before.get("counts"))
    for index in range(before.get("tables", 0), tables):
        fit = laws.fit(warned_table(errors, bend, index), "chinchilla", key=index, resamples=RESAMPLES // 2)
        failed = forecast_failed(laws.back_test(fit, key=index))
        counts.update({code for code, _ in (*fit.warnings, *([failed] if failed else []))})
        if (index + 1) % CHUNK == 0 or index + 1 == tables:
            done = index + 1
            warned = {code: count / done for code, count in counts.most_common()}
            yield {"tables": done, "resamples": RESAMPLES // 2, "counts": dict(counts), "warned": warned}


def power_law_table(index):
    """14 runs of seven sizes with Laplace errors: half over 1.5 to 3 decades, half over fewer and with more noise."""
    rng = np.random.default_rng([len(DESIGNS), index])
    decades, noise = ((0.5, 1.2), (-2.3, -1.3)) if index % 2 else ((1.5, 3.0), (-3.0, -2.0))
    n = np.repeat(1e5 * 10 ** np.linspace(0, rng.uniform(*decades), 7), 2)
    curve = rng.uniform(0.5, 2.5) + rng.uniform(0.5, 3) * (n / 1e5) ** -rng.uniform(0.15, 0.6)
    return {"n": n, "loss": curve * np.exp(10 ** rng.uniform(*noise) * rng.laplace(size=14))}


def lowest(table, floor=None):
    """SciPy's least Huber objective of E + A n^-α from four starts, and its E, which may be held."""
    log_x, log_loss = np.log(table["n"] / table["n"].min()), np.log(table["loss"])

    def objective(z):
        E, term = np.exp(z[2]) if floor is None else floor, np.exp(z[0] - z[1] * log_x)
        residual = np.log(E + term) - log_loss
        size = np.abs(residual)
        value = np.sum(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)))
        pull = np.clip(residual, -DELTA, DELTA) / (E + term)
        gradient = [pull @ term, -pull @ (term * log_x), E * pull.sum()]
        return SCALE * value, SCALE * np.array(gradient[: len(z)])

    best = np.inf, 0.0
    top = table["loss"].max()
    options = {"maxiter": 500, "ftol": 1e-13, "gtol": 1e-8}
    bounds = [(-20.0, 20.0), (1e-4, 10.0), (-20.0, 20.0)]
    for alpha in (0.1, 0.3, 0.6, 1.2):
        E = (1 - 0.5 * alpha) * table["loss"].min() if floor is None else floor
        start = [np.log(max(top - E, 1e-3)), alpha] + ([np.log(E)] if floor is None else [])
        found = optimize.minimize(objective, start, jac=True, bounds=bounds[: len(start)], options=options)
        best = min(best, (found.fun / SCALE, float(np.exp(found.x[2])) if floor is None else floor))
    return best


def profile_of_no_floor(table):
    """The greatest likelihood-ratio statistic of Laplace errors, their scale fitted, between the best E and none."""
    least, E = lowest(table)
    held = [lowest(table, share * E)[0] for share in (0.0, 0.5)]
    return 2 * len(table["loss"]) * np.log(max(held) / min(least, *held))


def identifiability(tables, before):
    """How often `laws.fit` warns that E or α is not identified, beside profiles of E by SciPy.

    A profile is flat where a 95% region would reach E = 0, "practically non-identifiable" in the sense of Raue et al.
    2009 (Bioinformatics 25), and well-posed where a 99.9% region would not, both with F(1, R - 3) for R runs.
    """
    kinds = ("flat", "between", "well_posed")
    flat, closed = 14 * np.log1p(stats.f.ppf([0.95, 0.999], 1, 11) / 11)
    counts = before.get("counts") or {kind: {"tables": 0, "warned": 0} for kind in kinds}
    simulated = before.get("simulated", 0)
    codes = {"irreducible_loss_not_identified", "not_identified"}
    while min(counts["flat"]["tables"], counts["well_posed"]["tables"]) < tables:
        for index in range(simulated, simulated + CHUNK):
            table = power_law_table(index)
            statistic = profile_of_no_floor(table)
            kind = kinds[int(statistic > flat) + int(statistic > closed)]
            fit = laws.fit(table, "data", key=jax.random.key(index), resamples=200)
            counts[kind]["tables"] += 1
            counts[kind]["warned"] += bool(codes & {code for code, _ in fit.warnings})
        simulated += CHUNK
        rates = {kind: count["warned"] / max(count["tables"], 1) for kind, count in counts.items()}
        yield {"simulated": simulated, "counts": counts, "warned": rates}


PARTS = {design: functools.partial(coverage, design) for design in (*DESIGNS, *FEW, *SCATTERED)}
PARTS |= {"identifiability": identifiability}
PARTS |= {f"warnings_{errors}": functools.partial(warnings, errors, 0.0) for errors in ERRORS}
PARTS |= {f"warnings_{errors}_bent": functools.partial(warnings, errors, BEND) for errors in ERRORS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--afresh", action="store_true", help="forget the tables simulated before")
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    read = lambda: json.loads(out.read_text()) if out.exists() else {}
    for name in options.only:
        for part in PARTS[name](options.tables, {} if options.afresh else read().get(name, {})):
            stamp = {
                "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
                "processor": f"{os.cpu_count()} cores",
                "jax": jax.__version__,
                "date": datetime.date.today().isoformat(),
            }
            unfinished = out.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(read() | {name: part | stamp}, indent=2) + "\n")
            unfinished.replace(out)
        print(name, json.dumps(read().get(name), indent=2), flush=True)


if __name__ == "__main__":
    main()
