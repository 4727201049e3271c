"""Hidden states of pretrained models at sampled tokens of texts, layer by layer.

model = pretrained("gpt2")                                  # weights by transformers, run by PyTorch; or, of
                                                            # "smollm2", a GGUF file, or the folder of a GPT-2 or
                                                            # Llama, run here
states = hidden_states(model, texts, n=4000)
states.layers[6]                                            # (N, D) float32
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import numpy_seed
from jaxscale.errors import InputError
from jaxscale.memory import out_of_memory_told
from jaxscale.models.language_models import is_language_model, language_model

# Our own forward pass is compiled anew for every length of a text, of which there are so many fewer.
TOKENS_OF_A_LENGTH = 64


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A tokenizer and a model without its head; `layers` blocks above an embedding.

    Attributes:
      tokenizer: called as those of transformers are.
      forward: (sequences, layers) -> (B, T, D) float32 by layer, where T is at least the longest sequence's length.
      layers: blocks.
      context: tokens it can see at once; None for no limit.
      spans: of a text, where each token begins and ends in it, in characters, special tokens included; None where that
        is not known.
    """

    tokenizer: Callable[..., dict[str, Any]]
    forward: Callable[[Sequence[np.ndarray], Sequence[int]], dict[int, np.ndarray]]
    layers: int
    context: int | None
    spans: Callable[[str], Sequence[tuple[int, int]]] | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HiddenStates:
    """Sampled tokens by layer.

    Attributes:
      layers: (N, D) float32 by layer; 0 is the embedding, the last stands after the final norm where the model has one.
      document: (N,) int32, which text each token is from.
      position: (N,) int32, its place in the text, in tokens, counting the special ones.
    """

    layers: dict[int, np.ndarray]
    document: np.ndarray
    position: np.ndarray


def pretrained(name: str) -> Pretrained:
    """Loads a model by its name on the Hugging Face hub, or one that needs neither transformers nor PyTorch.

    The latter are those of `language_model`: "smollm2", FILE.gguf, and a folder that holds a GPT-2 or a Llama. They run
    on the devices of jax.

    Raises:
      InputError: if packages are needed and not installed, there is no such model, or it is broken.
    """
    return _of_ours(name) if is_language_model(name) else _of_transformers(name)


def _of_ours(name: str) -> Pretrained:
    loaded = language_model(name)
    layers_of: Any = jax.jit(loaded.apply, static_argnums=2)

    def forward(sequences: Sequence[np.ndarray], layers: Sequence[int]) -> dict[int, np.ndarray]:
        tokens_BxT, _ = _padded(sequences, TOKENS_OF_A_LENGTH)
        states, _ = layers_of(loaded.params, tokens_BxT[:, : loaded.context], tuple(layers))
        return {layer: np.asarray(state, np.float32) for layer, state in zip(layers, states, strict=True)}

    def tokenize(text: str, truncation: bool, max_length: int, return_special_tokens_mask: bool) -> dict[str, Any]:
        encoded = loaded.tokenizer.encode(text)
        return {"input_ids": encoded.ids[:max_length], "special_tokens_mask": encoded.special_tokens_mask[:max_length]}

    spans: Callable[[str], Sequence[tuple[int, int]]] = lambda text: loaded.tokenizer.encode(text).offsets
    return Pretrained(tokenize, forward, loaded.layers, loaded.context, spans)


def _of_transformers(name: str) -> Pretrained:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise InputError(
            f"model={name!r} needs the package {error.name!r}. Install it with: pip install 'jaxscale[transformers]'."
        ) from None
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model = transformers.AutoModel.from_pretrained(name, dtype="auto")
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"model={name!r} cannot be loaded: {reason} Check the name, or give a folder.") from error
    config = model.config.get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")

    def forward(sequences: Sequence[np.ndarray], layers: Sequence[int]) -> dict[int, np.ndarray]:
        on_device = lambda array: torch.from_numpy(array).to(model.device)
        tokens_BxT, mask_BxT = map(on_device, _padded(sequences))
        with torch.inference_mode():
            output = model(input_ids=tokens_BxT, attention_mask=mask_BxT, output_hidden_states=True)
        return {layer: output.hidden_states[layer].float().cpu().numpy() for layer in layers}

    spans: Any = lambda text: tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return Pretrained(tokenizer, forward, config.num_hidden_layers, context, spans if tokenizer.is_fast else None)


def hidden_states(
    model: Pretrained,
    texts: Iterable[str],
    n: int = 4000,
    tokens_per_document: int = 32,
    layers: Sequence[int] | None = None,
    context: int = 512,
    batch_size: int = 8,
    *,
    key: "jax.Array | int" = 0,
    report: Callable[..., None] = lambda **values: None,
) -> HiddenStates:
    """Runs `model` over `texts` until `n` tokens are drawn, each with the text that precedes it.

    Args:
      model: from `pretrained`.
      texts: the documents; read in order, and no further than needed.
      n: tokens at most.
      tokens_per_document: drawn from one text at most, without replacement, special tokens never. Few from many
        documents are worth more than many from few: tokens of one document depend on each other.
      layers: which; all if None. 0 is the embedding, -1 the last.
      context: tokens of a text that the model sees; what lies beyond is cut off. Never more than the model's own.
      batch_size: texts a forward pass takes.
      key: a JAX random key, or an int for `jax.random.key`. It draws the tokens.
      report: called with `step` and `steps`, tokens drawn and wanted.

    Returns:
      `HiddenStates` of N <= n tokens.

    Raises:
      InputError: if a number is not positive, a layer does not exist, or the texts hold no token to draw.
      RunError: if the memory of a device does not suffice.
    """
    for name, value in {
        "n": n,
        "tokens_per_document": tokens_per_document,
        "context": context,
        "batch_size": batch_size,
    }.items():
        if value < 1:
            raise InputError(f"{name}={value} must be positive. Give a larger value.")
    chosen = _layers(layers, model.layers + 1)
    context = min(context, model.context or context)
    generator = np.random.default_rng(numpy_seed("key", key))
    drawn = _draw(_tokenized(model.tokenizer, texts, context), n, tokens_per_document, generator)
    rows: dict[int, list[np.ndarray]] = {layer: [] for layer in chosen}
    documents, positions, done = [], [], 0
    for batch in _batches(drawn, batch_size):
        with out_of_memory_told(f"Lower batch_size={batch_size} or context={context}."):
            states_LxBxTxD = model.forward([tokens for _, tokens, _ in batch], chosen)
        for row, (document, _, places) in enumerate(batch):
            for layer in chosen:
                rows[layer].append(states_LxBxTxD[layer][row, places])
            documents.append(np.full(len(places), document, np.int32))
            positions.append(places.astype(np.int32))
            done += len(places)
        report(step=done, steps=n)
    if not done:
        raise InputError("the texts are empty: no token to measure. Give more text.")
    return HiddenStates(
        {layer: np.concatenate(states) for layer, states in rows.items()},
        np.concatenate(documents),
        np.concatenate(positions),
    )


def _layers(layers: Sequence[int] | None, count: int) -> list[int]:
    chosen = range(count) if layers is None else layers
    for layer in chosen:
        if not -count <= layer < count:
            raise InputError(f"layer={layer} is not one of the {count} layers. Give 0 to {count - 1}, or -1.")
    return sorted({layer % count for layer in chosen})


def _tokenized(
    tokenizer: Callable[..., dict[str, Any]], texts: Iterable[str], context: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokens of each text and which of them are of the text itself."""
    for text in texts:
        encoded = tokenizer(text, truncation=True, max_length=context, return_special_tokens_mask=True)
        yield np.asarray(encoded["input_ids"]), np.flatnonzero(np.asarray(encoded["special_tokens_mask"]) == 0)


def _draw(
    tokenized: Iterable[tuple[np.ndarray, np.ndarray]],
    n: int,
    tokens_per_document: int,
    generator: np.random.Generator,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(number of the document, its tokens, the places drawn) until `n` are drawn; texts without tokens skipped."""
    left = n
    for document, (tokens, candidates) in enumerate(tokenized):
        count = min(len(candidates), tokens_per_document, left)
        if count:
            yield document, tokens, np.sort(generator.choice(candidates, count, replace=False))
            left -= count
        if not left:
            return


def _batches(
    items: Iterable[tuple[int, np.ndarray, np.ndarray]], size: int
) -> Iterator[list[tuple[int, np.ndarray, np.ndarray]]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _padded(sequences: Sequence[np.ndarray], multiple: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and what counts of them, both (B, T) integers; padding is on the right, where no token looks."""
    longest = -(-max(map(len, sequences)) // multiple) * multiple
    tokens_BxT, mask_BxT = np.zeros((2, len(sequences), longest), np.int64)
    for row, tokens in enumerate(sequences):
        tokens_BxT[row, : len(tokens)], mask_BxT[row, : len(tokens)] = tokens, 1
    return tokens_BxT, mask_BxT
