"""Finished studies side by side: differences of exponents from real folders, and what cannot be compared."""

import json

import numpy as np
import pytest

from jaxscale import cli, studies
from jaxscale.errors import InputError
from jaxscale.studies.compare import manifolds as comparison
from jaxscale.studies.compare.study import compare

SIZES, SEEDS = (64, 256, 1024, 4096), (0, 1, 2)
# A seed's target is harder or easier for both studies alike.
HARD = {0: 0.6, 1: 1.0, 2: 1.9}


def write(folder, exponent, scale=1.0, mixer="softmax", sizes=SIZES):
    """The folder of a study whose errors follow a law, but for 1% that differs between seeds, sizes and studies."""
    rng = np.random.default_rng(len(folder.name))
    folder.mkdir()
    config = {"objective": "squared_error", "level": 0.95, "resamples": 200, "network": {"mixer": mixer, "layers": 2}}
    rows = [
        {"n": n, "seed": seed, "noisy": True, "loss": scale * HARD[seed] * n**-exponent * rng.normal(1, 0.01)}
        for seed in SEEDS
        for n in SIZES
    ]
    by_size = [{"n": n, "loss": scale * n**-exponent, "least": 0.0, "greatest": 1.0} for n in SIZES]
    data = {"exponent": exponent, "interval": [exponent - 0.2, exponent + 0.2], "predicted": 0.5}
    data |= {"sizes": list(sizes), "enough_sizes": True, "by_size": by_size}
    verdict = {"series": "data", "setting": {"mixer": mixer}, "data": data, "dimension": {"mle": 2.0}}
    verdict |= {"references": {}, "training_seconds": 1.0}
    for name, content in (("config.json", config), ("verdict.json", verdict)):
        (folder / name).write_text(json.dumps(content))
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0] | {"noisy": False}]))
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Ends of intervals are asked for within hundredths: no test needs thousands of draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "RESAMPLES", 200)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("studies")
    return [
        write(root / "softmax", 0.5),
        write(root / "relu", 0.5, scale=1.3, mixer="relu"),
        write(root / "mlp", 0.3, mixer="mlp"),
        write(root / "late", 0.5, sizes=SIZES[1:]),
    ]


@pytest.fixture(scope="module")
def found(folders):
    return compare(folders)["studies"]


@pytest.mark.thorough
def test_what_seeds_share_does_not_blur_a_difference(found):
    relu, mlp, _ = found[1:]
    low, high = mlp["difference"]["interval"]
    assert mlp["difference"]["exponent"] == pytest.approx(-0.2, abs=0.01)
    # Targets differ threefold between seeds, and the difference is known to a few thousandths.
    assert low < -0.2 < high < -0.15 and high - low < 0.05
    low, high = relu["difference"]["interval"]
    assert low <= 0 <= high
    assert relu["ratio_where_it_counts"] == pytest.approx([1.3, 1.3], rel=0.02)
    assert relu["changed"] == {"network.mixer": "relu"}


@pytest.mark.thorough
def test_fewer_sizes_in_common_than_make_a_law_are_no_difference(found):
    late = found[3]
    assert late["difference"] is None and late["ratio_where_it_counts"] == pytest.approx([1, 1], rel=0.02)


@pytest.mark.thorough
def test_the_command_says_which_differ_and_writes_a_page(folders, tmp_path, capsys):
    out = tmp_path / "together"
    assert cli.main(["compare", *map(str, folders), "--workdir", str(out)]) == 0
    said = capsys.readouterr().out
    assert "mlp differs, by -0." in said and "relu cannot be told from it" in said and "late has too few" in said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "network.mixer = relu" in page and "Ratio of errors" in page
    (out / "report.html").unlink()
    assert studies.render(out).read_text(encoding="utf-8") == page


def test_what_cannot_be_compared_is_refused(folders, tmp_path, capsys):
    with pytest.raises(InputError, match="two or more"):
        compare(folders[:1])
    with pytest.raises(InputError, match=r"none has no config\.json"):
        compare([folders[0], tmp_path / "none"])
    assert cli.main(["compare", str(folders[0]), str(folders[3]), "--workdir", str(folders[0])]) == 2
    assert "is the folder of a study" in capsys.readouterr().err
