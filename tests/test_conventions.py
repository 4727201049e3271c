"""One name for one thing over the whole of the public interface, as docs/architecture.md has it."""

import ast
import collections
import dataclasses
import importlib
import inspect
import pathlib
import pkgutil
import re
import types

import pytest

import jaxscale

ROOT = pathlib.Path(jaxscale.__file__).parent
# What each parameter that is refused should be called.
REFUSED = {
    **dict.fromkeys(("seed", "rng", "rng_key"), "key"),
    **dict.fromkeys(("low", "lo"), "lower"),
    **dict.fromkeys(("high", "hi"), "upper"),
    **dict.fromkeys(("num_points", "num_samples", "num_tokens", "n_points", "n_samples", "n_tokens"), "n"),
    "mfu": "model_flops_utilization",
}
# Fields are data: a seed as configurations have it, and what is made of one.
FIELDS_MAY_BE = ("seed",)
# The field's own names for layers, which parameters and profiles of decoders show, and the configuration of one.
TWICE = {
    "Attention": "Flax modules: a layer of a decoder, and a mixer of the tokens of a point",
    "Block": "Flax modules: a layer of the decoder, of the regressor, and of the decoder of strings",
    "Decoder": "config.Decoder says what models.Decoder does; configurations are written with the former",
}
# These go on in a stream of NumPy's that their caller has begun.
IN_A_STREAM = ("jaxscale.smoothness.increments.drawn",)
SENTENCE = "key: a JAX random key, or an int for `jax.random.key`."


def modules():
    """All modules of the package by name, except those behind the command line."""
    for found in pkgutil.walk_packages(jaxscale.__path__, "jaxscale."):
        if not found.name.startswith(("jaxscale.cli", "jaxscale.commands")):
            yield importlib.import_module(found.name)


def functions(name, thing):
    """Functions by name: `thing` itself, or what a class or a module offers."""
    if inspect.isclass(thing):
        for of_class, method in vars(thing).items():
            method = method.__func__ if isinstance(method, (classmethod, staticmethod)) else method
            if not of_class.startswith("_") and inspect.isfunction(inspect.unwrap(method)):
                yield f"{name}.{of_class}", method
    elif isinstance(thing, types.ModuleType):
        for of_module, one in vars(thing).items():
            if not of_module.startswith("_") and getattr(one, "__module__", None) == thing.__name__:
                yield from functions(f"{name}.{of_module}", one)
    elif callable(thing) and inspect.isfunction(inspect.unwrap(thing)):
        yield name, thing


def offered():
    """Public functions and methods by name: those that packages list, and those that docs/reference.md shows."""
    for name in jaxscale.__all__:
        package = getattr(jaxscale, name)
        for of_package in getattr(package, "__all__", ()):
            yield from functions(f"{package.__name__}.{of_package}", getattr(package, of_package))
    reference = (ROOT.parent / "docs" / "reference.md").read_text(encoding="utf-8")
    for name, members in re.findall(r"^::: ([\w.]+)\n(?:    options: {members: \[(.*)\]})?", reference, re.MULTILINE):
        module = importlib.import_module(name)
        shown = members.split(", ") if members else getattr(module, "__all__", None)
        for member in shown or ():
            yield from functions(f"{name}.{member}", getattr(module, member))
        if shown is None:
            yield from functions(name, module)


PUBLIC = dict(offered())
DRAWING = sorted(name for name, function in PUBLIC.items() if "key" in inspect.signature(function).parameters)


def test_the_walk_sees_what_users_call():
    for name in (
        "jaxscale.data.Batches.of",
        "jaxscale.data.manifolds.Manifold.sample",
        "jaxscale.dimension.by_decimation",
        "jaxscale.lengths.adversarial.hard_strings",
        "jaxscale.lengths.SimpleTask.sample_statistics",
        "jaxscale.laws.fit",
        "jaxscale.testing.check_estimator",
    ):
        assert name in DRAWING, name


def test_parameters_have_the_names_of_the_conventions():
    wrong = []
    for module in modules():
        for name, function in functions(module.__name__, module):
            given = set(inspect.signature(function).parameters) & set(REFUSED)
            given -= {"seed"} if name.startswith("jaxscale.studies.") else set()  # one of a configuration's
            given -= {"rng"} if name in IN_A_STREAM else set()
            wrong += [f"{name}: {one} is called {REFUSED[one]}" for one in sorted(given)]
        for name, thing in vars(module).items():
            if inspect.isclass(thing) and thing.__module__ == module.__name__ and not name.startswith("_"):
                fields = {one.name for one in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
                fields |= set(getattr(thing, "_fields", ()))
                if "__init__" in vars(thing) and not dataclasses.is_dataclass(thing):
                    fields |= set(inspect.signature(thing.__init__).parameters)
                fields -= set(FIELDS_MAY_BE)
                wrong += [f"{module.__name__}.{name}: {one} is called {REFUSED[one]}" for one in fields & set(REFUSED)]
    assert not wrong, wrong


@pytest.mark.parametrize("name", DRAWING)
def test_keys_are_keywords_and_may_be_ints(name):
    parameters = list(inspect.signature(PUBLIC[name]).parameters.values())
    key = inspect.signature(PUBLIC[name]).parameters["key"]
    first = parameters[1] if parameters[0].name in ("self", "cls") else parameters[0]
    assert first.kind is inspect.Parameter.KEYWORD_ONLY or first is not key, "a key is given by keyword"
    assert "jax.Array | int" in str(key.annotation).replace("jaxlib._jax.Array", "jax.Array"), key.annotation
    assert SENTENCE in re.sub(r"\s+", " ", inspect.getdoc(PUBLIC[name])), "its docstring says what a key is"


def test_a_class_name_means_one_thing():
    found = collections.Counter(
        node.name
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in found.items() if count > 1} == set(TWICE)
