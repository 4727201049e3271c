"""Llama from files: the same logits from GGUF and from a folder, and as a Llama written down in NumPy."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.data import tokenizers as data_tokenizers
from jaxscale.models import Decoder, language_model, llama

# Six heads of queries for two of keys, each four wide; a base and an epsilon that are no defaults.
MODEL = configs.Decoder(
    layers=2,
    width=24,
    heads=6,
    key_value_heads=2,
    hidden=20,
    context=10,
    activation="swiglu",
    rotary_base=500.0,
    norm_epsilon=1e-2,
    scan=True,
)
VOCABULARY = 300
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 10))


def random_params(model):
    """Parameters none of which is zero or one, as those of trained models."""
    shapes = jax.eval_shape(Decoder(model, VOCABULARY).init, jax.random.key(0), TOKENS)["params"]
    generator = np.random.default_rng(1)
    return jax.tree.map(lambda s: jnp.asarray(generator.normal(0.1, 0.3, s.shape), jnp.float32), shapes)


def tokenizer():
    """Bytes and two merges, with an end-of-text that is special."""
    inner = data_tokenizers.published(data_tokenizers.Bytes())
    said = json.loads(inner.to_str())
    said["model"]["vocab"] |= {data_tokenizers.END_OF_TEXT: 256, "th": 257, "the": 258}
    said["model"]["merges"] = [["t", "h"], ["th", "e"]]
    return type(inner).from_str(json.dumps(said))


@pytest.fixture(scope="module")
def params():
    return random_params(MODEL)


@pytest.fixture(scope="module")
def expected(params):
    """Logits of the folder's tensors in float64."""
    tensors = llama.to_tensors(MODEL, params)
    return np.stack([reference(tensors, MODEL, row) for row in TOKENS])


@pytest.fixture
def folder(params, tmp_path):
    llama.write(tmp_path / "folder", MODEL, params)
    tokenizer().save(str(tmp_path / "folder" / "tokenizer.json"))
    return tmp_path / "folder"


@pytest.fixture
def gguf():
    return pytest.importorskip("gguf", reason="needs gguf: pip install 'jaxscale[gguf]'")


def write_gguf(gguf, path, params, change=lambda tensors: None, **entries):
    """MODEL as llama.cpp's converter writes it, the rows of queries and keys interleaved within each head."""
    tensors = llama.to_tensors(MODEL, params)
    said = json.loads(tokenizer().to_str())["model"]
    vocabulary = sorted(said["vocab"], key=said["vocab"].get)
    writer = gguf.GGUFWriter(path, entries.pop("architecture", "llama"))
    writer.add_block_count(2)
    writer.add_context_length(10)
    writer.add_embedding_length(24)
    writer.add_feed_forward_length(20)
    writer.add_head_count(6)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(500.0)
    writer.add_layer_norm_rms_eps(1e-2)
    writer.add_tokenizer_model(entries.pop("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(entries.pop("cut", "smollm"))
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if entry == data_tokenizers.END_OF_TEXT else 1 for entry in vocabulary])
    writer.add_token_merges(["t h", "th e"])
    for name, value in entries.items():
        writer.add_string(f"llama.{name}".replace("__", "."), value)
    theirs = dict(llama.OUTSIDE.values()) | {llama.HEAD[0]: llama.HEAD[1]}
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("model.layers."):
            _, _, block, rest = name.split(".", 3)
            to = f"blk.{block}.{dict(llama.IN_BLOCK.values())[rest]}"
        else:
            to = theirs[name]
        if heads := {"q_proj": 6, "k_proj": 2}.get(name.split(".")[-2]):
            tensor = tensor.reshape(heads, 2, -1, tensor.shape[-1]).swapaxes(1, 2).reshape(tensor.shape)
        renamed[to] = np.ascontiguousarray(tensor)
    change(renamed)
    for name, tensor in renamed.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


@jax.jit
def _scanned(params, tokens):
    return Decoder(MODEL, VOCABULARY).apply({"params": params}, tokens)


def logits(params):
    """Of the one program that most tests share."""
    return np.asarray(_scanned(params, TOKENS))


def reference(tensors, model, tokens_T):
    """Llama's logits (T, V) in float64 from a folder's tensors, as Touvron et al. (2023) and Ainslie et al. (2023)
    describe it; pair j of rotary positions is (x_j, x_{j + K/2}), turned by t · base^(-2j/K)."""
    w = {name.removeprefix("model."): np.asarray(t, np.float64) for name, t in tensors.items()}
    T, D, K = len(tokens_T), model.width, model.width // model.heads
    norm = lambda x, name: x / np.sqrt((x**2).mean(-1, keepdims=True) + model.norm_epsilon) * w[f"{name}.weight"]
    linear = lambda x, name: x @ w[f"{name}.weight"].T

    def turned(x_TxK):
        turn_TxJ = np.exp(1j * np.arange(T)[:, None] * model.rotary_base ** (-2 * np.arange(K // 2) / K))
        pairs_TxJ = (x_TxK[:, : K // 2] + 1j * x_TxK[:, K // 2 :]) * turn_TxJ
        return np.concatenate([pairs_TxJ.real, pairs_TxJ.imag], axis=1)

    x = w["embed_tokens.weight"][tokens_T]
    for i in range(model.layers):
        at, read = f"layers.{i}", norm(x, f"layers.{i}.input_layernorm")
        q, k, v = (linear(read, f"{at}.self_attn.{name}_proj") for name in "qkv")
        mixed = np.zeros((T, D))
        for head in range(model.heads):
            own = slice(head * K, (head + 1) * K)
            group = head // (model.heads // model.key_value_heads)
            shared = slice(group * K, (group + 1) * K)
            scores = np.where(np.tri(T) > 0, turned(q[:, own]) @ turned(k[:, shared]).T / np.sqrt(K), -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[:, own] = weights / weights.sum(-1, keepdims=True) @ v[:, shared]
        x = x + linear(mixed, f"{at}.self_attn.o_proj")
        read = norm(x, f"{at}.post_attention_layernorm")
        gate = linear(read, f"{at}.mlp.gate_proj")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(read, f"{at}.mlp.up_proj"), f"{at}.mlp.down_proj")
    return norm(x, "norm") @ w.get("lm_head.weight", w["embed_tokens.weight"]).T


def test_the_decoder_computes_what_llama_is(params, expected):
    # Float32 against float64; logits are of order 1.
    assert np.abs(expected).mean() > 0.3
    np.testing.assert_allclose(logits(params), expected, atol=2e-5)


def test_a_folder_goes_out_and_comes_back_in_to_the_bit(folder, params):
    read = llama.read(folder, scan=True)
    assert read.model == Decoder(MODEL, VOCABULARY)
    chex.assert_trees_all_equal(read.params, params)


def test_a_gguf_file_holds_the_same_model(gguf, params, tmp_path):
    read = llama.read(write_gguf(gguf, tmp_path / "model.gguf", params), scan=True)
    assert read.model == Decoder(MODEL, VOCABULARY)
    chex.assert_trees_all_equal(read.params, params)


def test_unrolled_and_untied_models_come_back_too(tmp_path, params, expected):
    model = configs.Decoder(**{**vars(MODEL), "scan": False, "tied": False})
    tensors = llama.to_tensors(MODEL, params)
    untied = llama.from_tensors(model, VOCABULARY, tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]})
    np.testing.assert_allclose(
        jax.jit(Decoder(model, VOCABULARY).apply)({"params": untied}, TOKENS), expected, atol=2e-5
    )
    llama.write(tmp_path, model, untied)
    chex.assert_trees_all_equal(llama.read(tmp_path).params, untied)


def test_a_language_model_gives_states_logits_and_bytes(folder, params, expected):
    teacher = language_model(str(folder))
    assert (teacher.vocab_size, teacher.context, teacher.layers, teacher.width) == (VOCABULARY, 10, 2, 24)

    @jax.jit
    def forward(params, tokens_BxT):
        states, last = teacher.apply(params, tokens_BxT, layers=(0, 2))
        return states, teacher.logits(params, last)

    (embedded, last), logits_BxTxV = forward(teacher.params, TOKENS)
    np.testing.assert_array_equal(embedded, params["embed"][TOKENS])
    np.testing.assert_allclose(logits_BxTxV, expected, atol=2e-5)
    np.testing.assert_allclose(last @ params["embed"].T, expected, atol=2e-5)
    assert len(teacher.token_bytes) == VOCABULARY
    assert teacher.token_bytes[258] == b"the" and teacher.token_bytes[ord("\n")] == b"\n"
    assert teacher.token_bytes[256] == b"" == teacher.token_bytes[299]


def test_over_a_mesh_the_logits_are_the_same(folder, expected):
    mesh = sharding.make_mesh(configs.Mesh(replica=2, fsdp=2, tensor=2))
    teacher = language_model(str(folder)).over(mesh)
    assert len(teacher.params["embed"].sharding.device_set) == 8
    last = jax.jit(lambda params, tokens: teacher.apply(params, tokens)[1])
    forward = jax.jit(lambda params, tokens: teacher.logits(params, last(params, tokens)))
    rows = np.concatenate([TOKENS, TOKENS])
    np.testing.assert_allclose(forward(teacher.params, rows)[:2], expected, atol=2e-5)
