"""Do planned runs narrow an interval for less compute, as far as promised, and does stopping on width keep coverage?

python benchmarks/laws_plan.py                   # writes benchmarks/results/laws_plan.json; half an hour of one core
python benchmarks/laws_plan.py --only widths --tables 40      # goes on from the tables that are there

`widths`: simulated pilots of 24 runs, six sizes by four amounts of data, around laws near that of Hoffmann et al. 2022;
in every other one runs of a size share half of their variance. What is wanted is half the width that the pilot has. The
planned runs are simulated from the truth and fitted by `laws.fit`, and so are even grids over the sizes and tokens per
parameter that the plan chooses from: to three, and to ten times the pilot's largest size, or over its own sizes again,
with 3 x 3 up to 6 x 6 runs. What a grid of the plan's width computes is read between two grids.
`stopping`: runs of a law of n in batches of four until the interval of its exponent is as narrow as wanted.
`speedup`: two recipes of known speedup, 36 runs each.
"""

import argparse
import datetime
import json
import os
import pathlib
import time

import jax
import numpy as np

from jaxscale import laws
from jaxscale.laws import fitting

RESULTS = pathlib.Path(__file__).parent / "results" / "laws_plan.json"
RESAMPLES = 200
QUANTITIES = {
    "alpha_C": lambda p: p["alpha"] * p["beta"] / (p["alpha"] + p["beta"]),
    "size_exponent": lambda p: p["beta"] / (p["alpha"] + p["beta"]),
}
GRIDS = (3, 4, 5, 6)
REACHES = (1.0, 3.0, 10.0)  # times the pilot's largest size


class Truth:
    """A law of N and D whose runs err, some of them together; runs of one size share an error for good."""

    def __init__(self, index, speedup=1.0):
        self.rng = np.random.default_rng([7, index])
        uniform = self.rng.uniform
        self.parameters = {"E": uniform(1.5, 2.0), "alpha": uniform(0.28, 0.4), "beta": uniform(0.24, 0.34)}
        # Each term is worth 0.15 to 0.4 at 3e8 parameters and 6e9 tokens.
        self.parameters["A"] = uniform(0.15, 0.4) * 3e8 ** self.parameters["alpha"]
        self.parameters["B"] = uniform(0.15, 0.4) * 6e9 ** self.parameters["beta"]
        self.noise = uniform(0.002, 0.005)
        self.share = 0.5 if index % 2 else 0.0
        self.of_size = {}

    def losses(self, columns):
        error = np.sqrt(1 - self.share) * self.rng.normal(size=len(columns["N"]))
        for place, size in enumerate(columns["N"]):
            common = self.of_size.setdefault(f"{size:.5g}", self.rng.normal())
            error[place] += np.sqrt(self.share) * common
        return laws.named("chinchilla").losses(self.parameters, columns["N"], columns["D"]) * np.exp(self.noise * error)

    def table(self, columns):
        return {**columns, "loss": self.losses(columns)}


def grid(sizes, ratios):
    N = np.repeat(sizes, len(ratios))
    return {"N": N, "D": N * np.tile(ratios, len(sizes))}


def joined(*tables):
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def fitted(table, law="chinchilla", key=0, resamples=RESAMPLES):
    return fitting.with_draws(laws.fit(table, law, resamples=0), jax.random.key(key), "auto", resamples)


def width(fit, of):
    """As of many draws: the usual quantiles of few lie too far inside."""
    lower, upper = np.quantile(of(fit.draws), [0.025, 0.975], method="weibull")
    return float(upper - lower)


def of_grids(truth, pilot, index):
    """(cost, width by quantity) of even grids, by how far they reach."""
    found = {}
    for reach in REACHES:
        rows = []
        for points in GRIDS:
            columns = grid(np.geomspace(2e7, 6e8 * reach, points), np.geomspace(5, 80, points))
            fit = fitted(joined(pilot, truth.table(columns)), key=index)
            cost = float(np.sum(6 * columns["N"] * columns["D"]))
            rows.append([cost, {name: width(fit, of) for name, of in QUANTITIES.items()}])
        found[str(reach)] = rows
    return found


def compute_at(costs, widths, wanted):
    """The compute at which grids of growing cost have a width: straight between two of them in logarithms.

    Widths that rise with the cost are pooled (isotonic regression). A width that no grid has takes as many more runs of
    the densest as the variance asks for, were all errors independent.
    """
    costs, blocks = np.log(costs), []
    for width in np.log(widths):
        blocks.append([width, 1])
        while len(blocks) > 1 and blocks[-1][0] > blocks[-2][0]:
            (after, many), (before, few) = blocks.pop(), blocks.pop()
            blocks.append([(after * many + before * few) / (many + few), many + few])
    smooth, wanted = np.repeat(*zip(*blocks, strict=True)), np.log(wanted)
    if wanted < smooth[-1]:
        return float(np.exp(costs[-1] + 2 * (smooth[-1] - wanted)))
    place = int(np.argmax(smooth <= wanted))
    if place == 0:
        return float(np.exp(costs[0]))
    share = (smooth[place - 1] - wanted) / max(smooth[place - 1] - smooth[place], 1e-12)
    return float(np.exp(costs[place - 1] + share * (costs[place] - costs[place - 1])))


def widths(tables, before):
    rows = before.get("rows", [])
    for index in range(len(rows), tables):
        begun = time.process_time()
        truth = Truth(index)
        pilot = truth.table(grid(np.geomspace(2e7, 6e8, 6), np.geomspace(5, 80, 4)))
        now = fitted(pilot, key=index)
        grids = of_grids(truth, pilot, index)
        costs = {reach: [one[0] for one in of_reach] for reach, of_reach in grids.items()}
        row = {"shared": truth.share, "noise": truth.noise, "grid_costs": costs, "quantities": {}}
        for name, of in QUANTITIES.items():
            wanted = 0.5 * width(now, of)
            plan = laws.plan(pilot, want={name: wanted}, key=index)
            fit = fitted(joined(pilot, truth.table(plan.columns)), key=index)
            reached = width(fit, of)
            lower, upper = fit.quantity(of).interval
            row["quantities"][name] = {
                "now": 2 * wanted,
                "wanted": wanted,
                "promised": plan.promises[0].width,
                "reached": reached,
                "runs": len(plan),
                "outcome": plan.outcome,
                "held": bool(lower <= of(truth.parameters) <= upper),
                "compute": plan.total,
                "grids": {reach: [one[1][name] for one in of_reach] for reach, of_reach in grids.items()},
            }
        row["processor_seconds"] = time.process_time() - begun
        rows.append(row)
        yield {"resamples": RESAMPLES, "tables": len(rows), "summary": summary(rows), "rows": rows}


def summary(rows):
    found = {}
    for name in QUANTITIES:
        each = [row["quantities"][name] for row in rows]
        kept = np.array([one["reached"] / one["promised"] for one in each])
        planned = [row for row in rows if row["quantities"][name]["runs"]]
        rng = np.random.default_rng(0)
        again = [
            over_grids([planned[i] for i in rng.integers(len(planned), size=len(planned))], name) for _ in range(200)
        ]
        found[name] = {
            "reached_over_promised": spread(kept),
            "reached_over_wanted": spread([one["reached"] / one["wanted"] for one in each]),
            "within_20_percent": float(np.mean(np.abs(kept - 1) <= 0.2)),
            "plan_over_grid": {
                reach: {
                    "of_all_tables": ratio,
                    "standard_error_factor": float(np.exp(np.std(np.log([o[reach] for o in again])))),
                }
                for reach, ratio in over_grids(planned, name).items()
            },
            "reached_over_now": geometric([one["reached"] / one["now"] for one in each]),
            "runs": spread([one["runs"] for one in each]),
            "held": float(np.mean([one["held"] for one in each])),
            "outcomes": {one: sum(o["outcome"] == one for o in each) for one in sorted({o["outcome"] for o in each})},
        }
    return found


def over_grids(rows, name):
    """Compute of the plans over that of even grids of the same width; by how far the grids reach, and of the best.

    Of one table widths scatter by half, and the compute of a width by far more, so costs and widths, as shares of the
    pilot's, are averaged over the tables first.
    """
    each = [row["quantities"][name] for row in rows]
    cost = geometric([one["compute"] for one in each])
    wanted = geometric([one["reached"] / one["now"] for one in each])
    found = {}
    for reach in map(str, REACHES):
        widths = np.exp(np.mean([np.log(np.array(one["grids"][reach]) / one["now"]) for one in each], axis=0))
        found[reach] = cost / compute_at(rows[0]["grid_costs"][reach], widths, wanted)
    return found | {"best": max(found.values())}


def geometric(values):
    return float(np.exp(np.mean(np.log(values))))


def spread(values):
    low, middle, high = np.quantile(np.asarray(values, float), [0.1, 0.5, 0.9])
    return {"median": float(middle), "tenth": float(low), "ninetieth": float(high)}


def stopping(tables, before, wanted=0.06):
    rows = before.get("rows", [])
    for index in range(len(rows), tables):
        rng = np.random.default_rng([11, index])
        alpha, floor, noise = rng.uniform(0.25, 0.45), rng.uniform(1.0, 2.0), rng.uniform(0.002, 0.005)

        def losses(columns, rng=rng, alpha=alpha, floor=floor, noise=noise):
            n = columns["n"]
            return (floor + (n / 1e5) ** -alpha) * np.exp(noise * rng.normal(size=len(n)))

        n = np.repeat(np.geomspace(1e5, 3e6, 7), 2)
        pilot = {"n": n, "loss": losses({"n": n})}
        done = laws.train_until(
            pilot, "data", want={"alpha": wanted}, train=losses, key=index, batch=4, max_runs=48, resamples=RESAMPLES
        )
        lower, upper = map(float, done.intervals["alpha"])
        # The same number of runs, at the same sizes, of which no interval was looked at.
        again = {"n": done.table["n"], "loss": losses(done.table)}
        other = fitted(again, "data", key=index).intervals["alpha"]
        rows.append(
            {
                "held": bool(lower <= alpha <= upper),
                "held_without_stopping": bool(other.lower <= alpha <= other.upper),
                "width": upper - lower,
                "width_without_stopping": float(other.upper - other.lower),
                "batches": len(done.widths["alpha"]) - 1,
                "outcome": done.outcome,
            }
        )
        if len(rows) % 5 == 0 or len(rows) == tables:
            yield {
                "resamples": RESAMPLES,
                "tables": len(rows),
                "wanted": wanted,
                "coverage": float(np.mean([row["held"] for row in rows])),
                "coverage_without_stopping": float(np.mean([row["held_without_stopping"] for row in rows])),
                "median_width": float(np.median([row["width"] for row in rows])),
                "median_width_without_stopping": float(np.median([row["width_without_stopping"] for row in rows])),
                "reached": float(np.mean([row["outcome"] == "reached" for row in rows])),
                "batches": spread([row["batches"] for row in rows]),
                "rows": rows,
            }


def speedup(tables, before, times=2.0):
    """B needs the model and the data of A divided by √`times` each, so `times` less compute at every loss."""
    rows = before.get("rows", [])
    for index in range(len(rows), tables):
        columns = grid(np.geomspace(2e7, 6e8, 6), np.geomspace(5, 80, 6))
        one, other = Truth(2 * index), Truth(2 * index)
        other.rng = np.random.default_rng([13, index])
        for scale, exponent in (("A", "alpha"), ("B", "beta")):
            other.parameters[scale] *= times ** (-0.5 * other.parameters[exponent])
        fits = [fitted(truth.table(columns), key=index) for truth in (one, other)]
        found = laws.effective_speedup(*fits, key=index)
        lower, upper = (float(end[0]) for end in found.ratio.interval)
        rows.append({"estimate": float(found.ratio.estimate[0]), "lower": lower, "upper": upper})
        if len(rows) % 5 == 0 or len(rows) == tables:
            yield {
                "resamples": RESAMPLES,
                "tables": len(rows),
                "true": times,
                "coverage": float(np.mean([row["lower"] <= times <= row["upper"] for row in rows])),
                "estimate": spread([row["estimate"] for row in rows]),
                "upper_over_lower": spread([row["upper"] / row["lower"] for row in rows]),
                "rows": rows,
            }


PARTS = {"widths": (widths, 24), "stopping": (stopping, 160), "speedup": (speedup, 60)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tables", type=int, help="of each part; its own number where not given")
    parser.add_argument("--afresh", action="store_true", help="forget the tables simulated before")
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    read = lambda: json.loads(out.read_text()) if out.exists() else {}
    for name in options.only:
        work, usual = PARTS[name]
        for part in work(options.tables or usual, {} if options.afresh else read().get(name, {})):
            stamp = {
                "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
                "processor": f"{os.cpu_count()} cores",
                "jax": jax.__version__,
                "numpy": np.__version__,
                "date": datetime.date.today().isoformat(),
            }
            unfinished = out.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(read() | {name: stamp | part}, indent=1) + "\n")
            unfinished.replace(out)
        said = {key: value for key, value in read().get(name, {}).items() if key != "rows"}
        print(name, json.dumps(said, indent=2), flush=True)


if __name__ == "__main__":
    main()
