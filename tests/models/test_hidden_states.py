"""Hidden states are those of the model at the tokens drawn, whatever stands beside them in a batch."""

import itertools
import shutil

import numpy as np
import pytest

from jaxscale.errors import InputError
from jaxscale.models.hidden_states import Pretrained, _of_transformers, hidden_states, pretrained

TEXTS = ["the first text, of some length", "", "x", "another one that goes on for longer than the model can see " * 3]


class Letters:
    """A tokenizer of letters between a special token on either side."""

    def __call__(self, text, truncation, max_length, return_special_tokens_mask):
        assert truncation and return_special_tokens_mask
        ids = [1, *map(ord, text[: max_length - 2]), 2]
        return {"input_ids": ids, "special_tokens_mask": [1, *[0] * (len(ids) - 2), 1]}


@pytest.fixture
def letters():
    """A model of two layers whose state is the token and its place, times one more than the layer."""

    def forward(sequences, layers):
        longest = max(map(len, sequences))
        states = np.zeros((len(sequences), longest, 2), np.float32)
        for row, tokens in enumerate(sequences):
            states[row, : len(tokens)] = np.stack([tokens, np.arange(len(tokens))], axis=1)
        return {layer: states * (layer + 1) for layer in layers}

    return Pretrained(Letters(), forward, layers=2, context=64)


def test_tokens_are_drawn_from_documents_without_special_ones(letters):
    states = hidden_states(letters, TEXTS, n=1000, tokens_per_document=10)
    assert sorted(states.layers) == [0, 1, 2]
    assert [np.sum(states.document == i) for i in range(4)] == [10, 0, 1, 10]
    for document, position, state in zip(states.document, states.position, states.layers[2], strict=True):
        assert tuple(state / 3) == (ord(TEXTS[document][position - 1]), position)
    assert states.position[states.document == 3].max() <= 62
    pairs = set(zip(states.document.tolist(), states.position.tolist(), strict=True))
    assert len(pairs) == len(states.document)


def test_texts_are_read_no_further_than_needed_and_progress_is_told(letters):
    read, told = [], []
    endless = (read.append(i) or "some text" for i in itertools.count())
    states = hidden_states(letters, endless, n=25, tokens_per_document=5, report=lambda **said: told.append(said))
    assert states.layers[0].shape == (25, 2) and len(read) == 5
    assert told == [{"step": 25, "steps": 25}]


def test_the_draw_depends_on_the_seed_alone(letters):
    draw = lambda seed, batch_size: hidden_states(letters, TEXTS, 12, 6, key=seed, batch_size=batch_size).position
    np.testing.assert_array_equal(draw(0, 1), draw(0, 8))
    assert not np.array_equal(draw(0, 1), draw(1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n=0 must be positive"),
        ({"context": 0}, "context=0 must be positive"),
        ({"layers": [3]}, "layer=3 is not one of the 3 layers. Give 0 to 2, or -1"),
        ({"texts": ["", ""]}, "no token to measure"),
    ],
)
def test_bad_input_is_named(arguments, message, letters):
    with pytest.raises(InputError, match=message):
        hidden_states(letters, **{"texts": TEXTS} | arguments)


def test_missing_packages_name_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(InputError, match=r"model='gpt2' needs the package 'torch'.*jaxscale\[transformers\]"):
        pretrained("gpt2")


def test_a_gpt2_in_a_folder_needs_no_torch_and_says_the_same_alone_and_in_a_batch(tiny_model, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    model = pretrained(tiny_model)
    assert (model.layers, model.context) == (2, 64)
    alone = hidden_states(model, TEXTS, tokens_per_document=10, batch_size=1)
    batched = hidden_states(model, TEXTS, tokens_per_document=10, batch_size=4)
    for layer in range(3):
        assert alone.layers[layer].shape == (21, 16)
        # Float32 sums of 16 terms, in another order.
        np.testing.assert_allclose(alone.layers[layer], batched.layers[layer], atol=1e-5)
    # Text beyond the model's context is cut off.
    assert alone.position.max() < 64


def test_a_gpt2_in_a_folder_says_what_it_says_by_torch(tiny_model):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'jaxscale[transformers]'")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxscale[transformers]'")
    ours, theirs = (hidden_states(load(tiny_model), TEXTS, key=1) for load in (pretrained, _of_transformers))
    np.testing.assert_array_equal(ours.position, theirs.position)
    for layer in range(3):
        np.testing.assert_allclose(ours.layers[layer], theirs.layers[layer], atol=1e-4)


def test_a_folder_without_a_tokenizer_is_named(tiny_model, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(f"{tiny_model}/{name}", tmp_path)
    with pytest.raises(InputError, match=r"holds no tokenizer\.json"):
        pretrained(str(tmp_path))


def test_a_model_that_is_not_there_is_named(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'jaxscale[transformers]'")
    pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxscale[transformers]'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"cannot be loaded.*Check the name, or give a folder"):
        pretrained(str(tmp_path / "none"))
