"""Source files in folders."""

import os
import shutil

import pytest
from helpers.source_files import SEEN, documents, of, read, write
from hypothesis import given, settings
from hypothesis import strategies as st

from babel_jax.corpus import sources
from babel_jax.corpus.document import Document
from babel_jax.corpus.readers import places, reader


def test_folder_in_order_without_hidden_folders_and_links(folder):
    shutil.rmtree(folder / ".git")
    write(folder, {".hidden/h.py": b"no\n"})
    (folder / "link.py").symlink_to(folder / "beta/latin.py")
    (folder / "out").symlink_to("/")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.py")
    assert read(of(folder)) == documents(SEEN)
    assert [document.path for document in documents(SEEN)] == [
        "code/alpha/deep/a.py",
        "code/alpha-b/x.PY",
        "code/alpha.py",
        "code/beta/latin.py",
    ]


names = st.text("ab-.", min_size=1, max_size=3).filter(lambda name: not name.startswith("."))


paths = st.lists(st.tuples(st.lists(names, max_size=3), names, st.integers(0, 9)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(paths, st.integers(1, 40))
def test_pieces_of_a_folder_are_its_listing_whatever_their_size(tmp_path_factory, paths, piece_bytes):
    root = tmp_path_factory.mktemp("code") / "code"
    files = {"/".join([*folders, f"{name}.py"]): b"#" * size for folders, name, size in paths}
    files = {path: content for path, content in files.items() if not any(p.startswith(path + "/") for p in files)}
    wanted = of(write(root, files))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", piece_bytes)
        assert read(wanted) == documents(files)
        pieces = sources.pieces(wanted, "python")
        for piece in pieces:
            assert sum(d.size for d in sources.read(piece, wanted)) <= max(piece_bytes, 9)
    if sum(map(len, files.values())) > 4 * max(piece_bytes, 9):
        assert len(pieces) > 2


def test_a_file_that_comes_later_is_in_exactly_one_piece(folder, monkeypatch):
    shutil.rmtree(folder / ".git")
    monkeypatch.setattr(reader, "PIECE_BYTES", 1)
    wanted = of(folder)
    pieces = sources.pieces(wanted, "python")
    write(folder, {"a.py": b"", "alpha/z.py": b"", "zz/z.py": b""})
    seen = [document.path for piece in pieces for document in sources.read(piece, wanted)]
    assert len(pieces) == 4 and sorted(seen) == sorted(
        [f"code/{name}" for name in (*SEEN, "a.py", "alpha/z.py", "zz/z.py")]
    )


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/\xff.py", "wb") as file:
        file.write(b"a = 1\n")
    (document,) = read(of(folder))
    assert document.content == b"a = 1\n" and document.path.encode() == b"code/?.py"


def test_a_large_and_an_unreadable_file_are_not_loaded(folder, monkeypatch):
    shutil.rmtree(folder / ".git")
    with open(folder / "zeta.py", "wb") as file:
        file.truncate(2 << 30)  # sparse: takes no space
    opened = places.opened

    def refuse(place):
        assert not place.endswith("zeta.py")
        if place.endswith("alpha.py"):
            raise PermissionError(place)
        return opened(place)

    monkeypatch.setattr(places, "opened", refuse)
    assert len(sources.pieces(of(folder), "python")) == 1  # what is not read costs nothing
    documents_by_path = {document.path: document for document in read(of(folder))}
    assert documents_by_path["code/zeta.py"] == Document("code/zeta.py", None, 2 << 30)
    assert documents_by_path["code/alpha.py"].content is None and documents_by_path["code/alpha-b/x.PY"].content


def test_patterns_and_single_files(tmp_path, monkeypatch):
    write(
        tmp_path, {"x/one/src/a.py": b"1", "x/one/b.py": b"2", "x/two/a.py": b"3", "x/two/n.md": b"4", "x/z.py": b"5"}
    )
    assert [d[:2] for d in read(of(tmp_path / "x/z.py", name="lib"))] == [("lib/z.py", b"5")]
    expected = [("x/one/b.py", b"2"), ("x/one/src/a.py", b"1"), ("x/two/a.py", b"3"), ("x/z.py", b"5")]
    for pattern in ("x/*", "x/**", "x/**/*.py", "x/**/*"):
        assert [d[:2] for d in read(of(tmp_path / pattern))] == expected
    assert len(sources.pieces(of(tmp_path / "x/**/*.py"), "python")) == 1  # not one a file
    monkeypatch.setattr(reader, "PIECE_BYTES", 2)
    assert len(sources.pieces(of(tmp_path / "x/**/*.py"), "python")) == 2
    write(tmp_path, {"y[1]/a.py": b"6"})
    assert [d[:2] for d in read(of(tmp_path / "y[1]", name="y"))] == [("y/a.py", b"6")]
