"""Everything that docs/constructions.md says in numbers: slopes, depths, executors, precision, times, training.

python benchmarks/constructions.py                        # writes benchmarks/results/constructions.json
python benchmarks/constructions.py --only cube depth      # some of its parts, added to what is there

First times include compilation. Processor seconds are over all threads, so that other work on the machine hardly shows.
Eight devices are simulated on the processor.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import resource
import tempfile
import time

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax
import numpy as np

from jaxscale import constructions as con
from jaxscale.constructions.approximation import probe_points
from jaxscale.constructions.atlases import isometry
from jaxscale.constructions.cube import interpolation_program
from jaxscale.constructions.expressions import depth
from jaxscale.constructions.manifold import bound, coefficients, interpolant
from jaxscale.constructions.study import encoding_study, standard_targets
from jaxscale.constructions.targets import cone, crease

RESULTS = pathlib.Path(__file__).parent / "results" / "constructions.json"
BACK_ENDS = {
    "quarter_circle": {"encoding": "quarter_circle"},
    "full_circle": {"encoding": "full_circle"},
    "parabola": {"encoding": "parabola"},
    "binary": {"encoding": "binary"},
    "structured": {"backend": "structured"},
}


def cube():
    """Sup error of a cone with its tip at a corner of the grid, where it is hardest: slope of log error on log N."""
    rows = []
    for d, grids in ((1, (4, 8, 16, 32, 64, 128)), (2, (4, 8, 16, 32)), (3, (4, 6, 8, 12, 16))):
        for beta in (1.0, 0.5):
            measured = []
            for N in grids:
                f, holder = cone(np.zeros(d), beta), con.Holder(1.0, beta)
                made = con.approximate(f, d, grid=N, holder=holder, backend="structured")
                measured.append(sup_error(made.formula, f, probe_points(made, 1500, np.zeros((1, d)), key=0), N**d))
                assert measured[-1] <= made.bound
            rows.append(series(grids, measured, d=d, beta=beta, bound_at_finest=made.bound))
    return {"rows": rows}


def on_manifold(atlas, axis, grids, beta, points=5000):
    """Slope for a function that is rough all along a curve (of a circle: at points), at points along it and elsewhere.

    The curve crosses the cells of many charts in every position, so that for each N some cell is near the worst.
    """
    places = atlas.net[np.abs(atlas.net @ axis) < 1e-9]
    places = places[:: math.ceil(len(places) / 400)]
    f, holder, measured, at_rough = crease(axis, beta), con.Holder(2 ** (1 - beta), beta), [], []
    for N in grids:
        found = coefficients(atlas, f, N)
        formula, proved = interpolant(atlas, N, *found[:4]), bound(atlas, N, holder, found[-1])
        made = con.Approximation(None, f, atlas.dimension, N, holder, proved, atlas.name, atlas=atlas)
        drawn = {"singular": around(made, places)}
        at_rough.append(sup_error(formula, f, drawn, 10 * len(atlas.centers)))
        drawn |= probe_points(made, points, key=0)
        measured.append(sup_error(formula, f, drawn, 10 * len(atlas.centers)))
        assert measured[-1] <= proved
        progress(f"{atlas.name}, β = {beta}, N = {N}: {measured[-1]:.4g}")
    looked = sum(len(x) for x in drawn.values())
    about = {"manifold": atlas.name, "beta": beta, "charts": len(atlas.centers), "points_at_finest": looked}
    about |= {f"{name}_where_rough": value for name, value in series(grids, at_rough).items() if name != "grids"}
    return series(grids, measured, **about, bound_at_finest=proved)


def around(made, places):
    """All points that `probe_points` has to offer near these places."""
    return probe_points(made, 13**made.dimension * len(places), places, key=0)["singular"]


def sup_error(formula, f, drawn, size):
    x = np.concatenate(list(drawn.values()))
    parts = np.array_split(x, math.ceil(len(x) * size / 2e7))
    return max(float(np.abs(formula(part) - f(part)).max()) for part in parts)


def series(grids, measured, **about):
    slope = float(np.polyfit(np.log(grids), np.log(measured), 1)[0])
    return about | {"slope": slope, "grids": list(grids), "sup": measured}


def circle():
    key, grids = jax.random.key(3), (32, 64, 128, 256, 512, 1024)
    rows = [
        on_manifold(con.circle(width, key=key), isometry(2, width, key=key)[:, 1], grids, beta)
        for beta in (1.0, 0.5)
        for width in (3, 8, 32)
    ]
    return {"rows": rows}


def surface(make, grids):
    key = jax.random.key(3)
    rows = [
        on_manifold(make(width=width, key=key), isometry(3, width, key=key)[:, 2], grids, beta)
        for beta in (1.0, 0.5)
        for width in (3, 32)
    ]
    return {"rows": rows}


def sphere():
    return surface(con.sphere, (24, 32, 48, 64, 96))


def torus():
    return surface(con.torus, (24, 32, 48, 64))


def depths():
    """Blocks of compiled networks on the cube for d = 1 … 10, and of their programs for finer grids."""
    rows = []
    for d in range(1, 11):
        stated, found, grids = 2 + math.ceil(math.log2(d)), set(), []
        for N in (1, 2, 3):
            if (N + 1) ** d > 70_000:
                continue
            program = interpolation_program(d, N, np.linspace(1, 2, (N + 1) ** d))
            found.add(depth(program) + 1)
            if (N + 1) ** d <= 1100:
                found.add(len(con.compile(program).shape.blocks))
            grids.append(N)
        rows.append({"d": d, "stated": stated, "found": sorted(found), "grids": grids})
        assert found == {stated}
    return {"rows": rows}


def executors():
    """The largest difference of any executor from the formula, eight devices for the sharded one, in float64."""
    rows = []
    for d, N in ((1, 16), (2, 4), (3, 2)):
        x = np.random.default_rng(0).uniform(size=(16, d))
        for name in ("parabola", "binary", "structured"):
            made = con.approximate(cone(np.full(d, 0.3)), d, grid=N, **BACK_ENDS[name])
            exact = made.formula(x)
            off = {
                executor: float(np.abs(con.evaluate(made.network, x, executor=executor) - exact).max())
                for executor in ("dense", "chunked", "sharded", "gather")
            }
            rows.append({"d": d, "N": N, "back_end": name} | off)
            assert max(off.values()) <= 1e-12
    return {"devices": jax.device_count(), "rows": rows}


def many_heads():
    """The theorem's network with more than 600 000 heads in all, at a thousand points."""
    return timed(con.approximate(cone(np.zeros(3)), 3, grid=54), 3)


def most_heads():
    """With so many in each block."""
    return timed(con.approximate(cone(np.zeros(3)), 3, grid=85), 3)


def structured():
    """The structured network of d = 4, N = 8 at a thousand points."""
    return timed(con.approximate(cone(np.zeros(4)), 4, grid=8, backend="structured"), 4)


def timed(made, d):
    x, shape = np.random.default_rng(0).uniform(size=(1000, d)), made.network.shape
    times = []
    for _ in range(2):
        start = time.perf_counter(), time.process_time()
        found = made(x)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    few = x[:8]
    return {
        "tokens": shape.tokens,
        "heads_in_a_block": shape.heads,
        "heads": sum(block.heads for block in shape.blocks),
        "points": len(x),
        "wall_seconds_first": times[0][0],
        "cpu_seconds_first": times[0][1],
        "wall_seconds_again": times[1][0],
        "cpu_seconds_again": times[1][1],
        "off_formula": float(np.abs(found[:8] - made.formula(few)).max()),
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def precision():
    """Errors against the formula in every format, by the definition, next to what the certificate allows."""
    rows = []
    for name, options in BACK_ENDS.items():
        for N in (8, 32, 96):
            made = con.approximate(cone(np.full(1, 0.3)), 1, grid=N, holder=con.Holder(1.0), **options)
            x = np.random.default_rng(0).uniform(size=(64, 1)).astype(np.float32).astype(float)
            for form in ("float64", "float32", "tf32", "bf16"):
                found = con.rounding(made.network, form)
                off = np.abs(con.evaluate(made.network, x, form, "dense").astype(float) - made.formula(x)).max()
                assert off <= found.bound
                rows.append(
                    {
                        "back_end": name,
                        "tokens": made.network.shape.tokens,
                        "format": form,
                        "off_formula": float(off),
                        "certified": found.bound,
                        "leaking_heads": found.leaks,
                        "safe": bool(found.leaks == 0 and found.bound <= made.bound),
                    }
                )
    return {"rows": rows}


def export():
    """Outputs before and after files, compared bit by bit."""
    x, rows = np.random.default_rng(0).uniform(size=(200, 2)), []
    for name, options in BACK_ENDS.items():
        network = con.approximate(cone(np.full(2, 0.3)), 2, grid=4, **options).network
        for form in ("safetensors", "orbax"):
            with tempfile.TemporaryDirectory() as folder, jax.enable_x64(True):
                saved = con.load(con.save(network, folder, form))
                apply = jax.jit(network.module().apply)
                before, after = (np.asarray(apply(n.variables(np.float64), x)) for n in (network, saved))
            rows.append({"back_end": name, "form": form, "same_bits": before.tobytes() == after.tobytes()})
            assert rows[-1]["same_bits"]
    return {"rows": rows}


def training_1d():
    """Test error after equally many steps from the construction and from random parameters, all numbers free; d = 1."""
    return {"rows": trained(1, 8, (200, 1000, 2000), "structured")}


def training_binary():
    """The same for the binary encoding, whose training takes several times longer, at three learning rates."""
    return {"rows": trained(1, 8, (200, 1000), "binary", learning_rates=(1e-3, 3e-3, 1e-2))}


def training_2d():
    """The same in two dimensions, for the structured network, on fewer rates and scales."""
    targets = {name: f for name, f in standard_targets(2).items() if name.endswith("1")}
    fewer = {"learning_rates": (1e-4, 1e-3, 1e-2, 3e-2), "scales": (0.5, 1.0)}
    return {"rows": trained(2, 4, (300,), "structured", targets=targets, **fewer)}


def trained(d, N, lengths, name, **options):
    return [
        row for steps in lengths for row in encoding_study(d, N, steps, (name,), ("all",), report=progress, **options)
    ]


def progress(sentence):
    print(sentence, flush=True)


def encodings():
    """What gradient descent does to each encoding, by what may move, on one target."""
    targets = {"Takagi, β = 1": standard_targets(1)["Takagi, β = 1"]}
    return {"rows": list(encoding_study(1, 8, 500, targets=targets, report=progress))}


PARTS = {
    part.__name__: part
    for part in (
        cube,
        circle,
        sphere,
        torus,
        depths,
        executors,
        many_heads,
        most_heads,
        structured,
        precision,
        export,
        training_1d,
        training_binary,
        training_2d,
        encodings,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", default=str(RESULTS))
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    for name in options.only:
        start = time.perf_counter(), time.process_time()
        found = PARTS[name]() | {
            "wall_seconds": round(time.perf_counter() - start[0], 1),
            "cpu_seconds": round(time.process_time() - start[1], 1),
            "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}",
            "versions": {package: importlib.metadata.version(package) for package in ("jax", "flax", "numpy", "scipy")},
            "date": datetime.date.today().isoformat(),
        }
        results = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(results | {name: found}, indent=2) + "\n")
        print(name, json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
