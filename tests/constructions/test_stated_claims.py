"""What is stated and false is refuted by points, by name; what is true is not."""

import html
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import constructions as con
from jaxscale import verdict
from jaxscale.constructions.claims import largest_change, refuted_claims, resolution
from jaxscale.constructions.targets import cone, takagi, waves
from jaxscale.errors import InputError

LINE = np.random.default_rng(0).uniform(size=(400, 1))
PLANE = np.random.default_rng(1).uniform(size=(400, 2))
X, Y, Z = con.inputs("x y z", lower=-1)
BOX = np.random.default_rng(2).uniform(-1, 1, (100, 3))


@pytest.mark.parametrize(
    ("f", "exponent", "constant"),
    [
        (lambda x: abs(10 * x[:, 0] - 4.4), 1.0, 10.0),
        (cone(np.array([0.3])), 1.0, 1.0),
        (cone(np.array([0.3]), 0.5), 0.5, 1.0),
        (waves, 1.0, 1.0),
        (lambda x: np.cos(2 * x[:, 0]), 2.0, 4.0),
        (lambda x: np.cos(2 * x[:, 0]), 3.0, 8.0),
        (lambda x: np.float32(3) * x[:, 0].astype(np.float32), 1.0, 3.0),  # computed in float32
        (lambda x: 1e6 + 0 * x[:, 0], 1.0, 0.0),
    ],
)
def test_the_constant_found_is_the_true_one_and_never_more(f, exponent, constant):
    change = largest_change(f, LINE, con.Holder(constant, exponent))
    assert 0.97 * constant <= change.constant <= constant * (1 + 1e-9)


def test_a_wrong_exponent_needs_a_constant_that_grows_as_points_come_closer():
    rough = cone(np.full(2, 0.4), 0.5)
    assert largest_change(rough, PLANE, con.Holder(1.0, 0.5)).constant <= 1
    found = [
        largest_change(rough, np.concatenate([PLANE, 0.4 + h * PLANE]), con.Holder(1.0)).constant
        for h in (1e-1, 1e-3, 1e-5)
    ]
    assert found[1] > 9 * found[0] and found[2] > 9 * found[1] > 90
    # Rough on every scale: exponent one half, not one.
    assert largest_change(takagi(np.zeros(1), 0.5), LINE, con.Holder(1.0)).constant > 10


def test_one_point_refutes_nothing():
    assert largest_change(waves, LINE[:1], con.Holder(0.0)).constant == 0


def test_values_of_float32_are_known_by_their_bits():
    assert resolution(np.float32([0.1, 0.3]).astype(float)) > 1e6 * resolution(np.array([0.1, 0.3]))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ((X * Y).within(lower=0) * Z, r"within\(lower=0\) does not hold: the value is -0\.\d+ at x=-?0\.\d+, y="),
        (con.relu((X + Y).within(lower=0.5) + 3), r"within\(lower=0.5\)"),
        (con.stack([X, Y * Z]).within(upper=[1, 0.1])[1] + 1, r"within\(upper=\[1 … 0.1\]\) .* entry 1 of the value"),
        ((X + Y).within(active=1), r"within\(active=1\) .* combines 2 atoms that differ from zero"),
        ((X * Y).within(0.5, 1) - X * Y, r"within\(lower=0.5, upper=1\)"),
    ],
)
def test_false_claims_are_refuted_by_name(program, message):
    (sentence,) = refuted_claims(program, BOX)
    assert re.search(message, sentence), sentence
    document = con.certify(con.compile(program), n=50)
    assert message.split("\\)")[0].replace("\\", "") in document["refuted"][0]
    assert not any(row["safe"] for row in document["rounding"].values())  # its bounds rest on the claim
    assert verdict.check(document).agreement == "inconsistent"


def test_what_rests_on_a_false_claim_is_not_reported_again():
    (sentence,) = refuted_claims(con.reciprocal(X.within(lower=0.1)), BOX)
    assert "lower=0.1" in sentence


@pytest.mark.parametrize(
    "program",
    [
        (X * X + Y * Y).within(0, 2) * Z,
        con.reciprocal(X + 1.5),
        con.poly(X, np.polynomial.chebyshev.cheb2poly([0] * 20 + [1])).within(-1, 1),  # its rounding is 1e-9
        con.approximate(waves, 2, grid=3).network.program,
        con.approximate(lambda x: jnp.cos(x[:, 0]), 1, grid=3, holder=con.Holder(1.0, 3.0)).network.program,
    ],
)
def test_true_claims_stand(program):
    points = (BOX[:, : len(program.sources[0].names)] + 1) / 2
    assert program.claims and refuted_claims(program, points) == []


def certificate(f, holder, **options):
    return con.certify(con.approximate(f, 1, grid=4, holder=holder), n=100, **options)


def test_a_constant_that_is_too_small_is_refuted_in_the_document_and_on_the_page(tmp_path):
    """f = |10 x - 4.4| has the constant 10; 1 would prove 0.125, and the error is 0.83."""
    f = lambda x: abs(10 * x[:, 0] - 4.4)
    document = certificate(f, con.Holder(1.0), series=True)
    assert document["measured"]["sup"] > 0.8
    assert document["approximation_bound"] is None and document["refuted_bound"] == 0.125
    (sentence,) = document["refuted"]
    found = verdict.check(document)
    assert found.agreement == "inconsistent" and found.sentence.startswith(sentence)
    assert found.numbers[0].value > 0.8 and found.numbers[0].predicted == 0.125
    assert "constant 1 of exponent 1 is refuted" in sentence and "at least 10." in sentence
    assert "capacity" not in document and document["tolerance"] < 0.01  # not the false bound
    page = con.write(document, tmp_path).read_text()
    assert "✗</span> inconsistent" in page and html.escape(sentence) in page and "refuted bound" in page
    assert "Nowhere" not in page and "Proved" not in page and "✓</span>" not in page
    true = certificate(f, con.Holder(10.0), series=True)
    assert true["refuted"] == [] and true["approximation_bound"] == 1.25 and true["agreement"] == "consistent"
    assert true["holder"]["at_least"] == pytest.approx(10)
    page = con.write(true, tmp_path).read_text()
    assert "✓</span> consistent" in page and "Nowhere is the error larger than 1.25" in page
    assert "Rounding is safe in float64, float32" in page and "unsafe_formats" in page


def test_an_exponent_that_is_too_large_is_refuted():
    rough = lambda x: abs(x[:, 0] - 0.3) ** 0.5
    assert certificate(rough, con.Holder(1.0))["refuted"] and not certificate(rough, con.Holder(1.0, 0.5))["refuted"]
    kinked = lambda x: jnp.abs(x[:, 0] - 0.3) ** 1.5
    assert "second difference" in certificate(kinked, con.Holder(4.0, 2.0))["refuted"][0]


@pytest.mark.thorough
def test_a_constant_is_refuted_on_a_manifold_though_the_error_stays_below_the_bound():
    """Bounds on manifolds are many times the error: only the function itself shows that the constant is false."""
    made = con.approximate_on(con.circle(), lambda x: 5 * x[:, 0], grid=4, holder=con.Holder(1.0))
    document = con.certify(made, n=100)
    assert document["measured"]["sup"] < made.bound
    assert "at least 5." in document["refuted"][0] and document["approximation_bound"] is None


@pytest.mark.parametrize(
    "make",
    [
        lambda f: con.approximate(f, 1, grid=4, holder=con.Holder(0.0)),
        lambda f: con.approximate_on(con.circle(), f, grid=4, holder=con.Holder(0.0)),
    ],
)
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_constant_functions_are_exact_and_certified(make, value, tmp_path):
    made = make(lambda x: 0 * x[:, 0] + value)
    document = con.certify(made, n=20, series=True)
    assert document["measured"]["sup"] <= 4e-16 and document["approximation_bound"] == 0 and not document["refuted"]
    assert document["rounding"]["float32"]["safe"]
    con.write(document, tmp_path)


def test_where_nothing_is_stated_nothing_agrees():
    """Points agree with a proved error, or with what `within` says of a program."""
    of = lambda made: verdict.check(con.certify(made, n=20))
    assert of(con.compile(X * Y)).agreement is None
    assert of(con.compile((X * Y).within(-1, 1))).agreement == "consistent"
    unproved = of(con.approximate(lambda x: x[:, 0], 1, grid=4))
    assert unproved.agreement is None and "no_bound" in {caveat.code for caveat in unproved.caveats}


def test_numbers_out_of_range_are_refused():
    network = con.compile(X * Y)
    for options in ({"n": 0}, {"n": 2.5}, {"key": 0.5}, {"tolerance": -1.0}, {"tolerance": np.nan}):
        with pytest.raises(InputError, match=next(iter(options))):
            con.certify(network, **options)
    document = con.certify(network, n=np.int64(10), tolerance=np.float32(0.5), key=np.uint8(3))
    assert document["tolerance"] == 0.5 and type(document["tolerance"]) is float
