"""Fits of a five-parameter law to 240 runs against SciPy with analytic gradients: time, and the objective reached.

python benchmarks/laws.py                        # writes benchmarks/results/laws.json; a quarter of an hour of CPU
python benchmarks/laws.py --only fit starts      # some of its parts, added to what is there

All times are CPU seconds of the process, over all its threads, so that other work on the machine hardly shows.
Compiling is timed apart, without a compilation cache. Both sides get the same tables, starts and resamples.
"""

import argparse
import datetime
import itertools
import json
import os
import pathlib
import platform
import time

os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
os.environ["OMP_NUM_THREADS"] = "1"  # SciPy's arrays are small: more threads would only wait, and CPU seconds count it

import jax
import numpy as np
from scipy import optimize

from jaxscale import laws
from jaxscale.laws import search
from jaxscale.laws.bootstrap import pairs

RESULTS = pathlib.Path(__file__).parent / "results" / "laws.json"
DELTA = 1e-3
RUNS, RESAMPLES = 240, 4000
PEER_RESAMPLES = 250  # of them SciPy refits, from the same four starts each; its time is scaled up
PEER_STARTS = 8
CHUNK = 24  # simulated tables between two writes of the results


def chinchilla_like(seed=0, noise=0.01):
    """240 runs on nine budgets with Laplace errors of 1%, around the parameters of Hoffmann et al. 2022."""
    rng = np.random.default_rng(seed)
    compute = np.repeat(np.geomspace(6e18, 3e21, 9), 27)[:RUNS]
    N = 10 ** rng.uniform(7.7, 10.2, RUNS)
    D = compute / 6 / N
    loss = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28) * np.exp(noise * rng.laplace(size=RUNS))
    return {"N": N, "D": D, "loss": loss}


def usual_grid():
    """The 4500 starts of Hoffmann et al. 2022, appendix D.3: e, a, b logarithms of E, A, B."""
    exponents = np.arange(0, 2.5, 0.5)
    axes = [np.arange(-1, 1.5, 0.5), np.arange(0, 30, 5), np.arange(0, 30, 5), exponents, exponents]
    return np.array(list(itertools.product(*axes)))


class Peer:
    """L-BFGS-B on (e, a, b, …) with the objective's analytic gradient: the usual recipe, as fast as NumPy makes it."""

    def __init__(self, columns, loss, weight=None):
        self.log_x = np.log(columns)  # (X, R)
        self.log_loss = np.log(loss)
        self.weight = np.ones(len(loss)) if weight is None else weight

    def value_and_gradient(self, z):
        count = len(self.log_x)
        scales, exponents = z[1 : 1 + count], z[1 + count :]
        terms = np.exp(scales[:, None] - exponents[:, None] * self.log_x)
        floor = np.exp(z[0])
        curve = floor + terms.sum(0)
        residual = np.log(curve) - self.log_loss
        size = np.abs(residual)
        value = np.sum(self.weight * np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)))
        pull = self.weight * np.clip(residual, -DELTA, DELTA) / curve
        return value, np.concatenate([[floor * pull.sum()], terms @ pull, -(terms * self.log_x) @ pull])

    def minimize(self, start, thorough=False):
        """From one start; `thorough` leaves nothing to tolerances, which are absolute and too loose as they come."""
        scale = 1e6 if thorough else 1.0
        options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10} if thorough else {"maxiter": 1000}
        bounds = [(None, None)] * (1 + len(self.log_x)) + [(0, None)] * len(self.log_x) if thorough else None
        both = lambda z: tuple(scale * part for part in self.value_and_gradient(z))
        with np.errstate(all="ignore"):
            found = optimize.minimize(both, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return found.x, found.fun / scale


def seconds(work, repeats=1):
    """(the result, the least CPU seconds of so many runs)."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return result, best


def task_of(table, law="chinchilla"):
    law = laws.named(law)
    return search.problem(laws.read(table, law, groups=None), law, laws.huber(DELTA))


def as_coordinates(task, grid):
    """The usual grid's (e, a, b, α, β) as coordinates of the fit, (S, P)."""
    with np.errstate(over="ignore"):
        values = dict(zip(("E", "A", "B"), np.exp(grid[:, :3].T), strict=True))
    values |= {"alpha": grid[:, 3], "beta": grid[:, 4]}
    return task.law.coordinates_of(values, task.units).T


def one_fit():
    """One fit, warm, and what compiling costs before it."""
    table = chinchilla_like()
    fit = lambda: laws.fit(table, "chinchilla", resamples=0)
    first = time.process_time()
    fit()
    compile_seconds = time.process_time() - first
    result, warm = seconds(fit, 10)
    return {"seconds": warm, "first_call_seconds": compile_seconds, "objective": float(result.total)}


def starts():
    """The 4500 starts of the usual grid, and as many that differ in every exponent.

    E, A and B are solved for at the exponents of a start, so the grid holds 25 different problems, each polished once.
    """
    task, grid = task_of(chinchilla_like()), usual_grid()
    z = as_coordinates(task, grid)
    first = time.process_time()
    search.find_from(task, z[:1000])
    compile_seconds = time.process_time() - first
    ours, our_seconds = seconds(lambda: search.find_from(task, z), 3)
    several = z.copy()
    several[:, 3:] = np.random.default_rng(0).uniform(0, 2, (len(z), 2))
    search.find_from(task, several)
    distinct, distinct_seconds = seconds(lambda: search.find_from(task, several))
    peer = Peer(np.stack(list(chinchilla_like().values()))[:2], chinchilla_like()["loss"])
    theirs, their_seconds = seconds(lambda: [peer.minimize(start) for start in grid])
    values = np.array([value for _, value in theirs])
    best = min(values.min(), ours.total)
    return {
        "starts": len(grid),
        "seconds": our_seconds,
        "first_call_seconds": compile_seconds,
        "scipy_seconds": their_seconds,
        "ratio": their_seconds / our_seconds,
        "seconds_if_all_exponents_differ": distinct_seconds,
        "ratio_if_all_exponents_differ": their_seconds / distinct_seconds,
        "share_at_optimum_if_all_exponents_differ": float(np.mean(distinct.totals <= best * (1 + 1e-6))),
        "share_at_optimum": float(np.mean(ours.totals <= best * (1 + 1e-6))),
        "scipy_share_at_optimum": float(np.mean(values <= best * (1 + 1e-6))),
        "objective": ours.total,
        "scipy_objective": float(values.min()),
    }


def resamples():
    """4000 resamples of the runs, each from the table's optimum and three starts of its own."""
    table = chinchilla_like()
    task = task_of(table)
    found = search.find(task)
    weight = pairs(jax.random.key(0), task, np.arange(RUNS), RESAMPLES).weight
    first = time.process_time()
    search.refit(task, found, weight=weight[:300])
    compile_seconds = time.process_time() - first
    ours, our_seconds = seconds(lambda: search.refit(task, found, weight=weight))
    own = search.own_starts(task, found, weight=weight)
    every = np.concatenate([np.broadcast_to(found.z, (RESAMPLES, 1, 5)), own], axis=1)
    scale = RESAMPLES / PEER_RESAMPLES
    # As the peer's coordinates; a scale of zero is begun at a millionth, where its logarithm has a slope.
    to_peer = lambda z: np.concatenate([np.log(np.maximum(z[..., :3], 1e-6)), z[..., 3:]], axis=-1)
    peers = [Peer(task.columns, task.loss, w) for w in weight[:PEER_RESAMPLES]]
    warm, warm_seconds = seconds(lambda: [p.minimize(to_peer(found.z)) for p in peers])
    rest, rest_seconds = seconds(
        lambda: [
            min(p.minimize(to_peer(z))[1] for z in zs[1:]) for p, zs in zip(peers, every[:PEER_RESAMPLES], strict=True)
        ]
    )
    best = np.minimum([value for _, value in warm], rest)
    excess = ours.total[:PEER_RESAMPLES] / best - 1
    return {
        "resamples": RESAMPLES,
        "starts_each": every.shape[1],
        "seconds": our_seconds,
        "first_call_seconds": compile_seconds,
        "scipy_resamples": PEER_RESAMPLES,
        "scipy_seconds": scale * (warm_seconds + rest_seconds),
        "scipy_seconds_from_one_start": scale * warm_seconds,
        "ratio": scale * (warm_seconds + rest_seconds) / our_seconds,
        "ratio_to_one_start": scale * warm_seconds / our_seconds,
        "largest_excess_over_scipy": float(excess.max()),
        "share_at_least_as_low": float(np.mean(excess <= 1e-9)),
        "scipy_share_at_optimum": float(np.mean(best <= ours.total[:PEER_RESAMPLES] * (1 + 1e-6))),
    }


def simulated_table(rng, terms):
    """A table for a law of `terms` terms: 20 to 120 runs, errors of 0.2 to 3%, some with outliers."""
    runs = int(rng.integers(20, 121))
    lows = dict(zip("NDWV"[:terms], (7, 9, 2, 1), strict=False))
    columns = {name: 10 ** rng.uniform(low, low + rng.uniform(1, 3), runs) for name, low in lows.items()}
    loss = rng.uniform(0.0, 2.5)
    for x in columns.values():
        loss = loss + rng.uniform(0.2, 2.0) * (x / x.min()) ** -rng.uniform(0.1, 1.2)
    error = rng.uniform(0.002, 0.03) * rng.choice([rng.normal, rng.laplace])(size=runs)
    error[rng.random(runs) < rng.choice([0.0, 0.05])] += 0.2
    return columns | {"loss": loss * np.exp(error)}


def tables(count):
    """Objectives on simulated tables of one to four terms against SciPy, each start run to its last digit.

    Yields what is known after every few tables, so that a run cut short leaves its count.
    """
    rng = np.random.default_rng(0)
    excesses, stationarity, spent = [], [], 0.0
    for index in range(count):
        terms = 1 + index % 4
        table = simulated_table(rng, terms)
        names = list(table)[:terms]
        law = laws.additive(names)
        fit, cost = seconds(lambda table=table, law=law: laws.fit(table, law, groups=None, resamples=0))
        spent += cost
        columns = fit.problem.columns
        peer = Peer(columns, fit.runs.loss)
        top = np.log(fit.runs.loss.min())
        draws = [
            np.concatenate([[top + rng.uniform(-4, 0)], rng.uniform(-4, 1, terms), rng.uniform(0.02, 2.0, terms)])
            for _ in range(PEER_STARTS)
        ]
        reached = min(peer.minimize(start, thorough=True)[1] for start in draws)
        excesses.append(fit.total / reached - 1)
        stationarity.append(float(fit.convergence.stationarity))
        if (index + 1) % CHUNK == 0 or index + 1 == count:
            yield {
                "tables": index + 1,
                "scipy_starts_each": PEER_STARTS,
                "largest_excess_over_scipy": max(excesses),
                "share_within_1e-6": float(np.mean(np.array(excesses) <= 1e-6)),
                "share_below_by_1e-6": float(np.mean(np.array(excesses) < -1e-6)),
                "largest_stationarity": max(stationarity),
                "seconds": spent,
            }


PARTS = {
    "fit": lambda _: [one_fit()],
    "starts": lambda _: [starts()],
    "resamples": lambda _: [resamples()],
    "tables": tables,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--tables", type=int, default=216, help="of the part `tables`")
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    results = json.loads(out.read_text()) if out.exists() else {}
    for name in options.only:
        for part in PARTS[name](options.tables):
            results[name] = part | {
                "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
                "processor": f"{os.cpu_count()} cores, {platform.machine()}",
                "jax": jax.__version__,
                "date": datetime.date.today().isoformat(),
            }
            out.write_text(json.dumps(results, indent=2) + "\n")
        print(name, json.dumps(results[name], indent=2), flush=True)


if __name__ == "__main__":
    main()
