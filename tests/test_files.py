"""Files are whole or absent, and a refused write says why."""

import errno
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
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


# What a power cut, a kill and a bit of a worn disk leave of a line.
DAMAGED = [
    b"\0" * 40,
    b'{"step": 2, "lo',
    b'{"step": 2, "loss": 0.\xb5}',
    b"2",
    b"{}",
    b'{"step": "2"}',
    b'{"step": NaN}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_log_is_read_without_its_damaged_lines(line, tmp_path):
    path, told = tmp_path / "log.jsonl", []
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n' + line + b"\n")
    assert files.read_log(path, note=told.append) == [{"step": 1}, {"step": 3}]
    assert told == [f"2 damaged lines are left out of '{path}', the first of them line 2."]


def test_a_last_line_that_a_kill_cut_short_is_left_out_of_a_log_without_a_word(tmp_path):
    path, told = tmp_path / "log.jsonl", []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert files.read_log(path, note=told.append) == [{"step": 1}, {"step": 2}] and not told


@pytest.mark.parametrize("line", DAMAGED[:4])
@pytest.mark.parametrize("end", [b"\n", b'\n{"step": 3}\n', b""])
def test_a_table_with_a_damaged_line_is_refused_by_its_number(line, end, tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + end)
    with pytest.raises(
        InputError, match=r"line 2 of '.*table.jsonl' is damaged: it is no JSON object. Delete the file"
    ):
        files.read_json_lines(path)


@pytest.mark.parametrize(
    ("text", "says"), [("[1]", "is no JSON object"), ("{}", "has no 'loss'"), ('{"loss', "cannot be read as JSON")]
)
def test_a_document_without_its_fields_is_named(text, says, tmp_path):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=rf"summary.json' {says}.*Delete it"):
        files.read_json(tmp_path / "summary.json", fields=("loss",) if text == "{}" else ())


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


@pytest.mark.parametrize(
    "says",
    [
        "something else",
        # XLA's of a TPU's memory, in which a program's own words stand too.
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Largest program allocation: op_name=writes",
    ],
)
def test_other_errors_pass_through(says):
    with pytest.raises(ValueError, match=f"^{says}$"), files.full_disk_told("here"):
        raise ValueError(says)


def test_an_array_is_written_whole_or_not_at_all(tmp_path):
    array = np.arange(600, dtype=np.float32).reshape(200, 3)
    files.write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    # The system itself refuses to let a file grow beyond 1 KB, as it does when the disk is full.
    program = "import sys, numpy as np\nfrom jaxscale import files\nfiles.write_array(sys.argv[1], np.ones((999, 3)))"
    command = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", sys.executable, "-c", program, tmp_path / "a.npy"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "RunError: the disk is full: cannot write" in refused.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_folder_of_results_is_whole_or_absent(tmp_path):
    with pytest.raises(RuntimeError), files.whole_folder(tmp_path / "new") as part:
        (part / "half").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with files.whole_folder(tmp_path / "new") as part:
        (part / "a").write_text("1")
    with files.whole_folder(tmp_path / "new") as part:
        (part / "b").write_text("2")
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == {"a": "1", "b": "2"}


def test_a_link_to_another_file_system_is_a_folder_of_results(tmp_path):
    memory = pathlib.Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm, a file system of its own")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        (tmp_path / "link").symlink_to(elsewhere)
        with files.whole_folder(tmp_path / "link") as part:
            (part / "a").write_text("1")
        assert [path.name for path in pathlib.Path(elsewhere).iterdir()] == ["a"]
