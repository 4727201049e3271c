"""The house as docs/architecture.md draws it: imports run down, no package is in a circle, and names mean one thing."""

import ast
import importlib
import pathlib
import pkgutil
import types

import pytest

import jaxscale

ROOT = pathlib.Path(jaxscale.__file__).parent
# From the bottom up: a package imports those above its own line in this table, and none on or below it but itself.
FLOORS = (
    ("errors", "verdict"),
    ("files", "encoded", "memory", "processor", "arguments", "progress"),
    ("preemption", "config"),
    ("theory", "page", "sharding"),
    ("dimension",),
    ("laws", "testing", "data"),
    ("smoothness", "models", "ensembles"),
    ("lengths", "training"),
    ("constructions", "ahead"),
    ("studies",),
    ("commands",),
    ("cli",),
)
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}


def imported(path):
    """Modules of jaxscale that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxscale"):
            for alias in node.names:
                yield node.module if node.module != "jaxscale" else f"jaxscale.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("jaxscale."))


def room(module):
    return module.split(".")[1]


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_every_room_has_its_floor():
    there = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES}
    assert there == set(FLOOR)


def test_imports_run_down():
    up = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in FILES
        for module in imported(path)
        if module != "jaxscale.__version__"
        for here in [path.relative_to(ROOT).parts[0].removesuffix(".py")]
        if room(module) != here and FLOOR[room(module)] >= FLOOR[here]
    ]
    assert not up, up


def test_studies_know_their_own_folder_and_what_all_share():
    """Of another study's folder only the comparison reads: it is a study of studies."""
    folder = ROOT / "studies"
    kinds = {path.parent.name for path in folder.glob("*/__init__.py")}
    foreign = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in folder.glob("*/*.py")
        if path.parent.name != "compare"
        for module in imported(path)
        if module.startswith("jaxscale.studies.") and module.split(".")[2] in kinds - {path.parent.name}
    ]
    assert not foreign, foreign


PACKAGES = [found.name for found in pkgutil.iter_modules(jaxscale.__path__) if found.ispkg]


@pytest.mark.parametrize("name", [name for name in PACKAGES if name not in ("commands", "page")])
def test_what_a_package_offers_is_what_it_lists_and_no_module_hides_behind_a_function(name):
    package = importlib.import_module(f"jaxscale.{name}")
    assert dir(package) == sorted(package.__all__)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    for offered in set(package.__all__) & modules:
        assert isinstance(getattr(package, offered), types.ModuleType), offered
