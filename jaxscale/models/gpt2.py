"""GPT-2's weights as Hugging Face stores them, in and out as parameters of a `Decoder`.

    pretrained = read("gpt2/")                     # a folder with config.json and model.safetensors
    logits_BxTxV = pretrained.model.apply({"params": pretrained.params}, tokens_BxT)
    write("mine/", model_config, params)           # a folder that transformers and this module read

GPT-2 (Radford et al. 2019) is the `Decoder` with layer norms, biases, learned positions and GELU in its tanh form. The
file's linear maps are stored (in, out), as ours are; query, key and value lie side by side in one.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxscale import config as configs
from jaxscale.errors import InputError
from jaxscale.models import saved_tensors
from jaxscale.models.decoder import Decoder

# What GPT-2 has and a `config.Decoder` must therefore say.
ARCHITECTURE: dict[str, Any] = {
    "norm": "layer",
    "bias": True,
    "positions": "learned",
    "activation": "gelu",
    "key_value_heads": None,
    "norm_epsilon": None,
}
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
    said = saved_tensors.read_config(folder, "GPT-2", "gpt2")
    model, vocab_size = _decoder(said, folder, execution)
    tensors = saved_tensors.read_folder(folder)
    return GPT2Weights(Decoder(model, vocab_size), from_tensors(model, vocab_size, tensors, str(folder)))


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
    tensors = to_tensors(model, params)
    vocab_size = len(tensors["transformer.wte.weight"])
    saved_tensors.write_folder(folder, tensors, _hugging_face_config(model, vocab_size))


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
    flat, block = saved_tensors.from_tree(model, params)
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
    tensor = saved_tensors.SavedTensors(tensors, where, "GPT-2", prefix="transformer.")

    def block(i: int) -> dict[str, np.ndarray]:
        at = f"h.{i}"
        shapes = {"attn.c_proj.weight": (D, D), "mlp.c_fc.weight": (D, F), "mlp.c_fc.bias": (F,)}
        shapes["mlp.c_proj.weight"] = (F, D)
        flat = {ours: tensor(f"{at}.{theirs}", *shapes.get(theirs, (D,))) for ours, theirs in IN_BLOCK.items()}
        kernels = np.split(tensor(f"{at}.attn.c_attn.weight", D, 3 * D), 3, axis=-1)
        biases = np.split(tensor(f"{at}.attn.c_attn.bias", 3 * D), 3)
        for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
            flat |= {f"attention/{name}/kernel": kernel, f"attention/{name}/bias": bias}
        return flat

    shapes = {"wte.weight": (vocab_size, D), "wpe.weight": (model.context, D)}
    outside = {ours: tensor(theirs, *shapes.get(theirs, (D,))) for ours, theirs in OUTSIDE.items()}
    if not model.tied:
        outside["head"] = tensor("lm_head.weight", vocab_size, D).T
    return saved_tensors.to_tree(model, outside, [block(i) for i in range(model.layers)])


def _decoder(
    said: Mapping[str, Any], folder: str | os.PathLike[str], execution: Mapping[str, Any]
) -> tuple[configs.Decoder, int]:
    """(`config.Decoder`, vocabulary size) of a config.json."""
    saved_tensors.check_computed(said, COMPUTED, str(folder), "config.json")
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
