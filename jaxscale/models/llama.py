"""Llama's weights as files hold them, in and out as parameters of a `Decoder`.

    weights = read("SmolLM2-135M/")                  # a folder with config.json and safetensors, or FILE.gguf
    logits_BxTxV = weights.model.apply({"params": weights.params}, tokens_BxT)
    write("mine/", model_config, params)             # a folder that transformers and this module read

Llama (Touvron et al. 2023) is the `Decoder` with rotary positions, norms of the root mean square, SwiGLU and no biases;
heads of queries may share keys and values. A folder's linear maps are stored (out, in), ours (in, out). GGUF, the
format of llama.cpp, holds queries and keys with the rows of each head interleaved, for rotary pairs that lie side by
side: they are put back, as halves are paired here.
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
from jaxscale.models.gguf_files import GGUF

# What Llama has and a `config.Decoder` must therefore say.
ARCHITECTURE: dict[str, Any] = {"norm": "rms", "bias": False, "positions": "rotary", "activation": "swiglu"}
# Entries of config.json that change what is computed, and the values under which it is what `Decoder` computes.
COMPUTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
}
# The same of a GGUF file, after `llama.`.
COMPUTED_OF_GGUF: dict[str, tuple[Any, ...]] = {
    "llama.rope.scaling.type": ("none",),
    "llama.expert_count": (0,),
}
# Where each parameter of a block lies in a folder, after `model.layers.<i>.`, and in a GGUF file, after `blk.<i>.`.
IN_BLOCK = {
    "norm_attention/scale": ("input_layernorm.weight", "attn_norm.weight"),
    "attention/query/kernel": ("self_attn.q_proj.weight", "attn_q.weight"),
    "attention/key/kernel": ("self_attn.k_proj.weight", "attn_k.weight"),
    "attention/value/kernel": ("self_attn.v_proj.weight", "attn_v.weight"),
    "attention/out/kernel": ("self_attn.o_proj.weight", "attn_output.weight"),
    "norm_mlp/scale": ("post_attention_layernorm.weight", "ffn_norm.weight"),
    "mlp/gate/kernel": ("mlp.gate_proj.weight", "ffn_gate.weight"),
    "mlp/up/kernel": ("mlp.up_proj.weight", "ffn_up.weight"),
    "mlp/down/kernel": ("mlp.down_proj.weight", "ffn_down.weight"),
}
OUTSIDE = {
    "embed": ("model.embed_tokens.weight", "token_embd.weight"),
    "norm/scale": ("model.norm.weight", "output_norm.weight"),
}
HEAD = ("lm_head.weight", "output.weight")
# Tables that old files hold though they follow from the configuration, and a tied matrix written twice.
IGNORED = ("rotary_emb.inv_freq", "lm_head.weight")


@dataclasses.dataclass(frozen=True)
class LlamaWeights:
    """A decoder and its parameters, float32."""

    model: Decoder
    params: Any


def read(path: str | os.PathLike[str], **execution: Any) -> LlamaWeights:
    """The Llama in a folder as transformers saves it, or in a GGUF file.

    Args:
      path: a folder with `config.json` and safetensors, whole or in numbered parts; or FILE.gguf, which needs the
        package `gguf`.
      execution: fields of `config.Decoder` that say how to compute: `dtype`, `attention`, `scan`.

    Returns:
      `LlamaWeights`; weights in half precision are widened, exactly, and quantized ones become the numbers they stand
      for.

    Raises:
      InputError: no such file or folder, a damaged one, another architecture, an option of Llama that `Decoder` lacks,
        tensors missing, of another shape, or too many; each named.
    """
    if os.fspath(path).endswith(".gguf"):
        return read_gguf(GGUF.open(path), **execution)
    said = saved_tensors.read_config(path, "Llama", "llama")
    model, vocab_size = _decoder_of_folder(said, str(path), execution)
    tensors = saved_tensors.read_folder(path)
    return LlamaWeights(Decoder(model, vocab_size), from_tensors(model, vocab_size, tensors, str(path)))


def read_gguf(file: GGUF, **execution: Any) -> LlamaWeights:
    """The Llama in an open GGUF file. Args and errors as of `read`."""
    model, vocab_size = _decoder_of_gguf(file, execution)
    saved = saved_tensors.SavedTensors(file.tensors(), file.path, "Llama", described_by="metadata")
    params = _from_saved(model, vocab_size, saved, 1)
    saved.refuse_others()
    return LlamaWeights(Decoder(model, vocab_size), params)


def write(folder: str | os.PathLike[str], model: configs.Decoder, params: Any) -> None:
    """Writes `config.json` and `model.safetensors` (float32), which `read` and transformers turn into the same model.

    Args:
      folder: made if need be; a model in it is replaced.
      model: the `config.Decoder` the parameters belong to.
      params: those of `Decoder(model, vocab_size)`.

    Raises:
      InputError: the model is no Llama (the field is named), or the folder cannot be made.
      RunError: the disk is full, or the folder cannot be written to.
    """
    tensors = to_tensors(model, params)
    vocab_size = len(tensors["model.embed_tokens.weight"])
    saved_tensors.write_folder(folder, tensors, _hugging_face_config(model, vocab_size))


def to_tensors(model: configs.Decoder, params: Any) -> dict[str, np.ndarray]:
    """Tensors of a Llama with a language-model head by their names in a folder, float32.

    Raises:
      InputError: the model is no Llama; the field is named.
    """
    for field, value in ARCHITECTURE.items():
        if getattr(model, field) != value:
            raise InputError(
                f"model.{field}={getattr(model, field)!r}: Llama's format has no such thing. "
                f"Train with model.{field}={value!r} to write it as one."
            )
    flat, block = saved_tensors.from_tree(model, params)
    tensors = {theirs: flat[ours] for ours, (theirs, _) in OUTSIDE.items()}
    for i in range(model.layers):
        tensors |= {f"model.layers.{i}.{theirs}": block(i, ours).T for ours, (theirs, _) in IN_BLOCK.items()}
    if not model.tied:
        tensors[HEAD[0]] = flat["head"].T
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def from_tensors(model: configs.Decoder, vocab_size: int, tensors: Mapping[str, Any], where: str = "the folder") -> Any:
    """Parameters of `Decoder(model, vocab_size)` from a Llama's tensors by their names in a folder.

    Raises:
      InputError: a tensor is missing, has another shape than the model's, or no place in it; it is named, with `where`.
    """
    saved = saved_tensors.SavedTensors(tensors, where, "Llama")
    params = _from_saved(model, vocab_size, saved, 0)
    saved.refuse_others(*IGNORED)
    return params


def _from_saved(model: configs.Decoder, vocab_size: int, saved: saved_tensors.SavedTensors, form: int) -> Any:
    """Parameters from a folder (`form` 0) or a GGUF file (1)."""
    D, F = model.width, model.hidden
    E = D // model.heads * (model.key_value_heads or model.heads)
    shapes = {
        "attention/key/kernel": (E, D),
        "attention/value/kernel": (E, D),
        "mlp/gate/kernel": (F, D),
        "mlp/up/kernel": (F, D),
        "mlp/down/kernel": (D, F),
    }
    heads = {"attention/query/kernel": model.heads, "attention/key/kernel": model.key_value_heads or model.heads}

    def block(i: int) -> dict[str, np.ndarray]:
        flat = {}
        for ours, theirs in IN_BLOCK.items():
            name = f"{('model.layers', 'blk')[form]}.{i}.{theirs[form]}"
            value = saved(name, *shapes.get(ours, (D,) if ours.endswith("scale") else (D, D)))
            flat[ours] = (_halves(value, heads[ours]) if form and ours in heads else value).T
        return flat

    outside = {
        "embed": saved(OUTSIDE["embed"][form], vocab_size, D),
        "norm/scale": saved(OUTSIDE["norm/scale"][form], D),
    }
    if not model.tied:
        outside["head"] = saved(HEAD[form], vocab_size, D).T
    return saved_tensors.to_tree(model, outside, [block(i) for i in range(model.layers)])


def _halves(rows_ExD: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in the order in which rotary pairs are its halves, from that in which they are neighbors."""
    paired = rows_ExD.reshape(heads, -1, 2, rows_ExD.shape[-1])
    return paired.swapaxes(1, 2).reshape(rows_ExD.shape)


def _decoder_of_folder(
    said: Mapping[str, Any], folder: str, execution: Mapping[str, Any]
) -> tuple[configs.Decoder, int]:
    """(`config.Decoder`, vocabulary size) of a config.json."""
    saved_tensors.check_computed(said, COMPUTED, folder, "config.json")
    # What newer files say of rotary positions together, older ones say one by one.
    rotary = said.get("rope_parameters") or {}
    scaling = said.get("rope_scaling") or rotary
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise InputError(
            f"model={folder!r}: config.json scales rotary positions by {kind!r}, which is not computed here. "
            "Give a model with rope_type 'default'."
        )
    try:
        names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
        layers, width, heads, hidden, vocab_size = (said[name] for name in names)
        context = said["max_position_embeddings"]
    except KeyError as error:
        raise InputError(f"model={folder!r}: config.json does not say {error}. Give a whole Llama.") from None
    model = _checked(
        folder,
        said.get("head_dim"),
        layers=layers,
        width=width,
        heads=heads,
        key_value_heads=said.get("num_key_value_heads"),
        hidden=hidden,
        context=context,
        rotary_base=rotary.get("rope_theta", said.get("rope_theta", 10_000.0)),
        norm_epsilon=said.get("rms_norm_eps", 1e-6),
        tied=said.get("tie_word_embeddings", False),
        **execution,
    )
    return model, vocab_size


def _decoder_of_gguf(file: GGUF, execution: Mapping[str, Any]) -> tuple[configs.Decoder, int]:
    """(`config.Decoder`, vocabulary size) of a GGUF file's metadata."""
    architecture = file.entry("general.architecture")
    if architecture != "llama":
        raise InputError(
            f"model={file.path!r} is a {architecture!r}; of GGUF files only those of architecture 'llama' are read. "
            "Give one of those."
        )
    saved_tensors.check_computed(file.metadata, COMPUTED_OF_GGUF, file.path, "its metadata")
    shapes = file.shapes()
    if OUTSIDE["embed"][1] not in shapes:
        raise InputError(f"{file.path} has no tensor {OUTSIDE['embed'][1]!r}. Give a whole Llama.")
    width, heads = file.entry("llama.embedding_length"), file.entry("llama.attention.head_count")
    widths = [file.metadata.get(f"llama.{name}") for name in ("rope.dimension_count", "attention.key_length")]
    model = _checked(
        file.path,
        next((value for value in widths if value not in (None, width // heads)), None),
        layers=file.entry("llama.block_count"),
        width=width,
        heads=heads,
        key_value_heads=file.metadata.get("llama.attention.head_count_kv"),
        hidden=file.entry("llama.feed_forward_length"),
        context=file.entry("llama.context_length"),
        rotary_base=_shortest(file.metadata.get("llama.rope.freq_base", 10_000.0)),
        norm_epsilon=_shortest(file.entry("llama.attention.layer_norm_rms_epsilon")),
        tied=HEAD[1] not in shapes,
        **execution,
    )
    return model, shapes[OUTSIDE["embed"][1]][0]


def _checked(where: str, head_width: int | None, **fields: Any) -> configs.Decoder:
    """The `config.Decoder` of a Llama, valid; as many key heads as heads are none of their own."""
    if fields["key_value_heads"] == fields["heads"]:
        fields["key_value_heads"] = None
    model = configs.Decoder(**fields, **ARCHITECTURE)
    configs.validate(configs.Run(model=model))
    if head_width not in (None, model.width // model.heads):
        raise InputError(
            f"model={where!r} has heads {head_width} wide, or turns so much of them; here heads are width / heads = "
            f"{model.width // model.heads} wide and turned whole. Give a model whose heads are."
        )
    return model


def _shortest(value: float) -> float:
    """The shortest decimal that a float32 rounds to: 1e-05, of what is stored as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _hugging_face_config(model: configs.Decoder, vocab_size: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "num_hidden_layers": model.layers,
        "hidden_size": model.width,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.key_value_heads or model.heads,
        "intermediate_size": model.hidden,
        "max_position_embeddings": model.context,
        "rope_theta": model.rotary_base,
        "rms_norm_eps": 1e-6 if model.norm_epsilon is None else model.norm_epsilon,
        "attention_bias": False,
        "mlp_bias": False,
        "vocab_size": vocab_size,
        "tie_word_embeddings": model.tied,
        "bos_token_id": vocab_size - 1,
        "eos_token_id": vocab_size - 1,
        "torch_dtype": "float32",
    }
