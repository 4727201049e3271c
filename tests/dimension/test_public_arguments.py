"""What the public functions take: NumPy's integers and floats, tensors of torch, and sentences for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from jaxscale import dimension
from jaxscale.dimension.estimators import reference_balls
from jaxscale.dimension.estimators.registry import LEAST_NEIGHBORS
from jaxscale.dimension.points import as_points
from jaxscale.errors import InputError

# Fewer than 8 k points: the error is that of the neighbor graph, quick to compile.
X = np.random.default_rng(0).uniform(size=(76, 4)).astype(np.float32)
FIVE, TEN = np.int64(5), np.uint8(10)
CALLS = {
    "abide": lambda: dimension.abide(X, k=TEN, steps=np.int32(3), significance=np.float32(0.01)),
    "bide": lambda: dimension.bide(X, k=TEN, tau=np.float64(0.8)),
    "by_decimation": lambda: dimension.by_decimation(X, key=jax.random.key(0), k=FIVE, levels=np.int64(2)),
    "by_group": lambda: dimension.by_group(X, np.arange(len(X)) % 2, num_groups=np.int64(2), k=TEN),
    "by_k": lambda: dimension.by_k(X, ks=np.array([5, 10])),
    "by_layer": lambda: dimension.by_layer(X[None], k=TEN),
    "calibrate": lambda: dimension.calibrate(X, k=TEN, clouds=np.int64(2), reference="cube"),
    "correlation_dimension": lambda: dimension.correlation_dimension(X, k1=FIVE, k2=TEN, radii=np.int64(3)),
    "danco": lambda: dimension.danco(X, k=np.int64(9), max_dimension=np.int64(4)),
    "ess": lambda: dimension.ess(X, k=TEN),
    "fisher_separability": lambda: dimension.fisher_separability(X, condition_number=np.float32(10)),
    "gride": lambda: dimension.gride(X, n1=FIVE, n2=TEN),
    "knn_graph": lambda: dimension.knn_graph(X, k=np.int64(2), gamma=np.float64(1), smallest=np.float32(0.5)),
    "local_pca": lambda: dimension.local_pca(X, k=TEN, threshold=np.float32(0.05)),
    "mada": lambda: dimension.mada(X, k=TEN),
    "mind_ml": lambda: dimension.mind_ml(X, k=np.int64(9), max_dimension=np.int64(4)),
    "mle": lambda: dimension.mle(X, k=TEN),
    "mle of a range": lambda: dimension.mle(X, k=(FIVE, TEN)),
    "mle_radius": lambda: dimension.mle_radius(X, np.float64(0.5), noise=np.float64(0.01), k=TEN),
    "mom": lambda: dimension.mom(X, k=TEN),
    "neighbors": lambda: dimension.neighbors(X, TEN, block=np.int64(64)),
    "per_point": lambda: dimension.per_point(X, k=TEN),
    "ph0": lambda: dimension.ph0(X, halvings=np.int64(2), resamples=np.int64(1), alpha=np.float64(1)),
    "tle": lambda: dimension.tle(X, k=TEN),
    "twonn": lambda: dimension.twonn(X, method="fit", discard=np.float32(0.1)),
}


@pytest.fixture(autouse=True)
def few_reference_balls(monkeypatch):
    monkeypatch.setattr(reference_balls, "READS", 1600)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["calibrate", "correlation_dimension", "gride", "mle", "mle of a range", "neighbors"])
def test_numbers_may_be_those_of_numpy(name):
    CALLS[name]()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(set(CALLS) - {"calibrate", "correlation_dimension", "gride", "mle", "neighbors"})
)
def test_numbers_may_be_those_of_numpy_everywhere(name):
    CALLS[name]()


WHOLE = {
    "k": (
        "abide",
        "bide",
        "danco",
        "ess",
        "knn_graph",
        "local_pca",
        "mada",
        "mind_ml",
        "mle",
        "mom",
        "tle",
        "per_point",
    ),
    "k1": ("correlation_dimension",),
    "n1": ("gride",),
    "halvings": ("ph0",),
    "clouds": ("calibrate",),
}


@pytest.mark.parametrize(("argument", "name"), [(a, name) for a, names in WHOLE.items() for name in names])
def test_numbers_that_are_not_whole_are_refused_by_name(argument, name):
    with pytest.raises(InputError, match=rf"{argument}=5\.0 must be an integer.*Pass {argument}=5"):
        getattr(dimension, name)(X, **{argument: 5.0})


@pytest.mark.parametrize("name", sorted(LEAST_NEIGHBORS))
def test_fewer_neighbors_than_an_estimator_needs_are_refused(name):
    hoods = dimension.neighborhoods(X, 20)
    if LEAST_NEIGHBORS[name] > 1:
        with pytest.raises(InputError):
            dimension.ESTIMATORS[name](hoods.nearest(LEAST_NEIGHBORS[name] - 1))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((2, 3, 8)),
            r"shape \(2, 3, 8\)\. Tokens \(B, T, D\).* x\.reshape\(-1, 8\).*dimension\.by_layer\(x\)",
        ),
        (np.zeros(7), r"Pass x\[:, None\]"),
        (np.zeros((1, 2, 3, 4)), r"x\.reshape\(-1, D\)"),
        (scipy.sparse.eye(1000, format="csr"), r"x is sparse \(.*\(1000, 1000\)\).*Pass x\.toarray\(\).*0\.004 GB"),
        ([[1.0, 2.0], [3.0]], "x cannot be read as an array"),
        (np.array([["a", "b"]] * 9), "x must hold numbers"),
    ],
)
def test_what_is_no_cloud_is_told_what_to_do(x, message):
    for read in (dimension.twonn, lambda x: dimension.neighbors(x, 2)):
        with pytest.raises(InputError, match=message):
            read(x)


def test_masked_entries_are_not_numbers():
    x = np.ma.masked_array(X, mask=np.zeros(X.shape, bool))
    x[3, 1] = np.ma.masked
    with pytest.raises(InputError, match="1 row with nan"):
        dimension.twonn(x)


def test_tensors_of_torch_are_points():
    torch = pytest.importorskip("torch")
    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        tensor = torch.tensor(X).to(kind).requires_grad_()
        expected = tensor.detach().to(torch.float64).numpy()
        points = as_points(tensor)
        assert points.dtype == jnp.float32
        np.testing.assert_array_equal(points, expected.astype(np.float32))
    assert dimension.twonn(torch.tensor(X)).dimension == dimension.twonn(X).dimension
    with pytest.raises(InputError, match=r"x is sparse .*Pass x\.to_dense\(\)"):
        dimension.twonn(torch.tensor(X).to_sparse())


@pytest.mark.parametrize("read", [dimension.mle, lambda x, **how: dimension.by_layer(x[None], **how)])
def test_rows_without_a_direction_are_refused_under_cosine(read):
    x = X.copy()
    x[[4, 9]] = 0
    with pytest.raises(InputError, match=r"2 rows of zeros, which have no direction \(the first is row 4\)"):
        read(x, metric="cosine", k=10)
    assert np.all(read(x, metric="cosine", k=10, nonfinite="drop").nonfinite_dropped == 2)
