"""What zip and tar archives have in common."""

import os

import pytest
from helpers.source_files import FILES, SEEN, documents, in_zip, noise, of, parts, read, tar

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources
from babel_jax.corpus.document import Document
from babel_jax.corpus.readers import places, reader


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip"])
def test_archives_give_the_documents_of_the_folder(tmp_path, ending, monkeypatch):
    entries = [(f"./{name}", FILES[name]) for name in sorted(SEEN, key=parts)] + [("note.txt", b"no")]
    path = tmp_path / f"code{ending}"
    in_zip(path, entries) if ending == ".zip" else tar(path, entries)
    assert read(of(path)) == documents(SEEN)
    assert [d.path for d in read(of(tmp_path / "*" if ending == ".zip" else path, name="n"))][0].startswith("n/")
    monkeypatch.setattr(reader, "PIECE_BYTES", 12)
    assert read(of(path)) == documents(SEEN)
    assert len(sources.pieces(of(path), "python")) == (3 if ending == ".zip" else 1)


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_hidden_folders_of_archives_are_left_out(tmp_path, ending):
    entries = [(name, b"1") for name in (".git/a.py", "b/.venv/lib/c.py", "./b/d.py", ".e.py")]
    path = tmp_path / f"code{ending}"
    in_zip(path, entries) if ending == ".zip" else tar(path, entries)
    assert [document.path for document in read(of(path))] == ["code/b/d.py", "code/.e.py"]


def test_large_entries_are_not_loaded_and_archives_inside_stay_closed(tmp_path):
    large = os.urandom(places.LARGEST_FILE + 1)
    inner = tar(tmp_path / "inner.tar", [("b.py", b"no")]).read_bytes()
    entries = [("large.py", large), ("inner.tar", inner), ("a.py", b"a")]
    expected = [Document("code/large.py", None, len(large)), Document("code/a.py", b"a", 1)]
    for path in (tar(tmp_path / "code.tar.gz", entries), in_zip(tmp_path / "code.zip", entries)):
        assert read(of(path)) == expected


@pytest.mark.parametrize(
    "ending, damage",
    [(ending, "cut") for ending in (".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")]
    + [(ending, "flip") for ending in (".tar.gz", ".tar.bz2", ".tar.xz", ".zip")],  # the others have no checksum
)
def test_a_damaged_archive_is_an_error(tmp_path, ending, damage):
    path = tmp_path / f"code{ending}"
    in_zip(path, noise(20)) if ending == ".zip" else tar(path, noise(20))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    path.write_bytes(content[:middle] if damage == "cut" else content[:middle] + b"\0\1\2" + content[middle + 3 :])
    with pytest.raises(UserError, match="code.*(get it again|get the archive again)"):
        read(of(path))
