"""What docs/estimators.md says of each estimator is so: tried on the code, and compared with the committed table."""

import functools
import importlib.util
import json
import pathlib
import typing

import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators.spectra import SMOOTH, Rule

ROOT = pathlib.Path(__file__).parents[2]


def _menu():
    spec = importlib.util.spec_from_file_location("dimension_menu", ROOT / "benchmarks" / "dimension_menu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


menu = _menu()
EVERYWHERE = {"pca, gavish_donoho"}
each = pytest.mark.parametrize("entry", menu.ENTRIES, ids=lambda entry: entry.name)
each_where_it_takes_long = pytest.mark.parametrize(
    "entry",
    [entry if entry.name in EVERYWHERE else pytest.param(entry, marks=pytest.mark.thorough) for entry in menu.ENTRIES],
    ids=lambda entry: entry.name,
)


@functools.cache
def rows():
    return {row["name"]: row for row in json.loads(menu.RESULT.read_text(encoding="utf-8"))["rows"]}


def test_every_estimator_and_every_rule_has_a_row():
    assert {entry.function for entry in menu.ENTRIES} == set(dimension.ESTIMATORS)
    assert {entry.rule for entry in menu.ENTRIES if entry.function == "pca"} == set(typing.get_args(Rule))
    assert list(rows()) == [entry.name for entry in menu.ENTRIES], "run: python benchmarks/dimension_menu.py"


@each
def test_words_and_neighbors_are_those_of_the_code(entry):
    row = rows()[entry.name]
    assert (row["reads"], row["cost"], row["use"]) == (entry.reads, entry.cost, entry.use)
    assert row["neighbors"] == menu.neighbors(entry)
    assert 0 < row["seconds"] < 600 and row["first_seconds"] >= 0


@each_where_it_takes_long
def test_there_is_a_gradient_where_the_table_says_so(entry):
    assert rows()[entry.name]["gradient"] == menu.differentiable(entry)
    assert entry.rule is None or menu.differentiable(entry) == (entry.rule in SMOOTH)


@each_where_it_takes_long
def test_transformations_take_it_where_the_table_says_so(entry):
    row = rows()[entry.name]
    assert (row["jit"], row["vmap"]) == (menu.jittable(entry), menu.vmappable(entry)) == (True, True)


@each_where_it_takes_long
def test_eight_devices_say_what_one_says(entry):
    assert rows()[entry.name]["sharded"] == menu.same_when_sharded(entry)
