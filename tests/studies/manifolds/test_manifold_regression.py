"""A study on a manifold end to end: tiny networks, real files, interrupted and gone on with."""

import dataclasses
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from jaxscale import cli, progress, studies
from jaxscale import config as configs
from jaxscale.errors import InputError, RunError
from jaxscale.studies.manifolds import study as manifold_regression
from jaxscale.studies.manifolds import verdict as manifold_verdict

STUDY = studies.ManifoldStudy(
    dimension=1,
    ambient=3,
    target=studies.ManifoldTarget(octaves=3, waves=8),
    sizes=(16, 48, 144, 432, 480),
    in_excess=512,
    seeds=(0, 1),
    validation=64,
    test=128,
    network=configs.PointRegressor(mixer="mlp", layers=1),
    training=studies.PointTraining(
        steps=40,
        batch_size=16,
        evaluate_every=10,
        checkpoint_every=20,
        learning_rates=(1e-2,),
        weight_decays=(0.0, 0.5),
        widths=(8,),
    ),
    largest_kernel=450,
    resamples=100,
)
LANGUAGE = {"manifold": "language", "objective": "cross_entropy", "ambient": 16}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifold")
    return folder, manifold_regression.run(STUDY, folder)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.thorough
def test_every_size_has_the_setting_that_validation_chose_for_all_seeds(finished):
    candidates, table = (lines(finished[0] / name) for name in ("candidates.jsonl", "table.jsonl"))
    assert len(candidates) == 2 * 2 * 6
    assert {(row["n"], row["seed"], row["noisy"]) for row in table} == {
        (n, seed, n != 512) for n in (16, 48, 144, 432, 480, 512) for seed in (0, 1)
    }
    for n in {row["n"] for row in table}:
        mean = {
            decay: sum(row["validation"] for row in candidates if (row["n"], row["weight_decay"]) == (n, decay))
            for decay in (0.0, 0.5)
        }
        assert {row["weight_decay"] for row in table if row["n"] == n} == {min(mean, key=mean.__getitem__)}


def test_a_setting_that_diverged_with_a_seed_is_not_chosen():
    of = lambda decay, seed, validation: {
        "n": 16, "noisy": True, "seed": seed, "width": 8, "learning_rate": 0.1, "weight_decay": decay
    } | {"validation": validation}  # fmt: skip
    rows = [of(0.0, 0, 0.1), of(0.0, 1, None), of(0.5, 0, 0.3), of(0.5, 1, 0.4)]
    assert manifold_regression.chosen(STUDY, rows) == rows[2:]
    with pytest.raises(RunError, match=r"diverged with some seed at .*'n': 16"):
        manifold_regression.chosen(STUDY, rows[:2])


@pytest.mark.thorough
def test_the_verdict_names_both_rates_and_what_limits(finished):
    verdict = finished[1]
    assert verdict["predicted"]["minimax"] == pytest.approx(2 / 3)
    assert verdict["predicted"]["noiseless"] == pytest.approx(2.0)
    assert verdict["data"]["predicted"] == verdict["prediction"] == verdict["predicted"]["minimax"]
    clean = [row["loss"] for row in lines(finished[0] / "table.jsonl") if not row["noisy"]]
    assert verdict["budget_reaches"] == pytest.approx(sum(clean) / 2)
    low, high = verdict["interval"]
    assert verdict["inside"] == (low <= verdict["prediction"] <= high)
    assert ("not inside" in verdict["sentence"]) != verdict["inside"]


@pytest.mark.thorough
def test_references_stand_beside_the_networks_at_every_size_they_can_afford(finished):
    references = lines(finished[0] / "references.jsonl")
    sizes = lambda name: sorted({row["n"] for row in references if row["reference"] == name})
    assert sizes("neighbors") == sizes("mean") == [16, 48, 144, 432, 480]
    assert sizes("kernel") == sizes("best") == [16, 48, 144, 432]
    assert set(finished[1]["references"]) == {"best", "kernel", "neighbors"}


@pytest.mark.thorough
def test_the_page_says_first_what_was_found(finished):
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    body = page.split("<body")[1]
    assert finished[1]["sentence"].split(";")[0] in body.replace("&#x27;", "'")
    assert body.index('id="verdict"') < body.index("Before you rely on this") < body.index("Slope from size to size")


@pytest.mark.thorough
def test_a_finished_study_on_a_manifold_is_only_read(finished):
    folder, verdict = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*")}
    assert manifold_regression.run(STUDY, folder) == verdict
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*")}


@pytest.mark.thorough
def test_an_interrupted_study_on_a_manifold_goes_on_to_the_same_table(finished, tmp_path):
    class Interrupting(progress.Silent):
        def run(self, name, index, total, kind="run"):
            def report(step=0, steps=0, **values):
                if kind == "sweep" and step > 20:
                    raise KeyboardInterrupt

            return report

    # What does not depend on the networks need not be measured again.
    for name in ("dimension.json", "smoothness.json", "references.jsonl"):
        shutil.copy(finished[0] / name, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        manifold_regression.run(STUDY, tmp_path, Interrupting())
    assert (tmp_path / "training_8.npz").is_file() and not (tmp_path / "candidates.jsonl").exists()
    manifold_regression.run(STUDY, tmp_path)
    kept = lambda folder: [{k: v for k, v in row.items() if k != "seconds"} for row in lines(folder / "table.jsonl")]
    assert kept(tmp_path) == kept(finished[0])


@pytest.mark.slow
def test_the_law_over_parameters_and_over_both():
    rows = [
        {"n": n, "noisy": True, "seed": seed, "width": width, "parameters": width**2, "validation": 0.1, "step": 40}
        | {"learning_rate": 0.1, "weight_decay": 0.0}
        | {"steps": 40, "loss": (1 + seed / 50) * (0.5 / width**2 + 0.4 * n**-0.5)}
        for n in (16, 48, 144, 432)
        for width in (2, 4, 8, 16)
        for seed in range(5)
    ]
    found = manifold_verdict._compute(
        STUDY, rows, {"constant": 1.0, "predicted": {"compute": 1 / 3}, "dimension": {"known": 2.0}}
    )
    # N^-1 and n^-1/2 make C^-1/3, and N* grows as C^1/3.
    assert found["parameters_exponent"]["exponent"] == pytest.approx(1.0, rel=0.02)
    assert found["exponent"] == pytest.approx(1 / 3, rel=0.02)
    assert found["size_exponent"]["exponent"] == pytest.approx(1 / 3, rel=0.02)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"manifold": "swiss_roll", "dimension": 3}, "dimension"),
        ({"dimension": 5}, "ambient"),
        ({"sizes": (16, 32, 64)}, "sizes"),
        ({"in_excess": 100}, "in_excess"),
        ({"target": studies.ManifoldTarget(beta=1.5)}, "target.beta"),
        ({"series": "compute"}, "training.widths"),
        (
            {"series": "compute", "training": dataclasses.replace(STUDY.training, widths=(2, 4, 8, 16))},
            "seeds=.* at least 5",
        ),
        ({"training": dataclasses.replace(STUDY.training, checkpoint_every=15)}, "training.evaluate_every"),
        ({"manifold": "language"}, "objective"),
        (LANGUAGE | {"ambient": 9}, "ambient=9 .*Give 24"),
        (LANGUAGE | {"ambient": 12}, "ambient=12 has room for 64 different contexts, .* at least 14"),
        (LANGUAGE | {"target": studies.ManifoldTarget(classes=3)}, r"target.classes=3 is not 2"),
        (LANGUAGE | {"point_noise": 0.1}, "point_noise"),
    ],
)
def test_what_contradicts_itself_is_refused_before_training(change, named, tmp_path):
    with pytest.raises(InputError, match=named):
        manifold_regression.run(dataclasses.replace(STUDY, **change), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.thorough
def test_the_command_line_says_what_was_found(finished, tmp_path, capsys, monkeypatch):
    path = tmp_path / "study.py"
    path.write_text("from jaxscale.studies import ManifoldStudy\nconfig = ManifoldStudy()\n")
    monkeypatch.setattr(manifold_regression, "run", lambda study, workdir, progress=None: finished[1])
    assert cli.main(["study", str(path), "--workdir", str(tmp_path / "out")]) == 0
    assert finished[1]["sentence"] in capsys.readouterr().out


@pytest.mark.thorough
def test_exponents_are_finite(finished):
    assert all(math.isfinite(end) for end in finished[1]["interval"])


@pytest.mark.slow
@pytest.mark.parametrize("series", ["parameters", "compute"])
def test_a_study_over_parameters_or_compute_ends_in_a_page(series, tmp_path):
    training = dataclasses.replace(STUDY.training, widths=(2, 4, 8, 16), weight_decays=(0.0,))
    study = dataclasses.replace(STUDY, series=series, training=training, seeds=tuple(range(5)))
    verdict = manifold_regression.run(study, tmp_path)
    assert verdict["prediction"] == pytest.approx({"parameters": 2.0, "compute": 1 / 2}[series])
    assert {"parameters": " N^-", "compute": " C^-"}[series] in verdict["sentence"]
    if series == "parameters":
        sizes = [one["parameters"] for one in verdict["parameters"]["by_size"]]
        assert [one["parameters"] for one in verdict["parameters"]["chosen"]] == sizes
        assert [one["to"] for one in verdict["parameters"]["local_slopes"]] == sizes[1:]
        assert any("the slope goes from" in caveat for caveat in verdict["caveats"])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("Along the compute-optimal frontier" in page) == (series == "compute")


@pytest.mark.slow
def test_a_killed_study_on_a_manifold_goes_on_to_the_same_table(tmp_path):
    path = tmp_path / "study.py"
    # As `STUDY`, longer: there must be time to kill it between two checkpoints.
    path.write_text(
        "import dataclasses\nfrom jaxscale import config as configs\n"
        f"from {__name__} import STUDY\n"
        "training = dataclasses.replace(STUDY.training, steps=400, checkpoint_every=20)\n"
        "config = dataclasses.replace(STUDY, training=training)\n"
    )
    command = [sys.executable, "-m", "jaxscale.cli", "study", str(path), "--workdir"]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parent), "JAX_PLATFORMS": "cpu"}
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, str(killed)], env=environment)
    while not (killed / "training_8.npz").is_file():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not (killed / "candidates.jsonl").exists()
    for folder in (killed, tmp_path / "whole"):
        subprocess.run([*command, str(folder)], env=environment, check=True)
    kept = lambda folder: [{k: v for k, v in row.items() if k != "seconds"} for row in lines(folder / "table.jsonl")]
    assert kept(killed) == kept(tmp_path / "whole")


def test_the_best_linear_predictor_is_left_out_where_its_matrix_would_be_singular():
    noiseless = dataclasses.replace(STUDY, target=dataclasses.replace(STUDY.target, noise=0.0))
    assert manifold_regression._covariance(noiseless, None) is None


@pytest.mark.slow
def test_a_study_of_a_language_has_n_grams_beside_it_and_its_entropy_for_a_dimension(tmp_path):
    # Contexts of 12 symbols, which a text of 512 repeats less often.
    study = dataclasses.replace(STUDY, **LANGUAGE | {"ambient": 24}, network=configs.PointRegressor(layers=1))
    verdict = manifold_regression.run(study, tmp_path)
    known = verdict["dimension"]["known"]
    assert 0.1 < known < 1
    assert verdict["prediction"] == pytest.approx(2 / (2 + known))
    assert set(verdict["references"]) == {"kernel", "n_grams", "neighbors"}
    assert verdict["sentence"].startswith(f"In texts of 2 symbols whose contexts, 12 symbols, lie in {known:.2f}")
    assert "smoothed n-grams" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.thorough
def test_a_text_that_repeats_itself_is_refused_as_soon_as_it_is_drawn(tmp_path):
    class Watched(progress.Silent):
        said = ()

        def say(self, text):
            self.said += (text,)

    watched = Watched()
    with pytest.raises(InputError, match=r"in_excess=512 .* different contexts"):
        manifold_regression.run(dataclasses.replace(STUDY, **LANGUAGE), tmp_path, watched)
    assert watched.said == ("drawing points and targets",)
    # Nor is the folder taken: the text can be made longer in it.
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
