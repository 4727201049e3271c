"""`jaxscale construct`, and `jaxscale train` from what it wrote."""

import json

import jax
import numpy as np
import pytest

from jaxscale import cli
from jaxscale import constructions as con


def test_construct_then_train(tmp_path, capsys):
    out = tmp_path / "cone"
    arguments = ["construct", "cone", "--epsilon", "0.1", "--backend", "structured", "--points", "50"]
    assert cli.main([*arguments, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["measured"]["sup"] <= document["approximation_bound"] <= 0.1
    assert {path.name for path in out.iterdir()} >= {"certificate.json", "certificate.html", "model.safetensors"}
    trained = tmp_path / "trained"
    command = ["train", str(out), "--workdir", str(trained), "--steps", "20", "--parts", "readout", "--points", "64"]
    assert cli.main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["trained_error"] < 2 * summary["constructed_error"]
    first = con.load(trained)
    assert first.shape == con.load(out).shape
    assert cli.main([*command, "--json"]) == 0  # goes on from its last checkpoint, which is the end
    jax.tree.map(np.testing.assert_array_equal, con.load(trained).params, first.params)
    capsys.readouterr()
    assert cli.main([*command, "--seed", "1"]) == 2
    assert "seed=1 (there: 0)" in capsys.readouterr().err


def test_a_function_from_a_file_on_a_manifold(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("import numpy as np\n\ndef f(x):\n    return np.abs(x[:, 0])\n")
    arguments = [
        "construct",
        f"{tmp_path}/mine.py:f",
        "--on",
        "circle",
        "--width",
        "3",
        "--grid",
        "4",
        "--points",
        "50",
    ]
    assert cli.main([*arguments, "--constant", "1", "--backend", "structured", "--out", str(tmp_path / "net")]) == 0
    printed = capsys.readouterr().out
    assert "circle in R^3" in printed and "certificate.html" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--grid", "2"], "neither cone nor waves"),
        (["cone"], "one of grid and epsilon"),
        (["cone", "--grid", "2", "--beta", "-1"], "out of range"),
        (["cone", "--grid", "2", "--on", "moon"], "cube, circle"),
        (["cone", "--dim", "9", "--epsilon", "1e-3"], "bytes; limit"),
    ],
)
def test_bad_input_exits_with_2(arguments, message, tmp_path, capsys):
    assert cli.main(["construct", *arguments, "--out", str(tmp_path / "net")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "net").exists()


def test_a_cloud_in_a_file(tmp_path, capsys):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 600)
    np.save(tmp_path / "ring.npy", np.stack([np.cos(angle), np.sin(angle)], axis=1))
    arguments = ["construct", "waves", "--on", str(tmp_path / "ring.npy"), "--grid", "4", "--points", "50"]
    assert cli.main([*arguments, "--backend", "structured", "--out", str(tmp_path / "net"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["approximation_bound"] is None and document["measured"]["sup"] < 0.2
