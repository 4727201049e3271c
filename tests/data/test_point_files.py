"""Points come out of every kind of file as they went in, and what is no cloud is named."""

import numpy as np
import pytest

from jaxscale.data.point_files import draw_rows, open_points
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
        ("x.csv", b"1,2", None, r"must end in \.npy, \.npz, \.safetensors, \.parquet"),
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


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors", "parquet"])
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
