"""The gradient of every estimator is right, or refused by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators import reference_balls
from jaxscale.errors import InputError
from jaxscale.testing import assert_gradient_correct

# Fewer than 8 k points: the error, which has no gradient here, is quick to compile then.
X = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
# Estimators that cut at the width of the points read X there, and have no slope: they get three more columns.
WIDER = np.pad(X, ((0, 0), (0, 3)))
CUT = {"danco", "mind_ml"}
COUNTING = {"abide", "bide", "correlation_dimension", "fisher_separability", "local_pca"}
K = {"knn_graph": 16}


def of(name, x):
    if name == "ph0":  # whose halvings are more than these points have
        return dimension.ph0(x, halvings=2)
    if name == "danco":
        return dimension.danco(x, k=11, references=references())
    return dimension.ESTIMATORS[name](dimension.neighborhoods(x, K.get(name, 12)))


@pytest.fixture(scope="module", autouse=True)
def few_reference_balls(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference_balls, "READS", 4 * len(X))
        if any("danco" in item.name for item in request.session.items if item.path == request.path):
            references()  # before any trace, and in float32
        yield


@functools.cache
def references():
    return dimension.danco_references(len(X), 11, WIDER.shape[1])


def slow_for_danco(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name == "danco" else name for name in names]


# Those that search for no neighbors, and danco, whose minimum is found to some nine digits.
@pytest.mark.parametrize("name", [*slow_for_danco(["danco", "pca"]), pytest.param("ph0", marks=pytest.mark.thorough)])
def test_the_gradient_is_that_of_differences(name):
    step, rtol = (1e-5, 1e-3) if name == "danco" else (1e-8, 1e-5)
    x = WIDER if name in CUT else X
    assert_gradient_correct(jax.jit(lambda x: of(name, x).dimension), x, rtol, step=step, directions=2)


WITH_NEIGHBORS = sorted(set(dimension.ESTIMATORS) - COUNTING - {"danco", "pca", "ph0"})


@functools.cache
def dimensions_and_gradients():
    """What each says of three clouds a small step apart along a line, and its derivative there by its gradient.

    One program for all of them: what takes long to compile is the search, and that they share.
    """
    with jax.enable_x64(True):
        at = np.random.default_rng(1).normal(size=WIDER.shape)
        step = 1e-8

        @jax.jit
        def read(x):
            hoods = dimension.neighborhoods(x, max(12, *K.values()))
            of_each = lambda name: dimension.ESTIMATORS[name](hoods.nearest(K.get(name, 12))).dimension
            return {name: of_each(name) for name in WITH_NEIGHBORS}

        ahead, behind = read(WIDER + step * at), read(WIDER - step * at)
        gradients = jax.jit(jax.jacrev(read))(jnp.asarray(WIDER, jnp.float64))
        difference = jax.tree.map(lambda a, b: float(a - b) / (2 * step), ahead, behind)
        return difference, jax.tree.map(np.asarray, gradients), at


@pytest.mark.thorough
@pytest.mark.parametrize("name", WITH_NEIGHBORS)
def test_the_gradient_through_the_search_is_that_of_differences(name):
    differences, gradients, at = dimensions_and_gradients()
    difference, gradient = differences[name], gradients[name]
    assert np.all(np.isfinite(gradient)) and np.linalg.norm(gradient) > 1e-2
    # Along a random direction a derivative is about as large as the gradient is long.
    np.testing.assert_allclose(np.vdot(gradient, at), difference, rtol=1e-5, atol=1e-5 * np.linalg.norm(gradient))


STEPS = {
    **{name: (lambda x, name=name: of(name, x)) for name in sorted(COUNTING)},
    "pca": lambda x: dimension.pca(x, rule="fo"),
    "danco": lambda x: dimension.danco(x, k=11, integer=True, references=references()),
    "mind_ml": lambda x: dimension.mind_ml(x, k=11, integer=True),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_counts_has_no_gradient_and_says_so(name):
    with pytest.raises(InputError, match=rf"^{name} .*(counts|steps).* has no gradient\. .*stop_gradient"):
        jax.eval_shape(jax.grad(lambda x: STEPS[name](x).dimension), X)


@pytest.mark.thorough
def test_what_counts_can_be_logged_beside_a_loss():
    @jax.jit
    def loss(x):
        return jnp.sum(x**2), dimension.bide(x, k=12).dimension

    (_, logged), gradient = jax.value_and_grad(loss, has_aux=True)(X)
    assert logged == dimension.bide(X, k=12).dimension
    np.testing.assert_allclose(gradient, 2 * X)


@pytest.mark.thorough
@pytest.mark.parametrize("name", slow_for_danco(["danco", "ph0"]))
def test_the_gradient_in_float32_knows_that_scale_and_place_do_not_matter(name):
    gradient = np.asarray(jax.jit(jax.grad(lambda x: of(name, x).dimension))(WIDER))
    size = np.linalg.norm(gradient)
    assert np.isfinite(size) and size > 1e-3
    assert abs(np.vdot(gradient, WIDER)) < 1e-3 * size * np.linalg.norm(WIDER)
    assert np.linalg.norm(np.sum(gradient, axis=0)) < 1e-3 * size * np.sqrt(len(X))
