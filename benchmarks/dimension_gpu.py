"""Exact neighbors of a million 768-dimensional points on one GPU, against the matmul rate of the same run.

python benchmarks/dimension_gpu.py                            # on a GPU; writes benchmarks/results/dimension_gpu.json
python benchmarks/dimension_gpu.py --n 4096 --ceiling 1024    # anywhere, to try it; writes nothing without a GPU

The whole search is timed, from points on the device to their neighbors. Its two halves are timed apart as well: the
candidates of each point with their proof, and what is left, the rows whose proof failed and that are searched again.
A rate counts 2 n² D operations, all pairs, as a search that computes them all has to; ours multiplies each pair once,
so it makes half of them, and a share of the matmul rate can exceed one.
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
from dimension import CLOUDS, WIDTH, K, cloud  # beside this file

from jaxscale.dimension.search import exact

PRECISIONS = ("float32", "bfloat16")


@functools.partial(jax.jit, static_argnames=("block", "precision"))
def neighbors(points, block, precision):
    """Squared distances and indices of the K nearest other points."""
    rows = jnp.arange(len(points), dtype=jnp.int32)
    everyone, scale = jnp.ones(len(points), bool), exact.power_of_two_scale(points)
    return exact.nearest_squared(points, None, everyone, rows, scale, K, exact.Effort(block, precision))


@functools.partial(jax.jit, static_argnames=("block", "precision"))
def uncertain(points, block, precision):
    """The share of points whose neighbors the candidates do not prove."""
    rows = jnp.arange(len(points), dtype=jnp.int32)
    everyone, scale = jnp.ones(len(points), bool), exact.power_of_two_scale(points)
    found = exact.TiledCloud.of(points, everyone, scale, K, exact.Effort(block, precision))
    candidates, bound = found.candidates_of_each()
    squared, _ = exact._rescore(points, points, rows, scale, K, rows, candidates)
    return jnp.mean(~exact._is_certain(squared, bound, points.shape[1]))


@jax.jit
def product(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def seconds(function, *operands):
    start = time.perf_counter()
    jax.block_until_ready(function(*operands))
    return time.perf_counter() - start


def measure(name, n, block, precision, side, rounds):
    """One row of the table: medians over rounds, in which the search and the ceiling take turns."""
    points = jax.device_put(cloud(name, n))
    square = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(precision))
    run = functools.partial(neighbors, block=block, precision=precision)
    proof = functools.partial(uncertain, block=block, precision=precision)
    compiling = seconds(run, points)
    again = float(proof(points))
    seconds(product, square, square)
    times = [(seconds(run, points), seconds(proof, points), seconds(product, square, square)) for _ in range(rounds)]
    all_pairs = 2 * n * n * WIDTH
    whole, proving, _ = (statistics.median(column) for column in zip(*times, strict=True))
    row = {
        "cloud": name,
        "n": n,
        "precision": precision,
        "block": block,
        "seconds": whole,
        "seconds_until_proof": proving,
        "first_call_seconds": compiling,
        "share_searched_again": again,
        "all_pairs_flops": all_pairs / whole,
        "matmul_flops": statistics.median(2 * side**3 / ceiling for *_, ceiling in times),
        "share_of_matmul": statistics.median(
            all_pairs / searching / (2 * side**3 / ceiling) for searching, _, ceiling in times
        ),
        "rounds": rounds,
    }
    print(
        f"{name:9} n={n} {precision:8} {whole:.2f} s, {proving:.2f} s until proof, {again:.2%} searched again; "
        f"{row['all_pairs_flops'] / 1e12:.3g} TFLOP/s for all pairs, {row['share_of_matmul']:.2f} of matmul",
        flush=True,
    )
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--clouds", nargs="+", choices=CLOUDS, default=CLOUDS)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1024, 4096], help="keys of a tile at most")
    parser.add_argument("--ceiling", type=int, default=8192, help="side of the square matmul")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = [
        measure(name, n, block, precision, options.ceiling, options.rounds)
        for n in options.n
        for name in options.clouds
        for precision in options.precisions
        for block in options.blocks
    ]
    device = jax.devices()[0]
    result = {
        "benchmark": "exact neighbors on one GPU",
        "width": WIDTH,
        "k": K,
        "rows": rows,
        "device": device.device_kind,
        "platform": device.platform,
        "jax": importlib.metadata.version("jax"),
        "date": datetime.date.today().isoformat(),
    }
    if device.platform != "gpu":
        return print("no GPU: nothing recorded")
    path = pathlib.Path(__file__).parent / "results" / "dimension_gpu.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
