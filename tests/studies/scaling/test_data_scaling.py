"""The study: the same table however often it is killed, and the same losses on any number of devices."""

import dataclasses
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import environment
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import data, files, studies, training
from jaxscale.errors import InputError, RunError
from jaxscale.page.numerals import duration
from jaxscale.studies.scaling import study as data_scaling

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="session")
def study_file(tiny_study, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.py"
    # BPE, so that training it again after a kill is part of the test.
    tokenizer = configs.Tokenizer(kind="bpe", vocab_size=300)
    run = dataclasses.replace(tiny_study.run, tokenizer=tokenizer)
    study = dataclasses.replace(tiny_study, run=run, seeds=(0,))
    path.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {study!r}\n")
    return path


def command(study_file, workdir, devices=1):
    program = [sys.executable, "-m", "jaxscale.cli", "study", str(study_file), "--workdir", str(workdir), "--json"]
    return {"args": program, "env": environment.of_child(devices), "cwd": ROOT, "text": True}


@pytest.fixture(scope="session")
def undisturbed(study_file, tmp_path_factory):
    """A finished study's folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    done = subprocess.run(**command(study_file, folder), capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_study_ends_in_table_verdict_and_page(undisturbed, tiny_study):
    folder, done = undisturbed
    rows = files.read_json_lines(folder / "table.jsonl")
    assert [(r["n"], r["seed"]) for r in rows] == [(n, 0) for n in tiny_study.sizes]
    verdict = json.loads(done.stdout)
    assert verdict == files.read_json(folder / "verdict.json")
    assert verdict["agreement"] in ("consistent", "inconsistent", "inconclusive")
    assert verdict["dimension"]["interval"][0] < verdict["dimension"]["estimate"] < verdict["dimension"]["interval"][1]
    assert {"few_decades", "cross_entropy", "assumed_smoothness"} <= {c["code"] for c in verdict["caveats"]}
    assert verdict["corpus"]["duplicates_removed"] == 1
    assert (folder / "report.html").stat().st_size > 1e6


def test_a_study_says_what_the_whole_of_it_took(undisturbed):
    folder, _ = undisturbed
    verdict, when = files.read_json(folder / "verdict.json"), lambda name: (folder / name).stat().st_mtime
    by_the_files = when("verdict.json") - when(".lock")
    assert 0.7 * by_the_files < verdict["seconds"] < by_the_files + 0.1
    stages = verdict["stage_seconds"]
    assert list(stages) == ["corpus", "training", "dimension", "laws"] and sum(stages.values()) == verdict["seconds"]
    trained = [files.read_json(path)["seconds"] for path in folder.glob("runs/*/summary.json")]
    assert sum(trained) < stages["training"]
    assert f"All of it took {duration(verdict['seconds'])}: corpus " in (folder / "report.html").read_text()


def test_second_run_only_reprints(undisturbed, study_file):
    folder, first = undisturbed
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = subprocess.run(**command(study_file, folder), capture_output=True)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == written


@pytest.fixture
def begun(undisturbed, tmp_path):
    """The study, and a folder of it in which there is what does not depend on how its runs are trained."""
    folder, _ = undisturbed
    shutil.copytree(folder / "corpus", tmp_path / "study" / "corpus")
    shutil.copy(folder / "dimension.json", tmp_path / "study")
    return configs.from_json((folder / "config.json").read_text(), studies.DataScaling), tmp_path / "study"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "lost",
    [
        ("table.jsonl", "report.html", "corpus", "runs/n=512_seed=0"),
        pytest.param(("dimension.json", "runs/n=512_seed=0"), marks=pytest.mark.slow),
    ],
)
def test_what_is_deleted_from_a_finished_study_is_made_again(lost, undisturbed, study_file, tmp_path):
    folder, _ = undisturbed
    shutil.copytree(folder, tmp_path / "study")
    study = configs.from_json((folder / "config.json").read_text(), studies.DataScaling)
    paths = [tmp_path / "study" / name for name in lost]
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    data_scaling.run(study, tmp_path / "study")
    assert all(path.exists() for path in paths)
    # Made on eight devices here, on one there: equal but for the last digits.
    rows = [files.read_json_lines(where / "table.jsonl") for where in (folder, tmp_path / "study")]
    np.testing.assert_allclose(*([row["loss"] for row in table] for table in rows), rtol=1e-4)


def same_but_for_time(there, here):
    assert (there / "table.jsonl").read_bytes() == (here / "table.jsonl").read_bytes()
    timeless = lambda verdict: {k: v for k, v in verdict.items() if "seconds" not in k}
    plain = lambda path: timeless(files.read_json(path / "verdict.json"))
    assert plain(there) == plain(here)


# What the command says as it begins a stage, and the order that it then gets.
STAGES = (
    ("reading corpus", signal.SIGTERM),
    ("run 2/4", signal.SIGKILL),
    ("run 3/4", signal.SIGHUP),
)


@pytest.mark.thorough
def test_a_study_leaves_at_any_stage_when_it_is_told_to_and_ends_as_undisturbed(undisturbed, study_file, tmp_path):
    folder, _ = undisturbed
    took = {}
    for words, order in STAGES:
        process = subprocess.Popen(**command(study_file, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert any(words in line for line in process.stderr), words
        process.send_signal(order)
        said = process.communicate(timeout=240)[1]
        if order is signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
            continue
        assert process.returncode == 75, (words, said)
        assert "asked to leave by" in said and "the same command goes on from there" in said.replace("The", "the"), said
        assert "Traceback" not in said
        before, kept = took, files.read_json(tmp_path / "seconds.json")
        took = {stage: wall for stage, (wall, _) in kept.items()}
        assert all(took[stage] >= seconds for stage, seconds in before.items())
        assert sum(took.values()) > sum(before.values())
    shutil.copy(folder / "dimension.json", tmp_path)  # it need not be measured again
    done = subprocess.run(**command(study_file, tmp_path), capture_output=True)
    assert done.returncode == 0, done.stderr
    same_but_for_time(folder, tmp_path)


@pytest.mark.slow
def test_killed_at_random_moments_the_table_is_the_same_to_the_last_bit(undisturbed, study_file, tmp_path):
    folder, _ = undisturbed
    moments = random.Random(0)
    lines = lambda where: sum(path.read_bytes().count(b"\n") for path in where.glob("runs/*/metrics.jsonl"))
    for third in range(4):  # while the corpus is prepared, then in each third of the training
        process = subprocess.Popen(
            **command(study_file, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wanted = (third - 1 + moments.random()) * lines(folder) / 3
        reached = lambda third=third, wanted=wanted: (
            lines(tmp_path) >= wanted if third else any(tmp_path.glob(".corpus.part/*"))
        )
        while process.poll() is None and not reached():
            time.sleep(0.005)
        time.sleep(0.1 * moments.random())
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = subprocess.run(**command(study_file, tmp_path), capture_output=True)
    assert done.returncode == 0, done.stderr
    same_but_for_time(folder, tmp_path)


@pytest.mark.slow
def test_eight_devices_give_the_losses_of_one(undisturbed, study_file, tmp_path):
    folder, _ = undisturbed
    done = subprocess.run(**command(study_file, tmp_path, devices=8), capture_output=True)
    assert done.returncode == 0, done.stderr
    losses = [[r["loss"] for r in files.read_json_lines(path / "table.jsonl")] for path in (folder, tmp_path)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert json.loads(done.stdout)["device"].startswith("8 ×")


@pytest.mark.slow
def test_cells_trained_together_give_the_table_of_those_trained_one_by_one(undisturbed, begun):
    folder, (study, here) = undisturbed[0], begun
    verdict = data_scaling.run(dataclasses.replace(study, together=3), here)
    apart, together = (files.read_json_lines(path / "table.jsonl") for path in (folder, here))
    for column in ("run", "n", "seed", "step", "stopped", "edge"):
        assert [row[column] for row in together] == [row[column] for row in apart]
    np.testing.assert_allclose(*([row["loss"] for row in table] for table in (apart, together)), rtol=1e-4)
    assert verdict["observed"]["exponent"] == pytest.approx(
        files.read_json(folder / "verdict.json")["observed"]["exponent"], rel=0.02
    )


def test_together_needs_runs_that_fit_a_device(tiny_study, tmp_path):
    mesh = configs.Mesh(replica=-1, fsdp=2)
    study = dataclasses.replace(tiny_study, together=4, run=dataclasses.replace(tiny_study.run, mesh=mesh))
    with pytest.raises(InputError, match="together=4 trains each run on one device"):
        data_scaling.run(study, tmp_path)


def test_folder_of_another_study_is_refused(undisturbed):
    folder, _ = undisturbed
    study = configs.from_json((folder / "config.json").read_text(), studies.DataScaling)
    with pytest.raises(InputError, match=r"holds another configuration: beta=0.5 \(there: 1.0\)"):
        data_scaling.run(dataclasses.replace(study, beta=0.5), folder)


def test_sizes_beyond_the_corpus_are_refused_before_any_training(tiny_study, tmp_path):
    study = dataclasses.replace(tiny_study, sizes=(256, 512, 1024, 10**8))
    with pytest.raises(InputError, match="tokens=100000000 is more than the corpus's"):
        data_scaling.run(study, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_too_few_held_out_tokens_are_refused_before_any_training(tiny_study, tmp_path):
    study = dataclasses.replace(tiny_study, dimension=configs.Dimension(k=20, points=200, tokens_per_document=1))
    with pytest.raises(
        InputError, match=r"dimension.k=20 needs more than 20 points; (\d+) held-out documents give \1\."
    ):
        data_scaling.run(study, tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.thorough
def test_a_failed_run_is_named_and_finished_ones_stay(begun, monkeypatch):
    (study, here), train = begun, training.train

    def fails_at_512(run, *rest):
        if run.tokens == 512:
            raise training.NonFiniteLoss("not finite at step 3")
        return train(run, *rest)

    monkeypatch.setattr(training, "train", fails_at_512)
    with pytest.raises(RunError, match="run n=512_seed=0: not finite at step 3"):
        data_scaling.run(dataclasses.replace(study, seeds=(0, 1)), here)
    assert sorted(p.parent.name for p in here.glob("runs/*/summary.json")) == ["n=256_seed=0", "n=256_seed=1"]


@pytest.mark.slow
def test_the_study_of_text_confirms_what_it_claims(tmp_path):
    """The committed study on the real corpus: loss falls with n, up to the noise between seeds."""
    study = configs.load(ROOT / "configs" / "text_loss.py")
    data_scaling.run(study, tmp_path)
    rows = files.read_json_lines(tmp_path / "table.jsonl")
    means = [np.mean([r["loss"] for r in rows if r["n"] == n]) for n in study.sizes]
    assert np.all(np.diff(means) < 0)
    assert not any(r["edge"] for r in rows)
    assert len(data.open_store(tmp_path / "corpus").held_out.starts) > 30
