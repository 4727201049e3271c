"""Every example of a docstring runs: names, arguments and what results are read for."""

import importlib
import types

import pytest

from tests.examples import given
from tests.examples.blocks import ROOT, docstring_examples, only_bound

EXAMPLES = list(docstring_examples())


def public(name):
    """What `from name import *` would give."""
    package = importlib.import_module(name)
    return {name: getattr(package, name) for name in getattr(package, "__all__", ())}


def namespace(example, **others):
    """What the example finds: see `given`."""
    names = {"only_bound": only_bound, "types": types, "ROOT": ROOT, **others}
    exec(given.EVERYWHERE, names)
    parts = example.module.split(".")
    for i in range(1, len(parts) + 1):
        names |= public(".".join(parts[:i]))
    names |= vars(importlib.import_module(example.module))
    places = [str(example), *(".".join(parts[:i]) for i in range(len(parts), 0, -1))]
    exec(next(given.GIVEN[place] for place in places if place in given.GIVEN), names)
    return names


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(example.code, namespace(example, monkeypatch=monkeypatch))
