"""Makes the table of reference clouds that `jaxscale.dimension.measure` reads, and says how well it knows them.

python benchmarks/dimension_references.py --scratch /tmp/references     # writes jaxscale/dimension/references/table.npz

Clouds of every family in `jaxscale.dimension.references.clouds` at several numbers of points; half an hour of one core.
Statistics are kept in the scratch folder, one file for each number of points; a second run does not compute them again.
"""

import argparse
import dataclasses
import os
import pathlib

import numpy as np

from jaxscale.dimension import neighborhoods
from jaxscale.dimension.references import clouds, statistics, table

SIZES = {1000: 60, 2500: 45, 500: 60, 200: 60}  # points, and clouds of every family
AT_A_TIME = 5


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
    made = table.made(rows[known, 3:], points[known], rows[known, 2], rows[known, 0], list(clouds.FAMILIES))
    saved = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    np.savez_compressed(pathlib.Path(table.__file__).with_name(table.FILE), **saved)
    read = table.shipped()
    half = 100 * np.median(np.abs(read.error))
    print(f"{len(read.error)} clouds; as seen by other families half of them are off by less than {half:.1f}%")


if __name__ == "__main__":
    main()
