"""A study of what the dimension depends on, end to end on tiny decoders; what its verdict says of known readings."""

import dataclasses
import html
import json

import pytest

from jaxscale import cli, config, studies
from jaxscale.errors import InputError
from jaxscale.studies.ablation import study as dimension_ablation
from jaxscale.studies.ablation.config import variants
from jaxscale.studies.ablation.verdict import verdict


@pytest.fixture(scope="module")
def study(tiny_run):
    briefly = dataclasses.replace(tiny_run.training, steps=4)
    corpus = config.Corpus(kind="grammar", held_out_fraction=0.02)
    return studies.DimensionAblation(
        run=dataclasses.replace(tiny_run, corpus=corpus, training=briefly),
        dimension=config.Dimension(k=8, points=200, tokens_per_document=20),
        seeds=(0,),
        widths=(8,),
        ks=(4,),
        points=(100,),
        estimators=("twonn",),
        positions=2,
    )


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    return folder, dimension_ablation.run(study, folder)


@pytest.mark.thorough
def test_every_factor_is_read_once_for_each_seed(finished):
    folder, found = finished
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    readings = {(row["factor"], row["value"]) for row in rows}
    expected = {("base", ""), ("width", 8), ("training", "none"), ("k", 4), ("metric", "cosine")}
    assert expected <= readings and len(rows) == len(readings)
    assert {factor for factor, _ in readings} >= {"points", "position", "estimator"}
    assert all(row["dimension"] > 0 and row["standard_error"] > 0 for row in rows)
    assert found["corpora"]["grammar"]["documents_read"] == 2000
    untrained, base = (next(r for r in rows if r["factor"] == f)["dimension"] for f in ("training", "base"))
    assert untrained != base
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    assert found["sentence"].split(".")[0] in page


@pytest.mark.thorough
def test_a_finished_study_is_only_read_and_a_lost_reading_is_made_again(study, finished):
    folder, found = finished
    before = (folder / "table.jsonl").read_text()
    for name in ("table.jsonl", "verdict.json", "measured/width=8_seed=0.json"):
        (folder / name).unlink()
    timeless = lambda verdict: {name: value for name, value in verdict.items() if "seconds" not in name}
    assert timeless(dimension_ablation.run(study, folder)) == timeless(found)
    assert (folder / "table.jsonl").read_text() == before


@pytest.mark.thorough
def test_another_study_is_refused_in_its_folder(study, finished):
    with pytest.raises(InputError, match="ks="):
        dimension_ablation.run(dataclasses.replace(study, ks=(5,)), finished[0])


def test_verdicts_tell_what_moves_a_reading_from_what_does_not(study):
    def rows(factor, value, *dimensions):
        shared = {"factor": factor, "value": value, "standard_error": 0.1, "points": 9, "loss": 1.0}
        return [shared | {"dimension": one} for one in dimensions]

    table = rows("base", "", 5.0, 5.2) + rows("width", 8, 5.1, 5.3) + rows("corpus", "grammar", 8.0, 8.1)
    said = verdict(study, table)
    (width,), (corpus,) = (factor["values"] for factor in said["factors"])
    assert not width["differs"] and corpus["differs"]
    assert corpus["dimension"] == pytest.approx(8.05)
    assert "corpus (8.05) moves it beyond doubt" in said["sentence"]
    assert "width (5.20) does not move it beyond doubt" in said["sentence"]


def test_a_wider_model_keeps_the_ratio_of_its_mlp(study):
    (_, _, base), (_, _, narrow) = variants(study)
    assert narrow.model.width == 8 and narrow.model.hidden / 8 == base.model.hidden / base.model.width


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (16,)}, "holds 16, the base's own width"),
        ({"widths": (7,)}, "model.heads=2 must divide model.width=7"),
        ({"ks": (100,)}, "must be less than the points of the smallest sample, 50"),
        ({"points": (200,)}, r"must be fewer than dimension.points=200"),
        ({"estimators": ("pcaa",)}, "estimators='pcaa' is not one of"),
        ({"corpora": ("no/such",)}, "no such folder"),
        ({"seeds": ()}, "needs at least one seed"),
    ],
)
def test_contradictions_are_told_before_anything_is_trained(study, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        dimension_ablation.run(dataclasses.replace(study, **changes), tmp_path / "study")
    assert not (tmp_path / "study" / "runs").exists()


def test_too_few_held_out_tokens_are_told_before_anything_is_trained(study, tiny_run, tmp_path):
    few = dataclasses.replace(study, run=tiny_run, ks=(4, 90), points=())
    with pytest.raises(InputError, match=r"90 neighbors need more than 90 points, .* 'files' corpus has"):
        dimension_ablation.run(few, tmp_path)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "config.json").exists()


def test_a_mesh_that_does_not_fit_is_told_before_the_corpus_is_read(study, tmp_path):
    run = dataclasses.replace(study.run, mesh=config.Mesh(replica=1, tensor=8))
    with pytest.raises(InputError, match=r"heads=2 does not divide over mesh\.tensor=8"):
        dimension_ablation.run(dataclasses.replace(study, run=run), tmp_path)
    assert not (tmp_path / "corpora").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dry-run"], "there is none of a DimensionAblation"),
        (
            ["--cluster", "slurm"],
            "--cluster is for a DataScaling; configs/dimension_ablation.py holds a DimensionAblat",
        ),
    ],
)
def test_a_dry_run_and_a_cluster_are_refused(flags, said, tmp_path, capsys):
    assert cli.main(["study", "configs/dimension_ablation.py", "--workdir", str(tmp_path), *flags]) == 2
    assert said in capsys.readouterr().err
