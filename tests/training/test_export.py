"""A run of GPT-2's shape leaves as a folder that holds the same model and the same tokenizer."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxscale import cli, data, files, sharding, training
from jaxscale import config as configs
from jaxscale.models import gpt2, hidden_states


@pytest.fixture(scope="module")
def run(tiny_run):
    shape = dataclasses.replace(tiny_run.model, norm="layer", bias=True, positions="learned")
    return dataclasses.replace(tiny_run, model=shape)


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    (folder / "config.py").write_text(
        f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {run!r}\n"
    )
    assert cli.main(["train", str(folder / "config.py"), "--workdir", str(folder / "run"), "--json"]) == 0
    return folder / "run"


@pytest.mark.thorough
def test_what_is_exported_is_the_model_at_its_best_step(run, finished, tmp_path, capsys):
    assert cli.main(["export", str(finished), "--out", str(tmp_path / "out")]) == 0
    assert "in the format of GPT-2" in capsys.readouterr().out
    store = data.open_store(finished / "corpus")
    shared = training.program(run, 257, sharding.make_mesh(configs.Mesh(), jax.devices()[:1]))
    step = files.read_json(finished / "summary.json")["step"]
    params = training.restore_params(finished / "checkpoints", step, shared.abstract.params)
    read = gpt2.read(tmp_path / "out")
    tokens = np.arange(2 * 16).reshape(2, 16) % 257
    expected, found = (
        jax.jit(model.apply)({"params": params}, tokens)
        for model, params in ((shared.model, jax.device_get(params)), (read.model, read.params))
    )
    np.testing.assert_array_equal(found, expected)

    text = "def a_function(of_two, words):\n\treturn 'é'"
    model = hidden_states.pretrained(str(tmp_path / "out"))
    states = hidden_states.hidden_states(model, [text], tokens_per_document=1000)
    assert states.layers[1].shape[0] <= 16 and store.facts["vocab_size"] == 257


@pytest.mark.thorough
def test_a_run_that_is_no_gpt2_is_refused(tiny_run, finished, tmp_path, capsys):
    other = finished.parent / "other"
    other.mkdir()
    for name in ("summary.json", "config.json"):
        (other / name).write_bytes((finished / name).read_bytes())
    said = (other / "config.json").read_text().replace('"learned"', '"rotary"')
    (other / "config.json").write_text(said)
    (other / "corpus").symlink_to(finished / "corpus")
    assert cli.main(["export", str(other), "--out", str(tmp_path / "out")]) == 2
    assert "model.positions='rotary': GPT-2's format has no such thing" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_export_to_where_nothing_can_be_is_refused(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["export", str(finished), "--out", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be made" in capsys.readouterr().err
