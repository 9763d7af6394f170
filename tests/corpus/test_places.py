"""Checkouts, patterns and places that cannot be read."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
from helpers.source_files import FILES, SEEN, documents, of, read, write

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources
from babel_jax.corpus.readers import places, reader


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_a_checkout_gives_the_files_that_git_knows(tmp_path, monkeypatch):
    files = {name: content for name, content in FILES.items() if not name.startswith(".git/")}
    folder = write(tmp_path / "code", files)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    write(folder, {"build/wanted.py": b"no\n"})
    (folder / "alpha.py").unlink()
    # What a checkout's own settings name must not be run.
    git(folder, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    expected = documents({name: content for name, content in SEEN.items() if name != "alpha.py"})
    monkeypatch.setattr(reader, "PIECE_BYTES", 10)
    assert read(of(folder)) == expected and len(sources.pieces(of(folder), "python")) == 3
    assert read(of(f"{tmp_path}/co*", name="code")) == [
        document._replace(path=document.path.replace("code/", "code/code/", 1)) for document in expected
    ]
    assert not (tmp_path / "ran").exists()
    before = sources.fingerprint(of(folder), "python")["code"]
    git(folder, "commit", "-qm", "two", "--allow-empty")
    after = sources.fingerprint(of(folder), "python")["code"]
    assert before["commits"] != after["commits"] and len(after["commits"][0]) == 40
    assert before["sha256"] == after["sha256"] and after["files"] == 3
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "code/build/wanted.py" in [document.path for document in read(of(folder))]


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_git_fetches_nothing_for_a_sparse_index(tmp_path):
    origin, folder = write(tmp_path / "origin", {"d/a.py": b"1", "b.py": b"2"}), tmp_path / "code"
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "one")
    git(tmp_path, "clone", "-q", "--sparse", f"file://{origin}", str(folder))
    git(folder, "sparse-checkout", "set", "--cone", "--sparse-index")
    for key, value in (("promisor", "true"), ("uploadpack", f"touch {tmp_path}/ran; false")):
        git(folder, "config", f"remote.origin.{key}", value)
    shutil.rmtree(folder / ".git/objects/pack")
    for part in (folder / ".git/objects").glob("??"):
        shutil.rmtree(part)
    with contextlib.suppress(UserError):  # versions of git differ in whether the list is still to be had
        sources.pieces(of(folder), "python")
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_a_broken_checkout_is_an_error(folder):
    with pytest.raises(UserError, match="git cannot read the checkout .*mend it, or remove its .git"):
        sources.pieces(of(folder), "python")


def test_patterns_leave_out_links_and_hidden_names(tmp_path):
    write(tmp_path, {"x/a.py": b"1", "x/.hidden/b.py": b"2", "x/.c.py": b"3", "out/d.py": b"4"})
    (tmp_path / "x/round").symlink_to(tmp_path / "x")
    (tmp_path / "x/again").symlink_to(tmp_path / "x")
    (tmp_path / "x/out").symlink_to(tmp_path / "out")
    (tmp_path / "x/link.py").symlink_to(tmp_path / "out/d.py")
    for pattern in ("x/**/*.py", "x/**/*"):
        assert [document.path for document in read(of(tmp_path / pattern))] == ["x/a.py"]
    # A pattern for one folder may be meant for links, as a download's cache has them.
    assert [document.path for document in read(of(tmp_path / "x/*.py"))] == ["x/a.py", "x/link.py"]
    with pytest.raises(UserError, match=r"\*\* stands for whole folders"):
        sources.pieces(of(tmp_path / "x/a**.py"), "python")


def test_a_pipe_is_not_a_file(tmp_path):
    write(tmp_path, {"a.py": b"1"})
    os.mkfifo(tmp_path / "pipe.py")
    assert [piece.part for piece in sources.pieces(of(tmp_path / "*.py"), "python")] == [("files", "a.py")]
    with pytest.raises(UserError, match="there is no file or folder .*pipe.py"):
        sources.pieces(of(tmp_path / "pipe.py"), "python")


def test_urls_that_cannot_be_opened(memory, monkeypatch):
    with pytest.raises(UserError, match="there is no file or folder memory:.*bucket/none"):
        sources.pieces(of("memory://bucket/none"), "python")
    with pytest.raises(UserError, match="nothing to read matches memory:.*bucket/"):
        sources.pieces(of("memory://bucket/*.parquet"), "python")
    with pytest.raises(UserError, match="cannot open nonsense://a/b .*fsspec knows"):
        sources.pieces(of("nonsense://a/b"), "python")
    for scheme, package in (("gs", "gcsfs"), ("s3", "s3fs")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=f"cannot open {scheme}://bucket/code .*{package}.*install that package"):
            sources.pieces(of(f"{scheme}://bucket/code"), "python")


def test_a_place_that_refuses_is_distinguished_from_a_broken_file():
    refusal = type("NoCredentialsError", (Exception,), {"__module__": "botocore.exceptions"})
    for error in (refusal("no\nentry"), PermissionError("no entry")):
        with (
            pytest.raises(UserError, match="s3://a/b .no entry.; check its address, and that"),
            places.understood("s3://a/b"),
        ):
            raise error
    with pytest.raises(UserError, match="it is damaged"), places.understood("a.zip"):
        raise EOFError("short")
    with pytest.raises(KeyError), places.understood("a.zip"):  # a fault of ours stays one
        raise KeyError("key")
