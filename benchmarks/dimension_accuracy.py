"""How far estimators of intrinsic dimension are off on clouds of known dimension: ours and those of other packages.

python benchmarks/dimension_accuracy.py --scratch /tmp/accuracy --scikit-dimension peers/bin/python \\
    --dadapy dadapy/bin/python                      # writes benchmarks/results/dimension_accuracy.json

The peers run in environments of their own, named by their interpreters; one that is not named is left out. Each of
their estimates is kept in the scratch folder as soon as it is made, with the digest of its cloud, and not made again.
`--clouds scikit-dimension` takes that package's clouds of the same labels instead of ours, into a file of its own.
"""

import argparse
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import inspect
import itertools
import json
import math
import pathlib
import platform
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

PEERS = {"scikit-dimension": "skdim", "dadapy": "dadapy"}  # the package, and the module that an interpreter must have
NEIGHBORS = 128  # found once for all our estimators, of which each reads as many as it needs
NUMERICAL = 1e-3  # relative; float32 against float64 distances differ by less


# How each peer is called. Nothing is imported until it runs, as each lives where the others do not.


def skdim(name, of_width=(), fit=None, pointwise=None, **options):
    """An estimator of scikit-dimension by name; options in `of_width` are set to the width of the points."""

    def estimate(x):
        import skdim.id

        estimator = getattr(skdim.id, name)(**options, **{option: x.shape[1] for option in of_width})
        if pointwise:
            return np.mean(estimator.fit_pw(x, n_neighbors=pointwise).dimension_pw_)
        return estimator.fit(x, **(fit or {})).dimension_

    return estimate


def dadapy(read):
    """What `read` makes of dadapy's `Data`."""

    def estimate(x):
        from dadapy import Data

        return read(Data(coordinates=x, maxk=100, verbose=False, n_jobs=1))

    return estimate


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to estimate: by us, with a function of jaxscale.dimension and its options, and by peers.

    `same` where all of them follow one definition, without chance, so that their numbers must agree. `slow` where peers
    take so long that they see the first cloud of each label alone. Estimates are kept by `name`: change it with a call.
    """

    name: str
    function: str | None = None
    options: dict = dataclasses.field(default_factory=dict)
    peers: dict[str, Callable] = dataclasses.field(default_factory=dict)
    same: bool = True
    slow: bool = False


def _local_pca(name, rule, theirs, **their_options):
    peers = {"scikit-dimension": skdim("lPCA", ver=theirs, pointwise=100, **their_options)}
    return Row(f"local PCA k=100, {name}", "local_pca", {"k": 100, "rule": rule}, peers, slow=True)


def _gride(n1):
    scale = n1.bit_length() - 1
    return Row(
        f"GRIDE n1={n1}",
        "gride",
        {"n1": n1},
        {
            "scikit-dimension": skdim("GRIDE", n1=n1),
            "dadapy": dadapy(lambda data: data.return_id_scaling_gride(range_max=2 * n1)[0][scale]),
        },
    )


# The one place where estimators are listed. Those of ours that are not listed are added with their defaults.
ROWS = [
    Row(
        "MLE k=20, harmonic",
        "mle",
        {"k": 20, "normalization": "k-1"},
        {"scikit-dimension": skdim("MLE", fit={"n_neighbors": 20})},
    ),
    Row(
        "MLE k=20, mean",
        "mle",
        {"k": 20, "pooling": "arithmetic"},
        {"scikit-dimension": skdim("MLE", unbiased=True, fit={"n_neighbors": 20, "comb": "mean"})},
    ),
    Row(
        "TwoNN, likelihood",
        "twonn",
        {},
        {
            "scikit-dimension": skdim("TwoNN", method="mle", discard_fraction=0.0),
            "dadapy": dadapy(lambda data: data.compute_id_2NN(algorithm="ml")[0]),
        },
    ),
    Row(
        "TwoNN, line",
        "twonn",
        {"method": "fit"},
        {"scikit-dimension": skdim("TwoNN"), "dadapy": dadapy(lambda data: data.compute_id_2NN()[0])},
    ),
    _gride(1),
    _gride(4),
    _gride(16),
    Row(
        "MOM k=20, as implemented",
        "mom",
        {"k": 20, "pooling": "arithmetic", "normalization": "k"},
        {"scikit-dimension": skdim("MOM", fit={"n_neighbors": 20})},
    ),
    Row(
        "TLE k=20, mean",
        "tle",
        {"k": 20, "pooling": "arithmetic"},
        {"scikit-dimension": skdim("TLE", fit={"n_neighbors": 20})},
    ),
    Row("MADA k=20", "mada", {"k": 20}, {"scikit-dimension": skdim("MADA", fit={"n_neighbors": 20})}),
    Row("MADA k=20, cut at D", "mada", {"k": 20, "cut": True}),
    Row("ESS k=50", "ess", {"k": 50}, {"scikit-dimension": skdim("ESS", fit={"n_neighbors": 50})}, slow=True),
    Row(
        "correlation dimension k=10, 20",
        "correlation_dimension",
        {"k1": 10, "k2": 20},
        {"scikit-dimension": skdim("CorrInt", k1=10, k2=20)},
    ),
    _local_pca("Fukunaga-Olsen", "fo", "FO"),
    _local_pca("95% of variance", "ratio", "ratio", alphaRatio=0.95),  # theirs is 5%, for which one direction will do
    _local_pca("participation ratio", "participation_ratio", "participation_ratio"),
    *(
        Row(
            f"local PCA k={k}, corrected participation ratio",
            "local_pca",
            {"k": k, "rule": "participation_ratio_corrected"},
        )
        for k in (20, 100)
    ),
    Row(
        "MiND_MLk k=10",
        "mind_ml",
        {"k": 10},
        {"scikit-dimension": skdim("MiND_ML", of_width=("D",), k=10, ver="MLk")},
    ),
    Row(
        "MiND_MLi k=10",
        "mind_ml",
        {"k": 10, "integer": True},
        {"scikit-dimension": skdim("MiND_ML", of_width=("D",), k=10, ver="MLi")},
    ),
    Row("DANCo k=10", "danco", {"k": 10}, {"scikit-dimension": skdim("DANCo", ver="DANCoFit")}, same=False),
    Row("Fisher separability", "fisher_separability", {}, {"scikit-dimension": skdim("FisherS")}),
    Row("neighbor graph", "knn_graph", {}, {"scikit-dimension": skdim("KNN", random_state=0)}, same=False),
    Row(
        "persistent homology",
        "ph0",
        {},
        {"scikit-dimension": skdim("PH", nsteps=10, subsamples=2, random_state=0)},  # by default 1000 spanning trees
        same=False,
        slow=True,
    ),
    Row("MLE k=5, calibrated", "calibrate"),
    Row("MLE k=10, calibrated", "calibrate", {"k": 10}),
    Row("GRIDE k=8, calibrated", "calibrate", {"estimator": "gride", "k": 8}),
    Row(
        "ABIDE, α=1e-6",
        "abide",
        {"k": 100, "significance": 1e-6, "steps": 5},
        {"dadapy": dadapy(lambda data: data.return_ids_kstar_binomial()[0][-1])},
    ),
]


def ours():
    """Names to functions of neighborhoods and a key, and the rows that jaxscale.dimension does not offer yet."""
    from jaxscale import dimension

    def makes_estimate(function):
        kinds = ("Estimate", dimension.Estimate, "Calibrated", dimension.Calibrated)
        return inspect.isfunction(function) and function.__annotations__.get("return") in kinds

    def filled(function, options):
        return {**{p.name: p.default for p in inspect.signature(function).parameters.values()}, **options}

    def call(function, options, hoods, key):
        chance = {"key": key} if "key" in inspect.signature(function).parameters else {}
        return function(hoods, **options, **chance).dimension

    offered = {name: getattr(dimension, name) for name in dimension.__all__ if makes_estimate(getattr(dimension, name))}
    listed = {row.name: (row.function, row.options) for row in ROWS if row.function}
    taken = [(name, filled(offered[name], options)) for name, options in listed.values() if name in offered]
    defaults = {
        f"{name}()": (name, {})
        for name, function in offered.items()
        if (name, filled(function, {})) not in taken
        and list(filled(function, {}).values()).count(inspect.Parameter.empty) == 1  # needs the points alone
    }
    absent = [row for row, (function, _) in listed.items() if function not in offered]
    calls = {
        row: functools.partial(call, offered[function], options)
        for row, (function, options) in {**listed, **defaults}.items()
        if function in offered
    }
    return calls, absent


def attempt(estimate, limit):
    """What became of a call: its dimension, or why there is none, and the seconds of processor time it took."""

    def too_long(*_):
        raise TimeoutError(f"longer than {limit} s of processor time")

    signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, limit)
    start = time.process_time()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            dimension = float(estimate())
        outcome = {"dimension": dimension} if math.isfinite(dimension) else {"error": str(dimension)}
    except Exception as error:  # a peer may fail in any way; that it did is a result
        outcome = {"error": f"{type(error).__name__}: {error}"[:200]}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {**outcome, "processor_seconds": round(time.process_time() - start, 2)}


def asked_of(peer, seed):
    """The rows that `peer` fills on the clouds of `seed`."""
    return [row for row in ROWS if peer in row.peers and not (row.slow and seed)]


# Clouds and estimates on disk.


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def draw(clouds, folder, n, seeds, python):
    """Writes every cloud as float32 to `folder`/LABEL-SEED.npy, unless it is there, and returns their dimensions."""
    from jaxscale.data import manifolds

    dimensions = {label: manifold.dimension for label, manifold in manifolds.benchmark().items()}
    if clouds == "scikit-dimension":
        if not python:
            raise SystemExit("--clouds scikit-dimension needs --scikit-dimension.")
        subprocess.run(
            [python, __file__, "--worker", "draw", "--scratch", folder, "--n", str(n), "--seeds", str(seeds)],
            check=True,
        )
        return dimensions
    import jax

    for label, manifold in manifolds.benchmark().items():
        for seed in range(seeds):
            path = folder / f"{label}-{seed}.npy"
            if not path.exists():
                np.save(path, np.asarray(manifold.sample(n, key=jax.random.key(seed)), np.float32))
    return dimensions


def draw_with_scikit_dimension(folder, n, seeds):
    """The same with that package's generators; runs in its environment."""
    from skdim.datasets import BenchmarkManifolds

    for seed in range(seeds):
        for name, x in BenchmarkManifolds(random_state=seed).generate(n=n).items():
            path = folder / f"{name.split('_')[0]}-{seed}.npy"
            if not path.exists():
                np.save(path, x.astype(np.float32))


def estimate_with(peer, folder, limit):
    """Fills `folder`/LABEL-SEED.PEER.json for every cloud; runs in the environment of `peer`."""
    version = importlib.metadata.version(peer)
    for slow, path in itertools.product((False, True), sorted(folder.glob("*.npy"))):
        rows = [row for row in asked_of(peer, seed=int(path.stem.split("-")[1])) if row.slow == slow]
        kept_at = path.with_suffix(f".{peer}.json")
        kept = json.loads(kept_at.read_text()) if kept_at.exists() else {}
        source = {"cloud": digest(path), "version": version}
        estimates = kept.get("estimates", {}) if kept.get("source") == source else {}
        for row in rows:
            if row.name not in estimates:
                x = np.load(path).astype(np.float64)  # afresh: some peers write into their input
                estimates[row.name] = attempt(functools.partial(row.peers[peer], x), limit)
                partial = kept_at.with_suffix(".partial")
                partial.write_text(json.dumps({"source": source, "estimates": estimates}))
                partial.replace(kept_at)
        print(f"{peer} {version}: {path.stem}, {len(rows)} estimates", file=sys.stderr, flush=True)


def estimate_ours(folder, labels, seeds, limit, only):
    """{row: {(label, seed): outcome}} of jaxscale, of `only` these rows if any, and the rows it does not have."""
    import jax

    from jaxscale import dimension

    jax.config.update("jax_compilation_cache_dir", str(folder.parent / "compiled"))
    calls, absent = ours()
    calls = {name: call for name, call in calls.items() if not only or name in only}
    outcomes = {name: {} for name in calls}
    for label in labels:
        for seed in range(seeds):
            hoods = dimension.neighborhoods(np.load(folder / f"{label}-{seed}.npy"), k=NEIGHBORS)
            for name, call in calls.items():
                outcomes[name][label, seed] = attempt(functools.partial(call, hoods, jax.random.key(seed)), limit)
        jax.clear_caches()
        print(f"jaxscale: {label}", file=sys.stderr, flush=True)
    return outcomes, absent


def read(peer, folder, labels, seeds):
    outcomes = {row.name: {} for row in ROWS if peer in row.peers}
    for label in labels:
        for seed in range(seeds):
            kept = json.loads((folder / f"{label}-{seed}.{peer}.json").read_text())
            for row in asked_of(peer, seed):
                outcomes[row.name][label, seed] = kept["estimates"][row.name]
    return outcomes


# What it comes to.


def summary(outcomes, dimensions):
    """Percentage errors of one estimator; a cloud without an estimate counts as an error of 100%."""
    errors, estimates, failures = {}, {}, {}
    for (label, seed), outcome in outcomes.items():
        d = dimensions[label]
        if "error" in outcome:
            failures[f"{label}-{seed}"] = outcome["error"]
        estimates.setdefault(label, []).append(round(outcome["dimension"], 4) if "dimension" in outcome else None)
        errors.setdefault(label, []).append(
            100 * abs(outcome["dimension"] - d) / d if "dimension" in outcome else 100.0
        )
    per_cloud = {label: float(np.mean(values)) for label, values in errors.items()}
    return {
        "mean_percentage_error": round(float(np.mean(list(per_cloud.values()))), 2),
        "median_processor_seconds": float(np.median([outcome["processor_seconds"] for outcome in outcomes.values()])),
        "estimates": estimates,
        "failures": failures,
    }


def disagreements(results):
    """Where numbers that must agree do not: per row and peer the clouds, and the largest relative difference."""
    found = []
    for row in ROWS:
        mine = results["jaxscale"].get(row.name)
        for peer in row.peers:
            theirs = results.get(peer, {}).get(row.name)
            if not (row.same and mine and theirs):
                continue
            beyond = {}
            for label, values in theirs["estimates"].items():
                pairs = zip(mine["estimates"][label], values, strict=False)  # a slow peer has fewer
                apart = [abs(a - b) / max(abs(a), abs(b), 1e-6) for a, b in pairs if a is not None and b is not None]
                if apart and max(apart) > NUMERICAL:
                    beyond[label] = round(max(apart), 4)
            if beyond:
                found.append({"estimator": row.name, "peer": peer, "relative_differences": beyond})
    return found


def print_table(results, absent, found):
    packages = list(results)
    print(f"{'mean percentage error':34s}" + "".join(f"{package:>18s}" for package in packages))
    names = sorted(
        {name for package in results.values() for name in package},
        key=lambda name: min(results[p][name]["mean_percentage_error"] for p in packages if name in results[p]),
    )
    for name in names:
        cells = []
        for package in packages:
            entry = results[package].get(name)
            failed = f" ({len(entry['failures'])} failed)" if entry and entry["failures"] else ""
            cells.append(f"{entry['mean_percentage_error']:.1f}{failed}" if entry else "")
        print(f"{name:34s}" + "".join(f"{cell:>18s}" for cell in cells))
    for entry in found:
        worst = max(entry["relative_differences"], key=entry["relative_differences"].get)
        print(
            f"differs from {entry['peer']}: {entry['estimator']} on {len(entry['relative_differences'])} clouds, "
            f"most on {worst}, by {100 * entry['relative_differences'][worst]:.1f}%"
        )
    if absent:
        print("not offered by jaxscale: " + ", ".join(absent))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scratch", required=True, type=pathlib.Path, help="folder for clouds and the peers' estimates"
    )
    for peer in PEERS:
        parser.add_argument(f"--{peer}", metavar="PYTHON", help=f"interpreter that has {peer}")
    parser.add_argument("--clouds", choices=("published", "scikit-dimension"), default="published")
    parser.add_argument("--n", type=int, default=2500)
    parser.add_argument("--seeds", type=int, default=3, help="clouds of each label")
    parser.add_argument(
        "--rows",
        nargs="+",
        metavar="NAME",
        help="make these rows of ours anew; keep the others, and the peers' unless they are named",
    )
    parser.add_argument("--limit", type=int, default=120, help="seconds of processor time an estimate may take")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker == "draw":
        return draw_with_scikit_dimension(arguments.scratch, arguments.n, arguments.seeds)
    if arguments.worker:
        return estimate_with(arguments.worker, arguments.scratch, arguments.limit)

    pythons = {peer: getattr(arguments, peer.replace("-", "_")) for peer in PEERS}
    folder = arguments.scratch / f"{arguments.clouds}-{arguments.n}"
    folder.mkdir(parents=True, exist_ok=True)
    dimensions = draw(arguments.clouds, folder, arguments.n, arguments.seeds, pythons["scikit-dimension"])
    outcomes, versions = {}, {}
    outcomes["jaxscale"], absent = estimate_ours(folder, dimensions, arguments.seeds, arguments.limit, arguments.rows)
    for peer, python in pythons.items():
        if python:
            worker = [python, __file__, "--worker", peer, "--scratch", folder, "--limit", str(arguments.limit)]
            subprocess.run(worker, check=True)
            outcomes[peer] = read(peer, folder, dimensions, arguments.seeds)
            kept = json.loads(next(folder.glob(f"*.{peer}.json")).read_text())
            versions[peer] = kept["source"]["version"]
    results = {
        package: {name: summary(values, dimensions) for name, values in rows.items()}
        for package, rows in outcomes.items()
    }
    suffix = "" if arguments.clouds == "published" else "_scikit_dimension_clouds"
    path = pathlib.Path(__file__).parent / "results" / f"dimension_accuracy{suffix}.json"
    if arguments.rows:
        before = json.loads(path.read_text())
        kept = before["results"].pop("jaxscale")
        results["jaxscale"] = {name: row for name, row in kept.items() if name in ours()[0]} | results["jaxscale"]
        results |= {peer: rows for peer, rows in before["results"].items() if peer not in results}
        versions = {peer: before[peer] for peer in PEERS if peer in before} | versions
    found = disagreements(results)
    best = {
        package: min(rows, key=lambda name: rows[name]["mean_percentage_error"]) for package, rows in results.items()
    }
    result = {
        "benchmark": "dimension accuracy",
        "clouds": arguments.clouds,
        "n": arguments.n,
        "seeds": arguments.seeds,
        "best": {package: [name, results[package][name]["mean_percentage_error"]] for package, name in best.items()},
        "dimensions": dimensions,
        "results": results,
        "disagreements": found,
        "not_offered": absent,
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": importlib.metadata.version("jax"),
        "jaxscale": importlib.metadata.version("jaxscale"),
        **versions,
        "date": datetime.date.today().isoformat(),
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    print_table(results, absent, found)


if __name__ == "__main__":
    main()
