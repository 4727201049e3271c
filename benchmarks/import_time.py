"""What importing jaxscale costs beside `import jax`: fresh processes, one after the other, median of several.

python benchmarks/import_time.py                    # writes benchmarks/results/import_time.json
"""

import datetime
import importlib.metadata
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROUNDS = 11
OURS = "import jaxscale; jaxscale.dimension, jaxscale.laws, jaxscale.theory"  # what a user of the estimators loads


def seconds(statement):
    """Wall time of a new interpreter that runs `statement`, less that of one that runs nothing."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    empty = time.perf_counter() - start
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start - empty


def main():
    pairs = [(seconds(OURS), seconds("import jax")) for _ in range(ROUNDS + 1)][1:]  # the first warms the disk
    ours, jaxs = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "benchmark": "import time",
        "ours": OURS,
        "import_jaxscale_seconds": round(ours, 4),
        "import_jax_seconds": round(jaxs, 4),
        "ratio": round(statistics.median(a / b for a, b in pairs), 3),
        "rounds": ROUNDS,
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": importlib.metadata.version("jax"),
        "date": datetime.date.today().isoformat(),
    }
    path = pathlib.Path(__file__).parent / "results" / "import_time.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
