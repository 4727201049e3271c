"""Points come out of every kind of file as they went in, and what is no cloud is named."""

import sys
import types

import numpy as np
import pytest

from jaxscale.data.point_files import as_rows, draw_rows, open_groups, open_layers, open_points
from jaxscale.errors import InputError

X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture
def at(tmp_path):
    return lambda name: str(tmp_path / name)


def parquet(path, **columns):
    arrow = pytest.importorskip("pyarrow", reason="needs the extra [parquet]")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table(columns), path)
    return path


def test_npy_is_mapped_and_rows_are_drawn_from_it_in_order(at):
    np.save(at("x.npy"), X)
    points = open_points(at("x.npy"))
    assert isinstance(points, np.memmap)
    np.testing.assert_array_equal(points, X)
    drawn = draw_rows(points, 10, key=1)
    assert not np.shares_memory(drawn, points)  # these rows alone are in memory
    rows = [int(np.flatnonzero((row == X).all(1))[0]) for row in drawn]
    assert len(set(rows)) == 10 and rows == sorted(rows)
    np.testing.assert_array_equal(drawn, draw_rows(points, 10, key=1))
    assert not np.array_equal(drawn, draw_rows(points, 10, key=2))
    assert draw_rows(points, 50) is points and draw_rows(points, None) is points


def test_npz_by_name_or_its_only_array(at):
    np.savez(at("x.npz"), a=X, b=X[:5])
    np.testing.assert_array_equal(open_points(at("x.npz"), "b"), X[:5])
    np.savez_compressed(at("one.npz"), only=X)
    np.testing.assert_array_equal(open_points(at("one.npz")), X)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_safetensors_keep_their_type(dtype, at):
    import jax.numpy as jnp
    from safetensors.flax import save_file

    save_file({"wte": jnp.asarray(X, dtype), "bias": jnp.zeros(3)}, at("x.safetensors"))
    points = open_points(at("x.safetensors"), "wte")
    assert points.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(points.astype(np.float32), np.asarray(jnp.asarray(X, dtype), np.float32))


def test_parquet_by_its_column_of_lists(at):
    path = parquet(at("x.parquet"), text=["a"] * 50, embedding=list(X))
    np.testing.assert_array_equal(open_points(path), X)
    np.testing.assert_array_equal(open_points(path, "embedding"), X)


def test_parquet_by_columns_of_numbers(at):
    path = parquet(at("x.parquet"), a=X[:, 0], b=[None, *range(49)], name=["n"] * 50)
    points = open_points(path, "a,b")
    np.testing.assert_array_equal(points[:, 0], X[:, 0])
    assert np.isnan(points[0, 1]) and points[49, 1] == 48
    all_numbers = parquet(at("y.parquet"), a=X[:, 0], b=np.arange(50))
    assert open_points(all_numbers).shape == (50, 2)


def test_csv_with_names_and_without(at):
    np.savetxt(at("x.csv"), X, "%.9g", ",")
    np.testing.assert_array_equal(open_points(at("x.csv")).astype(np.float32), X)
    written(at, "names.csv", b"a, b,text\n1,2,x\n3,,y\n")
    np.testing.assert_array_equal(open_points(at("names.csv"), "b,a"), [[2, 1], [np.nan, 3]])


class Tensor:
    """What is asked of a tensor of torch, which not everybody has."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.layout = array, array.shape, "float32", "torch.strided"

    detach = cpu = resolve_conj = resolve_neg = lambda self: self

    def numpy(self):
        return self.array


Tensor.__module__ = "torch"


@pytest.fixture
def torch(monkeypatch):
    """A module that loads what it is given, and nothing but tensors."""

    def load(path, map_location, weights_only):
        assert weights_only and map_location == "cpu"
        return module.saved

    module = types.SimpleNamespace(load=load, bfloat16="bfloat16", saved=None)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def test_pt_by_name_or_place(at, torch):
    path = written(at, "x.pt", b"")
    torch.saved = {"h.10": Tensor(X + 1), "h.2": Tensor(X), "step": 3}
    np.testing.assert_array_equal(open_points(path, "h.2"), X)
    assert list(open_layers(path)) == ["h.10", "h.2"]  # in the order of the file
    torch.saved = [Tensor(X), Tensor(X + 1)]
    np.testing.assert_array_equal(open_layers(path)["1"](), X + 1)
    torch.saved = Tensor(X)
    np.testing.assert_array_equal(open_points(path), X)


def test_pt_without_torch_says_what_to_do(at, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"needs PyTorch to be read\. Install it .*safetensors\.torch\.save_file"):
        open_points(written(at, "x.pt", b""))


def test_layers_are_several_arrays_in_order_or_the_first_axis_of_one(at):
    from safetensors.numpy import save_file

    np.savez(at("x.npz"), embed=X, block_10=X + 10, block_2=X + 2, labels=np.arange(50))
    assert list(open_layers(at("x.npz"))) == ["embed", "block_10", "block_2"]
    assert list(open_layers(at("x.npz"), "block_2,embed")) == ["block_2", "embed"]
    save_file({f"layer.{place}": X + place for place in range(12)}, at("x.safetensors"))
    layers = open_layers(at("x.safetensors"))
    assert list(layers) == [f"layer.{place}" for place in range(12)]
    np.testing.assert_array_equal(layers["layer.10"](), X + 10)
    np.save(at("x.npy"), np.stack([X, X + 1]))
    np.testing.assert_array_equal(open_layers(at("x.npy"))["layer 1"](), X + 1)
    np.savez(at("one.npz"), h=np.zeros((3, 4, 5, 6)))
    assert [read().shape for read in open_layers(at("one.npz")).values()] == [(4, 5, 6)] * 3
    np.savez(at("flat.npz"), h=X, labels=np.arange(50))
    for path in (at("flat.npz"), written(at, "y.npy", X)):
        with pytest.raises(InputError, match=r"and no layers.*Leave --by layer out"):
            open_layers(path)


def test_hidden_states_are_rows_of_their_sequences():
    states = X[:48].reshape(4, 12, 3)
    rows, sequence = as_rows(states)
    np.testing.assert_array_equal(rows, X[:48])
    np.testing.assert_array_equal(sequence, np.repeat(np.arange(4), 12))
    assert as_rows(X) == (X, None)


def test_groups_from_a_file_or_a_name_in_the_file_of_points(at):
    wanted = np.arange(50) % 3
    names = np.array(["c", "a", "b"])[wanted]
    np.savez(at("x.npz"), x=X, document=names)
    np.save(at("groups.npy"), names)
    lines = "\n".join(names).encode()
    for groups, path in (
        ("document", at("x.npz")),
        (at("groups.npy"), at("x.npz")),
        (written(at, "groups.txt", lines), at("x.npz")),
        (written(at, "groups.csv", b"document\n" + lines + b"\n"), at("x.npz")),
        ("name", parquet(at("x.parquet"), a=X[:, 0], name=names)),
    ):
        found = open_groups(groups, path, 50)
        np.testing.assert_array_equal(found, np.unique(names, return_inverse=True)[1])
    with pytest.raises(InputError, match=r"one label for each of the 49 rows .*shape \(50,\)"):
        open_groups("document", at("x.npz"), 49)
    with pytest.raises(InputError, match=r"groups='doc' is no file, and no array or column .*which has x, document"):
        open_groups("doc", at("x.npz"), 50)


def written(at, name, content):
    with open(at(name), "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            np.savez(file, **content) if isinstance(content, dict) else np.save(file, content)
    return at(name)


@pytest.mark.parametrize(
    ("name", "content", "array", "message"),
    [
        ("x.npy", b"", None, r"cannot be read as \.npy"),
        ("x.npz", b"no archive", None, r"cannot be read as \.npz"),
        ("x.safetensors", b"none either", "x", r"cannot be read as \.safetensors"),
        ("x.parquet", b"nor this", None, r"cannot be read as \.parquet"),
        ("x.tsv", b"1,2", None, r"must end in \.npy, \.npz, \.safetensors, \.pt, \.csv, \.parquet"),
        ("x.csv", b"a,b\n1,2\n1,x\n", None, r"columns b hold no numbers\. Name those that do with --array"),
        ("x.csv", b"a,b\n1,2\n1\n", None, "line 3 has 1 cells, the first 2"),
        ("x.csv", b"", None, "is empty"),
        ("x.csv", b"a,b\n1,2\n", "a,c", "array='c' is not in file=.*it has a, b"),
        ("x.npy", np.array([["a", "b"]]), None, "holds <U1. Give one"),
        ("x.npy", X * 1j, None, "holds complex"),
        ("x.npy", {"x": X}, None, r"holds an archive of arrays. Name it \.npz"),
        ("x.npy", X, "x", "array='x' cannot be chosen"),
        ("x.npz", {"a": X, "b": X}, None, "leaves a choice: it has a, b. Name one with --array"),
        ("x.npz", {"a": X}, "c", "array='c' is not in file=.*it has a"),
    ],
)
def test_what_is_no_cloud_is_named(name, content, array, message, at):
    with pytest.raises(InputError, match=message):
        open_points(written(at, name, content), array)


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors", "pt", "csv", "parquet"])
def test_a_file_that_is_not_there_says_so(ending, at):
    with pytest.raises(InputError, match="No such file"):
        open_points(at(f"none.{ending}"))


def test_columns_that_are_no_points_are_named(at):
    mixed = parquet(at("mixed.parquet"), a=X[:, 0], name=["n"] * 50)
    with pytest.raises(InputError, match="leaves a choice: it has a, name"):
        open_points(mixed)
    with pytest.raises(InputError, match="columns name hold no numbers"):
        open_points(mixed, "a,name")
    ragged = parquet(at("ragged.parquet"), embedding=[[1.0, 2.0], [3.0]])
    with pytest.raises(InputError, match="of one length; they have 1 to 2 entries"):
        open_points(ragged)
    missing = parquet(at("missing.parquet"), embedding=[[1.0, 2.0], None])
    with pytest.raises(InputError, match="1 rows have none, the others have 2 to 2"):
        open_points(missing)


def test_a_package_that_is_not_installed_names_the_extra(at, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs the package 'pyarrow'.*jaxscale\[parquet\]"):
        open_points(written(at, "x.parquet", b""), "x")
