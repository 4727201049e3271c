"""What must hold of length generalization, measured: generators, simulation, constructions, plateaus, positions.

python benchmarks/lengths.py                                # every part; writes benchmarks/results/lengths.json
python benchmarks/lengths.py generators simulation          # some parts; the others keep what they found before

`simple`, `mod_p`, `k_gram` and `positions` are studies, run in --workdir or, where they are finished there, only read.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config, lengths, progress, studies
from jaxscale.lengths import KGramTask, LimitTransformer, ModPTask, SimpleTask, constructions, summarize
from jaxscale.studies.lengths import study as length_generalization
from jaxscale.studies.positions import study as position_encodings

ROOT = pathlib.Path(__file__).parent
RESULT = ROOT / "results" / "lengths.json"


def slope(x, y):
    """Of log y on log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def rounded(values):
    return [float(f"{value:.3g}") for value in np.asarray(values).tolist()]


def generators(_):
    """Tokens a second, over the clock and over processor time: on a busy machine the second is the machine's own."""
    found = {}
    for task in (SimpleTask(omega=4.0), ModPTask(period=5)):
        strings, length = 1024, 4096
        draw = jax.jit(jax.vmap(lambda key, task=task, length=length: task.sample(length, length, key=key)))
        keys = jax.random.split(jax.random.key(0), strings)
        jax.block_until_ready(draw(keys))
        rates = []
        for _ in range(9):
            clock, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(draw(keys))
            rates.append([strings * length / (time.perf_counter() - clock)])
            rates[-1].append(strings * length / (time.process_time() - processor))
        best = np.max(rates, axis=0)
        found[type(task).__name__] = {"tokens_per_second": int(best[0]), "tokens_per_processor_second": int(best[1])}
    return found


def one_layer_nets(count):
    """Networks of two heads whose logits are zeros and ones, so that ties are exact and attended sets are large."""
    net = LimitTransformer(alphabet=4, heads=2, width=8, hidden=16, period=3, locality=2, regime="hardmax")

    def one(key):
        params = net.init(key, jnp.zeros(1, jnp.int32))["params"]
        key_symbols, key_positions = jax.random.split(key)
        bit = lambda key, shape: jax.random.randint(key, shape, 0, 2).astype(jnp.float32)
        layer = params["layer_0"]
        layer["query"] = jnp.zeros((2, 8, 8)).at[:, 0, 0].set(8.0)  # logits are divided by the head width
        layer["key"] = jnp.zeros((2, 8, 8)).at[:, 1, 0].set(1.0)
        params["embed"] = params["embed"].at[:, 0].set(1.0).at[:, 1].set(bit(key_symbols, (4,)))
        params["positions"] = params["positions"].at[:, 0].set(0.0).at[:, 1].set(bit(key_positions, (3,)))
        return params

    return net, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), count))


def simulation_one_layer():
    """Mean |f(z) - f(x)| against the budget N: 120 networks, a string each of 20 000 tokens whose law changes."""
    long, budgets = 20_000, (30, 60, 120, 240, 480, 960, 1920)
    net, params = one_layer_nets(120)
    rng = np.random.default_rng(0)
    halves = rng.dirichlet([1, 1, 1, 1], (120, 2))
    texts = [np.concatenate([rng.choice(4, long // 2, p=law) for law in laws]) for laws in halves]
    builders = {
        "proportional": lambda tokens, n: lengths.proportional(tokens, long, n, 4, 3, 2),
        "random draw": lambda tokens, n: lengths.random_draw(tokens, long, n, 4, 3, 2, key=jax.random.key(1)),
        "last N tokens": lambda tokens, n: lengths.last(tokens, long, n, 3),
    }

    @jax.jit
    @jax.vmap
    def errors(params, tokens):
        f = lambda t, n: net.apply({"params": params}, summarize(t, n, 4, 3, 2), method="summarized")[0]
        at_all = f(tokens, long)
        shorts = {name: [build(tokens, n) for n in budgets] for name, build in builders.items()}
        return {name: jnp.stack([jnp.abs(f(z.tokens, z.length) - at_all) for z in zs]) for name, zs in shorts.items()}

    means = {name: np.mean(error, axis=0) for name, error in errors(params, jnp.asarray(np.stack(texts))).items()}
    table = {name: {"error": rounded(mean), "slope": round(slope(budgets, mean), 3)} for name, mean in means.items()}
    return {"N": list(budgets), "networks": 120, "tokens": long} | table


def simulation_two_layers():
    """Mean L1 error against tokens kept n: 16 networks in each regime, six Markov chains one after the other."""
    long, kept, draws, count = 30_000, (64, 256, 1024, 4096), 4, 16
    net = LimitTransformer(alphabet=4, outputs=4, layers=2, heads=2, width=16, hidden=32, locality=3)
    task = KGramTask(order=1, symbols=4, alphabet=4, longest_order=1)
    keys = jax.random.split(jax.random.key(0), count)

    @jax.jit
    @jax.vmap
    def made(key):
        params = net.init(key, jnp.zeros(1, jnp.int32))["params"]
        texts = [task.sample(long // 6, long // 6, key=jax.random.fold_in(key, i)) for i in range(6)]
        return params, jnp.concatenate(texts)

    params, tokens = made(keys)
    builders = {
        "blocks of n^(1/3)": lambda key, tokens, n: lengths.thin(tokens, long, n, key=key, locality=3, size=2 * n + 64),
        "random draw": lambda key, tokens, n: lengths.thin(tokens, long, n, 1.0, key=key, locality=3, size=2 * n + 64),
        "last N tokens": lambda key, tokens, n: lengths.last(tokens, long, n),
    }
    run = lambda params, tokens, length: net.apply({"params": params}, tokens, length, method="running")
    whole = jax.jit(lambda params, tokens: jax.lax.map(lambda one: run(*one, long), (params, tokens)))

    def error_of(build, n):
        def one(inputs):
            params, tokens, at_all, key = inputs
            z = build(key, tokens, n)
            return jnp.sum(jnp.abs(run(params, z.tokens, z.length) - at_all))

        return jax.jit(lambda *inputs: jax.lax.map(one, inputs))

    errors = {name: [error_of(build, n) for n in kept] for name, build in builders.items()}
    found = {}
    for regime, phi in (("token-dominated", 0.5), ("balanced", 1.0), ("position-dominated", 1.5)):
        bias = jnp.zeros((count, 2, 4)).at[:, 0, 1].set(phi).at[:, 1, 2].set(phi)
        params["layer_0"]["bias"] = bias
        at_all, found[regime] = whole(params, tokens), {}
        for name, by_kept in errors.items():
            tried = 1 if name == "last N tokens" else draws
            each = np.zeros((tried, len(kept), count))
            for draw in range(tried):
                keys_of_draw = jax.vmap(lambda key, draw=draw: jax.random.fold_in(key, 100 + draw))(keys)
                for i, measure in enumerate(by_kept):
                    each[draw, i] = measure(params, tokens, at_all, keys_of_draw)
            mean = each.mean(axis=(0, 2))
            found[regime][name] = {"error": rounded(mean), "slope": round(slope(kept, mean), 3)}
            if name.startswith("blocks"):
                best = each.min(axis=0).mean(axis=1)
                found[regime][f"best of {draws}"] = {"error": rounded(best), "slope": round(slope(kept, best), 3)}
    return {"n": list(kept), "networks": count, "draws": draws, "tokens": long} | found


def simulation(_):
    return {"one_layer": simulation_one_layer(), "two_layers": simulation_two_layers()}


def construction(_):
    """Mean L1 error of the k-gram construction by β, at T = 1024, c = 4 and S = 3, over Markov chains of order k."""
    betas, length, strings, found = (2, 4, 6, 8, 10, 14), 1024, 32, {}
    for order in (1, 2, 3):
        task = KGramTask(order, 3, 3, order)

        @jax.jit
        def error(params, keys, order=order, task=task):
            net = constructions.k_gram(order, 3, 1.0, 4.0)[0]

            def one(key):
                tokens = task.sample(length, length, key=key)
                target = task.target(tokens, length)
                output = net.apply({"params": params}, tokens, length, method="running")
                return jnp.sum(jnp.abs(output - target.value)), target.valid

            errors, valid = jax.lax.map(one, keys, batch_size=8)
            return jnp.sum(errors * valid) / jnp.sum(valid)

        keys = jax.random.split(jax.random.key(0), strings)
        means = [float(error(constructions.k_gram(order, 3, float(beta), 4.0)[1], keys)) for beta in betas]
        rate = float(np.polyfit(betas[:3], np.log(means[:3]), 1)[0])
        found[f"k={order}"] = {"error": rounded(means), "log_error_per_beta": round(rate, 3), "floor": min(means)}
    return {"beta": list(betas), "tokens": length, "strings": strings} | found


def plateaus(name, workdir):
    """A study of configs/, and whether its plateau is one, falls with N and rises with the task's parameter."""
    path = ROOT.parent / "configs" / f"lengths_{name}.py"
    study = config.load(path, (), studies.LengthStudy)
    with progress.OnTerminal() as bars:
        verdict = length_generalization.run(study, pathlib.Path(workdir) / f"lengths_{name}", bars)
    entries = [entry for entry in verdict["plateaus"] if entry["inf"]]
    ratios = [entry["ten_over_limit"] for entry in entries]
    seconds = verdict["training_seconds"], verdict["training_processor_seconds"]
    return {
        "networks": verdict["runs"],
        "collapsed": verdict["collapsed"],
        "training_seconds": round(seconds[0], 1),
        "training_processor_seconds": round(seconds[1], 1),
        "networks_per_hour": round(3600 * verdict["runs"] / seconds[0]),
        "loss_at_10N_over_limit": rounded([min(ratios), max(ratios)]),
        "share_within_15_percent": round(float(np.mean(np.abs(np.array(ratios) - 1) <= 0.15)), 3),
        "plateau": [
            entry["parameters"] | {"N": entry["train_length"], "mean": float(f"{entry['inf']['mean']:.3g}")}
            for entry in entries
        ],
        "exponents": verdict["trends"],
        "mass_on_residue": verdict["attention"] and round(verdict["attention"]["mass"], 4),
    }


def k_gram(workdir):
    """Two-layer networks on the in-context k-gram: loss by test length, and where their first-layer heads look."""
    path = ROOT.parent / "configs" / "lengths_k_gram_small.py"
    study = config.load(path, (), studies.LengthStudy)
    folder = pathlib.Path(workdir) / "lengths_k_gram_small"
    with progress.OnTerminal() as bars:
        verdict = length_generalization.run(study, folder, bars)
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text(encoding="utf-8").splitlines()]
    cells: dict[tuple, list] = {}
    for row in rows:
        cells.setdefault((row["order"], row["symbols"], row["train_length"]), []).append(row)
    mean = lambda those, length: float(f"{np.mean([row['losses'][length] for row in those]):.3g}")
    return {
        "networks": verdict["runs"],
        "training_seconds": round(verdict["training_seconds"], 1),
        "training_processor_seconds": round(verdict["training_processor_seconds"], 1),
        "losses": [
            {"order": order, "symbols": symbols, "N": length}
            | {name: mean(those, name) for name in ("own", "64", "256", "1024", "inf")}
            for (order, symbols, length), those in cells.items()
        ],
        "right_offsets": sum(set(range(1, row["order"] + 1)) <= set(row["head_offsets"]) for row in rows),
        "largest_bias": rounded(
            [min(max(row["largest_bias"]) for row in rows), max(max(r["largest_bias"]) for r in rows)]
        ),
    }


def positions(workdir):
    """By task and encoding: runs that fitted the training range, accuracy by range with intervals, the order."""
    study = config.load(ROOT.parent / "configs" / "length_positions_small.py", (), studies.PositionStudy)
    with progress.OnTerminal() as bars:
        verdict = position_encodings.run(study, pathlib.Path(workdir) / "length_positions_small", bars)
    return {name: verdict[name] for name in ("runs", "fitted", "ranges", "cells", "orders")}


PARTS = {
    "generators": generators,
    "simulation": simulation,
    "construction": construction,
    "simple": lambda workdir: plateaus("simple", workdir),
    "mod_p": lambda workdir: plateaus("mod_p", workdir),
    "k_gram": k_gram,
    "positions": positions,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--workdir", default="runs/benchmark", help="where studies are run or read (%(default)s)")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(PARTS)}")
    result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    for name in options.parts:
        result[name] = PARTS[name](options.workdir) | {
            "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            "jax": jax.__version__,
            "python": platform.python_version(),
            "date": datetime.date.today().isoformat(),
        }
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps({name: result[name]}, indent=2))


if __name__ == "__main__":
    main()
