"""Certificates: rounding bounds that hold, failures told before they happen, a document and a page."""

import json
import re

import numpy as np
import pytest

from jaxscale import constructions as con
from jaxscale.constructions import capacity
from jaxscale.constructions.certificate import theorem
from jaxscale.constructions.targets import cone, waves
from jaxscale.errors import InputError

X32 = np.random.default_rng(0).uniform(size=(64, 1)).astype(np.float32).astype(float)


def rounding_error(made, precision, x):
    """What the definition in that format gets wrong."""
    return np.abs(con.evaluate(made.network, x, precision, "dense").astype(float) - made.formula(x)).max()


@pytest.mark.parametrize("options", [{"encoding": "parabola"}, {"encoding": "binary"}, {"backend": "structured"}])
@pytest.mark.parametrize("precision", ["float64", "float32", "tf32", "bf16"])
def test_rounding_stays_within_the_certificate(options, precision):
    made = con.approximate(cone(np.full(1, 0.3)), 1, grid=8, **options)
    found = con.rounding(made.network, precision)
    assert rounding_error(made, precision, X32) <= found.bound
    if options.get("encoding") != "parabola":
        assert found.leaks == 0  # in any format
        assert found.bound < {"float64": 1e-12, "float32": 1e-3, "tf32": 10, "bf16": 100}[precision]


def test_the_circles_failure_in_float32_is_told_before_it_happens():
    """Within a hundred tokens float32 no longer suffices for a quarter circle; integer encodings last."""
    verdicts = {}
    for N in (2, 8, 32, 96):
        made = con.approximate(cone(np.full(1, 0.3)), 1, grid=N, holder=con.Holder(1.0), encoding="quarter_circle")
        found, measured = con.rounding(made.network, "float32"), rounding_error(made, "float32", X32[:16])
        assert measured <= found.bound
        verdicts[N] = found.leaks == 0 and found.bound <= made.bound
        if verdicts[N]:
            assert measured <= made.bound
    assert verdicts[2] and not verdicts[96]
    for encoding in ("parabola", "binary"):
        made = con.approximate(cone(np.full(1, 0.3)), 1, grid=96, holder=con.Holder(1.0), encoding=encoding)
        found = con.rounding(made.network, "float32")
        assert found.leaks == 0 and found.bound <= made.bound
        assert rounding_error(made, "float32", X32[:16]) <= found.bound


def product_at(tokens, encoding):
    """x · y among many tokens, of which most are idle."""
    x = con.input_vector(tokens)
    return con.compile(x[5] * x[100], encoding=encoding)


@pytest.mark.parametrize("tokens", [128, 4096, 32_768, pytest.param(131_072, marks=pytest.mark.slow)])
def test_selection_alone(tokens):
    """One product among many tokens: which formats can tell the tokens apart, in whatever order they sum."""
    verdict = {}
    for encoding in ("quarter_circle", "parabola", "binary"):
        network = product_at(tokens, encoding)
        verdict[encoding] = {p: con.rounding(network, p) for p in ("float64", "float32", "tf32", "bf16")}
    assert all(found.leaks == 0 for found in verdict["binary"].values())
    assert verdict["binary"]["float32"].bound < 1e-6
    assert verdict["parabola"]["float64"].bound < 1e-15
    assert (verdict["parabola"]["float32"].leaks == 0) == (tokens <= 4096)
    assert verdict["parabola"]["bf16"].leaks > 0
    assert (verdict["quarter_circle"]["float32"].leaks == 0) == (tokens == 128)
    assert verdict["quarter_circle"]["float64"].leaks == 0


def test_program_of_ones_own_has_a_certificate():
    x, y, z = con.inputs("x y z", lower=-1, upper=1)
    document = con.certify(con.compile(x * y + con.maximum(z, 0.3)))
    assert document["rounding"]["float32"]["safe"] and document["rounding"]["bf16"]["leaking_heads"] == 0
    assert document["class"]["L_T"] == 2
    json.dumps(document, allow_nan=False)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    made = con.approximate(cone(np.zeros(2)), 2, grid=4, holder=con.Holder(1.0))
    folder = tmp_path_factory.mktemp("certificate")
    document = con.certify(made, n=200, series=True, singular=np.zeros((1, 2)))
    con.write(document, folder, "cone")
    return made, document, folder


def test_document_says_what_is_proved_and_measured(certified):
    made, document, folder = certified
    assert json.loads((folder / "certificate.json").read_text()) == document
    measured = document["measured"]
    assert 0.3 * made.bound < measured["sup"] <= made.bound == document["approximation_bound"]
    assert measured["l2"] < measured["sup"] == max(measured["sup_at"].values())
    assert set(measured["points"]) == {"grid", "midpoints", "random", "singular"}
    assert measured["sup_at"]["grid"] < 1e-12
    shape = made.network.shape
    assert document["class"]["parameters"] == shape.parameters > document["class"]["nonzeros"] > 0
    assert document["theorem"]["L_T"]["value"] == document["class"]["L_T"] == 3
    assert abs(document["series"]["slope"] + 1) < 0.1
    assert document["capacity"]["samples"] > document["capacity"]["log_covering_number"] > 0
    assert [row["heads"] for row in document["blocks"]] == [block.heads for block in shape.blocks]


def test_page_needs_nothing_but_itself_and_shows_the_numbers(certified):
    _, document, folder = certified
    page = (folder / "certificate.html").read_text()
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "http" not in body.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    for text in ("figure-error", "figure-depth", "What each block computes", "bump", "parabola", "float32", "✓ safe"):
        assert text in page
    assert f"{document['approximation_bound']:.3g}"[:5] in body


def test_theorem_on_a_manifold_is_stated():
    made = con.approximate_on(con.circle(5), lambda x: x[:, 0], grid=4, backend="structured")
    stated = theorem(made)
    assert stated["L_T"]["value"] == 4 and stated["l"]["value"] == 5 + 2 * len(made.atlas.centers) * 5 + 1


def test_capacity_grows_with_the_class_and_falls_with_the_error():
    small = con.approximate(waves, 1, grid=2).network
    large = con.approximate(waves, 1, grid=16).network
    log_n = lambda network, delta: capacity.log_covering_number(network.shape, network.kappa, delta, 1.0)
    assert log_n(small, 0.1) < log_n(small, 0.01) < log_n(large, 0.01)
    n = capacity.samples_for(small.shape, small.kappa, 0.1, 1.0, 1.0)
    assert n == pytest.approx(log_n(small, 1 / n) / 0.01, rel=1e-6)
    assert log_n(small, 0.1) < capacity.log_covering_number(small.shape, 2 * small.kappa, 0.1, 1.0)


def chebyshev(degree):
    return np.polynomial.chebyshev.cheb2poly([0] * degree + [1])


INTERVAL = np.random.default_rng(5).uniform(-1, 1, (300, 1)).astype(np.float32).astype(float)
PROGRAMS = {
    "T4": (lambda x: con.poly(x, chebyshev(4)), lambda x: np.polynomial.chebyshev.chebval(x, [0] * 4 + [1])),
    "T20": (lambda x: con.poly(x, chebyshev(20)), lambda x: np.polynomial.chebyshev.chebval(x, [0] * 20 + [1])),
    "1000 + x²/100": (lambda x: 1000 + x * x / 100, lambda x: 1000 + x**2 / 100),
    "a reciprocal": (lambda x: con.reciprocal(x + 1.2), lambda x: 1 / (x + 1.2)),
    "a difference of large numbers": (lambda x: 1e6 * con.square(x) - 1e6 * x * x + x, lambda x: x),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_called_safe_is_off_by_a_thousandth_of_the_values_at_most(name):
    """Not of the interval that analysis finds: of T20, whose values are at most 1, that is [-1e7, 1e7]."""
    program, wanted = PROGRAMS[name]
    network = con.compile(program(con.inputs("x", lower=-1)))
    document = con.certify(network, n=300)
    truth = wanted(INTERVAL[:, 0])
    verdicts = {}
    for precision in ("float64", "float32", "bf16"):
        off = np.abs(con.evaluate(network, INTERVAL, precision, "dense").astype(float) - truth).max()
        verdicts[precision] = document["rounding"][precision]["safe"], off <= 1e-3 * np.ptp(truth)
    assert all(held for safe, held in verdicts.values() if safe), verdicts
    assert verdicts["float64"][0]
    assert verdicts["float32"][0] == (name == "T4")


def test_each_output_is_held_to_its_own_range():
    x, y, z = con.inputs("x y z", lower=-1, upper=1)
    outputs = [1000 * x * y, x * y / 1000 + z / 1000, 0 * z]
    document = con.certify(con.compile(con.stack(outputs)), n=200)
    assert document["rounding"]["float32"]["safe"] and document["tolerance"] == pytest.approx(4e-6, rel=0.1)
    together = con.certify(con.compile(con.stack([*outputs, 1000 * x * y - 999.999 * x * y])), n=200)
    assert not together["rounding"]["float32"]["safe"]


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        (lambda x: (3 * x) ** 128, np.nan),  # 3^128 = 1e61, the largest float32 is 3e38
        (lambda x: 1e-25 * x * (1e-20 * x), 0.0),  # 1e-45 is below the least
    ],
)
def test_formats_that_cannot_hold_the_numbers_are_not_safe(program, wrong, tmp_path):
    network = con.compile(program(con.inputs("x", lower=-1)))
    document = con.certify(network, n=50)
    assert con.evaluate(network, [[1.0]], "float32", "dense")[0] == pytest.approx(wrong, nan_ok=True)
    assert not document["rounding"]["float32"]["safe"] and document["rounding"]["float64"]["safe"]
    con.write(document, tmp_path)


def test_a_program_beyond_float64_is_refused():
    x = con.inputs("x", lower=-1e200, upper=1e200)
    with pytest.raises(InputError, match=r"1\.8e308"):
        con.compile(x * x)
    assert con.compile(x * (x * 1e-200).within(-1, 1))
