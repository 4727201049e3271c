"""How a training step grows: with parameters and with context, measured here; with devices, compiled ahead for TPUs.

python benchmarks/scale.py             # writes benchmarks/results/scale.json and docs/images/scale.png

Measured are medians of the step that `jaxscale train` runs, of a decoder of width 128 to 768 on 2048 tokens, and of one
of width 256 on sequences of 64 to 1024 of as many tokens, each beside its products at the matmul rate of the process.
Compiled ahead are `configs/gpt2_small.py` for 16 to 256 TPU v5e and `configs/decoder_7b.py` for 32 to 256 v5p (make
.venv/tpu; PYTHONPATH=.venv/tpu): the least a step can take by the roofline, and the memory of a device.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from jaxscale import memory

ROOT = pathlib.Path(__file__).parents[1]
TOKENS = 2048
WIDTHS, CONTEXTS = (128, 192, 256, 384, 512, 768), (64, 128, 256, 512, 1024)
AHEAD = {
    "gpt2_small": ("v5e", ("4x4", "4x8", "8x8", "8x16", "16x16")),
    "decoder_7b": ("v5p", ("2x4x4", "4x4x4", "4x4x8", "4x8x8")),
}


def measured(width, context, turns):
    """One row: seconds of a step, what its products alone would take, parameters."""
    import jax
    import numpy as np

    from jaxscale import config, sharding
    from jaxscale.models import matmul_flops_per_token
    from jaxscale.training import program, throughput

    batch, vocabulary = TOKENS // context, 256
    model = config.Decoder(layers=4, width=width, heads=width // 64, hidden=4 * width, context=context)
    run = config.Run(model=model, training=config.Training(batch_size=batch))
    made = program(run, vocabulary, sharding.make_mesh(config.Mesh(), jax.devices()[:1]))
    state = made.init(jax.random.key(0))
    tokens = np.random.default_rng(0).integers(0, vocabulary, (batch, context + 1), np.int32)
    seconds = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        state, _ = made.step(state, tokens, np.float32(1e-4))
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - start)
    products = 3 * matmul_flops_per_token(model, vocabulary) * TOKENS
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "width": width,
        "context": context,
        "tokens": TOKENS,
        "seconds": statistics.median(seconds[1:]),
        "products_seconds": products / throughput.peak_flops(jax.devices()[:1]),
    }


def ahead(name, chip, shape):
    """One row: what `jaxscale compile` finds."""
    command = [sys.executable, "-m", "jaxscale.cli", "compile", f"configs/{name}.py", "--json"]
    command += ["--topology", f"tpu:{chip}:{shape}"]
    said = subprocess.run(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stderr)
    facts = json.loads(said.stdout)
    memory, estimate = facts["memory"], facts["roofline"]
    return {
        "config": name,
        "topology": facts["topology"],
        "devices": facts["devices"],
        "parameters": facts["parameters"],
        "seconds": estimate["seconds"],
        "model_flops_utilization": estimate["model_flops_utilization"],
        "collectives_seconds": estimate["collectives_seconds"],
        "state_bytes": memory["params"] + memory["moments"],
        "total_bytes": memory["total"],
        "compile_seconds": facts["compile_seconds"],
    }


def draw(facts, path):
    """Three panels: against parameters, against context, against devices."""
    from plotly.subplots import make_subplots

    titles = ("parameters", "context (2048 tokens a step)", "devices: predicted time", "devices: compiled memory")
    figure = make_subplots(1, 4, subplot_titles=titles, horizontal_spacing=0.06)
    teal, blue, orange, gray = "#22a39a", "#2f7de1", "#d9772b", "#94a3b8"
    for column, (rows, axis) in enumerate(((facts["parameters"], "parameters"), (facts["context"], "context")), 1):
        x = [row[axis] for row in rows]
        for key, color, dash, title in (
            ("seconds", teal, "solid", "measured step"),
            ("products_seconds", gray, "dot", "its products at the matmul rate"),
        ):
            line = {"color": color, "dash": dash}
            figure.add_scatter(
                x=x, y=[r[key] for r in rows], name=title, line=line, showlegend=column == 1, row=1, col=column
            )
    for name, color in zip(AHEAD, (blue, orange), strict=True):
        rows = [row for row in facts["devices"] if row["config"] == name]
        if not rows:
            continue
        x, first = [row["devices"] for row in rows], rows[0]
        for column, key, unit in ((3, "seconds", 1), (4, "total_bytes", 2**30)):
            ideal = [first[key] / unit * first["devices"] / n for n in x]
            figure.add_scatter(
                x=x, y=ideal, name="1/devices", line={"color": gray, "dash": "dot"}, showlegend=False, row=1, col=column
            )
            label = f"{name}, {first['topology'].split(':')[1]}"
            shown = {"name": label, "showlegend": column == 3, "line": {"color": color}}
            figure.add_scatter(x=x, y=[row[key] / unit for row in rows], **shown, row=1, col=column)
    figure.update_xaxes(type="log", gridcolor="#e2e8f0")
    figure.update_yaxes(type="log", gridcolor="#e2e8f0")
    for column, title in enumerate(("seconds a step",) * 3 + ("GiB a device",), 1):
        figure.update_yaxes(title_text=title, row=1, col=column)
    for column, rows in ((2, facts["context"]), (3, facts["devices"]), (4, facts["devices"])):
        ticks = sorted({row["context" if column == 2 else "devices"] for row in rows})
        figure.update_xaxes(tickvals=ticks, ticktext=[str(tick) for tick in ticks], row=1, col=column)
    figure.update_layout(
        width=1500, height=420, plot_bgcolor="white", legend={"orientation": "h", "y": -0.15}, margin={"t": 40, "r": 20}
    )
    figure.write_image(path, scale=1.5)  # pip install 'jaxscale[png]'
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=("measured", "ahead"), help="leave the other part as it was")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "scale.json"))
    options = parser.parse_args()
    memory.use_huge_pages(keep=True)  # as the command does
    out = pathlib.Path(options.out)
    facts = json.loads(out.read_text()) if out.is_file() else {"parameters": [], "context": [], "devices": []}
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib")}
    facts |= {"command": "python benchmarks/scale.py", "date": datetime.date.today().isoformat(), "versions": versions}
    facts["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    if options.only != "ahead":
        facts["parameters"] = [measured(width, 256, options.turns) for width in WIDTHS]
        facts["context"] = [measured(256, context, options.turns) for context in CONTEXTS]
    if options.only != "measured":
        if importlib.util.find_spec("libtpu") is None:
            raise SystemExit(
                "the compiler for TPUs is missing: make .venv/tpu, then PYTHONPATH=.venv/tpu; or --only measured"
            )
        facts["devices"] = [ahead(name, chip, shape) for name, (chip, shapes) in AHEAD.items() for shape in shapes]
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(draw(facts, ROOT / "docs" / "images" / "scale.png"))


if __name__ == "__main__":
    main()
