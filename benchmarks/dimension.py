"""Neighbors and dimension of 768-dimensional points on the processor, against other libraries in the same run.

python benchmarks/dimension.py --faiss peers/bin/python --scikit-learn peers/bin/python \\
    --scikit-dimension peers/bin/python --dadapy dadapy/bin/python       # writes benchmarks/results/dimension.json

Each library lives in a process of its own, started by the interpreter named for it, holds the same points, and computes
when told to, so that rounds alternate: ours, theirs, ours, theirs. Ratios are medians over rounds of theirs / ours. A
library that is not named is left out.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

WIDTH, K = 768, 20
CLOUDS = ("gaussian", "manifold")


def cloud(name, n):
    """(n, 768) float32: isotropic noise, the hardest case; or a curved 10-dimensional sheet with a little noise."""
    rng = np.random.default_rng(0)
    if name == "gaussian":
        return rng.standard_normal((n, WIDTH), dtype=np.float32)
    latent = rng.uniform(-1, 1, (n, 10)) @ rng.standard_normal((10, WIDTH)) / 2
    return (np.sin(latent) + 0.01 * rng.standard_normal((n, WIDTH))).astype(np.float32)


# One job of each worker: prepare(points) returns what is timed.


def ours(task):
    def prepare(points):
        import jax

        from jaxscale import dimension

        x = jax.device_put(points)
        compute = {
            "neighbors": lambda: dimension.neighbors(x, K),
            "mle": lambda: dimension.mle(x, K),
            "twonn": lambda: dimension.twonn(x),
        }[task]
        return lambda: jax.block_until_ready(compute())

    return prepare


def matmul(points):
    """The ceiling: products of all pairs of 4096 points, by jax."""
    import jax

    x = jax.device_put(points[:4096])
    product = jax.jit(lambda a, b: a @ b.T)
    return lambda: product(x, x).block_until_ready()


def faiss(points):
    import faiss

    def compute():
        index = faiss.IndexFlatL2(WIDTH)
        index.add(points)
        return index.search(points, K + 1)

    return compute


def scikit_learn(points):
    from sklearn.neighbors import NearestNeighbors

    return lambda: NearestNeighbors(algorithm="brute", n_neighbors=K, n_jobs=-1).fit(points).kneighbors()


def scikit_dimension(points):
    import skdim.id

    return lambda: skdim.id.MLE().fit(points, n_neighbors=K, n_jobs=-1).dimension_


def dadapy(points):
    from dadapy import Data

    return lambda: Data(points, n_jobs=os.cpu_count()).compute_id_2NN()


JOBS = {
    "neighbors": ours("neighbors"),
    "mle": ours("mle"),
    "twonn": ours("twonn"),
    "matmul": matmul,
    "faiss": faiss,
    "scikit-learn": scikit_learn,
    "scikit-dimension": scikit_dimension,
    "dadapy": dadapy,
}
# Each peer, the job of ours it is compared with, and the ratio that is aimed at from n = 16 000 on.
PAIRS = {
    "faiss": ("neighbors", 2),
    "scikit-learn": ("neighbors", 4),
    "scikit-dimension": ("mle", 5),
    "dadapy": ("twonn", 5),
}


class Worker:
    """A job in its own process, which holds its points and answers each line with the seconds of one run."""

    def __init__(self, python, job, name, n):
        command = [python, __file__, "--worker", job, name, str(n)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # Libraries that do not compile need no warming up for minutes of work.
        self.is_warm = job in PAIRS and n > 16_000

    def __enter__(self):
        if not self.is_warm:
            self.run()
        return self

    def run(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def serve(job, name, n):
    points = cloud(name, n)
    answers, sys.stdout = sys.stdout, sys.stderr
    compute = JOBS[job](points)
    # What the interpreter and its libraries hold before they are asked for anything.
    bare = int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() - points.nbytes
    for _ in sys.stdin:
        start = time.perf_counter()
        compute()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answer = {"seconds": seconds, "peak_bytes": peak, "beyond_bare_bytes": peak - bare}
        print(json.dumps(answer), file=answers, flush=True)


def compare(name, n, pythons, rounds):
    """Rows of the result for one cloud: each peer against ours, alternating."""
    rows = []
    for peer, (job, aim) in PAIRS.items():
        if not pythons.get(peer):
            continue
        with Worker(sys.executable, job, name, n) as us, Worker(pythons[peer], peer, name, n) as them:
            pairs = [(us.run(), them.run()) for _ in range(rounds)]
        row = {
            "cloud": name,
            "n": n,
            "ours": job,
            "peer": peer,
            "ours_seconds": statistics.median(a["seconds"] for a, _ in pairs),
            "peer_seconds": statistics.median(b["seconds"] for _, b in pairs),
            "ratio": statistics.median(b["seconds"] / a["seconds"] for a, b in pairs),
            "aim": aim if n >= 16_000 else (1 if peer == "faiss" else None),
            "ours_peak_bytes": pairs[-1][0]["peak_bytes"],
            "ours_beyond_bare_bytes": pairs[-1][0]["beyond_bare_bytes"],
            "peer_peak_bytes": pairs[-1][1]["peak_bytes"],
            "allowed_bytes": 2 * n * WIDTH * 4 + 400 * 10**6,
            "rounds": rounds,
        }
        rows.append(row)
        print(
            f"{name:9} n={n:6} {job:9} {row['ours_seconds']:8.3f} s   {peer:16} {row['peer_seconds']:8.3f} s   "
            f"{row['ratio']:5.2f} x (aim {row['aim']})   peak {row['ours_peak_bytes'] / 1e6:5.0f} MB, "
            f"{row['ours_beyond_bare_bytes'] / 1e6:.0f} of them input and work (aim {row['allowed_bytes'] / 1e6:.0f})",
            flush=True,
        )
    return rows


def rate(name, n, rounds):
    """FLOP/s of all pairs in the time of our neighbors, against those of a matmul, alternating."""
    with (
        Worker(sys.executable, "neighbors", name, n) as us,
        Worker(sys.executable, "matmul", "gaussian", 4096) as ceiling,
    ):
        pairs = [(us.run()["seconds"], ceiling.run()["seconds"]) for _ in range(rounds)]
    achieved = statistics.median(2 * n * n * WIDTH / a for a, _ in pairs)
    possible = statistics.median(2 * 4096 * 4096 * WIDTH / b for _, b in pairs)
    share = statistics.median((n / 4096) ** 2 * b / a for a, b in pairs)
    print(
        f"{name:9} n={n:6} {achieved / 1e9:.0f} GFLOP/s for all pairs; matmul {possible / 1e9:.0f}; {share:.2f} of it"
    )
    return {"cloud": name, "n": n, "all_pairs_flops": achieved, "matmul_flops": possible, "share_of_matmul": share}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for peer in PAIRS:
        parser.add_argument(f"--{peer}", metavar="PYTHON", help=f"interpreter that has {peer}")
    parser.add_argument("--sizes", type=int, nargs="+", default=[4_000, 16_000, 64_000])
    parser.add_argument("--clouds", nargs="+", choices=CLOUDS, default=CLOUDS)
    parser.add_argument("--rounds", type=int, default=3, help="rounds up to 16 000 points; one round beyond")
    parser.add_argument("--worker", nargs=3, metavar=("JOB", "CLOUD", "N"), help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    if options["worker"]:
        job, name, n = options["worker"]
        return serve(job, name, int(n))
    pythons = {peer: options[peer.replace("-", "_")] for peer in PAIRS}
    result = {
        "benchmark": "neighbors and dimension on the processor",
        "width": WIDTH,
        "k": K,
        "device": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {
            peer: version(python, peer) for peer, python in {**pythons, "jax": sys.executable}.items() if python
        },
        "date": datetime.date.today().isoformat(),
        "rates": [],
        "pairs": [],
    }
    for n in options["sizes"]:
        for name in options["clouds"]:
            rounds = options["rounds"] if n <= 16_000 else 1
            result["rates"].append(rate(name, n, rounds))
            result["pairs"] += compare(name, n, pythons, rounds)
            path = pathlib.Path(__file__).parent / "results" / "dimension.json"
            path.write_text(json.dumps(result, indent=2) + "\n")


def version(python, package):
    distribution = {"faiss": "faiss-cpu"}.get(package, package)
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
