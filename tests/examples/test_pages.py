"""The Python of README and docs runs as it is read: the blocks of a page after one another, in one namespace.

Numbers in the comment behind an expression are its value, and the exception shown below a block is what it raises.
"""

import ast
import dataclasses
import functools
import json
import math
import pathlib
import re
import tokenize
import tomllib
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse

from jaxscale import laws, lengths, training
from tests.examples.blocks import PAGES, blocks, check_names, only_bound

# Python is run here, commands are in `test_commands`; text is output or a picture.
LANGUAGES = {"python", "bash", "console", "text", "json", "toml"}
PARSERS = {"json": json.loads, "toml": tomllib.loads}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")
# Of a comment that begins with a number, what stands before its first word.
NUMBERS = re.compile(rf"(?=-?\d)(?:{NUMBER.pattern}|[\s,;…±()\[\]]|between|and)+")

BLOCKS = [block for page in PAGES for block in blocks(page)]
WITH_PYTHON = sorted({block.page for block in BLOCKS if block.language == "python"})


def given(page, monkeypatch):
    """What a page leaves to its reader."""
    key = jax.random.key(0)
    cloud = np.random.default_rng(0).uniform(size=(400, 5)).astype(np.float32)
    if page == "README.md":
        n = np.repeat(np.logspace(5, 7, 7), 2)
        return {"x": cloud, "key": key, "table": {"n": n, "loss": 1.5 + 30 * n**-0.3}}
    if page == "docs/dimension.md":
        optimizer, params = optax.sgd(0.1), jnp.eye(5)
        matrix = np.linalg.norm(cloud[:, None] - cloud, axis=2)
        indices = np.argsort(matrix, axis=1)[:, :70]
        distances = np.take_along_axis(matrix, indices, axis=1)
        return {
            "matrix": matrix,
            "rows": np.arange(300),
            "indices": indices,
            "distances": distances,
            "squares": distances**2,
            "graph": scipy.sparse.csr_matrix(matrix),
            "layers": np.stack([cloud, 2 * cloud]),
            "position": np.arange(8000) % 2,
            "document": np.arange(8000) // 4,
            "optax": optax,
            "optimizer": optimizer,
            "model": types.SimpleNamespace(apply=lambda params, batch: batch @ params),
            "cross_entropy": lambda hidden, batch: jnp.mean((hidden - 1) ** 2),
            "trained": (params, optimizer.init(params), jnp.asarray(cloud).reshape(8, 50, 5)),
        }
    if page == "docs/laws.md":
        compute = np.repeat(np.geomspace(1e19, 3e21, 5), 5)
        N = np.sqrt(compute / 120) * np.tile(np.geomspace(0.2, 5.0, 5), 5)
        D = compute / 6 / N
        loss = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.003 * np.random.default_rng(0).normal(size=25))
        np.savetxt(
            "runs.csv", np.stack([N, D, loss], axis=1), "%.9g", ",", header="params,tokens,val/loss", comments=""
        )
        monkeypatch.setattr(laws, "fit", functools.partial(laws.fit, resamples=100))
        parted = {"n": np.tile(N, 2), "loss": np.tile(loss, 2), "dataset": np.repeat(["c4", "pile"], len(N))}
        size, data, lr = (x.ravel() for x in np.meshgrid([1e7, 1e8, 1e9], [1e9, 1e10], np.geomspace(1e-4, 1e-1, 13)))
        off = np.log(lr / (0.5 * size**-0.4 * data**0.1))
        sweep = {"N": size, "D": data, "lr": lr, "loss": 2 + 100 * size**-0.3 + 0.02 * off**2}
        return {"x": cloud, "y": cloud[:, 0], "parted": parted, "sweep": sweep}
    if page == "docs/planning.md":
        N = np.repeat(np.geomspace(2e7, 6e8, 6), 4)
        D = N * np.tile(np.geomspace(5, 80, 4), 6)
        train_one = lambda n, d: 1.7 + 400 * n**-0.34 + 410 * d**-0.28
        loss = train_one(N, D) * np.exp(0.003 * np.random.default_rng(0).normal(size=24))
        np.savetxt("pilot.csv", np.stack([N, D, loss], axis=1), "%.9g", ",", header="N,D,loss", comments="")
        monkeypatch.setattr(laws, "fit", functools.partial(laws.fit, resamples=100))
        return {"train_one": train_one, "other": {"N": N, "D": D, "loss": 0.99 * loss}}
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
    if page == "docs/verdict.md":
        number = {"name": "α", "value": 0.5, "interval": [0.4, 0.6], "predicted": 0.5}
        words = dict.fromkeys(["kind", "question", "sentence", "device"], "")
        lists = {"numbers": [number], "caveats": [], "limits": [], "stage_seconds": {}, "versions": {}}
        found = words | lists | {"agreement": None, "seconds": 1.0, "processor_seconds": 1.0}
        pathlib.Path("runs/text_loss").mkdir(parents=True)
        pathlib.Path("runs/text_loss/verdict.json").write_text(json.dumps(found))
    return {}


# What a page only defines is called after its last block.
CALLS = {
    "docs/dimension.md": "step(*trained)",
    "docs/testing.md": "test_twonn_is_finite_and_forgets_the_order()",
}
LEFT_TO_READERS = ["x", "y", "f", "g", "key", "net", "params", "tokens", "length", "layers", "position", "document"]
LEFT_TO_READERS += ["matrix", "rows", "distances", "indices", "squares", "graph"]
LEFT_TO_READERS += ["parted", "sweep", "jnp", "optax", "optimizer", "model", "cross_entropy", "train_one", "other"]
# These compute for long: the fast tests look at their names and calls, the slow ones run them.
LONG = [
    "docs/constructions.md",
    "docs/dimension.md",
    "docs/laws.md",
    "docs/lengths.md",
    "docs/planning.md",
    "docs/testing.md",
]


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
    """Every number in a comment is a number of the result, to the last digit shown."""
    there = values(result)
    for number in comment:
        digits = len(number.partition(".")[2].partition("e")[0])
        unit = 10.0**-digits * 10.0 ** int(number.partition("e")[2] or 0)
        assert any(math.isclose(float(number), value, rel_tol=0, abs_tol=unit) for value in there), (number, there)


def run(block, names):
    """Executes a block, and compares the numbers in comments behind expressions."""
    comments = told(block.text)
    for node in ast.parse(block.text).body:
        comment = comments.get(node.end_lineno)
        ast.increment_lineno(node, block.line)
        if isinstance(node, ast.Expr):
            result = eval(compile(ast.Expression(node.value), block.page, "eval"), names)
            check(comment or [], result)
        else:
            exec(compile(ast.Module([node], []), block.page, "exec"), names)


def run_page(page, names):
    here = [block for block in BLOCKS if block.page == page]
    for block, after in zip(here, [*here[1:], None], strict=True):
        if block.language != "python" or block.not_run:
            continue
        if after and after.language == "text" and re.match(r"\w+Error: ", after.text):
            with pytest.raises(Exception, match="") as raised:
                run(block, names)
            assert f"{raised.type.__name__}: {raised.value}" == after.text.rstrip("\n"), str(block)
        else:
            run(block, names)
    exec(CALLS.get(page, ""), names)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in LONG else []) for page in WITH_PYTHON]
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, {"__name__": "page"} | given(page, monkeypatch))


@pytest.mark.parametrize("page", LONG)
def test_the_names_of_a_longer_page_are_there(page):
    text = "\n".join(block.text for block in BLOCKS if block.page == page and block.language == "python")
    check_names(text, dict.fromkeys(LEFT_TO_READERS))


def test_numbers_in_comments_are_compared():
    assert told("f(x)  # 0.65, 1e7; 2.5 ± 0.1 between words\ng(x)  # 2β\nh(x)  # (n,)\n") == {
        1: ["0.65", "1e7", "2.5", "0.1"],
        2: [],
        3: [],
    }
    check(["0.65"], (0.654, "word"))
    with pytest.raises(AssertionError):
        check(["0.65"], 0.67)


def test_data_parses():
    for block in BLOCKS:
        if block.language in PARSERS:
            PARSERS[block.language](block.text)


def test_every_block_says_what_it_is():
    unknown = [str(block) for block in BLOCKS if block.language not in LANGUAGES]
    assert not unknown, f"write one of {', '.join(sorted(LANGUAGES))} behind the three backticks of {unknown}"


def test_few_blocks_are_not_run_and_each_says_why():
    left_out = {str(block): block.not_run for block in BLOCKS if block.not_run}
    assert len(left_out) <= 3, left_out
    said = sum(len(re.findall("^<!-- not run", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES)
    assert said == len(left_out), "a comment <!-- not run: why --> stands on the line before its block"
