"""GPT-2's weights as Hugging Face stores them, in and out as parameters of a `Decoder`.

    pretrained = read("gpt2/")                     # a folder with config.json and model.safetensors
    logits_BxTxV = pretrained.model.apply({"params": pretrained.params}, tokens_BxT)
    write("mine/", model_config, params)           # a folder that transformers and this module read

GPT-2 (Radford et al. 2019) is the `Decoder` with layer norms, biases, learned positions and GELU in its tanh form. The
file's linear maps are stored (in, out), as ours are; query, key and value lie side by side in one.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from jaxscale import config as configs
from jaxscale import files
from jaxscale.errors import InputError
from jaxscale.models.decoder import Decoder

# What GPT-2 has and a `config.Decoder` must therefore say.
ARCHITECTURE: dict[str, Any] = {"norm": "layer", "bias": True, "positions": "learned", "activation": "gelu"}
# Entries of config.json that change what is computed, and the values under which it is what `Decoder` computes.
COMPUTED = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
# Where each parameter of a block lies in a file, after `h.<i>.`.
IN_BLOCK = {
    "norm_attention/scale": "ln_1.weight",
    "norm_attention/bias": "ln_1.bias",
    "attention/out/kernel": "attn.c_proj.weight",
    "attention/out/bias": "attn.c_proj.bias",
    "norm_mlp/scale": "ln_2.weight",
    "norm_mlp/bias": "ln_2.bias",
    "mlp/up/kernel": "mlp.c_fc.weight",
    "mlp/up/bias": "mlp.c_fc.bias",
    "mlp/down/kernel": "mlp.c_proj.weight",
    "mlp/down/bias": "mlp.c_proj.bias",
}
OUTSIDE = {"embed": "wte.weight", "positions": "wpe.weight", "norm/scale": "ln_f.weight", "norm/bias": "ln_f.bias"}


@dataclasses.dataclass(frozen=True)
class GPT2Weights:
    """A decoder and its parameters, float32."""

    model: Decoder
    params: Any


def read(folder: str | os.PathLike[str], **execution: Any) -> GPT2Weights:
    """The GPT-2 in a folder as transformers saves it: `config.json` and safetensors, whole or in numbered parts.

    Args:
      folder: the folder.
      execution: fields of `config.Decoder` that say how to compute: `dtype`, `attention`, `scan`.

    Returns:
      `GPT2Weights`; weights in half precision are widened, exactly.

    Raises:
      InputError: no such folder, another architecture, an option of GPT-2 that `Decoder` lacks, tensors missing or of
        another shape; each named.
    """
    folder = pathlib.Path(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"model={str(folder)!r} holds no config.json. Give a folder that transformers saved.")
    model, vocab_size = _decoder(files.read_json(folder / "config.json"), folder, execution)
    return GPT2Weights(Decoder(model, vocab_size), from_tensors(model, vocab_size, _tensors(folder), str(folder)))


def write(folder: str | os.PathLike[str], model: configs.Decoder, params: Any) -> None:
    """Writes `config.json` and `model.safetensors` (float32), which `read` and transformers turn into the same model.

    Args:
      folder: made if need be; a model in it is replaced.
      model: the `config.Decoder` the parameters belong to.
      params: those of `Decoder(model, vocab_size)`.

    Raises:
      InputError: the model is no GPT-2 (the field is named).
      RunError: the disk is full, or the folder cannot be written to.
    """
    import safetensors.numpy

    tensors = to_tensors(model, params)
    vocab_size = len(tensors["transformer.wte.weight"])
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out={str(folder)!r} cannot be made: {error.strerror}. Choose another folder.") from None
    files.write_bytes(folder / "model.safetensors", safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    files.write_json(folder / "config.json", _hugging_face_config(model, vocab_size))


def check(model: configs.Decoder) -> None:
    """Raises InputError, naming the field, if a `config.Decoder` describes no GPT-2."""
    for field, value in ARCHITECTURE.items():
        if getattr(model, field) != value:
            raise InputError(
                f"model.{field}={getattr(model, field)!r}: GPT-2's format has no such thing. "
                f"Train with model.{field}={value!r} to export."
            )


def to_tensors(model: configs.Decoder, params: Any) -> dict[str, np.ndarray]:
    """Tensors of a GPT-2 with a language-model head by their names in a file, float32. Raises InputError as `check`."""
    check(model)
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float32)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    block: Callable[[int, str], np.ndarray] = lambda i, name: (
        flat[f"blocks/block/{name}"][i] if model.scan else flat[f"block_{i}/{name}"]
    )
    tensors = {f"transformer.{theirs}": flat[ours] for ours, theirs in OUTSIDE.items()}
    for i in range(model.layers):
        at = f"transformer.h.{i}"
        tensors |= {f"{at}.{theirs}": block(i, ours) for ours, theirs in IN_BLOCK.items()}
        for kind, theirs in (("kernel", "weight"), ("bias", "bias")):
            parts = [block(i, f"attention/{name}/{kind}") for name in ("query", "key", "value")]
            tensors[f"{at}.attn.c_attn.{theirs}"] = np.concatenate(parts, axis=-1)
    if not model.tied:
        tensors["lm_head.weight"] = flat["head"].T
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def from_tensors(model: configs.Decoder, vocab_size: int, tensors: Mapping[str, Any], where: str = "the file") -> Any:
    """Parameters of `Decoder(model, vocab_size)` from a GPT-2's tensors by name, with or without "transformer." before.

    Raises:
      InputError: a tensor is missing or has another shape than the model's; it is named, with `where` it was sought.
    """
    D, F = model.width, model.hidden

    def tensor(name: str, *shape: int) -> np.ndarray:
        found = next((n for n in (name, f"transformer.{name}") if n in tensors), None)
        if found is None:
            raise InputError(f"{where} has no tensor {name!r}, which its config.json asks for. Give a whole GPT-2.")
        value = np.asarray(tensors[found])
        if value.shape != shape:
            raise InputError(
                f"{where}: tensor {found!r} has shape {value.shape}; its config.json asks for {shape}. "
                "One of the two is of another model."
            )
        return value.astype(np.float32)

    def block(i: int) -> dict[str, Any]:
        at = f"h.{i}"
        shapes = {"attn.c_proj.weight": (D, D), "mlp.c_fc.weight": (D, F), "mlp.c_fc.bias": (F,)}
        shapes["mlp.c_proj.weight"] = (F, D)
        flat = {ours: tensor(f"{at}.{theirs}", *shapes.get(theirs, (D,))) for ours, theirs in IN_BLOCK.items()}
        kernels = np.split(tensor(f"{at}.attn.c_attn.weight", D, 3 * D), 3, axis=-1)
        biases = np.split(tensor(f"{at}.attn.c_attn.bias", 3 * D), 3)
        for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            flat |= {f"attention/{name}/kernel": kernel, f"attention/{name}/bias": bias}
        nested: dict[str, Any] = traverse_util.unflatten_dict(flat, sep="/")
        return nested

    shapes = {"wte.weight": (vocab_size, D), "wpe.weight": (model.context, D)}
    params = traverse_util.unflatten_dict(
        {ours: tensor(theirs, *shapes.get(theirs, (D,))) for ours, theirs in OUTSIDE.items()}, sep="/"
    )
    if not model.tied:
        params["head"] = tensor("lm_head.weight", vocab_size, D).T
    blocks = [block(i) for i in range(model.layers)]
    if model.scan:
        params["blocks"] = {"block": jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)}
    else:
        params |= {f"block_{i}": block for i, block in enumerate(blocks)}
    return jax.tree.map(jnp.asarray, params)


def is_gpt2(folder: str | os.PathLike[str]) -> bool:
    """Whether `folder` says of itself that it holds a GPT-2."""
    path = pathlib.Path(folder) / "config.json"
    return path.is_file() and files.read_json(path).get("model_type") == "gpt2"


def _decoder(
    said: Mapping[str, Any], folder: str | os.PathLike[str], execution: Mapping[str, Any]
) -> tuple[configs.Decoder, int]:
    """(`config.Decoder`, vocabulary size) of a config.json."""
    if said.get("model_type") != "gpt2":
        raise InputError(
            f"model={str(folder)!r} is a {said.get('model_type')!r}; only GPT-2's format is read. "
            "Give a folder whose config.json says model_type 'gpt2'."
        )
    for name, values in COMPUTED.items():
        if said.get(name, values[0]) not in values:
            raise InputError(
                f"model={str(folder)!r}: config.json says {name}={said[name]!r}, which is not computed here. "
                f"Give a model with {' or '.join(map(repr, values))}."
            )
    try:
        layers, width, heads, vocab_size = (said[name] for name in ("n_layer", "n_embd", "n_head", "vocab_size"))
        context = said.get("n_positions") or said["n_ctx"]
    except KeyError as error:
        raise InputError(f"model={str(folder)!r}: config.json does not say {error}. Give a whole GPT-2.") from None
    model = configs.Decoder(
        layers=layers,
        width=width,
        heads=heads,
        hidden=said.get("n_inner") or 4 * width,
        context=context,
        tied=said.get("tie_word_embeddings", True),
        **ARCHITECTURE,
        **execution,
    )
    configs.validate(configs.Run(model=model))
    return model, vocab_size


def _hugging_face_config(model: configs.Decoder, vocab_size: int) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "n_layer": model.layers,
        "n_embd": model.width,
        "n_head": model.heads,
        "n_inner": model.hidden,
        "n_positions": model.context,
        "vocab_size": vocab_size,
        "tie_word_embeddings": model.tied,
        # Nothing is dropped where a model of ours is fine-tuned elsewhere, unless asked for.
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": vocab_size - 1,
        "eos_token_id": vocab_size - 1,
        "torch_dtype": "float32",
    }


def _tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of a folder by name."""
    import ml_dtypes  # noqa: F401  teaches NumPy bfloat16
    import safetensors.numpy

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
