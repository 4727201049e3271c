"""Every example of a docstring runs: names, arguments and what results are read for."""

import importlib
import types

import pytest

from tests.examples import given
from tests.examples.blocks import ROOT, check_names, docstring_examples, only_bound

EXAMPLES = list(docstring_examples())
LONGER = [example for example in EXAMPLES if str(example) in given.SECONDS]
AT_ONCE = [example for example in EXAMPLES if str(example) not in given.SECONDS | given.INSIDE_A_MODULE]


def public(name):
    """What `from name import *` would give."""
    package = importlib.import_module(name)
    return {name: getattr(package, name) for name in getattr(package, "__all__", ())}


def namespace(example, **others):
    """What the example finds, and the Python that gives it the rest: see `given`."""
    names = {"only_bound": only_bound, "types": types, "ROOT": ROOT, **others}
    exec(given.EVERYWHERE, names)
    parts = example.module.split(".")
    for i in range(1, len(parts) + 1):
        names |= public(".".join(parts[:i]))
    names |= vars(importlib.import_module(example.module))
    places = [str(example), *(".".join(parts[:i]) for i in range(len(parts), 0, -1))]
    return names, next(given.GIVEN[place] for place in places if place in given.GIVEN)


def run(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, setup = namespace(example, monkeypatch=monkeypatch)
    exec(setup, names)
    exec(example.code, names)


@pytest.mark.parametrize("example", AT_ONCE, ids=str)
def test_the_example_runs(example, tmp_path, monkeypatch):
    run(example, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("example", LONGER, ids=str)
def test_the_longer_example_runs(example, tmp_path, monkeypatch):
    run(example, tmp_path, monkeypatch)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one not in AT_ONCE], ids=str)
def test_the_names_of_a_longer_example_are_there(example):
    names, setup = namespace(example)
    check_names(example.text, names, setup)


def test_what_is_set_up_belongs_to_an_example():
    places = {str(example) for example in EXAMPLES} | {example.module for example in EXAMPLES}
    assert not (given.SECONDS | given.INSIDE_A_MODULE) - places
    around = {place.rsplit(".", i)[0] for place in places for i in range(place.count(".") + 1)}
    assert not set(given.GIVEN) - around


@pytest.mark.parametrize(
    "text", ["mle(x, neighbors=20)", "dimension.mlee(x)", "mlee(x)", "from jaxscale import dimensions"]
)
def test_a_name_that_is_not_there_is_noticed(text):
    with pytest.raises((AttributeError, ImportError, TypeError)):
        check_names(text, {**public("jaxscale"), **public("jaxscale.dimension"), "x": None})
