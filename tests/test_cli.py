"""The command as a user runs it: real processes, exit codes, what lies on standard output."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jaxscale import cli, files

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def config_file(tiny_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(f"from jaxscale.config import *\nconfig = {tiny_run!r}\n")
    return path


def jaxscale(*arguments, before=(), **options):
    command = [*before, sys.executable, "-m", "jaxscale.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, **options)


@pytest.fixture(scope="session")
def trained(config_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    return folder, jaxscale("train", config_file, "--workdir", folder, "--json")


def test_train_prints_one_json_document_and_keeps_progress_apart(trained):
    _, done = trained
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == 12
    assert "reading corpus 'files'" in done.stderr


def test_embed_then_dimension(trained, tmp_path, capsys):
    folder, _ = trained
    out = tmp_path / "embeddings.npy"
    assert cli.main(["embed", str(folder), "--out", str(out), "--points", "120", "--layer", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layer"] == 0
    assert np.load(out).shape == (120, 16)
    points = tmp_path / "square.npy"
    np.save(points, np.random.default_rng(0).uniform(size=(2000, 2)))
    assert cli.main(["dimension", str(points), "--k", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dimension"] == pytest.approx(2, rel=0.1)
    assert cli.main(["dimension", str(points), "--k", "3000"]) == 2
    assert "k=3000 needs more than 3000 points" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be read as .npy"), (np.array(["a", "b"]), "holds <U1"), ({"x": np.ones(3)}, "holds an archive")],
    ids=["empty", "strings", "archive"],
)
def test_dimension_of_what_is_no_cloud_is_refused(content, message, tmp_path, capsys):
    path = tmp_path / "points.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with open(path, "wb") as file:
            np.savez(file, **content) if isinstance(content, dict) else np.save(file, content)
    assert cli.main(["dimension", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_mistyped_corpus_leaves_no_mark_on_the_folder(config_file, tmp_path, capsys):
    folder = tmp_path / "run"
    mistyped = ["--corpus.path", str(tmp_path / "none")]
    assert cli.main(["train", str(config_file), "--workdir", str(folder), *mistyped]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert cli.main(["train", str(config_file), "--workdir", str(folder), "--json"]) == 0


def test_two_commands_do_not_work_in_one_folder(config_file, tmp_path, capsys):
    with files.workplace(tmp_path):
        assert cli.main(["train", str(config_file), "--workdir", str(tmp_path)]) == 2
    assert "another process works in workdir" in capsys.readouterr().err


def test_fit_refuses_lines_that_are_no_rows(tmp_path, capsys):
    (tmp_path / "runs.jsonl").write_text("[1, 2]\n")
    assert cli.main(["fit", str(tmp_path / "runs.jsonl")]) == 2
    assert "a line is not a JSON object" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["runs.csv", "runs.jsonl"])
def test_fit_reads_tables(name, tmp_path, capsys):
    n = [10**i for i in range(2, 8)]
    rows = [{"n": k, "loss": 1.5 + 20 * k**-0.4} for k in n]
    text = (
        "n,loss\n" + "".join(f"{r['n']},{r['loss']}\n" for r in rows)
        if name.endswith("csv")
        else "\n".join(map(json.dumps, rows))
    )
    (tmp_path / name).write_text(text)
    assert cli.main(["fit", str(tmp_path / name), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["exponent"]["estimate"] == pytest.approx(0.4, rel=1e-4)


def test_dry_run_of_the_papers_setting_downloads_nothing():
    done = jaxscale(
        "train",
        "configs/openwebtext_gpt2.py",
        "--dry-run",
        "--json",
        env={"HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert 123e6 < facts["parameters"] < 126e6
    assert facts["tokens_per_step"] == 491_520
    shapes = {row["parameter"]: row["shape"] for row in facts["table"]}
    assert shapes["embed"] == [50257, 768]
    # Parameters and two moments in float32, and gradients
    assert facts["memory"]["parameters"] * 4 <= facts["memory"]["total"]


def test_dry_run_memory_falls_with_the_mesh():
    report = lambda *mesh: json.loads(
        jaxscale(
            "train",
            "configs/openwebtext_gpt2.py",
            "--dry-run",
            "--json",
            *mesh,
            env={"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"},
        ).stdout
    )["memory"]["total"]
    assert report() < report("--mesh.replica", "8", "--mesh.fsdp", "1")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "configs/quickstrat.py", "--workdir", "x"], 2, "Did you mean configs/quickstart.py"),
        (["train", "configs/quickstart.py"], 2, "--workdir is needed"),
        (["train", "configs/quickstart.py", "--workdir", "x", "--trainning.steps", "5"], 2, "--training.steps"),
        (
            ["train", "configs/quickstart.py", "--workdir", "x", "--training.steps", "0"],
            2,
            "training.steps=0 must be positive",
        ),
        (["study", "configs/quickstart.py", "--workdir", "/dev/null/x"], 2, "workdir='/dev/null/x' cannot be used"),
        (["dimension", "none.npy"], 2, "file='none.npy' cannot be read"),
        (["fit", "none.csv"], 2, "file='none.csv' cannot be read"),
        (["report", "none"], 2, "none"),
        (["embed", "none", "--out", "x.npy"], 2, "holds no finished run"),
        (["fit", "none.csv", "--unknown"], 2, "unrecognized arguments: --unknown"),
    ],
)
def test_bad_input_exits_with_2_and_says_what_to_do(arguments, code, message, capfd, monkeypatch):
    monkeypatch.chdir(ROOT)
    try:
        assert cli.main(arguments) == code
    except SystemExit as stop:
        assert stop.code == code
    captured = capfd.readouterr()
    assert message in captured.err
    assert not captured.out


def test_config_of_one_device_is_refused_on_a_mesh_that_does_not_divide_it(config_file, tmp_path, capsys):
    assert cli.main(["train", str(config_file), "--workdir", str(tmp_path / "x"), "--training.batch-size", "6"]) == 2
    assert "training.batch_size=6 does not divide over replica × fsdp = 8 devices" in capsys.readouterr().err


def test_folder_of_another_run_is_refused(trained, config_file, capsys):
    folder, _ = trained
    assert cli.main(["train", str(config_file), "--workdir", str(folder), "--seed", "5"]) == 2
    assert "holds another configuration: seed=5 (there: 0)" in capsys.readouterr().err


def test_nan_exits_with_1_and_names_the_step(config_file, tmp_path, capsys):
    assert cli.main(["train", str(config_file), "--workdir", str(tmp_path), "--optimizer.learning-rate", "1e38"]) == 1
    assert "not finite at step 0; no state was saved. Lower optimizer.learning_rate=1e+38" in capsys.readouterr().err


@pytest.mark.parametrize(("kilobytes", "place"), [(100, "corpus"), (20, "checkpoints")])
def test_full_disk_exits_with_1_and_the_same_command_goes_on(kilobytes, place, config_file, trained, tmp_path):
    command = ["train", config_file, "--workdir", tmp_path, "--json", "--model.width", "64", "--model.hidden", "128"]
    if place == "checkpoints":
        assert jaxscale(*command).returncode == 0
        shutil.rmtree(tmp_path / "checkpoints")
        (tmp_path / "summary.json").unlink()
    # The system itself refuses to let any file grow beyond the limit, as it does when the disk is full.
    small = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash"]
    refused = jaxscale(*command, before=small)
    assert refused.returncode == 1
    assert f"jaxscale train: the disk is full: cannot write '{tmp_path / place}'" in refused.stderr
    done = jaxscale(*command)
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == 12


def test_help_of_a_config_shows_its_fields(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", str(ROOT / "configs/quickstart.py"), "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert "example: jaxscale study" in text
    assert "--run.optimizer.learning-rate" in text
