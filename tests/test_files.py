"""Files are whole or absent, and a refused write says why."""

import errno
import os
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import files
from jaxscale.errors import InputError, RunError


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=3), max_size=5
    )
)
def test_json_lines_round_trip_to_the_last_bit(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    files.write_json_lines(path, rows)
    assert files.read_json_lines(path) == rows


def test_a_line_cut_short_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert files.read_json_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_damaged_document_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(InputError, match=r"config.json' cannot be read as JSON: .*Delete it"):
        files.read_json(tmp_path / "config.json")


def test_numbers_json_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write '.*file/x.json': Not a directory. Choose a folder"):
        files.write_json(tmp_path / "file" / "x.json", {})


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_gets_a_warning(code, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(UserWarning, match="has no locks"), files.workplace(tmp_path / "run") as folder:
        assert folder.is_dir()


def test_a_lock_that_another_holds_is_told_as_such(tmp_path, monkeypatch):
    for code in (errno.EAGAIN, errno.EACCES):
        monkeypatch.setattr("fcntl.flock", lambda *_, code=code: (_ for _ in ()).throw(OSError(code, "held")))
        with pytest.raises(InputError, match="another process works in"), files.workplace(tmp_path):
            pass


def test_an_address_is_no_workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("gs://bucket/run", pathlib.Path("s3://bucket/run")):
        with pytest.raises(InputError, match="is an address"), files.workplace(address):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("OUT_OF_RANGE: Failed writing: No space left on device [os_error_code='28']"),
    ],
    ids=["system", "tensorstore"],
)
def test_full_disk_is_told_whoever_reports_it(error):
    with pytest.raises(RunError, match="the disk is full: cannot write 'here'"), files.full_disk_told("here"):
        raise error


def test_other_errors_pass_through():
    with pytest.raises(ValueError, match=r"^something else$"), files.full_disk_told("here"):
        raise ValueError("something else")
