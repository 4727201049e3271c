"""`jaxscale construct`, and `jaxscale train` from a construction: what the command line needs beyond the library.

jaxscale construct cone --dim 2 --epsilon 0.1 --out cone2
jaxscale train cone2 --parts readout --steps 2000 --workdir cone2-trained
"""

import argparse
import dataclasses
import hashlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxscale import config, files
from jaxscale.constructions import cloud_atlas, export, manifolds
from jaxscale.constructions.approximation import Approximation
from jaxscale.constructions.certificate import certify, write
from jaxscale.constructions.cube import approximate
from jaxscale.constructions.manifold import approximate_on
from jaxscale.constructions.targets import Holder, Target, cone, waves
from jaxscale.constructions.training import check, root_mean_square_error, train
from jaxscale.errors import InputError
from jaxscale.training.checkpoints import Checkpoints

PLACES = ("cube", "circle", "sphere", "torus", "swiss_roll")


def construct(options: argparse.Namespace) -> dict[str, Any]:
    """Compiles, certifies and writes the folder; returns the certificate.

    Raises:
      InputError: a target, place or number that cannot be used, before anything is written.
    """
    if options.points < 1:
        raise InputError(f"points={options.points} must be positive. Give a larger value.")
    made, singular = _approximation(options)
    document = certify(made, points=options.points, seed=options.seed, series=True, singular=singular)
    document["target"] = {"name": options.target, "beta": options.beta, "on": options.on}
    write(document, options.out, title=f"{options.target} on the {made.domain}")
    export.save(made.network, options.out, notes=document["target"])
    return document


@dataclasses.dataclass(frozen=True)
class Descent:
    """What a workdir of `jaxscale train` belongs to, in its `config.json`: options, digest of network and points."""

    parts: str
    steps: int
    learning_rate: float
    batch: int
    points: int
    seed: int
    digest: str


def train_from(folder: pathlib.Path, arguments: list[str], workdir: str | None, report: Callable[..., None]):
    """Trains the network in a folder of `jaxscale construct`; returns a summary of errors before and after.

    After an interruption the same command goes on from the newest checkpoint in the workdir, to the same end.
    """
    parser = argparse.ArgumentParser(prog=f"jaxscale train {folder}", allow_abbrev=False)
    add = parser.add_argument
    add("--parts", default="all", choices=("readout", "values", "all"), help="what may move (default %(default)s)")
    add("--steps", type=int, default=2000, help="default %(default)s")
    add("--learning-rate", type=float, default=1e-3, help="default %(default)s")
    add("--batch", type=int, default=256, help="points a step (default %(default)s)")
    add("--points", type=int, default=4096, help="points to train on (default %(default)s)")
    add("--seed", type=int, default=0, help="default %(default)s")
    options = parser.parse_args(arguments)
    if not workdir:
        raise InputError("--workdir is needed to train: the folder for checkpoints and the trained network.")
    saved = export.load(folder)
    if saved.notes.get("on") != "cube":
        raise InputError(f"{str(folder)!r} holds a network on {saved.notes.get('on')}; points are drawn on cubes only.")
    f = _target(saved.notes["name"], np.zeros(len(saved.shape.inputs)), saved.notes["beta"])[0]
    rng = np.random.default_rng(options.seed)
    x, fresh = rng.uniform(*saved.domain, size=(2, options.points, len(saved.shape.inputs)))
    module, start = saved.module(head_chunk=64), saved.variables()
    y = f(x)
    check(x, y, options.steps, options.batch, [options.learning_rate])
    descent = Descent(**vars(options), digest=_digest((start, x, y)))
    config.refuse_other(workdir, descent)
    with files.workplace(workdir) as place, Checkpoints(place / "checkpoints") as store:
        config.claim(place, descent)
        how = (options.parts, options.steps, options.learning_rate, options.batch, options.seed)
        fitted = train(module, start, x, y, *how, report, store)
    export.save(saved, workdir, params=fitted.params, notes=saved.notes | {"trained": vars(options)})
    return {
        "parts": options.parts,
        "steps": options.steps,
        "constructed_error": root_mean_square_error(module, start, fresh, f(fresh)),
        "trained_error": root_mean_square_error(module, start | {"params": fitted.params}, fresh, f(fresh)),
        "folder": str(workdir),
    }


def _digest(tree):
    """Of all numbers, in order, as hexadecimal digits."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _approximation(options) -> tuple[Approximation, np.ndarray | None]:
    """The network, and where its target is known to be rough."""
    atlas = None if options.on == "cube" else _atlas(options)
    apex = np.zeros(max(options.dim, 0)) if atlas is None else atlas.centers[0]
    f, constant = _target(options.target, apex, options.beta)
    constant = options.constant if options.constant is not None else constant
    chosen = {
        "grid": options.grid,
        "epsilon": options.epsilon,
        "holder": None if constant is None else Holder(constant, options.beta),
        "backend": options.backend,
        "encoding": options.encoding,
    }
    made = approximate(f, options.dim, **chosen) if atlas is None else approximate_on(atlas, f, **chosen)
    return made, apex[None] if options.target == "cone" else None


def _atlas(options):
    key = jax.random.key(options.seed) if options.width else None
    if options.on.endswith(".npy"):
        from jaxscale.data import point_files

        return cloud_atlas.from_points(np.asarray(point_files.open_points(options.on)))
    if options.on not in PLACES:
        raise InputError(f"on={options.on!r} is not one of {', '.join(PLACES)} nor a .npy file. Give one of these.")
    if options.on == "sphere":
        return manifolds.sphere(options.dim, options.width, key)
    return getattr(manifolds, options.on)(options.width, key)


def _target(name: str, apex: np.ndarray, beta: float) -> tuple[Target, float | None]:
    """A function and its Hölder constant, None if that is not known; a cone has its tip at `apex`."""
    if name == "cone":
        return cone(apex, beta), 1.0 if beta <= 1 else None
    if name == "waves":
        return waves, 1.0 if beta == 1 else None
    path, _, function = name.rpartition(":")
    if not pathlib.Path(path).is_file():
        raise InputError(f"target={name!r} is neither cone nor waves, nor FILE.py:NAME of a file that exists.")
    spec = importlib.util.spec_from_file_location("target", path)
    if spec is None or spec.loader is None:
        raise InputError(f"target={name!r}: {path} is not a Python file. Give one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"target={name!r}: {path} fails: {type(error).__name__}: {error}. Mend it.") from error
    if not callable(getattr(module, function, None)):
        raise InputError(f"target={name!r}: {path} has no function {function!r}.")
    return getattr(module, function), None
