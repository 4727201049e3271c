"""What every estimator of intrinsic dimension is, can do and costs: the table of docs/estimators.md.

python benchmarks/dimension_menu.py        # writes benchmarks/results/dimension_menu.json
python benchmarks/claims.py                # fills the table of the page

Whether an estimator has a gradient, goes under jit and vmap, and says the same on eight devices is not written down
here but tried, and `tests/dimension/test_menu.py` tries it again. Seconds are those of a call with defaults, standard
error included, on 2000 points in 64 columns whose neighbors have been found, as for several estimators of one cloud;
the search has a line of its own. The first call less a later one is compilation.
`--only words` keeps what was tried and measured, `--only seconds` what was tried.
"""

import os

if __name__ == "__main__":  # before jax; eight devices to try, not to measure
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

import argparse
import dataclasses
import datetime
import functools
import importlib.metadata
import inspect
import json
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import dimension
from jaxscale.dimension.estimators import reference_balls
from jaxscale.dimension.estimators.registry import LEAST_NEIGHBORS
from jaxscale.dimension.half_samples import with_lists
from jaxscale.errors import InputError

RESULT = pathlib.Path(__file__).parent / "results" / "dimension_menu.json"
POINTS, WIDTH = 2000, 64
REPEATS = 3
MOST_NEIGHBORS = 101


@dataclasses.dataclass(frozen=True)
class Entry:
    """An estimator, or a rule of one: what it reads, the order of its cost beside a search of neighbors, its use."""

    function: str
    reads: str
    cost: str
    use: str
    rule: str | None = None

    @property
    def name(self):
        return self.function if self.rule is None else f"{self.function}, {self.rule}"

    @functools.cached_property
    def call(self):
        function = getattr(dimension, self.function)
        return function if self.rule is None else functools.partial(function, rule=self.rule)


DISTANCES = "distances to k neighbors"
SEARCH = "search"
LOCAL = "k neighbors as vectors"
SCATTER = "n k D min(k, D)"
WHOLE = "the covariance of all points"
MOMENTS = "n D²; n² D if n < D"
SPECTRUM = f"{MOMENTS}; min(n, D)³"

ENTRIES = [
    Entry("mle", DISTANCES, SEARCH, "the first reading to take; too low from d = 10 on unless calibrated"),
    Entry("gride", "the n2-th over the n1-th distance", SEARCH, "dimension against scale, and past noise"),
    Entry("twonn", "the two nearest distances", SEARCH, "densities that vary; not with noise, which is all it sees"),
    Entry("mom", DISTANCES, SEARCH, "a check of `mle`, without logarithms; no better"),
    Entry("mada", "the k-th over the k/2-th distance", SEARCH, "to repeat published numbers; `gride` reads the same "
          "distances without its bias"),
    Entry("mind_ml", "the nearest over the k-th distance", SEARCH, "to repeat published numbers; throws most "
          "distances away, as `twonn` does, and is cut at D"),
    Entry("bide", "how many of k neighbors lie within a radius", SEARCH, "counts and integer distances; else `mle` "
          "loses less"),
    Entry("abide", "the same, k chosen for each point", "search; n k for each step", "uneven densities, with k of a "
          "hundred; biased low in high d, where k cannot be small"),
    Entry("tle", f"{LOCAL}, all pairs of them", "search; n k² + n k D", "few neighbors (k below 20); with more it "
          "says what `mle` says"),
    Entry("ess", f"{LOCAL}, all pairs of them", "search; n k² D", "k of 50 or more on clouds that are flat at that "
          "scale; not where folds are near"),
    Entry("danco", f"{LOCAL}, norms and angles", "search; n k² D; once 60 simulated clouds or so", "high d on "
          "manifolds without noise, the best uncalibrated; with noise it reads the noise up to D"),
    Entry("local_pca", f"{LOCAL}, their spectrum", f"search; {SCATTER}; n min(k, D)³", "flat or gently curved sheets "
          "with k several times d; a tangent space. Not few points in high d", rule="fo"),
    Entry("local_pca", f"{LOCAL}, their spectrum", f"search; {SCATTER}; n min(k, D)³", "as `fo`, where noise is a "
          "known share", rule="ratio"),
    Entry("local_pca", f"{LOCAL}, their Gram matrix", f"search; {SCATTER}", "a smooth measure with a gradient; reads "
          "1 / (1/d + 1/k): use the corrected one", rule="participation_ratio"),
    Entry("local_pca", f"{LOCAL}, their Gram matrix", f"search; {SCATTER}", "flat clouds of high d from few points "
          "(images, activations), k below d even; not curved ones, whose bends it counts",
          rule="participation_ratio_corrected"),
    Entry("local_pca", f"{LOCAL}, their spectrum", f"search; {SCATTER}; n min(k, D)³", "sheets with noise in many "
          "columns; not without noise, nor with D below 2 d", rule="gavish_donoho"),
    Entry("pca", WHOLE, MOMENTS, "effective dimension of activations, n several times it; grows with n",
          rule="participation_ratio"),
    Entry("pca", f"{WHOLE}, and Σ |x|⁴", MOMENTS, "the same at any n of four or more: compare clouds of different n "
          "by it", rule="participation_ratio_corrected"),
    Entry("pca", f"{WHOLE}, its spectrum", SPECTRUM, "the linear hull, of directions with a twentieth of the "
          "largest variance; knows no noise", rule="fo"),
    Entry("pca", f"{WHOLE}, its spectrum", SPECTRUM, "how many components to keep for a share of the variance",
          rule="ratio"),
    Entry("pca", f"{WHOLE}, its spectrum", SPECTRUM, "what can be detected in noise; one false direction in one of "
          "six samples", rule="marchenko_pastur"),
    Entry("pca", f"{WHOLE}, its spectrum", SPECTRUM, "what to keep for the least error in the rest: fewer than can be "
          "detected", rule="gavish_donoho"),
    Entry("pca", f"{WHOLE}, its spectrum", SPECTRUM, "the most sensitive, and right where half of the directions "
          "or more are signal; n well above D", rule="minka"),
    Entry("pca", f"{WHOLE}, its spectrum", f"{SPECTRUM}; 100 min(n, D)²", "noise whose size is unknown, with "
          "signals alike; weak ones beside strong ones are missed", rule="horn"),
    Entry("correlation_dimension", "the distances of all pairs", "n² D", "fractals and attractors, d below 5; not "
          "d of 20 and more, which read a third too low"),
    Entry("fisher_separability", "projections on all other points", "n² D; n D²", "to repeat published numbers and to "
          "judge linear separability; no dimension of a manifold: 41% off, and undefined at d = 70"),
    Entry("knn_graph", "lengths of neighbor graphs of subsets", "search; n k for each subset", "distances of any kind "
          "and lists of neighbors; uncertain, like all slopes over n"),
    Entry("ph0", "lengths of minimum spanning trees of subsets", "n² D", "comparison with work on persistent homology "
          "(texts); reads as `knn_graph`, slower"),
]  # fmt: skip


def cloud(n, width, key=0):
    """A normal distribution of ten dimensions on a paraboloid, with noise in all columns."""
    rng = np.random.default_rng(key)
    t = rng.normal(size=(n, min(10, width - 1)))
    x = np.pad(np.concatenate([t, np.sum(t**2, axis=1, keepdims=True) / 8], axis=1), ((0, 0), (0, width)))[:, :width]
    return (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32)


# What it can do, tried on few points. Neighborhoods of 12 do for all but one.
FEW, LITTLE = 96, 6


def read_few(entry):
    """`entry` as a function of few points and its dimension."""
    k = {"knn_graph": 2, "ph0": None}.get(entry.function, 11)
    options = {"k": k} if k and "k" in inspect.signature(getattr(dimension, entry.function)).parameters else {}
    if entry.function == "ph0":
        options = {"halvings": 2, "resamples": 1}  # whose three halvings are more than these points have
    if entry.function == "danco":
        options["references"] = _few_references(11)
    return lambda x: entry.call(x, **options).dimension


@functools.cache
def _few_references(k):
    before, reference_balls.READS = reference_balls.READS, 4 * FEW
    try:
        return dimension.danco_references(FEW, k, LITTLE)
    finally:
        reference_balls.READS = before


def differentiable(entry):
    """Whether jax.grad has something to say; where it has not, the estimator raises `InputError`."""
    try:
        jax.eval_shape(jax.grad(read_few(entry)), jnp.asarray(cloud(FEW, LITTLE)))
    except InputError as error:
        assert "has no gradient" in str(error)
        return False
    return True


def jittable(entry):
    x = jax.ShapeDtypeStruct((FEW, LITTLE), jnp.float32)
    return jax.eval_shape(jax.jit(read_few(entry)), x).shape == ()


def vmappable(entry):
    x = jax.ShapeDtypeStruct((3, FEW, LITTLE), jnp.float32)
    return jax.eval_shape(jax.vmap(read_few(entry)), x).shape == (3,)


def same_when_sharded(entry):
    """Whether rows over eight devices change no more than the last digits."""
    x, read = cloud(FEW, LITTLE), read_few(entry)
    mesh = jax.make_mesh((8,), ("rows",))
    spread = jax.device_put(x, jax.NamedSharding(mesh, jax.P("rows")))
    return bool(np.isclose(float(jax.jit(read)(spread)), float(jax.jit(read)(x)), rtol=1e-5))


def neighbors(entry):
    """The neighbors it reads by default, and the fewest it can be given, as text."""
    parameters = inspect.signature(getattr(dimension, entry.function)).parameters
    named = {name: parameters[name].default for name in ("k", "k1", "k2", "n1", "n2") if name in parameters}
    if entry.function == "twonn":
        return "2"
    if not named:
        return "none"
    least = LEAST_NEIGHBORS.get(entry.function, 1)
    if entry.rule == "participation_ratio_corrected":
        least = 4
    default = ", ".join(str(value) if name == "k" else f"{name}={value}" for name, value in named.items())
    return f"{default}; at least {least}".replace("n2=None", "n2=2 n1")


def words(entry):
    return {"reads": entry.reads, "neighbors": neighbors(entry), "cost": entry.cost, "use": entry.use}


def tried(entry):
    return {
        "gradient": differentiable(entry),
        "jit": jittable(entry),
        "vmap": vmappable(entry),
        "sharded": same_when_sharded(entry),
    }


def search(x):
    """The neighbors that all of them read, and those from which halves are read for standard errors."""
    return with_lists(dimension.neighborhoods(x, MOST_NEIGHBORS))


def seconds(call, x):
    """Of a later call, the middle of three, and of the first one less that."""

    def once():
        start = time.perf_counter()
        jax.block_until_ready(call(x))
        return time.perf_counter() - start

    first = once()
    warm = statistics.median(once() for _ in range(REPEATS))
    return {"seconds": float(f"{warm:.2g}"), "first_seconds": float(f"{max(first - warm, 0):.2g}")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("words", "seconds"), help="keep the rest of the committed table")
    only = parser.parse_args().only
    before = json.loads(RESULT.read_text(encoding="utf-8")) if only else {"rows": []}
    rows = {row["name"]: row for row in before["rows"]}
    timed = {"search": before.get("search")}
    if only != "words":
        x = jnp.asarray(cloud(POINTS, WIDTH))
        timed, hoods = {"search": seconds(search, x)}, search(x)
        print(timed, flush=True)
    for entry in ENTRIES:
        found = words(entry)
        if only != "words":
            found |= seconds(entry.call, hoods)
        if only is None:
            found |= tried(entry)
        rows[entry.name] = {"name": entry.name} | rows.get(entry.name, {}) | found
        print(entry.name, found, flush=True)
    result = {
        "benchmark": "dimension menu",
        "points": POINTS,
        "width": WIDTH,
        **timed,
        "rows": [rows[entry.name] for entry in ENTRIES],
        "device": f"{len(os.sched_getaffinity(0))} cores of {platform.processor() or platform.machine()}",
        "python": platform.python_version(),
        "jax": importlib.metadata.version("jax"),
        "jaxscale": importlib.metadata.version("jaxscale"),
        "date": datetime.date.today().isoformat(),
    }
    if only == "words":
        result = before | {"rows": result["rows"]}
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
