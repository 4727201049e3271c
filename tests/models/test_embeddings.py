"""Token embeddings: each token seen with its own document's past, and nothing else."""

import jax
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.data import Split
from jaxscale.models import Decoder, embed

MODEL = Decoder(configs.Decoder(layers=1, width=16, heads=2, hidden=16, context=8), 50)


@pytest.fixture(scope="module")
def params():
    return jax.jit(MODEL.init)(jax.random.key(0), np.zeros((1, 8), np.int32))["params"]


def split(lengths=(30, 5, 12)):
    tokens = np.random.default_rng(0).integers(0, 49, sum(lengths)).astype(np.uint16)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens[starts[1:] - 1] = 49
    return Split(tokens, starts)


def test_points_are_bounded_in_total_and_per_document(params):
    found = embed(MODEL, params, split(), n=100, tokens_per_document=10)
    assert found.layers.shape == (2, 10 + 4 + 10, 16)
    assert np.bincount(found.document).tolist() in ([10, 4, 10], [4, 10, 10], [10, 10, 4])
    assert embed(MODEL, params, split(), n=7, tokens_per_document=10).layers.shape[1] == 7


def test_each_embedding_is_the_models_own_at_that_place(params):
    text = split()
    found = embed(MODEL, params, text, n=100, tokens_per_document=100, batch_size=4)
    # The embedding layer is a bag of all tokens but the ends of text.
    expected = np.asarray(params["embed"])[text.tokens[text.tokens != 49]]
    np.testing.assert_allclose(np.sort(found.layers[0], axis=0), np.sort(expected, axis=0))
    # The short document fits the context: one forward pass gives its last layer.
    start, end = text.starts[1:3]
    padded = np.pad(text.tokens[start:end].astype(np.int32), (0, 3))[None]
    layers = jax.jit(lambda params, tokens: MODEL.apply({"params": params}, tokens, method="layers"))
    whole = layers(params, padded)[-1][0, : end - start - 1]
    of_document = found.layers[1][np.isin(np.asarray(found.document), found.document[_first_of(found, 4)])]
    np.testing.assert_allclose(of_document, whole, atol=1e-6)


def _first_of(found, count):
    sizes = np.bincount(found.document)
    return int(np.flatnonzero(np.asarray(found.document) == np.flatnonzero(sizes == count)[0])[0])


def test_other_documents_do_not_matter(params):
    text = split()
    other = Split(text.tokens.copy(), text.starts)
    other.tokens[: text.starts[1]] = 3
    a, b = (embed(MODEL, params, t, n=100, tokens_per_document=100).layers[1] for t in (text, other))
    same = np.all(np.asarray(a) == np.asarray(b), axis=1)
    assert same.sum() == 4 + 11


def test_eight_devices_share_the_rows_and_change_nothing(params):
    text = split((30, 25, 40))
    mesh = sharding.make_mesh(configs.Mesh())
    alone = embed(MODEL, params, text, n=80, tokens_per_document=30, batch_size=16)
    spread = embed(MODEL, params, text, 80, 30, batch_size=16, sharding=sharding.batch_sharding(mesh))
    np.testing.assert_allclose(alone.layers, spread.layers, atol=1e-6)
    np.testing.assert_array_equal(alone.document, spread.document)
