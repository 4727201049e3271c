"""Training steps of the decoder against the same decoder in PyTorch, compiled, and against the matmul rate.

python benchmarks/training.py --torch ~/torch/bin/python   # writes benchmarks/results/training.json
python benchmarks/training.py --models gpt2 1.3B           # on a GPU, where one Python has both

Both take the same shapes, tokens and AdamW with clipped gradients, in float32 on a processor, in bfloat16 on a GPU with
the fused attention of each. Two processes take turns, a few steps each, and the ceiling is measured in between: large
square products in the precision of the model. Seconds are medians over the turns. On a processor they are seconds of
processor time, which other work on the machine disturbs less; `--threads` says how many of its cores either may use.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

MODELS = {  # layers, width, heads, hidden, context, vocabulary, sequences a step; steps a turn
    "3.3M": (4, 256, 4, 1024, 256, 256, 8, 2),
    "9.6M": (3, 512, 8, 2048, 256, 256, 8, 1),
    "gpt2": (12, 768, 12, 3072, 1024, 50304, 32, 10),
    "1.3B": (24, 2048, 16, 8192, 1024, 50304, 16, 4),
}
PEAK_SIDE = {"cpu": 1024, "gpu": 8192}


def floating_point_operations(shape):
    """Of one step's products, causal attention counted whole: the same number for both."""
    layers, width, _, hidden, context, vocabulary, batch, _ = shape
    per_token = layers * (8 * width**2 + 4 * width * hidden + 4 * context * width) + 2 * width * vocabulary
    return 3 * batch * context * per_token


class Jax:
    """Ours: the step that `jaxscale train` runs."""

    def __init__(self, shape):
        import jax
        import numpy as np

        from jaxscale import config, sharding
        from jaxscale.training import program

        layers, width, heads, hidden, context, vocabulary, batch, _ = shape
        self.jax, self.device = jax, jax.default_backend()
        gpu = self.device == "gpu"
        model = config.Decoder(layers=layers, width=width, heads=heads, hidden=hidden, context=context)
        model = {**vars(model), "positions": "learned", "dtype": "bfloat16" if gpu else "float32"}
        if gpu:
            model |= {"attention": "fused"}
        training = config.Training(
            batch_size=batch, remat="full" if width > 1024 else "none", loss_chunks=8 if gpu else 1
        )
        run = config.Run(model=config.Decoder(**model), training=training)
        self.program = program(run, vocabulary, sharding.make_mesh(config.Mesh(), jax.devices()[:1]))
        self.state = self.program.init(jax.random.key(0))
        tokens = np.random.default_rng(0).integers(0, vocabulary, (batch, context + 1), np.int32)
        self.tokens, self.rate = jax.device_put(tokens), np.float32(1e-4)
        self.name = f"jax {jax.__version__}"
        side = PEAK_SIDE[self.device]
        self.square = jax.numpy.ones((side, side), model["dtype"])
        self.multiply = jax.jit(lambda a: a @ a)

    def steps(self, count):
        for _ in range(count):
            self.state, values = self.program.step(self.state, self.tokens, self.rate)
        return float(values["train_loss"])

    def product(self):
        self.jax.block_until_ready(self.multiply(self.square))
        return 2 * len(self.square) ** 3


class Torch:
    """The peer: nanoGPT's way of writing it, `torch.compile`, fused AdamW and attention."""

    def __init__(self, shape):
        import torch
        from torch import nn
        from torch.nn import functional

        layers, width, heads, hidden, context, vocabulary, batch, _ = shape
        self.torch, self.device = torch, "gpu" if torch.cuda.is_available() else "cpu"
        at = "cuda" if self.device == "gpu" else "cpu"

        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.before_attention, self.before_mlp = nn.RMSNorm(width), nn.RMSNorm(width)
                self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
                self.up, self.down = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

            def forward(self, x):
                parts = self.qkv(self.before_attention(x)).split(width, dim=2)
                q, k, v = (p.view(*x.shape[:2], heads, -1).transpose(1, 2) for p in parts)
                mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
                return x + self.down(functional.gelu(self.up(self.before_mlp(x)), approximate="tanh"))

        class Decoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
                self.blocks, self.norm = nn.ModuleList(Block() for _ in range(layers)), nn.RMSNorm(width)
                for parameter in self.parameters():
                    if parameter.ndim == 2:
                        nn.init.normal_(parameter, std=0.02)

            def forward(self, tokens):
                x = self.embed(tokens[:, :-1]) + self.positions.weight
                for block in self.blocks:
                    x = block(x)
                logits = self.norm(x) @ self.embed.weight.T
                return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high" if self.device == "gpu" else "highest")
        self.model = Decoder().to(at)
        self.loss = torch.compile(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), 1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
        )
        self.tokens = torch.randint(0, vocabulary, (batch, context + 1), device=at)
        self.half = torch.autocast(at, torch.bfloat16, enabled=self.device == "gpu")
        self.name = f"torch {torch.__version__}"

    def steps(self, count):
        for _ in range(count):
            self.optimizer.zero_grad(set_to_none=True)
            with self.half:
                loss = self.loss(self.tokens)
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return loss.item()


def work(framework, model):
    """Serves the measuring process: a line in, seconds of one turn out."""
    if framework == "jax":
        from jaxscale import memory

        memory.use_huge_pages(keep=True)  # as the command does
    worker = {"jax": Jax, "torch": Torch}[framework](MODELS[model])
    clock = time.perf_counter if worker.device == "gpu" else time.process_time
    count = MODELS[model][-1]
    worker.steps(2)
    print(json.dumps({"name": worker.name, "device": worker.device}), flush=True)
    for _ in sys.stdin:
        start, by_the_wall = clock(), time.perf_counter()
        loss = worker.steps(count)
        said = {"seconds": (clock() - start) / count, "loss": loss}
        said["wall"] = (time.perf_counter() - by_the_wall) / count
        if framework == "jax":
            worker.product()
            start = clock()
            operations = worker.product()
            said["matmul"] = operations / (clock() - start)
        print(json.dumps(said), flush=True)


def started(python, framework, model, threads):
    """A worker process that has compiled, and what it says of itself."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    command = [python, __file__, "--worker", framework, "--models", model]
    if threads and hasattr(os, "sched_setaffinity"):
        command = ["taskset", "-c", f"0-{threads - 1}", *command]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{framework} did not start; give its Python with --torch")
    return process, json.loads(line)


def turn(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def measure(model, options):
    """One row: medians over turns of both, and their ratio."""
    (ours, us), (theirs, them) = (
        started(python, framework, model, options.threads)
        for python, framework in ((sys.executable, "jax"), (options.torch, "torch"))
    )
    turns = [(turn(ours), turn(theirs)) for _ in range(options.turns)]
    for process in (ours, theirs):
        process.stdin.close()
        process.wait()
    shape = MODELS[model]
    tokens, operations = shape[6] * shape[4], floating_point_operations(shape)
    mine, peers = (statistics.median(t[side]["seconds"] for t in turns) for side in (0, 1))
    ceiling = statistics.median(t[0]["matmul"] for t in turns)
    return {
        "model": model,
        "device": us["device"],
        "ours": us["name"],
        "peer": them["name"],
        "tokens_per_second": tokens / mine,
        "peer_tokens_per_second": tokens / peers,
        "ratio": statistics.median(t[1]["seconds"] / t[0]["seconds"] for t in turns),
        "wall_tokens_per_second": tokens / statistics.median(t[0]["wall"] for t in turns),
        "wall_ratio": statistics.median(t[1]["wall"] / t[0]["wall"] for t in turns),
        "matmul_rate": ceiling,
        "share_of_matmul_rate": operations / mine / ceiling,
        "losses": [turns[-1][0]["loss"], turns[-1][1]["loss"]],
        "turns": options.turns,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["3.3M", "9.6M"])
    parser.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch (default: this one)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="cores either may use (default: all)")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--out", default=str(pathlib.Path(__file__).parent / "results" / "training.json"))
    parser.add_argument("--worker", choices=("jax", "torch"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker, options.models[0])
    rows = []
    for model in options.models:
        rows.append(row := measure(model, options))
        print(
            f"{row['model']:5} {row['tokens_per_second']:9,.0f} tokens/s, {row['ratio']:.2f} × {row['peer']}, "
            f"{row['wall_ratio']:.2f} × by the wall clock, "
            f"{row['share_of_matmul_rate']:.0%} of the matmul rate",
            flush=True,
        )
    facts = {
        "command": "python benchmarks/training.py",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {options.threads} threads",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")},
        "rows": rows,
    }
    pathlib.Path(options.out).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
