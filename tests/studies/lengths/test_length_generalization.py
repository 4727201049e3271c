"""A study of length generalization end to end: tiny networks, real files, interrupted and gone on with."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys

import pytest

from jaxscale import cli, files, progress, studies
from jaxscale.errors import InputError
from jaxscale.studies.lengths import page as reports
from jaxscale.studies.lengths import study as length_generalization
from jaxscale.studies.lengths import verdict as length_verdict

STUDY = studies.LengthStudy(
    omegas=(2.0, 4.0),
    train_lengths=(4, 8),
    seeds=(0, 1),
    test_lengths=(16, 1000),
    network=studies.LimitNetwork(hidden=16),
    training=studies.LengthTraining(steps=120, checkpoint_every=40),
    epsilons=(0.3,),
    resamples=100,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    return folder, length_generalization.run(STUDY, folder)


def test_every_network_has_a_row_with_its_losses(finished):
    folder, verdict = finished
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    grid = {(row["omega"], row["train_length"], row["seed"]) for row in rows}
    assert len(rows) == len(grid) == verdict["runs"] == 8
    assert all(set(row["losses"]) == {"16", "1000", "own", "ten", "inf"} for row in rows)
    assert all(0 <= loss < 10 for row in rows for loss in row["losses"].values())


def test_runs_that_collapsed_are_counted_and_left_out(finished):
    folder, verdict = finished
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    assert verdict["collapsed"] == sum(row["collapsed"] for row in rows)
    for entry in verdict["plateaus"]:
        assert entry["runs"] + entry["collapsed"] == 2
        kept = [
            row["losses"]["inf"]
            for row in rows
            if (row["omega"], row["train_length"]) == (entry["parameters"]["omega"], entry["train_length"])
            and not row["collapsed"]
        ]
        if not kept:
            assert entry["inf"] is None
            continue
        assert entry["inf"]["mean"] == pytest.approx(math.prod(kept) ** (1 / len(kept)), rel=1e-5)


def test_a_certificate_bounds_what_it_certifies(finished):
    for one in finished[1]["certificates"]:
        assert one["error"] <= one["bound"] + 1e-6
        assert one["bound"] == pytest.approx(one["network"] + one["target"] + one["short"], rel=1e-4)


def test_the_page_is_whole_and_names_what_was_found(finished):
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("<html") == page.count("</html>") == 1 and "src=" not in page.split("<body")[1][:2000]
    for words in ("The plateau against the train length", "Certificates", "What the theorems ask for"):
        assert words in page


def test_the_page_shows_every_parameter_and_says_what_it_leaves_out(finished):
    folder, verdict = finished
    rows = files.read_json_lines(folder / "table.jsonl")
    whole = reports.page(verdict, rows, files.read_json(folder / "config.json"))
    for i, omega in enumerate(STUDY.omegas):
        assert f'id="figure-lengths-{i}"' in whole and f"Loss against test length, ω = {omega:g}" in whole
    assert whole.count('<th scope="row">ε = 0.3</th>') == len(STUDY.omegas)  # a row for each threshold

    # Were all networks of ω = 4 and N = 8 collapsed:
    gone = [row | {"collapsed": (row["omega"], row["train_length"]) == (4.0, 8)} for row in rows]
    plateaus = length_verdict._plateaus(STUDY, gone)
    thresholds = length_verdict._thresholds(STUDY, gone)
    changed = verdict | {"plateaus": plateaus, "thresholds": thresholds, "collapsed": 2}
    page = reports.page(changed, gone, files.read_json(folder / "config.json"))
    assert page.count("Not shown, as all runs collapsed: ω = 4 at N = 8.") >= 3
    assert "Not shown, as all runs of a train length that may suffice collapsed: ω = 4." in page
    assert "all runs collapsed at a length that may suffice" in page
    caveats = {one["code"]: one["text"] for one in length_verdict._caveats(STUDY, gone, {})}
    assert "2 of 8 networks collapsed" in caveats["collapsed"]


def test_a_finished_study_is_only_read(finished):
    folder, verdict = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*")}
    assert length_generalization.run(STUDY, folder) == verdict
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*")}


def test_an_interrupted_study_goes_on_to_the_same_table(finished, tmp_path):
    class Interrupting(progress.Silent):
        def run(self, name, index, total, kind="run"):
            def report(step=0, steps=0, **values):
                if kind == "sweep" and step > 80:
                    raise KeyboardInterrupt

            return report

    with pytest.raises(KeyboardInterrupt):
        length_generalization.run(STUDY, tmp_path, Interrupting())
    assert (tmp_path / "training.npz").is_file() and not (tmp_path / "networks.npz").exists()
    length_generalization.run(STUDY, tmp_path)
    assert (tmp_path / "table.jsonl").read_bytes() == (finished[0] / "table.jsonl").read_bytes()


def test_another_configuration_is_refused_in_the_folder(finished):
    with pytest.raises(InputError, match="seeds"):
        length_generalization.run(dataclasses.replace(STUDY, seeds=(0,)), finished[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "mod_p", "--train-lengths", "4", "64"], "train_lengths=4 is below 8"),
        (["--task", "mod_p", "--periods", "3", "--train-lengths", "9", "--test-lengths", "100"], "is 1 mod 3"),
        (["--task", "k_gram", "--alphabets", "1", "--network.heads", "2"], "strings over one symbol are all alike"),
        (["--task", "k_gram", "--orders", "8", "--network.heads", "8"], "train_lengths=8 is below 9"),
        (["--task", "k_gram", "--orders", "2"], "network.heads=1 must be at least the largest order"),
        (["--omegas", "-1"], "must be positive frequencies"),
        (["--seeds", "0", "0"], "none twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_2_before_any_work(options, message, tmp_path, capsys):
    (tmp_path / "study.py").write_text("from jaxscale.studies import LengthStudy\nconfig = LengthStudy()\n")
    command = ["length", str(tmp_path / "study.py"), "--workdir", str(tmp_path / "out"), *options]
    assert cli.main(command) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"task": "mod_p", "periods": (2, 3), "train_lengths": (6, 12), "train_on": "up_to"},
        {"task": "k_gram", "orders": (1, 2), "alphabets": (2,), "train_lengths": (6, 12), "train_on": "up_to"},
    ],
    ids=lambda changes: changes["task"],
)
def test_other_tasks_end_in_a_page_too(changes, tmp_path):
    network = studies.LimitNetwork(width=8, heads=2, hidden=8)
    study = dataclasses.replace(STUDY, network=network, test_lengths=(12, 48), samples=64, **changes)
    verdict = length_generalization.run(study, tmp_path)
    assert verdict["runs"] == 8 and (tmp_path / "report.html").is_file()
    assert all(one["error"] <= one["bound"] + 1e-4 for one in verdict["certificates"])
    if study.task == "k_gram":
        assert verdict["attention"] is None
        assert 0 < verdict["no_target"]["12"] < 1 and verdict["no_target"]["inf"] == 0


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_table(finished, tmp_path):
    (tmp_path / "study.py").write_text(
        f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {STUDY!r}\n"
    )
    command = [sys.executable, "-m", "jaxscale.cli", "length", str(tmp_path / "study.py")]
    command += ["--workdir", str(tmp_path / "out"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / "out" / "training.npz").is_file():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["runs"] == 8
    assert (tmp_path / "out" / "table.jsonl").read_bytes() == (finished[0] / "table.jsonl").read_bytes()
