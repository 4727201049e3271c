"""Sixteen small runs (seeds × numbers of tokens × learning rates), one after the other and as one program.

python benchmarks/sweeps.py                         # writes benchmarks/results/sweeps.json

For each size of model two figures, medians over interleaved repetitions, everything compiled before: `steps`, seconds
of the same optimizer steps through the programs alone; `training`, seconds from `training.train`, run by run, and from
`training.train_together`, to sixteen finished folders: batches, steps, evaluations, logs and checkpoints, of which a
sweep writes fewer: not every new minimum, but each run's newest state and its best, once a minute and at its end. Both
are also measured with the runs divided over as many host devices as a processor has cores.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

MODELS = {  # layers, width, context, batch; steps measured alone, and of a run
    "1 layer, width 16": (1, 16, 16, 16, 64, 160),
    "2 layers, width 32": (2, 32, 32, 16, 32, 80),
    "2 layers, width 64 (of configs/text_loss.py)": (2, 64, 64, 32, 16, 20),
}
CHUNK = 16  # steps that a sweep hands to the devices at once


def grid(layers, width, context, batch, _, steps):
    """Sixteen runs by name."""
    from jaxscale import config

    run = config.Run(
        corpus=config.Corpus(kind="files", path=sysconfig.get_paths()["stdlib"] + "/[a-p]*.py", passage=256),
        tokenizer=config.Tokenizer(kind="bytes"),
        model=config.Decoder(layers=layers, width=width, heads=2, hidden=4 * width, context=context),
        optimizer=config.Optimizer(schedule="cosine", warmup_steps=5),
        training=config.Training(
            steps=steps, batch_size=batch, evaluate_every=steps // 4, evaluation_sequences=64, log_every=steps // 4
        ),
    )
    with_rate = lambda rate: dataclasses.replace(run.optimizer, learning_rate=rate)
    return {
        f"seed={seed}_n={n}_rate={rate}": dataclasses.replace(run, seed=seed, tokens=n, optimizer=with_rate(rate))
        for seed, n, rate in itertools.product((0, 1), (4096, 8192, 16384, 32768), (1e-3, 3e-3))
    }


class Worker:
    """What is measured in this process: runs one by one ("apart") or as one program ("together")."""

    def __init__(self, way):
        self.together, self.folder = way == "together", tempfile.TemporaryDirectory()
        self.stores = {}

    def store(self, run):
        from jaxscale import data

        if not self.stores:
            self.stores[0] = data.prepare(run.corpus, run.tokenizer, pathlib.Path(self.folder.name) / "corpus")
        return self.stores[0]

    def training(self, name):
        """Seconds to sixteen finished folders, and the runs' losses."""
        from jaxscale import training

        runs = grid(*MODELS[name])
        store = self.store(next(iter(runs.values())))
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            if self.together:
                done = training.train_together(runs, store, folder)
            else:
                done = {one: training.train(run, store, pathlib.Path(folder) / one) for one, run in runs.items()}
            return time.perf_counter() - start, [summary["loss"] for summary in done.values()]

    def steps(self, name):
        """Seconds of the same steps of sixteen runs, and the runs' last losses."""
        import jax
        import numpy as np

        from jaxscale import config, data, sharding, training
        from jaxscale.training.stacked import stacked_program

        runs, steps = grid(*MODELS[name]), MODELS[name][4]
        first = next(iter(runs.values()))
        store = self.store(first)
        tokens = np.stack(
            [
                data.Batches.of(
                    store.train, run.tokens, run.model.context, run.training.batch_size, key=run.seed
                ).of_steps(0, steps)
                for run in runs.values()
            ]
        )
        keys = [jax.random.key(run.seed) for run in runs.values()]
        rates = np.array([run.optimizer.learning_rate for run in runs.values()], np.float32)
        mesh = sharding.make_mesh(config.Mesh())
        if self.together:
            many = stacked_program(first, store.vocab_size, mesh)
            states = many.stack([many.one.init(key) for key in keys])
            rates = many.place(np.repeat(rates[:, None], CHUNK, axis=1))
            counts = many.place(np.full(len(keys), CHUNK, np.int32))
            jax.block_until_ready(states)
            start = time.perf_counter()
            for step in range(0, steps, CHUNK):
                states, told = many.advance(states, many.place(tokens[:, step : step + CHUNK]), rates, counts)
            losses = jax.device_get(told["train_loss"])[:, -1]
        else:
            one = training.program(first, store.vocab_size, mesh)
            states = jax.block_until_ready([one.init(key) for key in keys])
            start, told = time.perf_counter(), []
            for state, batches, rate in zip(states, tokens, rates, strict=True):
                for batch in batches:
                    state, values = one.step(state, batch, rate)
                told.append(values["train_loss"])
            losses = jax.device_get(told)
        return time.perf_counter() - start, [float(loss) for loss in losses]

    def serve(self):
        """Answers lines of JSON, [figure, name], with [seconds, losses]."""
        for line in sys.stdin:
            figure, name = json.loads(line)
            print(json.dumps(getattr(self, figure)(name)), flush=True)


class Process:
    """A `Worker` in a process of its own, with as many host devices as are asked for."""

    def __init__(self, way, devices):
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"} if devices > 1 else {}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", way],
            env=os.environ | flags,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, figure, name):
        self.process.stdin.write(json.dumps([figure, name]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=("apart", "together"), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.serve:
        return Worker(options.serve).serve()

    import jax

    cores, on_cpu = os.cpu_count(), jax.default_backend() == "cpu"
    ways = {"apart": Process("apart", 1), "together": Process("together", 1)}
    if on_cpu and cores > 1:
        ways[f"together on {cores} host devices"] = Process("together", cores)
    rows = []
    for name, figure in itertools.product(MODELS, ("steps", "training")):
        losses = {way: worker.ask(figure, name)[1] for way, worker in ways.items()}  # compiles
        for way in ways:
            worst = max(abs(a - b) / abs(b) for a, b in zip(losses[way], losses["apart"], strict=True))
            if worst > 1e-4:
                raise SystemExit(f"{name}, {figure}, {way}: losses differ by {worst:.1e}")
        seconds = {way: [] for way in ways}
        for _, (way, worker) in itertools.product(range(options.rounds), ways.items()):
            seconds[way].append(worker.ask(figure, name)[0])
        row = {"model": name, "figure": figure}
        for way, found in seconds.items():
            row[way] = {
                "seconds": round(statistics.median(found), 4),
                "times_faster": round(
                    statistics.median(a / b for a, b in zip(seconds["apart"], found, strict=True)), 2
                ),
            }
        rows.append(row)
        print(json.dumps(row), flush=True)
    result = {
        "benchmark": "16 runs apart and together",
        "rows": rows,
        "rounds": options.rounds,
        "largest_relative_difference_of_losses_allowed": 1e-4,
        "device": f"{jax.devices()[0].device_kind}, {cores} cores" if on_cpu else jax.devices()[0].device_kind,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "jax": importlib.metadata.version("jax"),
        "date": datetime.date.today().isoformat(),
    }
    path = pathlib.Path(__file__).parent / "results" / "sweeps.json"
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
