"""The contract of a study: a folder and a line in the registry give it a command, a kind, a verdict and a page."""

import json
import pathlib
import sys

import pytest

from jaxscale import cli, config, files, studies, verdict
from jaxscale.errors import InputError
from jaxscale.studies import study as registry_of

ROOT = pathlib.Path(registry_of.__file__).parent

TOY = {
    "__init__.py": """
from coin.config import Coin
from jaxscale.studies.study import Study

STUDY = Study("coin", __name__, Coin)
""",
    "config.py": """
import dataclasses
from typing import ClassVar

from jaxscale.config import Configuration
from jaxscale.config.conditions import positive


@dataclasses.dataclass(frozen=True)
class Coin(Configuration):
    kind: ClassVar[str] = "coin"
    tosses: int = 100
    '''How often the coin is tossed.'''

    def check(self):
        positive(self, "", "tosses")
""",
    "study.py": """
import random

from jaxscale import config, files
from jaxscale.studies.stages import finish
from jaxscale.verdict import number


def run(study, workdir, progress=None):
    return finish(study, workdir, progress, _run)


def _run(study, workdir, progress, clock):
    config.claim(workdir, study)
    with clock.stage("tossing"):
        heads = sum(random.Random(0).random() < 0.5 for _ in range(study.tosses))
    files.write_json_lines(workdir / "table.jsonl", [{"heads": heads}])
    share = heads / study.tosses
    return {"question": "Is the coin fair?", "sentence": f"{heads} heads.", "agreement": "consistent"} | {
        "numbers": [number("share of heads", share, predicted=0.5)], "caveats": [], "limits": ["One coin."]}
""",
    "page.py": """
import pathlib

from jaxscale import files
from jaxscale.page import layout


def render(folder):
    folder = pathlib.Path(folder)
    found, config = (files.read_json(folder / name) for name in ("verdict.json", "config.json"))
    files.write_text(folder / "report.html", layout.conclusion("A coin", found, [], config))
    return folder / "report.html"
""",
}


@pytest.fixture
def coin(tmp_path, monkeypatch):
    """A new kind of study: the files above in one folder, and one line in the registry."""
    package = tmp_path / "coin"
    package.mkdir()
    for name, text in TOY.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry_of, "FOLDERS", (*registry_of.FOLDERS, "coin"))
    yield tmp_path
    registry_of._found.cache_clear()
    for name in [name for name in sys.modules if name == "coin" or name.startswith("coin.")]:
        del sys.modules[name]


def test_a_new_kind_of_study_is_one_folder_and_one_line(coin, capsys):
    (coin / "fair.py").write_text("from coin.config import Coin\nconfig = Coin(tosses=10)\n")
    arguments = ["study", str(coin / "fair.py"), "--workdir", str(coin / "run"), "--tosses", "20", "--json"]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert verdict.check(found).kind == "coin" and found["stage_seconds"].keys() == {"tossing"}
    assert files.read_json(coin / "run" / "config.json") == {"kind": "coin", "tosses": 20}
    page = (coin / "run" / "report.html").read_text(encoding="utf-8")
    assert all(said in page for said in ("Is the coin fair?", found["sentence"], "One coin.", "tossing", "consistent"))
    assert cli.main(["report", str(coin / "run")]) == 0
    assert cli.main([*arguments[:-1], "--tosses", "0"]) == 2
    assert "tosses=0 must be positive" in capsys.readouterr().err


def test_a_folder_of_version_0_1_is_gone_on_with_and_its_verdict_made_anew(coin, capsys):
    """It stored no kind, and of each stage the wall time alone."""
    (coin / "fair.py").write_text("from coin.config import Coin\nconfig = Coin(tosses=10)\n")
    arguments = ["study", str(coin / "fair.py"), "--workdir", str(coin / "run")]
    assert cli.main(arguments) == 0
    for name in ("config.json", "verdict.json"):
        kept = files.read_json(coin / "run" / name)
        del kept["kind"]
        files.write_json(coin / "run" / name, kept)
    files.write_json(coin / "run" / "seconds.json", {"tossing": 60.0})
    assert cli.main(["report", str(coin / "run")]) == 2
    assert "names no kind of study" in capsys.readouterr().err
    assert cli.main(arguments) == 0
    found = verdict.check(files.read_json(coin / "run" / "verdict.json"))
    assert found.kind == files.read_json(coin / "run" / "config.json")["kind"] == "coin"
    assert found.stage_seconds["tossing"] > 60


def test_help_of_a_new_kind_shows_its_fields(coin, capsys):
    (coin / "fair.py").write_text("from coin.config import Coin\nconfig = Coin(tosses=10)\n")
    with pytest.raises(SystemExit):
        cli.main(["study", str(coin / "fair.py"), "--help"])
    assert "--tosses" in capsys.readouterr().out


def test_every_folder_of_a_study_is_in_the_registry():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {f"jaxscale.studies.{name}" for name in folders} == set(registry_of.FOLDERS)
    for kind, study in studies.registry().items():
        assert study.kind == kind and (study.config is None or study.config.kind == kind)


def test_a_verdict_lacking_a_key_or_of_another_type_is_refused():
    whole = {
        "kind": "coin",
        "question": "?",
        "sentence": "!",
        "agreement": None,
        "numbers": [verdict.number("share", 0.5, (0.4, None))],
        "caveats": [verdict.caveat("few", "Few tosses.")],
        "limits": [],
        "seconds": 1.0,
        "processor_seconds": 1.0,
        "stage_seconds": {"tossing": 1.0},
        "versions": {},
        "device": "1 × cpu",
    }
    assert verdict.check(whole | {"own": 1}).caveats == (verdict.Caveat("few", "Few tosses."),)
    assert set(verdict.schema()["required"]) == set(whole)
    for wrong in ({"agreement": "perhaps"}, {"caveats": ["a sentence"]}, {"numbers": [{"name": "share"}]}):
        with pytest.raises(ValueError):
            verdict.check(whole | wrong)
    with pytest.raises(ValueError):
        verdict.check({name: value for name, value in whole.items() if name != "question"})


@pytest.mark.parametrize("found", [{"sentence": ""}, {"kind": "horoscope"}])
def test_a_page_is_not_guessed_for_a_verdict_of_no_known_kind(found, tmp_path):
    (tmp_path / "verdict.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"known are teacher, scaling, .*Give the study's own command again"):
        studies.render(tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    config.claim(tmp_path, config.Run())
    with pytest.raises(InputError, match="another kind, 'run'"):
        config.refuse_other(tmp_path, studies.LengthStudy())
