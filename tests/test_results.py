"""What public functions return: frozen dataclasses that JAX takes apart and puts together again."""

import collections.abc
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import types
import typing

import jax
import numpy as np
import pytest

import jaxscale

# Not results: texts on disk; a network as its file has it, with notes in JSON; compiled functions with the shapes they
# take; what a network is compiled for; tasks, which check what they are made of.
OTHERS = {"Batches", "Saved", "Split", "Store", "Program", "Selection", "KGramTask", "ModPTask", "SimpleTask"}


def parts(hint):
    """The types that an annotation names, but not those that a function in it takes and returns."""
    if typing.get_origin(hint) is not collections.abc.Callable:
        yield hint
        for part in typing.get_args(hint):
            yield from parts(part)


def words(hint):
    """As `parts`, with functions but without what dictionaries call their values."""
    yield hint
    if is_word(hint):
        return
    for part in typing.get_args(hint)[1 if typing.get_origin(hint) is dict else 0 :]:
        yield from words(part)


def dataclasses_in(hint):
    return {part for part in parts(hint) if inspect.isclass(part) and dataclasses.is_dataclass(part)}


def is_ours(thing):
    return getattr(thing, "__module__", "").startswith("jaxscale.")


def public(module, names):
    """Classes and functions of a package by these names, and those of the modules among them."""
    for name in names:
        found = getattr(module, name)
        if isinstance(found, types.ModuleType):
            own = [n for n, thing in vars(found).items() if n[0] != "_" and is_ours(thing)]
            yield from public(found, own)
        elif is_ours(found) and callable(found):
            yield found


def result_of(thing):
    """A class, or what a function says it returns; its arguments may be of packages that are not imported."""
    if inspect.isclass(thing):
        return thing
    function = inspect.unwrap(thing)
    said = {"return": getattr(function, "__annotations__", {}).get("return")}
    alone = types.SimpleNamespace(__annotations__=said)
    names = {"jax": jax} | getattr(function, "__globals__", {})  # some modules import it when they are called
    return typing.get_type_hints(alone, names)["return"]


def fields(cls):
    return {field.name: typing.get_type_hints(cls)[field.name] for field in dataclasses.fields(cls)}


def returned():
    """Dataclasses of public functions and packages, with those in their fields."""
    found, ahead = set(), set()
    for package in pkgutil.iter_modules(jaxscale.__path__):
        module = importlib.import_module(f"jaxscale.{package.name}")
        for thing in public(module, getattr(module, "__all__", ())):
            ahead |= dataclasses_in(result_of(thing))
    while ahead := {cls for cls in ahead - found if is_ours(cls) and not hasattr(cls, "apply")}:  # Flax modules do
        found |= ahead
        ahead = {inner for cls in ahead for hint in fields(cls).values() for inner in dataclasses_in(hint)}
    return found


def is_array(part):
    return (typing.get_origin(part) or part) in (jax.Array, np.ndarray)


def is_word(part):
    """Whether no jitted function takes it as data."""
    return part in (str, slice) or typing.get_origin(part) in (typing.Literal, collections.abc.Callable)


@functools.cache
def holds_arrays(cls):
    inner = {part for hint in fields(cls).values() for part in parts(hint)}
    return any(map(is_array, inner)) or any(part in RETURNED and holds_arrays(part) for part in inner)


RETURNED = returned()
RESULTS = sorted((cls for cls in RETURNED if holds_arrays(cls) and cls.__name__ not in OTHERS), key=str)


def test_results_are_found_by_what_functions_return_and_by_what_results_hold():
    names = {cls.__name__ for cls in RESULTS}
    assert {"Estimate", "Neighbors", "Fit", "Candidate", "Threshold", "Madogram", "Smoothness", "Rounding"} <= names


@pytest.mark.parametrize("cls", RESULTS, ids=lambda cls: f"{cls.__module__.removeprefix('jaxscale.')}.{cls.__name__}")
def test_a_result_that_holds_arrays_is_frozen_and_a_pytree(cls):
    assert cls.__dataclass_params__.frozen
    static = {field.name for field in dataclasses.fields(cls) if field.metadata.get("static")}
    values = {name: name if name in static else float(i) for i, name in enumerate(fields(cls))}
    result = cls(**values)

    leaves, structure = jax.tree.flatten(result)
    again = jax.tree.unflatten(structure, leaves)

    assert leaves == [value for name, value in values.items() if name not in static]
    assert type(again) is cls
    assert {name: getattr(again, name) for name in values} == values
    for name, hint in fields(cls).items():
        if name in static:
            assert not any(map(is_array, parts(hint))), f"{name} is data"
        else:
            assert not any(map(is_word, words(hint))), f"{name} is not data"
