"""Arguments of wrong types are refused with a sentence by every public function, never with the error of a library."""

import contextlib
import pathlib

import jax
import numpy as np
import pytest

from jaxscale import errors, laws, smoothness, theory
from tests.laws.tables import isoflop_grid, power_law

KEY = jax.random.key(0)
TABLE, GRID = power_law(noise=0.003), isoflop_grid(noise=0.003)
RUNS = pathlib.Path(__file__).parent / "tensorflow"
X = np.random.default_rng(0).normal(size=(130, 2))
CONSISTENT = {"observed": laws.Interval(0.1, 0.2), "d": 6.0, "d_interval": (5.0, 7.0)}
WRONG = [object(), 1j, [1, "a"], np.array(["a"]), b"x", {}, (1, 2, 3), np.array([1.0, -2.0]), "x", -1, True, np.nan]

agreement = lambda **given: laws.agreement(theory.data_exponent, **(CONSISTENT | given))
CALLS = {
    "fit table": lambda v: laws.fit(v, resamples=0),
    "fit law": lambda v: laws.fit(TABLE, v, resamples=0),
    "fit key": lambda v: laws.fit(TABLE, key=v, resamples=100),
    "fit objective": lambda v: laws.fit(TABLE, objective=v, resamples=0),
    "fit weights": lambda v: laws.fit(TABLE, weights=v, resamples=0),
    "fit groups": lambda v: laws.fit(TABLE, groups=v, resamples=0),
    "fit bootstrap": lambda v: laws.fit(TABLE, bootstrap=v, resamples=0),
    "fit interval": lambda v: laws.fit(TABLE, interval=v, resamples=0),
    "fit level": lambda v: laws.fit(TABLE, level=v, resamples=0),
    "fit resamples": lambda v: laws.fit(TABLE, key=KEY, resamples=v),
    "fit starts": lambda v: laws.fit(TABLE, starts=v, resamples=0),
    "isoflop method": lambda v: laws.isoflop(GRID, v, key=KEY, resamples=0),
    "isoflop key": lambda v: laws.isoflop(GRID, key=v, resamples=0),
    "envelope table": lambda v: laws.envelope(v, key=KEY),
    "compare laws": lambda v: laws.compare(GRID, v, key=KEY),
    "compare key": lambda v: laws.compare(GRID, ["tied"], key=v),
    "agreement observed": lambda v: agreement(observed=v),
    "agreement d": lambda v: agreement(d=v),
    "agreement d_interval": lambda v: agreement(d_interval=v),
    "huber delta": laws.huber,
    "asymmetric quantile": laws.asymmetric,
    "least_squares residual": laws.least_squares,
    "smoothness x": lambda v: smoothness.estimate(v, X[:, 0], key=KEY),
    "smoothness y": lambda v: smoothness.estimate(X, v, key=KEY),
    "smoothness key": lambda v: smoothness.estimate(X, X[:, 0], key=v),
    "madogram key": lambda v: smoothness.madogram(X, X[:, 0], key=v),
    "learning curve noise": lambda v: smoothness.kernel_learning_curve(X, X[:, 0], key=KEY, noise=v),
    "field x": lambda v: smoothness.fractional_field(v, 0.5, key=KEY),
    "field beta": lambda v: smoothness.fractional_field(X, v, key=KEY),
    "field fields": lambda v: smoothness.fractional_field(X, 0.5, key=KEY, fields=v),
    "fit target": lambda v: laws.fit(TABLE, target=v, resamples=0),
    "best_settings table": lambda v: laws.best_settings(v, "lr", "N"),
    "best_settings settings": lambda v: laws.best_settings(GRID, v, "N"),
    "best_settings by": lambda v: laws.best_settings(GRID, "D", v),
    "farseer_parameters": laws.farseer_parameters,
    "additive": laws.additive,
    "product": laws.product,
    "named": laws.named,
    "over": lambda v: laws.over(laws.LAWS["data"], v),
    "read_table path": laws.read_table,
    "read_table mapping": lambda v: laws.read_table(RUNS, v),
    "read_table where": lambda v: laws.read_table(RUNS, where=v),
    "read_table after_warmup": lambda v: laws.read_table(RUNS, after_warmup=v),
    "read_table decimal": lambda v: laws.read_table(RUNS, decimal=v),
    "read_table delimiter": lambda v: laws.read_table(RUNS, delimiter=v),
    "fit_each table": lambda v: laws.fit_each(v, "n", resamples=0),
    "fit_each by": lambda v: laws.fit_each(TABLE, v, resamples=0),
    "fit_each key": lambda v: laws.fit_each(TABLE, "n", key=v, resamples=100),
    "read": lambda v: laws.read(v, laws.LAWS["data"]),
}
OF_A_FIT = {
    "profile name": laws.profile,
    "profile values": lambda fit, v: laws.profile(fit, "E", v),
    "held values": lambda fit, v: laws.held(fit, "E", v),
    "frontier compute": laws.frontier,
    "back_test key": lambda fit, v: laws.back_test(fit, key=v),
    "back_test column": lambda fit, v: laws.back_test(fit, v, key=KEY),
    "back_test cuts": lambda fit, v: laws.back_test(fit, key=KEY, cuts=v),
    "against_theory d": laws.against_theory,
    "against_theory d_interval": lambda fit, v: laws.against_theory(fit, 8.0, v),
    "against_theory beta": lambda fit, v: laws.against_theory(fit, 8.0, beta=v),
    "against_theory beta_interval": lambda fit, v: laws.against_theory(fit, 8.0, beta_interval=v),
    "predict": lambda fit, v: fit.predict(v, 1e9),
    "band": lambda fit, v: fit.band(v),
    "evaluate parameters": lambda fit, v: laws.evaluate(GRID, "chinchilla", v),
    "evaluate one": lambda fit, v: laws.evaluate(GRID, "chinchilla", fit.parameters | {"E": v}),
    "evaluate objective": lambda fit, v: laws.evaluate(GRID, "chinchilla", fit.parameters, objective=v),
}
FITS = {
    "profile": lambda v: laws.profile(v, "E"),
    "frontier": lambda v: laws.frontier(v, 1e20),
    "back_test": lambda v: laws.back_test(v, key=KEY),
    "against_theory": lambda v: laws.against_theory(v, 8.0),
    "document": lambda v: laws.document(v, key=KEY),
}


def refuses(call, of_a_key=False):
    """No error but ours, and an error for what is nothing at all. Given an int for a key, a call would compute."""
    for value in WRONG[1:]:
        if of_a_key and type(value) is int:
            continue
        with contextlib.suppress(errors.InputError):
            call(value)
    with pytest.raises(errors.InputError):
        call(WRONG[0])


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_refused_with_a_sentence(name):
    refuses(CALLS[name], name.endswith(" key"))


@pytest.mark.parametrize("name", OF_A_FIT)
def test_a_wrong_type_beside_a_fit_is_refused_with_a_sentence(name, chinchilla):
    refuses(lambda value: OF_A_FIT[name](chinchilla, value), name.endswith(" key"))


@pytest.mark.parametrize("name", FITS)
def test_what_is_no_fit_is_refused(name):
    refuses(FITS[name])
    with pytest.raises(errors.InputError, match=r"is a dict\. Pass what laws\.fit returns"):
        FITS[name](TABLE)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: laws.fit(TABLE, key=0.5), r"^key=0\.5 is not a JAX random key.* Pass key=jax\.random\.key\(0\)\.$"),
        (lambda: smoothness.estimate(X, X[:, 0], key=np.float64(7)), r"Pass key=jax\.random\.key\(7\)\.$"),
        (lambda: laws.compare(GRID, ["tied"], key=jax.random.split(KEY)), "is not a JAX random key"),
        (lambda: laws.fit(TABLE, key=KEY, resamples=200.0), r"^resamples=200\.0 must be an integer"),
        (
            lambda: laws.fit(TABLE, key=KEY, level="0.9"),
            r"^level='0\.9' must be a number\. Pass for example level=0\.95",
        ),
    ],
)
def test_the_remedy_is_named(call, said):
    with pytest.raises(errors.InputError, match=said):
        call()


@pytest.mark.thorough
def test_numpys_numbers_and_keys_of_the_old_style_are_taken():
    options = {"level": np.float32(0.9), "resamples": np.int64(100)}
    said = [laws.fit(TABLE, key=key, **options) for key in (jax.random.PRNGKey(0), np.asarray(jax.random.PRNGKey(0)))]
    assert said[0].intervals == said[1].intervals
    assert said[0].level == pytest.approx(0.9) and type(said[0].resamples) is int
