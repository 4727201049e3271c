"""Every kind of verdict: the commands that print one, the studies that write one, and the page that documents them."""

import importlib
import json
import pathlib
import re

import numpy as np
import pytest

from jaxscale import cli, files, studies, verdict

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "verdict.md"
# Commands that conclude nothing: they train, compile, copy or draw.
OTHERS = {"train", "compile", "embed", "export", "report"}
RUN = {
    "fit": ["fit", "runs.csv", "--resamples", "0", "--dimension", "5", "4", "6"],
    "plan": ["plan", "runs.csv", "--law", "data", "--want", "alpha=0.1"],
    "dimension": ["dimension", "a.npy", "b.npy", "--estimators", "mle,local_pca", "--k", "4"],
    "construct": ["construct", "cone", "--grid", "4", "--points", "20", "--backend", "structured", "--out", "cone"],
}
AGREEMENT = {"fit": "inconclusive", "plan": None, "dimension": None, "construct": "consistent"}
NAMES = {
    "fit": ["alpha", "E", "A"],
    "plan": ["promised width of the interval of alpha", "cost in n", "runs"],
    "dimension": [
        *(f"d of {cloud}" for cloud in ("a.npy", "b.npy")),
        *(f"d of {cloud} by {name}" for cloud in ("a.npy", "b.npy") for name in ("mle", "local_pca")),
    ],
    "construct": ["largest error found", "L² error at random points", "slope of log error on log N"]
    + [f"bound on rounding in {name}" for name in ("float64", "float32", "tf32", "bf16")],
}
CAVEATS = {
    "fit": "one_run_per_size",
    "plan": "cost_is_no_compute",
    "dimension": "rounding_collapsed",
    "construct": "unsafe_formats",
}


def misfits(value, schema, of, where="$"):
    """Where a JSON value does not follow a schema, as far as that of a verdict goes."""
    if "$ref" in schema:
        return misfits(value, of["$defs"][schema["$ref"].split("/")[-1]], of, where)
    if "anyOf" in schema:
        each = [misfits(value, one, of, where) for one in schema["anyOf"]]
        return [] if [] in each else [f"{where}: {value!r}"]
    types = {"string": str, "number": (int, float), "null": type(None), "object": dict, "array": list}
    if not isinstance(value, types[schema["type"]]) or isinstance(value, bool):
        return [f"{where}: {value!r} is no {schema['type']}"]
    found = []
    if value not in schema.get("enum", [value]):
        found.append(f"{where}: {value!r}")
    if isinstance(value, dict):
        found += [f"{where}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            inside = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            found += misfits(item, inside, of, f"{where}.{name}") if isinstance(inside, dict) else []
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", np.inf):
            found.append(f"{where}: {len(value)} items")
        for i, item in enumerate(value):
            inside = schema["prefixItems"][i] if "prefixItems" in schema else schema["items"]
            found += misfits(item, inside, of, f"{where}[{i}]")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of runs on a curve without noise, and two squares, one with points that differ by rounding alone."""
    folder = tmp_path_factory.mktemp("verdicts")
    sizes = np.geomspace(1e2, 1e7, 8)
    rows = "".join(f"{n},{1.5 + 20 * n**-0.4}\n" for n in sizes)
    (folder / "runs.csv").write_text("n,loss\n" + rows)
    for i, name in enumerate(("a.npy", "b.npy")):
        points = np.random.default_rng(i).uniform(size=(300, 2)).astype(np.float32)
        points[:5] = np.nextafter(points[5:10], np.float32(9)) if i else points[:5]
        np.save(folder / name, points)
    return folder


def test_the_page_names_every_kind_and_every_command_concludes_or_is_known_not_to():
    (table,) = re.findall(r"\| kind \|.*?\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    cells = [[re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:3]] for row in table.strip().splitlines()[2:]]
    named = {kind for kinds, _ in cells for kind in kinds}
    assert named == set(studies.registry()) | set(RUN)
    commands = {command for _, (command,) in cells}
    assert commands.isdisjoint(OTHERS) and commands | OTHERS == {name for name, *_ in cli.COMMANDS}
    assert set(RUN) <= commands


@pytest.mark.parametrize("kind", RUN)
def test_a_command_prints_a_verdict(kind, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main([*RUN[kind], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert misfits(document, verdict.schema(), verdict.schema()) == []
    found = verdict.check(document)
    assert (found.kind, found.agreement) == (kind, AGREEMENT[kind])
    assert [number.name for number in found.numbers] == NAMES[kind]
    assert CAVEATS[kind] in {caveat.code for caveat in found.caveats}
    assert found.question.endswith("?") and found.sentence.endswith(".") and found.limits
    assert 0 < found.seconds == pytest.approx(sum(found.stage_seconds.values())) and len(found.stage_seconds) > 1
    assert found.processor_seconds > 0
    if kind == "construct":
        assert files.read_json(folder / "cone" / "certificate.json") == document
        page = (folder / "cone" / "certificate.html").read_text(encoding="utf-8")
        said = ("Before you rely on this", *found.limits, "compiling", "✓</span> consistent")
        assert all(words in page for words in said)


@pytest.mark.parametrize("kind", studies.registry())
def test_no_study_writes_what_is_no_verdict(kind, tmp_path, monkeypatch):
    study, folder = studies.registry()[kind], tmp_path / "study"
    module = importlib.import_module(f"{study.folder}.study")
    if study.config is None:
        monkeypatch.setattr(module, "compare", lambda folders: {"kind": kind, "sentence": "Five."})
        run = lambda: cli.main(["compare", "a", "b", "--workdir", str(folder)])
    else:
        monkeypatch.setattr(module, "_run", lambda *given, **options: {"sentence": "Five."})
        run = lambda: study.run(study.config(), folder)
    with pytest.raises(ValueError, match="question"):
        run()
    assert not (folder / "verdict.json").exists()


def test_a_stopwatch_counts_a_stage_that_an_error_ends_and_adds_up():
    watch = verdict.Stopwatch()
    for _ in range(2):
        with pytest.raises(KeyError), watch.stage("looking"):
            sum(range(200_000))
            {}["nothing"]
    first = watch.by_stage["looking"]
    with watch.stage("looking"), watch.stage("inside"):
        sum(range(200_000))
    assert watch.by_stage["looking"] > first > 0
    assert watch.wall == sum(watch.by_stage.values()) and watch.processor > 0
