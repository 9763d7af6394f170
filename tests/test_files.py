import contextlib
import os
import resource
import stat
from pathlib import Path

import pytest

from babel_jax import files
from babel_jax.errors import UserError, unknown_name


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 4 KiB, as if the disk were full (nor pytest's own log: keep what runs in here short)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_content_arrives_whole_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    files.write_atomic(path, b"\x00\xff")
    files.write_atomic(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_reader_never_sees_a_part(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append((path.read_text(), Path(source).read_text()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    files.write_atomic(path, "new")
    assert seen == [("old", "new")] and path.read_text() == "new"


def test_full_disk_is_one_line_and_loses_nothing(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    with full_disk(), pytest.raises(UserError) as error:
        files.write_atomic(path, b"x" * 5000)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]  # nothing half written stays behind


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        files.write_atomic(tmp_path / "file" / "inside", "y")


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [1, None]})
    assert files.read_json(tmp_path / "a.json") == {"x": [1, None]}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", float("nan"))
    (tmp_path / "broken.json").write_text('{"x":')
    for name in ("broken.json", "absent.json"):
        with pytest.raises(UserError, match=name):
            files.read_json(tmp_path / name)


def test_unknown_name_says_the_nearest():
    assert str(unknown_name("verb", "stduy", ["study", "report"])) == "unknown verb 'stduy'; did you mean 'study'?"
    assert str(unknown_name("verb", "zzz", ["study", "a"])) == "unknown verb 'zzz'; known: a, study."


def test_content_hash_ignores_the_order_of_keys_only():
    assert files.content_hash({"a": 1, "b": 2}) == files.content_hash({"b": 2, "a": 1})
    assert files.content_hash([1, 2]) != files.content_hash([2, 1])
    assert len(files.content_hash(b"")) == 16
