"""The terminal table: order, means, verdict, caveats, and names that are only names."""

import io

import pytest
from rich.console import Console

from jaxscale.studies.scaling import table

VERDICT = {
    "sentence": "The loss falls as n^-0.31.",
    "agreement": "inconclusive",
    "caveats": [{"code": "few_decades", "text": "n spans 0.3 decades."}],
}


def row(n, seed, loss, **changes):
    fixed = {"step": 350, "steps": 600, "epochs": 12.3, "stopped": "patience", "edge": ""}
    return {"run": f"n={n}_seed={seed}", "n": n, "seed": seed, "loss": loss} | fixed | changes


def printed(rows, verdict=VERDICT):
    console = Console(file=io.StringIO(), width=100)
    table.print_table(rows, verdict, console)
    return console.file.getvalue()


def test_rows_are_sorted_by_size_then_seed():
    text = printed([row(4096, 0, 2.0), row(512, 1, 3.1), row(512, 0, 3.0)])
    assert text.index("n=512_seed=0") < text.index("n=512_seed=1") < text.index("n=4096_seed=0")


def test_mean_is_shown_for_sizes_with_several_seeds_only():
    text = printed([row(512, 0, 3.0), row(512, 1, 3.5), row(4096, 0, 2.0)])
    means = [line for line in text.splitlines() if "mean" in line]
    assert len(means) == 1
    assert "512" in means[0] and "3.250" in means[0]


@pytest.mark.parametrize("shown", ["inconclusive: The loss falls as n^-0.31.", "few_decades: n spans 0.3 decades."])
def test_verdict_and_caveats_follow_the_rows(shown):
    text = printed([row(512, 0, 3.0)])
    assert text.index("n=512_seed=0") < text.index(shown)


def test_run_that_was_still_falling_is_marked():
    assert "budget, late minimum" in printed([row(512, 0, 3.0, stopped="budget", edge="late")])


def test_names_are_not_markup():
    text = printed([row(512, 0, 3.0, run="[red]x[/red]")], VERDICT | {"sentence": "[bold]no markup"})
    assert "[red]x[/red]" in text and "[bold]no markup" in text
