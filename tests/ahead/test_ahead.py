"""What a step will take, found without the devices, is what the sharding implies."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from jaxscale import cli
from jaxscale import config as configs
from jaxscale.ahead import topologies
from jaxscale.ahead.mesh_search import choices, search
from jaxscale.ahead.step import compile_ahead
from jaxscale.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]
RUN = configs.Run(
    model=configs.Decoder(layers=2, width=64, heads=4, hidden=256, context=32),
    training=configs.Training(batch_size=16),
    tokenizer=configs.Tokenizer(kind="bpe", vocab_size=512),
    mesh=configs.Mesh(replica=1, fsdp=8),
)
needs_tpu_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the compiler for TPUs: make test-tpu"
)


@pytest.fixture(scope="module")
def ahead():
    return compile_ahead(RUN, topologies.describe("cpu:8"))


@pytest.mark.thorough
def test_memory_is_an_eighth_of_the_state_and_what_a_step_needs(ahead):
    memory = ahead["memory"]
    assert memory["params"] == 4 * ahead["parameters"] / 8
    assert memory["params"] + memory["moments"] <= memory["arguments"] < 1.1 * 3 * memory["params"] + 10_000
    assert memory["total"] >= memory["arguments"] + memory["temporary"] and memory["fits"]


@pytest.mark.thorough
def test_the_step_executes_the_model_s_products_and_little_else(ahead):
    share = ahead["flops"]["model"] / (8 * ahead["flops"]["executed_per_device"])
    # The model's count attention to all tokens, also those to come, of which plain attention leaves out some.
    assert 0.9 < share < 1.15


@pytest.mark.thorough
def test_parameters_are_gathered_and_gradients_summed_once(ahead):
    by_kind = {}
    for row in ahead["collectives"]:
        assert row["axes"] == "fsdp"
        by_kind[row["kind"]] = by_kind.get(row["kind"], 0) + row["bytes"]
    size = 4 * ahead["parameters"]
    # For the forward pass, and again for the backward pass where the compiler does not keep them.
    assert 0.9 * size < by_kind["all-gather"] < 2.6 * size
    assert 0.9 * size < by_kind.get("reduce-scatter", 0) + by_kind.get("all-reduce", 0) < 1.6 * size


def test_the_estimate_is_its_parts(ahead):
    estimate = ahead["roofline"]
    assert estimate["computation_seconds"] <= estimate["seconds"]
    assert max(estimate["products_seconds"], estimate["memory_seconds"]) <= estimate["computation_seconds"] * 1.0001
    assert 0 < estimate["model_flops_utilization"] <= 1
    assert estimate["tokens_per_second"] == pytest.approx(16 * 32 / estimate["seconds"])


def test_a_mesh_that_does_not_fit_is_refused_before_compilation():
    run = dataclasses.replace(RUN, mesh=configs.Mesh(replica=1, fsdp=3))
    with pytest.raises(InputError, match="does not fit 8 devices"):
        compile_ahead(run, topologies.describe("cpu:8"))
    run = dataclasses.replace(RUN, mesh=configs.Mesh(replica=1, fsdp=1, tensor=8))
    with pytest.raises(InputError, match=r"model\.heads=4 does not divide over mesh.tensor=8"):
        compile_ahead(run, topologies.describe("cpu:8"))


def test_all_meshes_that_divide_the_run_are_considered():
    topology = topologies.describe("cpu:8")
    meshes = {(c.mesh.replica, c.mesh.fsdp, c.mesh.context, c.mesh.tensor) for c in choices(RUN, topology)}
    # replica x fsdp divides the batch of 16, context the 32 tokens, tensor the 4 heads: of 20 factorizations one fails.
    assert len(meshes) == 19 and (1, 1, 1, 8) not in meshes


@pytest.mark.thorough
def test_a_search_returns_the_fastest_that_fits_first():
    shallow = dataclasses.replace(RUN, model=dataclasses.replace(RUN.model, layers=1))
    found = search(shallow, topologies.describe("cpu:8"), compiled=2)
    assert found["considered"] == 19 * 6
    seconds = [row["roofline"]["seconds"] for row in found["rows"]]
    assert seconds == sorted(seconds) and len(seconds) == 2
    for row in found["rows"]:
        assert f"--mesh.fsdp {row['mesh']['fsdp']} " in row["flags"]
    with pytest.raises(InputError, match="compiled=0 must be positive"):
        search(RUN, topologies.describe("cpu:8"), compiled=0)
    odd = dataclasses.replace(
        RUN, training=configs.Training(batch_size=1), model=dataclasses.replace(RUN.model, heads=1, context=31)
    )
    with pytest.raises(InputError, match="no mesh of its 8 devices divides"):
        search(odd, topologies.describe("cpu:8"))


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "jaxscale.cli", "compile", *arguments],
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def test_the_command_prints_facts_or_one_document(capsys):
    small = ["--model.layers", "1", "--model.width", "32", "--model.heads", "2", "--training.batch-size", "8"]
    config = str(ROOT / "configs/gpt2_small.py")
    assert cli.main(["compile", config, "--topology", "cpu:2", "--json", *small]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == 2
    assert cli.main(["compile", config, "--topology", "tpu:nonsense"]) == 2
    assert "topology='tpu:nonsense' is not understood" in capsys.readouterr().err


def compiled_for(config, topology, *flags):
    said = command(f"configs/{config}.py", "--topology", topology, "--json", *flags)
    assert said.returncode == 0, said.stderr[-2000:]
    return json.loads(said.stdout)


@needs_tpu_compiler
@pytest.mark.slow
def test_gpt2_on_sixteen_and_on_256_tpus():
    few, many = (compiled_for("gpt2_small", f"tpu:v5e:{shape}") for shape in ("4x4", "16x16"))
    assert few["memory"]["fits"] and many["memory"]["fits"]
    state = lambda facts: facts["memory"]["params"] + facts["memory"]["moments"]
    assert state(few) / state(many) == pytest.approx(16, rel=1e-3)
    # All that a device holds falls no slower than that.
    assert few["memory"]["total"] / many["memory"]["total"] > 16 * 0.9

    # In bfloat16 each parameter is gathered for the forward and the backward pass, and its gradient summed once.
    size = 2 * few["parameters"]
    rows = {row["kind"]: row["bytes"] for row in few["collectives"]}
    assert rows["all-gather"] == pytest.approx(2 * size, rel=0.02)
    assert rows["all-reduce"] + rows.get("reduce-scatter", 0) == pytest.approx(size, rel=0.02)
    # The embedding of each token is sent to where its row of the batch lies, and its gradient back.
    tokens = few["tokens_per_step"] / 16
    assert rows["all-to-all"] == pytest.approx(2 * 2 * tokens * 768, rel=0.02)


@needs_tpu_compiler
@pytest.mark.slow
def test_seven_billion_parameters_on_tpus_of_a_pod():
    few, many = (compiled_for("decoder_7b", f"tpu:v5p:{shape}") for shape in ("4x4x4", "4x4x8"))
    assert few["parameters"] == pytest.approx(6.74e9, rel=0.01)
    for facts in (few, many):
        assert facts["memory"]["fits"] and facts["roofline"]["model_flops_utilization"] > 0.6
    assert few["memory"]["total"] / many["memory"]["total"] == pytest.approx(2, rel=0.1)
    # Gathered for the forward pass, and for the backward pass that computes all again; gradients summed.
    weights = 2 * few["parameters"]
    assert sum(row["bytes"] for row in few["collectives"]) == pytest.approx(3 * weights, rel=0.03)
