"""The Interaction Lemma under every encoding: exact where it should be, silent everywhere else, in every format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale.constructions.encodings import ENCODINGS, Binary, Circle, Parabola, named, unit
from jaxscale.constructions.interaction import SAFETY, Rows, interaction_heads, selection_scale
from jaxscale.errors import InputError

BITS = {"float64": 52, "float32": 23, "tf32": 10, "bf16": 7}
encodings = st.sampled_from(sorted(ENCODINGS)).map(named)


def rounded(x, bits):
    """`x` to a mantissa of `bits` bits and the leading one, to nearest even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2.0 ** (bits + 1)), exponent - bits - 1)


def attention(heads, h, precision="float64"):
    """One attention layer over (l, E) tokens, heads summed; matmul inputs and sums rounded as the format does."""
    inputs = BITS[precision]
    sums = np.float64 if precision == "float64" else np.float32
    see = lambda x: rounded(np.asarray(x, np.float64), inputs).astype(sums)
    q = np.einsum("mke,te->mtk", see(heads.query), see(h))
    k = np.einsum("mke,te->mtk", see(heads.key), see(h))
    v = np.einsum("mfe,te->mtf", see(heads.value), see(h))
    scores = np.maximum(np.einsum("mtk,msk->mts", see(q), see(k)), 0)
    return np.einsum("mts,msf->tf", see(scores), see(v))


def tokens_of(encoding, tokens, data):
    """(l, E) tokens with rows: data, accumulator, encoding, one."""
    table = encoding.table(tokens)
    h = np.concatenate([data[:, None], np.zeros((tokens, 1)), table, np.ones((tokens, 1))], axis=1)
    return h, Rows(h.shape[1], slice(2, 2 + table.shape[1]), h.shape[1] - 1)


def product_head(encoding, tokens, t1, t2, coefficient, bound, rows):
    """relu(h_t1 · h_t2) into the accumulator."""
    data = np.zeros((1, rows.width))
    data[0, 0] = 1
    return interaction_heads(data, data, t1, t2, 1, coefficient, bound, encoding, tokens, rows)


@given(encodings, st.integers(2, 40), st.data())
def test_one_token_sees_one_other_and_nothing_else_happens(encoding, tokens, draw):
    t1, t2 = (draw.draw(st.integers(0, tokens - 1)) for _ in range(2))
    seed, coefficient = draw.draw(st.integers(0, 99)), draw.draw(st.sampled_from([-3.0, -0.7, 1.0, 2.5]))
    data = np.random.default_rng(seed).uniform(-2, 2, tokens)
    h, rows = tokens_of(encoding, tokens, data)
    heads = product_head(encoding, tokens, t1, t2, coefficient, 4.0, rows)
    wanted = np.zeros_like(h)
    wanted[t1, 1] = coefficient * max(data[t1] * data[t2], 0)
    np.testing.assert_allclose(attention(heads, h), wanted, rtol=1e-15, atol=0)


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=lambda e: e.name)
@pytest.mark.parametrize("tokens", [1, 2, 3, 17, 300])
def test_functionals_are_zero_at_their_token_and_a_gap_below_elsewhere(encoding, tokens):
    table, at = encoding.table(tokens), np.arange(tokens)
    weight, offset = encoding.functional(tokens, at)
    value = weight @ table.T + offset[:, None]
    assert np.all(value[at, at] == 0)
    others = value[~np.eye(tokens, dtype=bool)]
    assert np.all(others <= -encoding.gap(tokens))
    assert table.shape == (tokens, encoding.rows(tokens))
    if tokens > 1 and not (encoding.name == "full_circle" and tokens < 3):
        assert encoding.gap(tokens) > 0.99 * -others.max()


def test_parameters_grow_as_the_lemma_says():
    # 1 - cos(π/2l) = π²/8l²; 2 bounds the rounding up to a power of two.
    for tokens in (64, 512, 4096, 131_072):
        scale = selection_scale(np.array(1.0), Circle().gap(tokens)) / SAFETY
        assert 8 / np.pi**2 * tokens**2 * 0.99 < scale < 2.02 * 8 / np.pi**2 * tokens**2
        assert np.abs(Parabola().functional(tokens, np.arange(tokens))[1]).max() == tokens**2 / 4
        assert Binary().functional(tokens, np.array(0))[1] == -np.log2(tokens)
    assert Circle(1.0).gap(4096) / Circle().gap(4096) == pytest.approx(
        16, rel=0.06
    )  # less what rounding takes of either


def test_circle_in_float64_selects_without_rounding_up_to_three_thousand_tokens():
    """Exact in any order: terms are multiples of one unit, and no partial sum reaches 2^53 of it."""
    for tokens, exact in ((3000, True), (20_000, False)):
        encoding, at = Circle(), np.arange(tokens)
        weight, offset = encoding.functional(tokens, at)
        terms = np.concatenate([weight * encoding.table(tokens), offset[:, None]], axis=1)
        largest = np.maximum(np.maximum(terms, 0).sum(axis=1), np.maximum(-terms, 0).sum(axis=1))
        assert np.all(largest <= 2.0**53 * unit(terms).min(axis=1)) == exact


@pytest.mark.parametrize("precision", BITS)
@pytest.mark.parametrize("tokens", [128, 512])
def test_binary_is_exact_in_every_format(precision, tokens):
    """Data of few bits: what remains is the selection."""
    data = np.random.default_rng(0).integers(0, 16, tokens) / 16
    h, rows = tokens_of(Binary(), tokens, data)
    heads = product_head(Binary(), tokens, 5, 100, 1.0, 1.0, rows)
    out = attention(heads, h, precision)
    wanted = np.zeros_like(h)
    wanted[5, 1] = rounded(data[5] * data[100], BITS[precision])
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_binary_selects_among_131_072_tokens_in_short_formats(precision):
    """One row and one column of the scores: every pair else is farther off."""
    tokens = 131_072
    encoding = Binary()
    h, rows = tokens_of(encoding, tokens, np.ones(tokens))
    heads = product_head(encoding, tokens, 77_777, 1_234, 1.0, 1.0, rows)
    see = lambda x: rounded(x, BITS[precision]).astype(np.float32)
    q, k = see(see(h) @ see(heads.query[0]).T), see(see(h) @ see(heads.key[0]).T)
    seen = q[77_777] @ k.T
    assert seen[1_234] == 1 and np.sum(seen > 0) == 1
    assert np.sum(q @ k[1_234] > 0) == 1
    assert np.abs(heads.query).max() <= 17 and np.abs(heads.key).max() <= 17


def test_unit_is_the_lowest_bit():
    np.testing.assert_array_equal(unit(np.array([0.75, 6.0, -1.0, 0.0, 2.0**-30])), [0.25, 2, 1, np.inf, 2.0**-30])


def test_unknown_encoding_is_refused():
    with pytest.raises(InputError, match="quarter_circle, full_circle, parabola, binary"):
        named("spiral")
