"""The command as a user runs it: real processes, exit codes, what lies on standard output."""

import html
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jaxscale import cli, data, files, verdict
from jaxscale.dimension.figures import layer_figure

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="session")
def config_file(tiny_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {tiny_run!r}\n")
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
    said = json.loads(done.stdout)
    assert said["steps"] == 12 and said["corpus"]["documents_read"] == 61 and said["corpus"]["skipped"] == {}
    assert "reading corpus 'files'" in done.stderr
    assert done.stderr.count("61 documents read, of which 1 duplicate") == 1


@pytest.mark.thorough
def test_embed_then_dimension(trained, tmp_path, capsys):
    folder, _ = trained
    out = tmp_path / "embeddings.npy"
    assert cli.main(["embed", str(folder), "--out", str(out), "--points", "120", "--layer", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layer"] == 0
    assert np.load(out).shape == (120, 16)
    assert cli.main(["dimension", str(out), "--k", "10", "--estimators", "twonn", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clouds"][0]["estimates"][0]["dimension"] > 0


@pytest.fixture
def square(tmp_path, monkeypatch):
    """A square of 1200 points with one duplicate, as a file in the working folder."""
    monkeypatch.chdir(tmp_path)
    points = np.random.default_rng(0).uniform(size=(1200, 2)).astype(np.float32)
    points[7] = points[8]
    np.save("square.npy", points)
    np.savez("square.npz", points=points, label=np.ones(1200))
    return "square.npy"


@pytest.mark.thorough
def test_dimension_of_files_by_several_estimators(square, capsys):
    archive = square.replace("npy", "npz")
    assert cli.main(["dimension", archive, archive, "--array", "points", "--estimators", "mle,twonn", "--json"]) == 0
    captured = capsys.readouterr()
    measured = json.loads(captured.out)
    assert f"cloud 2/2: {archive}" in captured.err
    assert (measured["k"], measured["metric"]) == (20, "euclidean")
    for cloud in measured["clouds"]:
        assert cloud["cloud"] == archive and cloud["shape"] == [1200, 2] and "profiles" not in cloud
        assert [estimate["estimator"] for estimate in cloud["estimates"]] == ["mle", "twonn"]
        for estimate in cloud["estimates"]:
            assert estimate["points_used"] == 1199 and estimate["duplicates_collapsed"] == 1
            # Four standard errors of TwoNN, at 1200 points 3% each.
            assert estimate["dimension"] == pytest.approx(2, rel=0.12)
            low, high = estimate["interval"]
            assert low < estimate["dimension"] < high


PLOTTED = ["--estimators", "twonn", "--scales", "decimation", "--k", "4", "--max-points", "1000"]


@pytest.mark.thorough
def test_dimension_prints_a_table_and_draws_its_plot(square, capsys):
    assert cli.main(["dimension", square, *PLOTTED, "--plot", "scales.html"]) == 0
    out = capsys.readouterr().out
    # The duplicate's rows are drawn both, one of them or neither.
    assert "twonn" in out and ("1,000" in out or "999" in out) and "Plot: scales.html" in out
    assert "twonn: plateau at d = " in out or "twonn: no plateau" in out
    page = pathlib.Path("scales.html").read_text()
    assert page.startswith("<!doctype html>") and "figure-scale" in page and "plotly.js v" in page


@pytest.mark.thorough
def test_dimension_of_a_models_layers(tiny_model, text_folder, tmp_path, capsys):
    arguments = ["--model", tiny_model, "--text", str(text_folder), "--layers", "0,-1", "--max-points", "300"]
    options = ["--estimators", "mle", "--tokens-per-document", "10", "--largest-k", "4"]
    plot = tmp_path / "layers.html"
    assert cli.main(["dimension", *arguments, *options, "--plot", str(plot), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    clouds = measured["clouds"]
    assert [(cloud["cloud"], cloud["layer"]) for cloud in clouds] == [("layer 0", 0), ("layer 2", 2)]
    assert all(cloud["shape"] == [300, 16] for cloud in clouds)
    # The 64 positions and few letters make rows that repeat.
    repeated = clouds[0]["estimates"][0]["duplicates_collapsed"]
    said = [caveat["text"] for caveat in measured["caveats"] if caveat["code"] == "tokens_repeat"]
    assert repeated > 0 and len(said) == 1 and f"layer 0: {repeated} of 300 rows repeat another" in said[0]
    assert "figure-layers" in plot.read_text()


def test_layers_are_drawn_with_their_intervals_calibrated_where_they_were():
    read = {"estimator": "mle", "dimension": 3.0, "interval": [2.0, 5.0]}
    calibrated = read | {"calibrated": {"dimension": 4.0, "interval": [math.nan, 4.5]}}
    clouds = [{"layer": 0, "estimates": [read]}, {"layer": 6, "estimates": [calibrated]}]
    band, line = layer_figure(clouds, "layer").data
    assert (line.x, line.y, line.name) == ((0, 6), (3.0, 4.0), "mle")
    # Where an end is not known the band ends at the reading.
    assert (band.x, band.y) == ((0, 6, 6, 0), (5.0, 4.5, 4.0, 2.0))


@pytest.fixture
def layers(tmp_path, monkeypatch):
    """Hidden states (B, T, D) of three layers, of one, two and three dimensions, and the labels of their sequences."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    turn = lambda d: rng.uniform(size=(12, 25, d)) @ rng.normal(size=(d, 6))
    states = {"embed": turn(1), "block_1": turn(2), "block_2": turn(3)}
    np.savez(
        "states.npz", labels=np.repeat(np.arange(12), 25), **{name: x.astype(np.float32) for name, x in states.items()}
    )
    return "states.npz"


AS_LAYERS = ["--by", "layer", "--estimators", "mle", "--k", "4", "--json"]


@pytest.mark.thorough
def test_dimension_by_layer_of_a_file(layers, capsys):
    """With sequences as documents, a note that holds for several layers once, and a page that is small."""
    assert cli.main(["dimension", layers, *AS_LAYERS, "--plot", "layers.html", "--largest-k", "16"]) == 0
    concluded = json.loads(capsys.readouterr().out)
    clouds = concluded["clouds"]
    names = ["layer 0 (embed)", "layer 1 (block_1)", "layer 2 (block_2)"]
    assert [(cloud["cloud"], cloud["layer"], cloud["shape"]) for cloud in clouds] == [
        (name, place, [300, 6]) for place, name in enumerate(names)
    ]
    read = [cloud["estimates"][0]["dimension"] for cloud in clouds]
    assert abs(read[0] - 1) < 0.3 and read[0] + 0.4 < read[1] < read[2] - 0.2
    page = pathlib.Path("layers.html").read_text()
    assert "figure-layers-0-wide" in page and page.count("figure-scale-0-") == 3
    assert "<script" not in page and len(page) < 100_000


@pytest.mark.thorough
def test_layers_of_several_runs_and_rows_drawn_alike(layers, capsys):
    np.save("other.npy", np.stack([np.load(layers)[name] for name in ("block_1", "block_2")]))
    command = ["dimension", layers, "other.npy", *AS_LAYERS]
    assert cli.main([*command, "--plot", "both.html", "--largest-k", "8", "--max-points", "200"]) == 0
    clouds = json.loads(capsys.readouterr().out)["clouds"]
    assert [(cloud["run"], cloud["layer"]) for cloud in clouds] == [
        *((layers, place) for place in range(3)),
        *(("other.npy", place) for place in range(2)),
    ]
    assert clouds[1]["estimates"] == clouds[3]["estimates"]
    assert pathlib.Path("both.html").read_text().count("Dimension by layer, ") == 2
    with_labels = ["dimension", layers, *AS_LAYERS, "--groups", "labels", "--array", "block_1,block_2"]
    assert cli.main(with_labels) == 0
    assert len(json.loads(capsys.readouterr().out)["clouds"]) == 2


@pytest.mark.thorough
def test_groups_make_errors_of_documents(square, capsys):
    """A column of the file, which then is none of the points, or a file of labels."""
    points = np.load(square)
    documents = (points[:, 0] * 20).astype(int)
    rows = "\n".join(f"{x!r},{y!r},doc{d}" for (x, y), d in zip(points.tolist(), documents, strict=True))
    pathlib.Path("points.csv").write_text(f"a,b,document\n{rows}\n")
    pathlib.Path("labels.txt").write_text("".join(f"doc{d}\n" for d in documents))
    errors = []
    for groups in (["points.csv", "--groups", "document"], [square, "--groups", "labels.txt"], [square]):
        assert cli.main(["dimension", *groups, "--estimators", "mle", "--k", "4", "--json"]) == 0
        (cloud,) = json.loads(capsys.readouterr().out)["clouds"]
        assert cloud["shape"] == [1200, 2]
        errors.append(cloud["estimates"][0]["standard_error"])
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-3)
    assert errors[0] >= errors[2]


@pytest.mark.thorough
def test_texts_are_colored_by_the_dimension_around_their_tokens(tiny_model, text_folder, tmp_path, capsys):
    arguments = [
        "dimension",
        "--model",
        tiny_model,
        "--text",
        str(text_folder),
        "--layers",
        "-1",
        "--max-points",
        "200",
    ]
    page = tmp_path / "tokens.html"
    assert cli.main([*arguments, "--estimators", "mle", "--context", "64", "--tokens", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clouds"][0]["shape"] == [200, 16]
    written = page.read_text()
    assert written.count("<details open>") == 1 and "<script" not in written
    assert written.count('title="d = ') + written.count("no reading") > 150
    shown = html.unescape(re.sub(r"<[^>]*>", "", re.search(r'<p class="strip">(.*?)</p>', written, re.DOTALL)[1]))
    assert any(text.read_text().startswith(shown) for text in text_folder.iterdir())
    assert cli.main([*arguments, "--tokens", "tokens.pdf"]) == 2
    assert "--tokens tokens.pdf must be a page" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "grammar"])
def test_texts_have_names_and_a_default(text, tiny_model, monkeypatch):
    read = []
    monkeypatch.setattr(data, "documents", lambda corpus: read.append(corpus.kind) or iter(()))
    assert cli.main(["dimension", "--model", tiny_model, *(["--text", text] if text else [])]) == 2
    assert read == [text or "reference"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name files of points, or --model NAME with --text NAME"),
        (["FILE", "--model", "m"], "one of the two"),
        (["--model", "no/such/m.gguf"], "model='no/such/m.gguf'"),
        (["FILE", "--k", "3000"], "square.npy: k=3000 needs more than 3000 points"),
        (["FILE", "--estimators", "mle,best"], "estimator='best' is not known. There are "),
        (["FILE", "--max-points", "0"], "--max-points 0 must be positive"),
        (["FILE", "--seed", "-1"], "--seed -1 must lie between"),
        (["FILE", "--largest-k", "3", "--scales", "neighbors"], "--largest-k 3 must be at least 4"),
        (["FILE", "--plot", "x.pdf"], "plot='x.pdf' must end in .html or .png"),
        (["FILE", "--plot", "none/x.html"], "plot='none/x.html' cannot be a file there"),
        (["FILE", "--array", "x"], "array='x' cannot be chosen"),
        (["FILE", "--by", "layer"], "holds one cloud of shape (1200, 2), and no layers"),
        (["FILE", "--groups", "x"], "groups='x' is no file, and file="),
        (["--model", "m", "--by", "layer"], "Leave --by and --groups out"),
        (["FILE", "--tokens", "x.html"], "--tokens colors the tokens of a text"),
    ],
)
def test_dimension_refuses_what_it_cannot_use(arguments, message, square, capsys):
    assert cli.main(["dimension", *(square if argument == "FILE" else argument for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((9, 2)), "bad.npy: k=20 needs more than 20 points"),
        (np.full((40, 2), np.nan), "bad.npy: x has 40 rows with nan or infinity"),
        (np.zeros((2, 2, 40, 3)), "bad.npy: x must hold one point per row"),
    ],
)
def test_dimension_looks_at_every_file_before_it_measures_one(points, message, square, capsys, monkeypatch):
    np.save("bad.npy", points)
    from jaxscale.dimension import summary

    monkeypatch.setattr(summary, "neighborhoods", None)  # which measuring would call
    assert cli.main(["dimension", square, "bad.npy"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and not captured.out


def test_dimension_keeps_what_it_measured_before_an_error(square, capsys):
    np.save("bad.npy", np.ones((40, 2)))  # which only measuring finds out
    arguments = ["dimension", square, "bad.npy", "--plain", "--estimators", "twonn"]
    assert cli.main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    concluded = json.loads(captured.out)
    (cloud,) = concluded["clouds"]
    assert cloud["cloud"] == square and cloud["estimates"][0]["points_used"] == 1199
    assert verdict.check(concluded).caveats[0].code == "incomplete"
    assert "bad.npy: k=20 needs more than 20 distinct points" in captured.err
    assert cli.main(arguments) == 2
    assert "twonn" in capsys.readouterr().out


@pytest.mark.thorough
def test_dimension_prints_before_a_plot_fails(square, capsys, monkeypatch):
    from jaxscale.dimension import page
    from jaxscale.errors import RunError

    def fail(*_):
        raise RunError("plot='x.html' cannot be drawn.")

    monkeypatch.setattr(page, "write_plot", fail)
    assert cli.main(["dimension", square, *PLOTTED, "--plot", "x.html"]) == 1
    captured = capsys.readouterr()
    assert "twonn" in captured.out and "cannot be drawn" in captured.err


def test_dimension_remarks_on_what_numbers_do_not_say(square, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    points = np.load(square)
    points[100:130] = np.nextafter(points[200:230], np.float32(9))
    np.save(square, points)
    assert cli.main(["dimension", square, "--estimators", "twonn,local_pca"]) == 0
    out = capsys.readouterr().out
    assert "square.npy: 30 of 1200 rows repeat another row up to rounding; each point counts once." in out
    assert "square.npy, local_pca: 2 has no interval" in out and "[—, —]" in out


def test_dimension_drops_what_is_not_finite_on_request(square, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # else the table folds the words sought
    points = np.load(square)
    points[3] = np.nan
    np.save(square, points)
    assert cli.main(["dimension", square, "--estimators", "twonn"]) == 2
    assert "x has 1 row with nan or infinity (the first is row 3)" in capsys.readouterr().err
    assert cli.main(["dimension", square, "--estimators", "twonn", "--nonfinite", "drop"]) == 0
    assert "1 duplicate, 1 not finite" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_picture_without_its_package_names_the_extra(square, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    assert cli.main(["dimension", square, "--plot", "x.png"]) == 2
    assert "pip install 'jaxscale[png]'" in capsys.readouterr().err


@pytest.mark.thorough
def test_a_mistyped_corpus_leaves_no_mark_on_the_folder(config_file, tmp_path, capsys):
    folder = tmp_path / "run"
    mistyped = ["--corpus.path", str(tmp_path / "none")]
    assert cli.main(["train", str(config_file), "--workdir", str(folder), *mistyped]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert cli.main(["train", str(config_file), "--workdir", str(folder), "--json"]) == 0


def test_a_mesh_that_does_not_fit_is_told_before_the_corpus_is_read(config_file, tmp_path, capsys):
    misfit = ["--mesh.replica", "1", "--mesh.tensor", "8"]
    assert cli.main(["train", str(config_file), "--workdir", str(tmp_path), *misfit]) == 2
    assert "model.heads=2 does not divide over mesh.tensor=8" in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


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
    assert cli.main(["fit", str(tmp_path / name), "--resamples", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["alpha"]["estimate"] == pytest.approx(0.4, rel=1e-4)


@pytest.mark.thorough
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


def test_dry_run_memory_falls_with_the_mesh(capsys):
    def total(*mesh):
        # Of two layers: on each device lies as small a share of twelve.
        command = ["train", str(ROOT / "configs/openwebtext_gpt2.py"), "--dry-run", "--json", "--model.layers", "2"]
        assert cli.main([*command, *mesh]) == 0
        return json.loads(capsys.readouterr().out)["memory"]["total"]

    assert total() < total("--mesh.replica", "8", "--mesh.fsdp", "1")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "configs/quickstrat.py", "--workdir", "x"], 2, "Did you mean configs/quickstart.py"),
        (["train", "configs/text_loss.py"], 2, "--workdir is needed"),
        (["train", "configs/text_loss.py", "--workdir", "x", "--trainning.steps", "5"], 2, "--training.steps"),
        (
            ["train", "configs/text_loss.py", "--workdir", "x", "--training.steps", "0"],
            2,
            "training.steps=0 must be positive",
        ),
        (["study", "configs/text_loss.py", "--workdir", "/dev/null/x"], 2, "workdir='/dev/null/x' cannot be used"),
        (["dimension", "none.npy"], 2, "file='none.npy' cannot be read"),
        (["fit", "none.csv"], 2, "file 'none.csv' cannot be read"),
        (
            ["fit", "none.csv", "--dimension", "-1"],
            2,
            "fit: --dimension -1.0 is out of range. Pass a finite --dimension",
        ),
        (["fit", "none.csv", "--dimension", "8", "9", "7"], 2, "fit: --dimension 8 9 7: the interval does not hold"),
        (["fit", "none.csv", "--dimension", "8", "--beta", "2"], 2, "fit: --beta 2.0 is out of range"),
        (["fit", "none.csv", "--compare", "dat"], 2, "fit: --compare 'dat' is unknown; did you mean 'data'"),
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


QUICKSTART = ["train", "configs/text_loss.py"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*QUICKSTART, "--workdir", "gs://bucket/run"], "--workdir='gs://bucket/run' is an address"),
        (["study", "configs/text_loss.py", "--workdir=s3://bucket/run"], "--workdir='s3://bucket/run' is an address"),
        (["compare", "runs/a", "gs://b/c", "--workdir", "x"], "studies='gs://b/c' is an address"),
        (["embed", "gs://b/run", "--out", "x.npy"], "workdir='gs://b/run' is an address"),
        (["export", "runs/one", "--out", "az://b/out"], "--out='az://b/out' is an address"),
        (["construct", "cone", "--dim", "1", "--out", "gs://b/cone"], "--out='gs://b/cone' is an address"),
        (["dimension", "gs://b/points.npy"], "='gs://b/points.npy' is an address"),
        (["fit", "runs.csv", "--page", "hdfs://b/page.html"], "--page='hdfs://b/page.html' is an address"),
        (["report", "gs://b/study"], "workdir='gs://b/study' is an address"),
        (
            [*QUICKSTART, "--workdir", "x", "--corpus.kind", "files", "--corpus.path", "gs://b/text"],
            "corpus.path='gs://b/text' is an address",
        ),
    ],
)
def test_an_address_is_not_taken_for_a_path(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]


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


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kilobytes", "place"), [pytest.param(100, "corpus", marks=pytest.mark.slow), (12, "checkpoints")]
)
def test_full_disk_exits_with_1_and_the_same_command_goes_on(kilobytes, place, config_file, trained, tmp_path, capsys):
    folder = tmp_path / "run"
    command = ["train", str(config_file), "--workdir", str(folder), "--json"]
    if place == "checkpoints":
        shutil.copytree(trained[0], folder)
        shutil.rmtree(folder / "checkpoints")
        (folder / "summary.json").unlink()
    # The system itself refuses to let any file grow beyond the limit, as it does when the disk is full.
    small = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash"]
    refused = jaxscale(*command, before=small)
    assert refused.returncode == 1
    assert f"jaxscale train: the disk is full: cannot write '{folder / place}'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 12


def test_help_of_a_config_shows_its_fields(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", str(ROOT / "configs/text_loss.py"), "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert "example: jaxscale study" in text
    assert "--run.optimizer.learning-rate" in text
