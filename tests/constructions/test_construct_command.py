"""`jaxscale construct`."""

import json
import sys

import numpy as np
import pytest

from jaxscale import cli
from jaxscale import constructions as con


def test_construct_writes_what_can_be_loaded(tmp_path, capsys):
    out = tmp_path / "cone"
    arguments = ["construct", "cone", "--epsilon", "0.1", "--backend", "structured", "--points", "50"]
    assert cli.main([*arguments, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["measured"]["sup"] <= document["approximation_bound"] <= 0.1
    assert {path.name for path in out.iterdir()} >= {"certificate.json", "certificate.html", "model.safetensors"}
    assert con.load(out).notes == document["target"]


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
        (["cone"], "one of --grid and --epsilon"),
        (["cone", "--grid", "2", "--epsilon", "1"], "one of --grid and --epsilon"),
        (["cone", "--grid", "0"], "--grid 0 must be"),
        (["cone", "--epsilon", "nan"], "--epsilon nan must be"),
        (["cone", "--grid", "2", "--beta", "-1"], "--beta -1 must be"),
        (["cone", "--grid", "2", "--beta", "2", "--on", "circle"], "--beta 2 must be"),
        (["cone", "--grid", "2", "--constant", "inf"], "--constant inf must be"),
        (["cone", "--grid", "2", "--seed", "-1"], "--seed -1 must"),
        (["cone", "--grid", "2", "--points", "0"], "--points 0 must"),
        (["cone", "--grid", "2", "--dim", "0"], "--dim 0 must"),
        (["cone", "--grid", "2", "--dim", "4", "--on", "sphere"], "--dim 4 must be 1, 2 or 3"),
        (["cone", "--grid", "2", "--dim", "3", "--on", "torus"], "Leave --dim out"),
        (["cone", "--grid", "2", "--width", "3"], "Leave --width out"),
        (["cone", "--grid", "2", "--width", "1", "--on", "circle"], "--width 1 cannot hold"),
        (["cone", "--grid", "2", "--on", "moon"], "cube, circle"),
        (["cone", "--epsilon", "0.1", "--on", "mine.npy"], "Give --grid"),
        (["cone", "--epsilon", "0.1", "--beta", "1.5"], "--epsilon needs --constant"),
        (["cone", "--dim", "9", "--epsilon", "1e-3"], "--backend structured, or raise --limit"),
        (["cone", "--grid", "4", "--limit", "10"], "raise --limit"),
    ],
)
def test_bad_input_exits_with_2(arguments, message, tmp_path, capsys):
    assert cli.main(["construct", *arguments, "--out", str(tmp_path / "net")]) == 2
    said = capsys.readouterr().err
    assert message in said and "=" not in said.replace("N=", "")  # flags, not arguments of Python
    assert not list(tmp_path.iterdir())


def test_a_cloud_in_a_file(tmp_path, capsys):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 600)
    np.save(tmp_path / "ring.npy", np.stack([np.cos(angle), np.sin(angle)], axis=1))
    arguments = ["construct", "waves", "--on", str(tmp_path / "ring.npy"), "--grid", "4", "--points", "50"]
    assert cli.main([*arguments, "--backend", "structured", "--out", str(tmp_path / "net"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["approximation_bound"] is None and document["measured"]["sup"] < 0.2


def test_a_refuted_constant_fails_after_what_shows_it_is_written(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def f(x):\n    return abs(10 * x[:, 0] - 4.4)\n")
    arguments = ["construct", f"{tmp_path}/mine.py:f", "--grid", "4", "--points", "50", "--backend", "structured"]
    out = tmp_path / "net"
    assert cli.main([*arguments, "--constant", "1", "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert "is refuted" in printed.err and "Give --constant 10 or more" in printed.err
    assert "proved" not in printed.out and "safe" not in printed.out
    assert "✗</span> inconsistent" in (out / "certificate.html").read_text() and con.load(out)
    assert cli.main([*arguments, "--constant", "1", "--out", str(out), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["refuted"] and document["approximation_bound"] is None and document["refuted_bound"] == 0.125
    (out / "mine.txt").write_text("kept")
    assert cli.main([*arguments, "--constant", "10", "--out", str(out)]) == 0
    assert "1.25 proved" in capsys.readouterr().out
    assert json.loads((out / "certificate.json").read_text())["refuted"] == []
    assert (out / "mine.txt").read_text() == "kept" and not list(tmp_path.glob(".*.part"))


def test_a_failure_while_writing_leaves_no_folder(tmp_path, monkeypatch, capsys):
    """As with a package that is missing, or a full disk: what was written before is gone with it."""
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    arguments = ["construct", "cone", "--grid", "4", "--points", "20", "--backend", "structured"]
    with pytest.raises(ImportError):
        cli.main([*arguments, "--out", str(tmp_path / "deep" / "net")])
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_told_before_any_work(tmp_path, capsys):
    (tmp_path / "net").write_text("mine")
    assert cli.main(["construct", "cone", "--grid", "4", "--out", str(tmp_path / "net")]) == 2
    assert "a file has that name" in capsys.readouterr().err and (tmp_path / "net").read_text() == "mine"
