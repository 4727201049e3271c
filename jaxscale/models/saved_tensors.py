"""Tensors by the names that files of pretrained models give them, and the tree of a `Decoder`'s parameters.

tensors = SavedTensors(read_folder("gpt2/"), "gpt2/", "GPT-2", prefix="transformer.")
tensors("wte.weight", 50257, 768)                  # float32; InputError if it is missing or of another shape
params = to_tree(model, {"embed": …}, [{"mlp/up/kernel": …}, …])
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxscale import config as configs
from jaxscale import files
from jaxscale.errors import InputError


@dataclasses.dataclass(frozen=True)
class SavedTensors:
    """The tensors of a file or folder.

    Attributes:
      values: arrays by name.
      where: the file or folder, for messages.
      kind: of model that it should hold, for messages.
      prefix: that names may have before them.
      described_by: what says which tensors there should be, for messages.
      taken: names of those that were asked for so far.
    """

    values: Mapping[str, Any]
    where: str
    kind: str
    prefix: str = ""
    described_by: str = "config.json"
    taken: set[str] = dataclasses.field(default_factory=set)

    def __call__(self, name: str, *shape: int) -> np.ndarray:
        """One tensor in float32.

        Raises:
          InputError: there is none of the name, or it has another shape.
        """
        found = next((n for n in (name, f"{self.prefix}{name}") if n in self.values), None)
        if found is None:
            raise InputError(
                f"{self.where} has no tensor {name!r}, which its {self.described_by} asks for. "
                f"Give a whole {self.kind}."
            )
        self.taken.add(found)
        value = np.asarray(self.values[found])
        if value.shape != shape:
            raise InputError(
                f"{self.where}: tensor {found!r} has shape {value.shape}; its {self.described_by} asks for {shape}. "
                "One of the two is of another model."
            )
        return value.astype(np.float32)

    def refuse_others(self, *ignored: str) -> None:
        """Raises InputError if there are tensors that nobody asked for, but those whose names end in `ignored`."""
        others = sorted(n for n in self.values if n not in self.taken and not n.endswith(ignored))
        if others:
            raise InputError(
                f"{self.where}: tensor {others[0]!r} has no place in a {self.kind}, which would not compute what the "
                "model does. Give a model without it."
            )


def read_folder(folder: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors of a folder's safetensors, whole or in numbered parts, by name.

    Raises:
      InputError: a file is missing or damaged; it is named.
    """
    import ml_dtypes  # noqa: F401  teaches NumPy bfloat16
    import safetensors.numpy

    folder = pathlib.Path(folder)
    names = ["model.safetensors"]
    if (folder / "model.safetensors.index.json").is_file():
        names = sorted(set(files.read_json(folder / "model.safetensors.index.json")["weight_map"].values()))
    tensors: dict[str, np.ndarray] = {}
    for name in names:
        if not (folder / name).is_file():
            raise InputError(
                f"model={str(folder)!r} has no {name}. Save it as safetensors: "
                "model.save_pretrained(folder, safe_serialization=True)."
            )
        try:
            tensors |= safetensors.numpy.load_file(folder / name)
        except Exception as error:  # the library's error type is not public
            raise InputError(f"{str(folder / name)!r} cannot be read: {error}. Fetch it again.") from error
    return tensors


def write_folder(folder: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> None:
    """Writes `model.safetensors` and the `config.json` that says what they are.

    Raises:
      InputError: the folder cannot be made.
      RunError: the disk is full, or the folder cannot be written to.
    """
    import safetensors.numpy

    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out={str(folder)!r} cannot be made: {error.strerror}. Choose another folder.") from None
    files.write_bytes(folder / "model.safetensors", safetensors.numpy.save(dict(tensors), metadata={"format": "pt"}))
    files.write_json(folder / "config.json", dict(said))


def model_type(folder: str | os.PathLike[str]) -> str | None:
    """What a folder that transformers saved says that it holds; None if it is no such folder."""
    path = pathlib.Path(folder) / "config.json"
    said = files.read_json(path) if path.is_file() else None
    return said.get("model_type") if isinstance(said, dict) else None


def read_config(folder: str | os.PathLike[str], kind: str, of_type: str) -> dict[str, Any]:
    """The config.json of a folder that holds a model of one type.

    Raises:
      InputError: there is none, or it is of another type.
    """
    path = pathlib.Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"model={str(folder)!r} holds no config.json. Give a folder that transformers saved.")
    said: dict[str, Any] = files.read_json(path)
    if said.get("model_type") != of_type:
        raise InputError(
            f"model={str(folder)!r} is a {said.get('model_type')!r}; only {kind}'s format is read. "
            f"Give a folder whose config.json says model_type {of_type!r}."
        )
    return said


def check_computed(said: Mapping[str, Any], computed: Mapping[str, Sequence[Any]], where: str, by: str) -> None:
    """Raises InputError if an entry changes what is computed: `computed` has the values under which none does."""
    for name, values in computed.items():
        if said.get(name, values[0]) not in values:
            raise InputError(
                f"model={where!r}: {by} says {name}={said[name]!r}, which is not computed here. "
                f"Give a model with {' or '.join(map(repr, values))}."
            )


def to_tree(
    model: configs.Decoder, outside: Mapping[str, np.ndarray], blocks: Sequence[Mapping[str, np.ndarray]]
) -> Any:
    """Parameters of a `Decoder` from those outside its blocks and those of each, by path, as `/` joins it."""
    params: dict[str, Any] = traverse_util.unflatten_dict(dict(outside), sep="/")
    nested = [traverse_util.unflatten_dict(dict(block), sep="/") for block in blocks]
    if model.scan:
        params["blocks"] = {"block": jax.tree.map(lambda *leaves: np.stack(leaves), *nested)}
    else:
        params |= {f"block_{i}": block for i, block in enumerate(nested)}
    return jax.tree.map(jnp.asarray, params)


def from_tree(model: configs.Decoder, params: Any) -> tuple[dict[str, np.ndarray], Callable[[int, str], np.ndarray]]:
    """All parameters by path, float32, and what gives that of one path in one block."""
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float32)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    return flat, lambda i, name: flat[f"blocks/block/{name}"][i] if model.scan else flat[f"block_{i}/{name}"]
