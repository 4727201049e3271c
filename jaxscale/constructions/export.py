"""A network as files: its class as JSON, its numbers as safetensors or as an orbax checkpoint.

save(network, "folder")                          # architecture.json and model.safetensors
saved = load("folder")
saved.module().apply(saved.variables(np.float64), points)      # bitwise what it was
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np
from flax import traverse_util

from jaxscale import files
from jaxscale.constructions.network import Network, variables_of
from jaxscale.errors import InputError
from jaxscale.models import relu_transformer as rt

Form = Literal["safetensors", "orbax"]


@dataclasses.dataclass(frozen=True)
class Saved:
    """A network read back: enough to run it and to train it.

    Attributes:
      shape: its class.
      params: Flax parameters, float64 numpy.
      encoding: (l, d_embd).
      domain: lower and upper ends of the inputs, (D,) each.
      notes: what was saved along with it, such as the function it stands for.
    """

    shape: rt.Shape
    params: dict[str, Any]
    encoding: np.ndarray
    domain: tuple[np.ndarray, np.ndarray]
    notes: dict[str, Any]

    def module(self, **options: Any) -> rt.ReluTransformer:
        """The Flax module; options are its fields."""
        return rt.ReluTransformer(self.shape, **options)

    def variables(self, dtype: jax.typing.DTypeLike = np.float32) -> dict[str, Any]:
        """What `module().apply` takes, in `dtype`."""
        return variables_of(self.params, self.encoding, dtype)


def save(
    network: Network | Saved,
    folder: str | os.PathLike[str],
    form: Form = "safetensors",
    notes: dict[str, Any] | None = None,
) -> pathlib.Path:
    """Writes `architecture.json` and the numbers in float64; the folder is made if need be, and returned.

    Args:
      network: as compiled, or read back.
      folder: a network in it is replaced.
      form: "safetensors" writes model.safetensors, "orbax" a folder `checkpoint`.
      notes: plain values to keep along with it.

    Raises:
      InputError: an unknown form, or the folder cannot be made.
      RunError: the disk is full. What was in the folder before is untouched.
    """
    if form not in ("safetensors", "orbax"):
        raise InputError(f"form={form!r} is not one of safetensors, orbax. Pass one of these.")
    lower, upper = network.domain
    tree = variables_of(network.params, network.encoding, np.float64)
    description = {
        "form": form,
        "shape": dataclasses.asdict(network.shape),
        "lower": lower.tolist(),
        "upper": upper.tolist(),
        "notes": notes or {},
    }
    with files.full_disk_told(folder), files.whole_folder(folder) as part:
        if form == "safetensors":
            import safetensors.numpy

            flat = jax.tree.map(np.ascontiguousarray, traverse_util.flatten_dict(tree, sep="/"))
            files.write_bytes(part / "model.safetensors", safetensors.numpy.save(flat))
        else:
            import orbax.checkpoint as ocp

            with ocp.StandardCheckpointer() as writer:
                writer.save((part / "checkpoint").absolute(), tree, force=True)
        files.write_json(part / "architecture.json", description)
    return pathlib.Path(folder)


def load(folder: str | os.PathLike[str]) -> Saved:
    """What `save` wrote. InputError if the folder holds no network, or a damaged one."""
    folder = pathlib.Path(folder)
    if not (folder / "architecture.json").is_file():
        raise InputError(f"{str(folder)!r} holds no architecture.json. Give a folder written by constructions.save.")
    description = files.read_json(folder / "architecture.json")
    try:
        shape = _shape(description["shape"])
        if description["form"] == "safetensors":
            import safetensors.numpy

            tree = traverse_util.unflatten_dict(safetensors.numpy.load_file(folder / "model.safetensors"), sep="/")
        else:
            import orbax.checkpoint as ocp

            with ocp.StandardCheckpointer() as reader:
                tree = reader.restore((folder / "checkpoint").absolute())
        tree = jax.tree.map(np.asarray, tree)
        ends = ("low", "high") if "low" in description else ("lower", "upper")  # the former as version 0.1 wrote them
        domain = np.array(description[ends[0]]), np.array(description[ends[1]])
        return Saved(shape, tree["params"], tree["fixed"]["encoding"], domain, description["notes"])
    except Exception as error:  # the type of safetensors' own is not public
        raise InputError(f"{str(folder)!r} cannot be read as a network: {error}. Export it again.") from error


def _shape(fields: Mapping[str, Any]) -> rt.Shape:
    pairs: Callable[[Any], tuple[tuple[int, int], ...]] = lambda ends: tuple(
        (int(token), int(row)) for token, row in ends
    )
    blocks = tuple(rt.BlockShape(b["heads"], b["rank"], tuple(b["hidden"])) for b in fields["blocks"])
    return rt.Shape(
        tokens=fields["tokens"],
        width=fields["width"],
        blocks=blocks,
        inputs=pairs(fields["inputs"]),
        outputs=pairs(fields["outputs"]),
        bound=fields["bound"],
        learned_rows=tuple(fields["learned_rows"]),
    )
