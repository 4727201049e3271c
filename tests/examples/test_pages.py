"""The Python of README and docs runs as it is read: the blocks of a page after one another, in one namespace.

Numbers in the comment behind an expression are its value, and the exception shown below a block is what it raises.
"""

import ast
import dataclasses
import json
import math
import os
import re
import shutil
import tokenize
import tomllib
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxscale import lengths, testing, training
from tests.examples.blocks import PAGES, ROOT, blocks, only_bound

# Python is run here, commands are in `test_commands`; text is output or a picture.
LANGUAGES = {"python", "bash", "console", "text", "json", "toml"}
PARSERS = {"json": json.loads, "toml": tomllib.loads}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
# Of a comment that begins with a number, what stands before its first word.
NUMBERS = re.compile(rf"(?=-?\d)(?:{NUMBER.pattern}|[\s,;…±()\[\]]|between|and)+")

BLOCKS = [block for page in PAGES for block in blocks(page)]
WITH_PYTHON = sorted({block.page for block in BLOCKS if block.language == "python"})


def given(page, quick, monkeypatch):
    """What a page leaves to its reader. `quick`: in small, and without what computes for long."""
    key = jax.random.key(0)
    cloud = np.random.default_rng(0).uniform(size=(400, 5)).astype(np.float32)
    if page == "README.md":
        n = np.repeat(np.logspace(5, 7, 7), 2)
        return {"x": cloud, "key": key, "table": {"n": n, "loss": 1.5 + 30 * n**-0.3}}
    if page == "docs/dimension.md":
        n, load = 400 if quick else 8000, np.load
        monkeypatch.setattr(np, "load", lambda path: load(path)[:n])
        optimizer, params = optax.sgd(0.1), jnp.eye(5)
        return {
            "layers": np.stack([cloud, 2 * cloud]),
            "position": np.arange(n) % 2,
            "document": np.arange(n) // 4,
            "optax": optax,
            "optimizer": optimizer,
            "model": types.SimpleNamespace(apply=jnp.matmul),
            "cross_entropy": lambda hidden, batch: jnp.mean((hidden - 1) ** 2),
            "trained": (params, optimizer.init(params), jnp.asarray(cloud).reshape(8, 50, 5)),
        }
    if page == "docs/laws.md":
        compute = np.repeat(np.geomspace(1e19, 3e21, 5), 5)
        N = np.sqrt(compute / 120) * np.tile(np.geomspace(0.2, 5.0, 5), 5)
        D = compute / 6 / N
        loss = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.003 * np.random.default_rng(0).normal(size=25))
        np.savetxt("runs.csv", np.stack([N, D, loss], axis=1), "%.9g", ",", header="params,tokens,val/loss", comments="")
        return {"x": cloud, "y": cloud[:, 0]}
    if page == "docs/lengths.md":
        tokens, length = jax.random.randint(key, (256,), 0, 2), 256
        net = lengths.LimitTransformer(alphabet=2, period=1)
        params = net.init(key, tokens)["params"]
        f = lambda tokens, length: net.apply({"params": params}, tokens, length)
        names = {"jnp": jnp, "key": key, "net": net, "params": params, "tokens": tokens, "length": length}
        return names | {"f": f, "g": f}
    if page == "docs/scale.md":  # trained elsewhere: `tests/training/test_sweep.py`
        monkeypatch.setattr(training, "train_together", only_bound(training.train_together))
        return dict.fromkeys(["run", "faster", "store"])
    if page == "docs/testing.md" and quick:
        monkeypatch.setattr(testing, "check_estimator", only_bound(testing.check_estimator))
    if page == "docs/verdict.md":
        os.makedirs("runs/quickstart")
        shutil.copy(ROOT / "benchmarks/results/studies/ablation.json", "runs/quickstart/verdict.json")
    return {}


# What a page only defines is called after its last block.
CALLS = {
    "docs/dimension.md": "step(*trained)",
    "docs/testing.md": "test_twonn_is_finite_and_forgets_the_order()",
}
# Computed in small in the fast tests: these take long, and are as they are read in the slow ones.
LONG = ["docs/dimension.md", "docs/testing.md"]


def values(result):
    """The numbers that a result is made of."""
    if dataclasses.is_dataclass(result):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    elif isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [value for one in result for value in values(one)]
    try:
        return [float(value) for value in np.ravel(result)]
    except (TypeError, ValueError):
        return []


def told(text):
    """{last line: numbers as the comment at its end tells them}."""
    found = {}
    for token in tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__):
        if token.type == tokenize.COMMENT:
            numbers = NUMBERS.match(token.string.lstrip("# "))
            found[token.start[0]] = NUMBER.findall(numbers[0]) if numbers else []
    return found


def check(comment, result):
    """Every number of a comment is one of the result's, to the last digit that is told."""
    there = values(result)
    for number in comment:
        digits = len(number.partition(".")[2].partition("e")[0])
        unit = 10.0**-digits * 10.0 ** int(number.partition("e")[2] or 0)
        assert any(math.isclose(float(number), value, rel_tol=0, abs_tol=unit) for value in there), (number, there)


def run(block, names, compare):
    """Executes a block; in comments behind expressions, numbers are compared."""
    comments = told(block.text) if compare else {}
    for node in ast.parse(block.text).body:
        comment = comments.get(node.end_lineno)
        ast.increment_lineno(node, block.line)
        if isinstance(node, ast.Expr):
            result = eval(compile(ast.Expression(node.value), block.page, "eval"), names)
            check(comment or [], result)
        else:
            exec(compile(ast.Module([node], []), block.page, "exec"), names)


def run_page(page, quick, monkeypatch):
    names = {"__name__": "page"}
    names |= given(page, quick, monkeypatch)
    here = [block for block in BLOCKS if block.page == page]
    for block, after in zip(here, [*here[1:], None], strict=True):
        if block.language != "python" or block.not_run:
            continue
        error = after and after.language == "text" and re.match(r"(\w+Error): ", after.text)
        if error and not (quick and page in LONG):
            with pytest.raises(Exception, match=r"[\s\S]*") as raised:
                run(block, names, compare=True)
            assert f"{raised.type.__name__}: {raised.value}" == after.text.rstrip("\n"), str(block)
        else:
            run(block, names, compare=not (quick and page in LONG))
    exec(CALLS.get(page, ""), names)


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, True, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", LONG)
def test_the_python_of_a_page_runs_as_it_is_read(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, False, monkeypatch)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in PARSERS], ids=str)
def test_data_parses(block):
    PARSERS[block.language](block.text)


def test_every_block_says_what_it_is():
    unknown = [str(block) for block in BLOCKS if block.language not in LANGUAGES]
    assert not unknown, f"write one of {', '.join(sorted(LANGUAGES))} behind the three backticks of {unknown}"


def test_few_blocks_are_not_run_and_each_says_why():
    left_out = {str(block): block.not_run for block in BLOCKS if block.not_run}
    assert len(left_out) <= 3, left_out
    said = sum(page.read_text(encoding="utf-8").count("<!-- not run") for page in PAGES)
    assert said == len(left_out), "a comment <!-- not run: why --> stands on the line before its block"
