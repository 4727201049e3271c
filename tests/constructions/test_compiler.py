"""Compiled programs equal their formulas, under both back ends and every encoding."""

import jax
import numpy as np
import pytest
from construction_programs import CASES, POINTS, V, X, Y, Z
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import constructions as con
from jaxscale.constructions.expressions import depth
from jaxscale.errors import InputError

BACK_ENDS = [
    {"encoding": "quarter_circle"},
    {"encoding": "full_circle"},
    {"encoding": "parabola"},
    {"encoding": "binary"},
    {"backend": "structured"},
]
named = lambda options: next(iter(options.values()))


@pytest.mark.parametrize("options", BACK_ENDS, ids=named)
@pytest.mark.parametrize("name", CASES)
def test_every_primitive_equals_its_formula(name, options, definition):
    program, _ = CASES[name]
    network = con.compile(program, **options)
    scale = max(1.0, float(np.abs([program.lower, program.upper]).max()))
    tolerance = 1e-12 if "circle" in named(options) else 1e-15
    found, wanted = definition(network, POINTS[:8]), program.evaluate(POINTS[:8])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)
    assert all(selection.margin.min() > 0 for selection in network.selections)


CONSTANTS = {
    "x - x": (X - X, 0.0),
    "0 x + pi": (0 * X + np.pi, np.pi),
    "never positive": (con.relu(X - 7) * Y - 3, -3.0),
    "a number": (1.0, 1.0),
    "a number of NumPy": (np.float32(-2.5), -2.5),
    "a vector": (con.stack([1.0, -2.0, 0.0]), [1.0, -2.0, 0.0]),
    "a vector of zeros": (con.stack([0 * X, Y - Y]), [0.0, 0.0]),
}


@pytest.mark.parametrize("options", BACK_ENDS, ids=named)
@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_computed_exactly(name, options, definition):
    program, wanted = CONSTANTS[name]
    network = con.compile(program, **options)
    dimension = 3 if isinstance(program, con.Expression) and program.sources else 0
    points = POINTS[:2, :dimension]
    np.testing.assert_array_equal(definition(network, points), [wanted, wanted])
    assert con.rounding(network, "float64").leaks == 0
    if name in ("x - x", "a number"):  # others differ in the numbers alone
        for executor in ("dense", "gather"):
            np.testing.assert_array_equal(con.evaluate(network, points, executor=executor), [wanted, wanted])


def scalars(inputs):
    """Random programs of single numbers, small enough that their intervals stay moderate."""
    leaves = st.sampled_from(inputs)
    constants = st.floats(-2, 2).map(lambda c: round(c, 2))
    grow = lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda ab: ab[0] + ab[1]),
        st.tuples(inner, inner).map(lambda ab: ab[0] - 0.5 * ab[1]),
        st.tuples(inner, inner).map(lambda ab: con.trapezoid(ab[0]) * ab[1]),
        st.tuples(inner, inner).map(lambda ab: con.maximum(*ab)),
        st.tuples(inner, constants).map(lambda ac: ac[1] * ac[0] + ac[1]),
        st.tuples(inner, inner).map(lambda ab: con.relu(ab[0]) * con.trapezoid(ab[1])),
        inner.map(lambda a: con.trapezoid(a) ** 3),
        inner.map(abs),
    )
    return st.recursive(leaves, grow, max_leaves=8)


@settings(max_examples=60)
@given(scalars([X, Y, Z]), st.sampled_from(BACK_ENDS))
def test_random_programs_equal_their_formulas(definition, program, options):
    network = con.compile(program, **options)
    scale = max(1.0, float(np.abs([program.lower, program.upper]).max()))
    tolerance = 1e-12 if "circle" in named(options) else 5e-15
    found, wanted = definition(network, POINTS[:3]), program.evaluate(POINTS[:3])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale)
    assert len(network.shape.blocks) <= 2 * depth(program) + 1


@settings(max_examples=30)
@given(st.integers(0, 999), st.sampled_from([BACK_ENDS[2], BACK_ENDS[4]]))
def test_random_vector_programs_equal_their_formulas(definition, seed, options):
    """Matrices, gathers with repetitions, products of vectors, sums."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 5, 3))
    pick = rng.integers(0, 5, 7)
    hidden = con.relu(a @ V + rng.normal(size=5))
    product = hidden[pick] * con.trapezoid(b @ V)[rng.integers(0, 5, 7)]
    if rng.random() < 0.5:
        product = product * hidden[pick[::-1]]
    program = rng.normal(size=7) @ product + con.dot(V, V) * rng.choice([0, 1.0])
    network = con.compile(program, **options)
    scale = max(1.0, float(np.abs([program.lower, program.upper]).max()))
    found, wanted = definition(network, POINTS[:3]), program.evaluate(POINTS[:3])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14 * scale)


def test_a_program_of_several_numbers_has_several_outputs(definition):
    program = con.stack([X * Y, Z, 2.0, con.relu(X)])
    for options in BACK_ENDS:
        network = con.compile(program, **options)
        np.testing.assert_allclose(definition(network, POINTS[:4]), program.evaluate(POINTS[:4]), atol=1e-12)


def test_independent_work_shares_blocks():
    many = con.stack([X * Y, con.relu(X - Z), con.trapezoid(Y), con.square(Z)])
    network = con.compile(con.total(list(many)))
    assert [block.heads > 0 for block in network.shape.blocks] == [True, True]


def test_products_that_repeat_a_factor_do_not_collide(definition):
    pairs = np.array([(0, 0), (0, 1), (0, 2), (1, 1)])
    values = con.relu(X) * con.relu(Y) + con.relu(X) * con.relu(Z)
    program = (V[pairs[:, 0]] * V[pairs[:, 1]]).sum() + values
    network = con.compile(program)
    np.testing.assert_allclose(definition(network, POINTS[:4]), program.evaluate(POINTS[:4]), atol=1e-14)


def test_jax_takes_networks_apart_and_tells_them_from_each_other(definition):
    one, other = con.compile(X * Y), con.compile(X * Y)
    leaves, structure = jax.tree.flatten(one)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(definition(again, POINTS[:4]), definition(one, POINTS[:4]))
    assert {structure: "one"}[jax.tree.structure(again)] == "one"
    assert structure != jax.tree.structure(other)  # they may lie in other rows
    assert one.layout != other.layout
    doubled = jax.jit(lambda network: jax.tree.map(lambda a: 2 * a, network))(one)
    assert doubled.kappa == pytest.approx(2 * one.kappa)


def test_layout_says_where_every_value_lies(definition):
    program = con.maximum((X * Y).named("xy"), 0.25)
    network = con.compile(program)
    (place,) = network.layout.find("xy")
    assert place.block == 1
    module, point = network.module(), POINTS[:1].astype(np.float32)
    streams = module.apply(network.variables(), point, method="streams")
    found = streams[place.block][0, place.token[0], place.row[0]]
    np.testing.assert_allclose(found, POINTS[0, 0] * POINTS[0, 1], rtol=1e-5)
    assert "xy" in str(network.layout)
    with pytest.raises(InputError, match="has x y z, xy"):
        network.layout.find("yx")


def test_a_three_line_program():
    x, y, z = con.inputs("x y z", lower=-1, upper=1)
    network = con.compile(x * y + con.maximum(z, 0.3))
    points = np.array([[0.5, -0.5, 0.9], [1.0, 1.0, -1.0]])
    np.testing.assert_allclose(con.evaluate(network, points), [0.65, 1.3], atol=1e-15)
