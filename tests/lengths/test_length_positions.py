"""Position encodings: each is what its paper says, and a decoder sees through it what it should and no more."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config
from jaxscale.errors import InputError
from jaxscale.lengths import position_decoder, positions

T, ROOM = 12, 24
TOKENS = jax.random.randint(jax.random.key(0), (1, T), 0, 5)


@functools.cache
def made(encoding, layers=1):
    """A decoder whose parameters are all random, the ones that begin at zero too; `apply` takes tokens and ids."""
    shape = config.Decoder(layers=layers, width=8, heads=2, hidden=8)
    model = position_decoder.PositionDecoder(shape, 5, encoding, ROOM)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), TOKENS, TOKENS))["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [jax.random.normal(key, leaf.shape) / 2 for key, leaf in zip(keys, leaves, strict=True)]
    params = jax.tree.unflatten(tree, drawn)
    return model, params, jax.jit(lambda tokens, ids: model.apply({"params": params}, tokens, ids)[0])


def bias(encoding, size=40, layer=1, heads=2, **values):
    module = positions.PositionEncoding(encoding, 8, heads, 2, ROOM)
    params = module.init(jax.random.key(0), 0, size, method="bias").get("params", {}) | values
    return np.asarray(module.apply({"params": params}, layer, size, method="bias"))


@pytest.mark.parametrize("encoding", positions.ENCODINGS)
def test_no_encoding_lets_a_decoder_look_ahead(encoding):
    _, _, apply = made(encoding)
    ids = jnp.arange(T)[None]
    changed = TOKENS.at[0, 7].set((TOKENS[0, 7] + 1) % 5)
    before, after = apply(TOKENS, ids), apply(changed, ids)
    chex.assert_trees_all_close(before[:7], after[:7], atol=1e-5)
    assert float(jnp.max(jnp.abs(before[7:] - after[7:]))) > 1e-3


@pytest.mark.parametrize("encoding", positions.ENCODINGS)
def test_all_encodings_but_none_know_the_order_of_what_is_read(encoding):
    # One layer tells permutations apart by positions alone; two layers do by the causal mask.
    _, _, apply = made(encoding)
    last = lambda tokens: apply(tokens, jnp.arange(T)[None])[-1]
    tokens = jnp.arange(T)[None] % 5
    change = float(jnp.max(jnp.abs(last(tokens) - last(tokens.at[0, jnp.array([8, 10])].set(tokens[0, [10, 8]])))))
    assert change < 1e-5 if encoding == "none" else change > 1e-4


@pytest.mark.parametrize("encoding", ["local_bias", "t5", "alibi", "rotary", "fire", "none"])
def test_relative_encodings_do_not_read_ids(encoding):
    _, _, apply = made(encoding)
    ids = jnp.arange(T)[None]
    chex.assert_trees_all_equal(apply(TOKENS, ids), apply(TOKENS, ids + 5))


def test_alibi_falls_linearly_with_slopes_of_a_geometric_series():
    found = bias("alibi", heads=8)
    assert positions.alibi_slopes(8).tolist() == [2.0**-h for h in range(1, 9)]
    np.testing.assert_allclose(found[2, 30, 10], -20 / 8)
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), 0)


def test_t5_buckets_are_those_of_its_paper():
    # 16 exact distances, then 16 more up to 128: 16 · 8^(n/16).
    assert positions.t5_bucket(jnp.arange(16)).tolist() == list(range(16))
    edges = [16 * 8 ** (n / 16) for n in range(1, 16)]
    distance = jnp.arange(16, 400)
    wanted = 16 + np.searchsorted(edges, np.asarray(distance), side="right")
    assert np.mean(positions.t5_bucket(distance) == wanted) > 0.99  # an edge may round either way
    assert int(positions.t5_bucket(10**6)) == 31


def test_the_local_bias_scales_with_log_position_and_ends_at_its_window():
    phi = jnp.arange(36, dtype=jnp.float32).reshape(2, 2, 9)
    found = bias("local_bias", phi=phi)
    np.testing.assert_allclose(found[1, 29, 26], np.log(30) * phi[1, 1, 3], rtol=1e-6)
    assert np.all(found[:, 29, :21] == 0)


def test_fire_is_a_function_of_the_relative_place_alone_beyond_its_threshold():
    # log(1 + c d) / log(1 + c i): the same at (d, i) and wherever both logarithms have the same ratio; bounded by one.
    found = bias("fire", size=400)
    first = np.log1p(19) / np.log1p(99)
    other = np.expm1(first * np.log1p(399))
    near = np.interp(other, np.arange(400), found[0, 399, ::-1])  # by distance
    assert found[0, 99, 80] == pytest.approx(near, abs=2e-3)


def test_learned_positions_are_all_trained_by_offsets_and_tested_from_zero():
    ids = positions.position_ids("learned", 2000, T, ROOM, key=jax.random.key(0), training=True)
    assert bool(jnp.all(jnp.diff(ids, axis=1) == 1)) and set(np.unique(ids)) == set(range(ROOM))
    assert set(np.asarray(ids[:, 0]).tolist()) == set(range(ROOM - T + 1))
    tested = positions.position_ids("learned", 3, T, ROOM, key=jax.random.key(0), training=False)
    assert tested.tolist() == [list(range(T))] * 3


def test_randomized_positions_increase_and_fill_their_room():
    ids = np.asarray(positions.position_ids("randomized", 500, T, ROOM, key=jax.random.key(0), training=False))
    assert np.all(np.diff(ids, axis=1) > 0) and set(np.unique(ids)) == set(range(ROOM))


def test_periodic_positions_repeat():
    model, _, apply = made("periodic")
    ids = jnp.arange(T)[None]
    chex.assert_trees_all_equal(apply(TOKENS, ids), apply(TOKENS, ids + model.period))
    assert float(jnp.max(jnp.abs(apply(TOKENS, ids) - apply(TOKENS, ids + 1)))) > 1e-3


def test_the_penalty_is_the_sum_that_its_authors_take():
    rng = np.random.default_rng(0)
    table, query, key = rng.normal(size=(5, 8)), rng.normal(size=(2, 8, 8)), rng.normal(size=(2, 8, 8))
    wanted = 0.0
    for layer in range(2):
        for head in (slice(0, 4), slice(4, 8)):
            q, k = table @ query[layer][:, head], table @ key[layer][:, head]
            product = np.tril(q @ k.T) ** 2
            wanted += product.sum(axis=0).mean()  # over queries the sum, over keys the mean
    assert float(positions.position_penalty(table, query, key, heads=2)) == pytest.approx(wanted, rel=1e-4)


def test_the_penalty_of_a_decoder_reads_its_positions_and_projections():
    model, params, _ = made("learned_regularized", layers=2)
    slope = jax.jit(jax.grad(lambda params: position_decoder.penalty(model, params)))(params)
    size = jax.tree.map(lambda leaf: float(jnp.max(jnp.abs(leaf))), slope)
    assert size["positions"]["table"] > 0 and size["block_1"]["query"]["kernel"] > 0
    assert size["block_1"]["value"]["kernel"] == 0 and size["embed"] == 0


def test_bad_input_is_told():
    with pytest.raises(InputError, match="encoding='abacus' is not one of"):
        positions.PositionEncoding("abacus", 8, 2, 2, ROOM)
    with pytest.raises(InputError, match="size=30 exceeds room=24"):
        positions.position_ids("learned", 1, 30, ROOM, key=jax.random.key(0), training=False)
