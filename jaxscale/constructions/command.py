"""`jaxscale construct`: what the command line needs beyond the library.

jaxscale construct cone --dim 2 --epsilon 0.1 --out cone2
"""

import argparse
import contextlib
import importlib.util
import math
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxscale import files
from jaxscale.constructions import cloud_atlas, export, manifolds
from jaxscale.constructions.approximation import Approximation
from jaxscale.constructions.atlases import Atlas
from jaxscale.constructions.certificate import certify, write
from jaxscale.constructions.cube import approximate
from jaxscale.constructions.manifold import approximate_on
from jaxscale.constructions.targets import LARGEST_EXPONENT, Holder, Target, cone, waves
from jaxscale.errors import InputError
from jaxscale.verdict import Stopwatch, complete

PLACES = ("cube", "circle", "sphere", "torus", "swiss_roll")


def construct(options: argparse.Namespace) -> dict[str, Any]:
    """Compiles, certifies and writes the folder, which is whole or as it was; returns the certificate.

    Raises:
      InputError: a target, place or number that cannot be used; the message speaks of flags.
    """
    _check(options)
    with files.whole_folder(options.out) as folder, _in_flags():
        with (watch := Stopwatch()).stage("compiling"):
            made, singular = _approximation(options)
        with watch.stage("certifying"):
            document = certify(made, n=options.points, key=options.seed, series=True, singular=singular)
        document["target"] = {"name": options.target, "beta": options.beta, "on": options.on}
        document = complete(document, watch)
        write(document, folder, title=f"{options.target} on the {made.domain}")
        export.save(made.network, folder, notes=document["target"])
    return document


def _check(options: argparse.Namespace) -> None:
    """InputError for what can be seen to be wrong before any work."""
    wrong = _wrong(options)
    if wrong:
        raise InputError(wrong)


def _wrong(options: argparse.Namespace) -> str | None:
    """What is wrong with the options, and the remedy; None if nothing is."""
    on_cube, cloud = options.on == "cube", options.on.endswith(".npy")
    dims = {"cube": "1 or more", "sphere": "1, 2 or 3"}
    if not cloud and options.on not in PLACES:
        return f"--on {options.on} is not one of {', '.join(PLACES)} nor a .npy file. Give one of these."
    if options.dim is not None and options.on not in dims:
        return f"--dim {options.dim} is for cube and sphere; --on {options.on} has its own dimension. Leave --dim out."
    if options.dim is not None and not 1 <= options.dim <= (3 if options.on == "sphere" else math.inf):
        return f"--dim {options.dim} must be {dims[options.on]} on the {options.on}. Give such a number."
    if options.width is not None and (on_cube or cloud):
        return f"--width {options.width} is for manifolds; --on {options.on} has its own width. Leave --width out."
    if (options.grid is None) == (options.epsilon is None):
        return "give one of --grid and --epsilon: cells along a side, or the error to prove."
    if options.grid is not None and options.grid < 1:
        return f"--grid {options.grid} must be 1 or more. Give a larger number."
    if options.epsilon is not None and not 0 < options.epsilon < math.inf:
        return f"--epsilon {options.epsilon:g} must be positive and finite. Give such a number."
    largest = LARGEST_EXPONENT if on_cube else 1
    if not 0 < options.beta <= largest:
        return f"--beta {options.beta:g} must be above 0 and at most {largest:g} on {options.on}. Give such a number."
    if options.constant is not None and not 0 <= options.constant < math.inf:
        return f"--constant {options.constant:g} must be finite and not negative. Give such a number."
    if options.epsilon is not None and cloud:
        return "--epsilon cannot be proved on a cloud, of which nothing but points is known. Give --grid."
    if options.points < 1:
        return f"--points {options.points} must be 1 or more. Give a larger number."
    if not 0 <= options.seed < 2**63:
        return f"--seed {options.seed} must lie between 0 and 2^63. Give another."
    return None


@contextlib.contextmanager
def _in_flags() -> Iterator[None]:
    """The library's messages name arguments as `grid=4`; on the command line that is a flag."""
    try:
        yield
    except InputError as error:
        said = str(error)
        for name in (
            "grid",
            "epsilon",
            "constant",
            "beta",
            "width",
            "dim",
            "points",
            "seed",
            "backend",
            "encoding",
            "limit",
        ):
            said = re.sub(rf"(?<![\w-]){name}='?([^\s',;)]+)'?", rf"--{name} \1", said)
        raise InputError(said.replace("raise the limit", "raise --limit")) from error


def _approximation(options: argparse.Namespace) -> tuple[Approximation, np.ndarray | None]:
    """The network, and where its target is known to be rough."""
    dim = 1 if options.dim is None else options.dim
    f, known = _target(options.target, options.beta)
    constant = options.constant if options.constant is not None else known
    if options.epsilon is not None and constant is None:
        raise InputError(
            f"--epsilon needs --constant, the Hölder constant of {options.target} for --beta {options.beta:g}, from "
            "which the grid follows. Give it, or give --grid."
        )
    chosen = {
        "grid": options.grid,
        "epsilon": options.epsilon,
        "holder": None if constant is None else Holder(constant, options.beta),
        "backend": options.backend,
        "encoding": options.encoding,
        "limit": options.limit,
    }
    atlas = None if options.on == "cube" else _atlas(options, dim)
    apex = np.zeros(dim) if atlas is None else atlas.centers[0]
    f = cone(apex, options.beta) if options.target == "cone" else f
    made = approximate(f, dim, **chosen) if atlas is None else approximate_on(atlas, f, **chosen)
    return made, apex[None] if options.target == "cone" else None


def _atlas(options: argparse.Namespace, dim: int) -> Atlas:
    key = jax.random.key(options.seed) if options.width else None
    if options.on.endswith(".npy"):
        from jaxscale.data import point_files

        return cloud_atlas.from_points(np.asarray(point_files.open_points(options.on)))
    if options.on == "sphere":
        return manifolds.sphere(dim, options.width, key=key)
    atlas: Atlas = getattr(manifolds, options.on)(options.width, key=key)
    return atlas


def _target(name: str, beta: float) -> tuple[Target, float | None]:
    """A function and its Hölder constant, None if that is not known; a cone has its tip at the origin."""
    if name == "cone":
        return cone(0.0, beta), 1.0 if beta <= 1 else None
    if name == "waves":
        return waves, 1.0 if beta == 1 else None
    path, _, function = name.rpartition(":")
    if not pathlib.Path(path).is_file():
        raise InputError(f"target {name!r} is neither cone nor waves, nor FILE.py:NAME of a file that exists.")
    spec = importlib.util.spec_from_file_location("target", path)
    if spec is None or spec.loader is None:
        raise InputError(f"target {name!r}: {path} is not a Python file. Give one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"target {name!r}: {path} fails: {type(error).__name__}: {error}. Mend it.") from error
    if not callable(getattr(module, function, None)):
        raise InputError(f"target {name!r}: {path} has no function {function!r}.")
    return getattr(module, function), None
