"""docs/results.md is what its builder makes of the committed tables, and the builder says what is missing."""

import importlib.util
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]


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
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    built = claims.page()
    assert "0 confirmed, 0 not confirmed" in built and "there is no table `lengths`" in built


def test_a_measurement_that_contradicts_a_claim_is_told(claims, tmp_path, monkeypatch):
    measured = json.loads((claims.RESULTS / "constructions.json").read_text())
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    measured["depths"]["rows"][3]["found"] = [4, 5]
    measured["cube"]["rows"][0]["slope"] = -0.5
    (tmp_path / "constructions.json").write_text(json.dumps(measured))
    assert claims.depth()[1] == claims.cube()[1] == claims.REFUTED


def test_a_verdict_is_kept_among_the_tables(claims, tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    study = tmp_path / "ablation"
    study.mkdir()
    (study / "verdict.json").write_text('{"sentence": "d is 5.", "factors": []}')
    claims.keep(study)
    assert claims.stable() == ("d is 5.", claims.CONFIRMED)
