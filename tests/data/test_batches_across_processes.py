"""Two real processes share a batch: each builds only its own rows, and together they hold the batch of one process."""

import json
import socket
import subprocess
import sys

import numpy as np

from jaxscale.data import Batches, Split

PROGRAM = """
import json, sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]), initialization_timeout=60)
import numpy as np
from jaxscale import sharding
from jaxscale.config import Mesh
from jaxscale.data import Batches, Split

built = []
class Watched(Batches):
    def rows(self, step, start=0, stop=None):
        built.append([start, stop])
        return super().rows(step, start, stop)

split = Split(np.arange(1000, dtype=np.uint16), np.arange(0, 1001, 100))
batches = Watched.of(split, 500, 8, 8, key=3)
mesh = sharding.make_mesh(Mesh(replica=2, fsdp=2))
batch = batches.on_device(5, sharding.batch_sharding(mesh))
shards = {s.index[0].start or 0: s.data.tolist() for s in batch.addressable_shards}
total = jax.jit(lambda b: b.sum(), out_shardings=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))(batch)
print(json.dumps({"built": sorted(built), "shards": shards, "sum": int(total)}))
"""


def test_each_process_builds_its_own_rows():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    start = lambda i: subprocess.Popen(
        [sys.executable, "-c", PROGRAM, address, str(i)], stdout=subprocess.PIPE, text=True
    )
    processes = [start(0), start(1)]
    try:
        said = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    finally:
        for process in processes:
            process.kill()
    expected = Batches.of(Split(np.arange(1000, dtype=np.uint16), np.arange(0, 1001, 100)), 500, 8, 8, key=3).rows(5)
    assert [s["built"] for s in said] == [[[0, 2], [2, 4]], [[4, 6], [6, 8]]]
    shards = {int(row): values for s in said for row, values in s["shards"].items()}
    np.testing.assert_array_equal(np.concatenate([shards[row] for row in sorted(shards)]), expected)
    assert {s["sum"] for s in said} == {int(expected.sum())}
