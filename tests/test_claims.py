"""docs/results.md is what its builder makes of the committed tables, and the builder says what is missing."""

import importlib.util
import json
import pathlib

import pytest

from jaxscale.verdict import caveat

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def claims(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("claims", ROOT / "benchmarks" / "claims.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_built_from_the_committed_tables(claims):
    built = claims.page()
    assert built == (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), "run: python benchmarks/claims.py"
    rows = [line for line in built.splitlines() if line.startswith("| ") and not line.startswith("| claim")]
    assert len(rows) == sum(map(len, claims.PAPERS.values()))
    assert all(line.count("|") == 6 for line in rows)


def test_tables_of_other_pages_are_as_committed(claims):
    found = list(claims.tables.pages())
    assert found
    for path, text in found:
        assert claims.tables.filled(text) == text, f"{path.name}: run python benchmarks/claims.py"


def test_a_missing_table_is_no_confirmation(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims.measurements, "RESULTS", tmp_path)
    built = claims.page()
    assert "0 confirmed, 0 not confirmed" in built and "there is no table `lengths`" in built


def test_a_measurement_that_contradicts_a_claim_is_told(claims, tmp_path, monkeypatch):
    measured = json.loads((claims.measurements.RESULTS / "constructions.json").read_text())
    monkeypatch.setattr(claims.measurements, "RESULTS", tmp_path)
    measured["depths"]["rows"][3]["found"] = [4, 5]
    measured["cube"]["rows"][0]["slope"] = -0.5
    (tmp_path / "constructions.json").write_text(json.dumps(measured))
    assert claims.measurements.depth()[1] == claims.measurements.cube()[1] == claims.measurements.REFUTED


def test_a_verdict_is_kept_among_the_tables(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims.measurements, "RESULTS", tmp_path)
    study = tmp_path / "ablation"
    study.mkdir()
    (study / "verdict.json").write_text('{"sentence": "d is 5.", "factors": []}')
    claims.keep(study)
    assert claims.measurements.stable() == ("d is 5.", claims.measurements.CONFIRMED)


def study(inside, agreement="consistent", narrower=None, at_end=0, references=(True, True)):
    """What a claim reads of the verdict of a study on a manifold, of errors at two sizes and five seeds."""
    chosen = [{"n": 64, "at_last_step": 0}, {"n": 256, "at_last_step": at_end}]
    data = {"inside": inside, "agreement": agreement, "enough_sizes": True, "sizes": [64, 256], "chosen": chosen}
    data["narrower"] = None if narrower is None else {"inside": narrower}
    return {
        "data": data | {"predicted": 0.5},
        "setting": {"seeds": 5},
        "references": {str(i): {"inside": one} for i, one in enumerate(references)},
        "exponent": 0.5,
        "interval": [0.4, 0.6],
    }


def test_a_study_confirms_only_what_it_could_have_refuted(claims):
    assert (
        claims.measurements.of_study(study(True))
        == claims.measurements.of_study(study(True, narrower=True))
        == claims.measurements.CONFIRMED
    )
    assert claims.measurements.of_study(study(True, narrower=False)) == claims.measurements.OPEN
    assert claims.measurements.of_study(study(True, agreement="inconclusive")) == claims.measurements.OPEN


def test_a_study_refutes_only_what_its_references_and_steps_would_have_shown(claims):
    assert claims.measurements.of_study(study(False)) == claims.measurements.REFUTED
    assert claims.measurements.of_study(study(False, references=(True, False))) == claims.measurements.OPEN
    assert claims.measurements.of_study(study(False, at_end=3)) == claims.measurements.OPEN


def test_several_studies_are_as_sure_as_the_least_sure_and_say_which_is_missing(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims.measurements, "RESULTS", tmp_path)
    (tmp_path / "studies").mkdir()
    for name, found in (("one", study(True)), ("two", study(False))):
        (tmp_path / "studies" / f"manifold_{name}.json").write_text(json.dumps({"verdict": found}))
    assert claims.measurements.each({"one": "first"})() == (
        "first 0.500 [0.400, 0.600], theory 0.500.",
        claims.measurements.CONFIRMED,
    )
    assert claims.measurements.each({"one": "first", "two": "second"})()[1] == claims.measurements.REFUTED
    said, verdict = claims.measurements.each({"one": "first", "none": "third"})()
    assert verdict == claims.measurements.OPEN and "third not measured" in said


def test_exponents_are_the_same_within_a_margin_and_differ_beyond_doubt(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims.measurements, "RESULTS", tmp_path)
    (tmp_path / "studies").mkdir()

    def of(*intervals, warnings=()):
        others = [{"difference": {"interval": ends, "warnings": warnings} if ends else None} for ends in intervals]
        verdict = {"sentence": "manifold_a differs", "studies": [{"name": "manifold_a"} | one for one in [{}, *others]]}
        (tmp_path / "studies" / "compare_mixers.json").write_text(json.dumps({"verdict": verdict}))
        said, found = claims.measurements.same_exponent("mixers")()
        assert said == "a differs"
        return found

    assert of((-0.05, 0.05), (0.01, 0.08)) == claims.measurements.CONFIRMED
    assert claims.measurements.same_exponent("mixers", "b")()[1] == claims.measurements.OPEN
    assert of((-0.05, 0.05), (0.02, 0.2)) == claims.measurements.REFUTED
    assert of((-0.05, 0.05), (-0.1, 0.2)) == of(None) == of((0.1, 0.2), warnings=["few"]) == claims.measurements.OPEN


def test_a_series_whose_networks_still_learn_refutes_nothing(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims.measurements, "RESULTS", tmp_path)
    (tmp_path / "studies").mkdir()

    def of(*caveats):
        part = {"agreement": "inconsistent", "warnings": []}
        verdict = {
            "sentence": "N^-0.4.",
            "parameters": part,
            "caveats": caveats,
        }
        (tmp_path / "studies" / "manifold_parameters.json").write_text(json.dumps({"verdict": verdict}))
        return claims.measurements.over("parameters")()

    assert of(caveat("few_seeds", "The interval rests on 3 seeds.")) == ("N^-0.4.", claims.measurements.REFUTED)
    said, found = of(caveat("last_step", "Most seeds did best at the last step at N = 449: more might do better."))
    assert found == claims.measurements.OPEN and "N = 449" in said
