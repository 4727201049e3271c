"""GPT-2 in and out: the same logits as a GPT-2 written down in NumPy, and as the one of transformers; the same bits."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from jaxscale import config as configs
from jaxscale.errors import InputError
from jaxscale.models import Decoder, gpt2

MODEL = configs.Decoder(
    layers=2, width=12, heads=3, hidden=20, context=10, positions="learned", norm="layer", bias=True
)
VOCABULARY = 17
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 10))


def random_params(model):
    """Parameters none of which is zero or one, as those of trained models."""
    shapes = jax.eval_shape(Decoder(model, VOCABULARY).init, jax.random.key(0), TOKENS)["params"]
    generator = np.random.default_rng(1)
    return jax.tree.map(lambda s: jnp.asarray(generator.normal(0.1, 0.3, s.shape), jnp.float32), shapes)


@pytest.fixture(scope="module")
def params():
    return random_params(MODEL)


@pytest.fixture
def folder(params, tmp_path):
    gpt2.write(tmp_path, MODEL, params)
    return tmp_path


def logits(model, params):
    return np.asarray(jax.jit(model.apply)({"params": params}, TOKENS))


def logits_of(folder):
    read = gpt2.read(folder)
    return logits(read.model, read.params)


def reference(tensors, heads, tokens_T):
    """GPT-2's logits (T, V) in float64 from a file's tensors, as its paper and its predecessor's describe it."""
    w = {name.removeprefix("transformer."): np.asarray(t, np.float64) for name, t in tensors.items()}
    T, D = len(tokens_T), w["wte.weight"].shape[1]
    K = D // heads

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    linear = lambda x, name: x @ w[f"{name}.weight"] + w[f"{name}.bias"]
    gelu = lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    x = w["wte.weight"][tokens_T] + w["wpe.weight"][:T]
    for i in range(sum(name.endswith("ln_1.weight") for name in w)):
        q, k, v = np.split(linear(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn"), 3, axis=-1)
        mixed = np.zeros_like(x)
        for head in range(heads):
            own = slice(head * K, (head + 1) * K)
            scores = np.where(np.tri(T) > 0, q[:, own] @ k[:, own].T / np.sqrt(K), -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed[:, own] = weights / weights.sum(-1, keepdims=True) @ v[:, own]
        x = x + linear(mixed, f"h.{i}.attn.c_proj")
        x = x + linear(gelu(linear(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")), f"h.{i}.mlp.c_proj")
    return norm(x, "ln_f") @ w.get("lm_head.weight", w["wte.weight"]).T


def test_an_exported_file_computes_what_the_decoder_does(folder, params):
    tensors = safetensors.load_file(folder / "model.safetensors")
    expected = np.stack([reference(tensors, MODEL.heads, row) for row in TOKENS])
    # Float32 against float64; logits are of order 1.
    np.testing.assert_allclose(logits(Decoder(MODEL, VOCABULARY), params), expected, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"scan": True}, {"tied": False}], ids=str)
def test_what_goes_out_comes_back_in_to_the_bit(options, tmp_path):
    model = configs.Decoder(**{**vars(MODEL), **options})
    params = random_params(model)
    gpt2.write(tmp_path / "first", model, params)
    read = gpt2.read(tmp_path / "first", scan=model.scan)
    assert read.model == Decoder(model, VOCABULARY)
    chex.assert_trees_all_equal(read.params, params)
    gpt2.write(tmp_path / "second", read.model.config, read.params)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_files_of_the_bare_model_in_parts_and_half_precision_are_read(folder, params):
    import ml_dtypes

    tensors = safetensors.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    half = {name.removeprefix("transformer."): t.astype(ml_dtypes.bfloat16) for name, t in tensors.items()}
    half["h.0.attn.bias"] = np.tri(10, dtype=np.float32)[None, None]  # the mask, which old files hold
    names = sorted(half)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, members in parts.items():
        safetensors.save_file({name: half[name] for name in members}, folder / part)
    index = {"weight_map": {name: part for part, members in parts.items() for name in members}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    rounded = jax.tree.map(lambda p: p.astype(jnp.bfloat16).astype(jnp.float32), params)
    chex.assert_trees_all_equal(gpt2.read(folder).params, rounded)


def changed_config(folder, **values):
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | values))


def changed_tensors(folder, change):
    tensors = safetensors.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), r"model.safetensors' cannot be read"),
        (lambda f: changed_config(f, model_type="llama"), "is a 'llama'; only GPT-2's format"),
        (lambda f: changed_config(f, activation_function="relu"), "activation_function='relu', which is not computed"),
        (lambda f: changed_config(f, layer_norm_epsilon=1e-6), "layer_norm_epsilon=1e-06"),
        (lambda f: changed_config(f, scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx=True"),
        (lambda f: changed_config(f, n_head=5), "model.heads=5 must divide model.width=12"),
        (lambda f: changed_config(f, n_layer="two"), "model.layers='two' must be an integer"),
        (lambda f: changed_config(f, n_layer=3), "has no tensor 'h.2.ln_1.weight'"),
        (
            lambda f: changed_config(f, n_embd=24),
            r"'transformer.wte.weight' has shape \(17, 12\).* asks for \(17, 24\)",
        ),
        (lambda f: changed_config(f, n_inner=None), r"c_fc.weight' has shape \(12, 20\)"),
        (lambda f: changed_config(f, tie_word_embeddings=False), "has no tensor 'lm_head.weight'"),
        (
            lambda f: changed_tensors(f, lambda t: t.pop("transformer.h.1.mlp.c_fc.bias")),
            "has no tensor 'h.1.mlp.c_fc.bias'",
        ),
    ],
)
def test_what_is_no_whole_gpt2_is_named(damage, message, folder):
    damage(folder)
    with pytest.raises(InputError, match=message):
        gpt2.read(folder)


@pytest.mark.parametrize(
    ("field", "value"), [("norm", "rms"), ("bias", False), ("positions", "rotary"), ("activation", "swiglu")]
)
def test_a_model_that_is_no_gpt2_is_not_exported(field, value, params, tmp_path):
    model = configs.Decoder(**{**vars(MODEL), field: value})
    with pytest.raises(InputError, match=rf"model.{field}={value!r}: GPT-2's format has no such thing"):
        gpt2.write(tmp_path / "out", model, params)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def transformers():
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'jaxscale[transformers]'")
    return pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxscale[transformers]'")


@pytest.mark.parametrize("options", [{}, {"n_inner": 40}, {"tie_word_embeddings": False}], ids=str)
def test_models_of_transformers_have_the_same_logits_here(options, transformers, tmp_path):
    import torch

    torch.manual_seed(0)
    shape = dict(vocab_size=VOCABULARY, n_positions=10, n_embd=12, n_layer=2, n_head=3) | options
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
        expected = model(torch.from_numpy(TOKENS)).logits.numpy()
    model.save_pretrained(tmp_path)
    np.testing.assert_allclose(logits_of(tmp_path), expected, atol=1e-4)


def test_our_models_have_the_same_logits_in_transformers(transformers, folder, params):
    import torch

    model, said = transformers.GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    assert not any(said[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        theirs = model.eval()(torch.from_numpy(TOKENS)).logits.numpy()
    np.testing.assert_allclose(theirs, logits(Decoder(MODEL, VOCABULARY), params), atol=1e-4)
    model.save_pretrained(folder / "again")
    chex.assert_trees_all_equal(gpt2.read(folder / "again").params, params)
