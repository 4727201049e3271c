"""Makes the table of reference clouds that `jaxscale.dimension.measure` reads, and says how well it knows them.

python benchmarks/dimension_references.py --scratch /tmp/references     # writes jaxscale/dimension/references/table.npz

Clouds of every family in `jaxscale.dimension.references.clouds` at several numbers of points; an hour of one core.
Statistics are kept in the scratch folder, one file for each number of points; a second run does not compute them again.
The kernel of the table is fitted to how far families are off when all others predict them, and single clouds when all
others do: over steps of Adam, each on some clouds of every family.
"""

import argparse
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxscale.dimension import neighborhoods
from jaxscale.dimension.references import clouds, statistics, table

SIZES = {1000: 60, 2500: 45, 500: 60, 200: 60}  # points, and clouds of every family
AT_A_TIME = 5
STEPS, SOME = 120, 60  # of the fit of the kernel, and clouds of every family in each
OF_FAMILIES = 0.75  # of its objective; the rest is of single clouds
FLAT = 0.01  # errors of log d below which less does not count as much


def statistics_of(points):
    """Columns are filled up to a power of two, so that one program serves many widths."""
    width = max(8, 2 ** int(np.ceil(np.log2(points.shape[1]))))
    wide = np.pad(points, ((0, 0), (0, width - points.shape[1])))
    return np.asarray(statistics.of(neighborhoods(wide, statistics.NEIGHBORS)))


def read_clouds(points, count, path):
    """Rows (family, number, dimension, *statistics) of clouds of so many points."""
    rows = np.load(path) if path.exists() else np.zeros((0, 3 + len(statistics.NAMES)))
    done = {(int(row[0]), int(row[1])) for row in rows}
    for number in range(count):
        new = []
        for place, name in enumerate(clouds.FAMILIES):
            if (place, number) not in done:
                cloud, d = clouds.reference_cloud(name, number, points)
                new.append([place, number, d, *statistics_of(cloud)])
        if new:
            rows = np.concatenate([rows, new])
        if new and ((number + 1) % AT_A_TIME == 0 or number + 1 == count):
            with open(path.with_suffix(".part"), "wb") as file:
                np.save(file, rows)
            os.replace(path.with_suffix(".part"), path)
            print(f"{points} points: {len(rows)} clouds", flush=True)
    return rows


def off(logs, values, log_d, families):
    """How far log d is off, on average, where families and where single clouds are predicted from all others."""
    kernel = jax.tree.map(jnp.exp, logs)
    inverse = jnp.linalg.inv(table.covariance(kernel, values * kernel.scale, jnp))
    weight = (inverse @ log_d).reshape(families, -1)
    blocks = jnp.diagonal(inverse.reshape(*weight.shape, *weight.shape), axis1=0, axis2=2)
    of_families = jnp.linalg.solve(jnp.moveaxis(blocks, 2, 0), weight[..., None])
    of_clouds = weight.reshape(-1) / jnp.diagonal(inverse)
    size = lambda error: jnp.mean(jnp.sqrt(error**2 + FLAT**2))
    return OF_FAMILIES * size(of_families) + (1 - OF_FAMILIES) * size(of_clouds), size(of_families)


def fitted(statistics_RxS, points, dimension, family):
    """The kernel under which families predict each other best."""
    values = np.concatenate([statistics_RxS, np.log(points)[:, None]], axis=1)
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    log_d, rng = np.log(dimension), np.random.default_rng(1)
    places = [np.flatnonzero(family == place) for place in np.unique(family)]
    with jax.enable_x64(True):
        logs = jax.tree.map(lambda value: jnp.log(jnp.asarray(value, float)), table.plain_kernel(values.shape[1] - 1))
        optimizer = optax.adam(optax.cosine_decay_schedule(0.12, STEPS))
        state, slope = optimizer.init(logs), jax.jit(jax.value_and_grad(off, has_aux=True), static_argnums=3)
        for step in range(STEPS):
            some = np.concatenate([rng.choice(own, SOME, replace=False) for own in places])
            (_, error), gradient = slope(logs, values[some], log_d[some], len(places))
            updates, state = optimizer.update(gradient, state)
            logs = optax.apply_updates(logs, updates)
            if (step + 1) % 20 == 0:
                print(f"step {step + 1}: other families are off by {error:.3f} in log d", flush=True)
        return jax.tree.map(lambda value: np.exp(np.asarray(value)), logs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=SIZES)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    found = {points: read_clouds(points, SIZES[points], options.scratch / f"{points}.npy") for points in options.sizes}
    rows = np.concatenate(list(found.values()))
    points = np.repeat(list(found), [len(part) for part in found.values()])
    known = np.isfinite(rows).all(axis=1)
    read = rows[known, 3:], points[known], rows[known, 2], rows[known, 0].astype(int)
    made = table.made(*read, list(clouds.FAMILIES), fitted(*read))
    table.save(made, pathlib.Path(table.__file__).with_name(table.FILE))
    half = 100 * np.median(np.abs(made.error))
    print(f"{len(made.error)} clouds; as seen by other families half of them are off by less than {half:.1f}%")


if __name__ == "__main__":
    main()
