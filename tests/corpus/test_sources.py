import bz2
import contextlib
import dataclasses
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.corpus import manifest, projects, sources
from babel_jax.corpus.document import Document
from babel_jax.corpus.readers import json_lines, places, reader
from babel_jax.corpus.sources import Piece

FILES = {
    "alpha/deep/a.py": b"a = 1\n",
    "alpha-b/x.PY": b"x = 1\n",
    "alpha/note.txt": b"no\n",
    "alpha.py": b"first = 1\n",
    "beta/latin.py": "é = 1\n".encode("latin-1"),
    ".git/hook.py": b"no\n",
}
SEEN = {name: content for name, content in FILES.items() if name.lower().endswith(".py") and not name.startswith(".")}
ROWS = [
    {"text": "a = 1\n", "name": "a.py", "repo": "me/one", "spdx": ["MIT", "0BSD"], "lang": "Python"},
    {"text": "<?php 1;", "name": "a.php", "repo": "me/one", "spdx": ["MIT"], "lang": "PHP"},
    {"text": "é = 2\n", "name": "b/c.py", "repo": "you/two", "spdx": [], "lang": "python"},
    {"text": None, "name": "none.py", "repo": "you/two", "spdx": None, "lang": "PYTHON"},
    {"text": "x" * (places.LARGEST_FILE + 1), "name": "large.py", "repo": None, "spdx": ["MIT"], "lang": "Python"},
]
COLUMNS = {"content": "text", "path": "name", "project": "repo", "licence": "spdx", "language": "lang"}
PYTHON_ROWS = [
    Document("t/me/one/a.py", b"a = 1\n", 6, ("MIT", "0BSD"), "me/one"),
    Document("t/you/two/b/c.py", "é = 2\n".encode(), 7, ("ISC",), "you/two"),
    Document("t/you/two/none.py", None, 0, ("ISC",), "you/two"),
    Document("t/large.py", None, places.LARGEST_FILE + 1, ("MIT",)),
]
PHP_ROWS = [Document("t/me/one/a.php", b"<?php 1;", 8, ("MIT",), "me/one")]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "code", FILES)


def write(root, files):
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def of(path, language="python", **source):
    return manifest.check({"languages": {language: {"sources": [{"path": str(path)} | source]}}}, "test")


def table(path, language="python", called=None, **source):
    source = {"path": str(path), "name": "t", "licence": "ISC", "columns": COLUMNS, "language": called} | source
    return manifest.check({"languages": {language: {"sources": [source]}}}, "test")


def read(made, language=None):
    """All documents, of pieces that went through JSON."""
    language = language or next(iter(made.languages))
    written = [json.dumps(dataclasses.asdict(piece)) for piece in sources.pieces(made, language)]
    found = [files.typed(Piece, json.loads(text)) for text in written]
    assert found == sources.pieces(made, language) and [piece.number for piece in found] == list(range(len(found)))
    return [document for piece in found for document in sources.read(piece, made)]


def documents(files, name="code"):
    return [Document(f"{name}/{path}", files[path], len(files[path])) for path in sorted(files, key=parts)]


def parts(path):
    return path.split("/")


# Folders, checkouts, single files, patterns


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
    made = of(write(root, files))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", piece_bytes)
        assert read(made) == documents(files)
        found = sources.pieces(made, "python")
        for piece in found:
            assert sum(d.size for d in sources.read(piece, made)) <= max(piece_bytes, 9)
    if sum(map(len, files.values())) > 4 * max(piece_bytes, 9):
        assert len(found) > 2


def test_a_file_that_comes_later_is_in_exactly_one_piece(folder, monkeypatch):
    shutil.rmtree(folder / ".git")
    monkeypatch.setattr(reader, "PIECE_BYTES", 1)
    made = of(folder)
    found = sources.pieces(made, "python")
    write(folder, {"a.py": b"", "alpha/z.py": b"", "zz/z.py": b""})
    seen = [document.path for piece in found for document in sources.read(piece, made)]
    assert len(found) == 4 and sorted(seen) == sorted(
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
    found = {document.path: document for document in read(of(folder))}
    assert found["code/zeta.py"] == Document("code/zeta.py", None, 2 << 30)
    assert found["code/alpha.py"].content is None and found["code/alpha-b/x.PY"].content


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
    write(folder, {"build/made.py": b"no\n"})
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
    assert "code/build/made.py" in [document.path for document in read(of(folder))]


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


def test_several_sources_go_one_after_another(tmp_path):
    write(tmp_path, {"b/x.py": b"1", "a/x.py": b"2"})
    made = manifest.of_sources({"python": [tmp_path / "b", tmp_path / "a"]}, vocab_size=300, max_length=8)
    assert [(piece.number, piece.source) for piece in sources.pieces(made, "python")] == [(0, 0), (1, 1)]
    assert [document.path for document in read(made)] == ["b/x.py", "a/x.py"]


def test_a_pipe_is_no_file(tmp_path):
    write(tmp_path, {"a.py": b"1"})
    os.mkfifo(tmp_path / "pipe.py")
    assert [piece.part for piece in sources.pieces(of(tmp_path / "*.py"), "python")] == [("files", "a.py")]
    with pytest.raises(UserError, match="there is no file or folder .*pipe.py"):
        sources.pieces(of(tmp_path / "pipe.py"), "python")


# Archives


def tar(path, entries):
    """A tar archive: (name, content) or TarInfo without content."""
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}.get(path.suffix, bytes)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                about = tarfile.TarInfo(entry[0])
                about.size = len(entry[1])
                archive.addfile(about, io.BytesIO(entry[1]))
    path.write_bytes(packed(buffer.getvalue()))
    return path


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


def in_zip(path, entries, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


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


def special(name, kind):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


def test_unsafe_entries_of_tar_are_counted_and_not_read(tmp_path):
    bad = [("../up.py", b"1"), ("/abs.py", b"1"), ("a/../../up.py", b"1"), ("C:\\x.py", b"1"), ("..\\x.py", b"1")]
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    links = [special(f"link{i}.py", kind) for i, kind in enumerate(kinds)]
    found = read(of(tar(tmp_path / "code.tar", [*bad, *links, ("ok.py", b"ok")])))
    assert [(document.content, document.size) for document in found] == [(None, -1)] * 9 + [(b"ok", 2)]


def test_unsafe_entries_of_zip_are_counted_and_not_read(tmp_path):
    link = zipfile.ZipInfo("link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad = [("../up.py", b"1"), ("/abs.py", b"1"), ("..\\x.py", b"1"), (link, b"/etc/passwd")]
    found = read(of(in_zip(tmp_path / "code.zip", [*bad, ("ok.py", b"ok")])))
    assert [(document.content, document.size) for document in found] == [(None, -1)] * 4 + [(b"ok", 2)]


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_hidden_folders_of_archives_are_left_out(tmp_path, ending):
    entries = [(name, b"1") for name in (".git/a.py", "b/.venv/lib/c.py", "./b/d.py", ".e.py")]
    path = tmp_path / f"code{ending}"
    in_zip(path, entries) if ending == ".zip" else tar(path, entries)
    assert [document.path for document in read(of(path))] == ["code/b/d.py", "code/.e.py"]


def test_numbers_of_a_tar_header_that_are_none(tmp_path):
    for number, before in enumerate(([], [("a.py", b"1")])):
        path = tmp_path / f"code{number}.tar"
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in [*before, ("b.py", b"2")]:
                about = tarfile.TarInfo(name)
                about.size = len(content)
                if name == "b.py":
                    about.pax_headers = {"GNU.sparse.map": "0,x", "GNU.sparse.size": "1"}
                archive.addfile(about, io.BytesIO(content))
        with pytest.raises(UserError, match="invalid literal"):
            read(of(path))


def test_large_entries_are_not_loaded_and_archives_inside_stay_closed(tmp_path):
    large = os.urandom(places.LARGEST_FILE + 1)
    inner = tar(tmp_path / "inner.tar", [("b.py", b"no")]).read_bytes()
    entries = [("large.py", large), ("inner.tar", inner), ("a.py", b"a")]
    expected = [Document("code/large.py", None, len(large)), Document("code/a.py", b"a", 1)]
    for path in (tar(tmp_path / "code.tar.gz", entries), in_zip(tmp_path / "code.zip", entries)):
        assert read(of(path)) == expected


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_bomb_in_tar_is_named(tmp_path, ending):
    path = tar(tmp_path / f"code.tar{ending}", [("a.py", b"a"), ("big.bin", bytes(15_000_000)), ("b.py", b"b")])
    with pytest.raises(UserError, match="the entry big.bin of .* unpacks to more than 100 times its size"):
        read(of(path))


def test_a_header_of_any_size_is_not_loaded(tmp_path):
    path = tar(tmp_path / "code.tar", [("a.py", b"a")])
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 31
    content = path.read_bytes()
    path.write_bytes(content[:1024] + header.tobuf(tarfile.USTAR_FORMAT) + content[1024:])
    with open(path, "r+b") as file:
        file.truncate(1 << 32)
    with pytest.raises(UserError, match="the entry a.py of .*a header of 2147483648 bytes"):
        read(of(path))


def test_a_bomb_in_zip_is_named(tmp_path):
    path = in_zip(tmp_path / "code.zip", [("a.py", b"a"), ("big.py", bytes(15_000_000))])
    with pytest.raises(UserError, match="the entry big.py of .* unpacks to more than 100 times its size"):
        sources.pieces(of(path), "python")


def test_entries_of_zip_that_share_their_bytes_are_a_bomb(tmp_path):
    # The central directory names one packed entry 200 times: each is harmless, all together are not.
    path = in_zip(tmp_path / "code.zip", [("a000.py", bytes(900_000))])
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02")
    entry, end = content[at : content.index(b"PK\x05\x06")], content[content.index(b"PK\x05\x06") :]
    count = 200
    end = end[:8] + struct.pack("<HHI", count, count, count * len(entry)) + end[16:]
    path.write_bytes(content[:at] + entry * count + end)
    with pytest.raises(UserError, match="the entry a000.py of .* unpacks to more than 100 times its size"):
        sources.pieces(of(path), "python")


@pytest.mark.parametrize("size", [5, 5000])
def test_sizes_of_zip_that_lie_are_named(tmp_path, size):
    path = in_zip(tmp_path / "code.zip", [("a.py", b"x = 1\n" * 100)])
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(content)
    with pytest.raises(UserError, match="the entry a.py of .* is damaged, or not as large as it says"):
        read(of(path))


def test_methods_of_zip_that_unpack_without_a_bound_are_refused(tmp_path):
    path = in_zip(tmp_path / "code.zip", [("a.py", b"x = 1\n" * 100)], zipfile.ZIP_LZMA)
    with pytest.raises(UserError, match="the entry a.py of .* is encrypted or packed by a rare method"):
        read(of(path))


def noise(count):
    return [(f"{i}.py", os.urandom(20_000)) for i in range(count)]


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


def test_a_checksum_behind_the_end_mark_is_checked(tmp_path):
    path = tar(tmp_path / "code.tar", noise(2))
    content = bytearray(gzip.compress(path.read_bytes() + bytes(4 << 20), 1))
    content[10_000] ^= 1
    (tmp_path / "code.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match="code.tar.gz is damaged"):
        read(of(tmp_path / "code.tar.gz"))


@pytest.mark.parametrize("cut", [2048, 1024 * 3 - 100])
def test_a_tar_that_ends_between_entries_or_in_a_header_is_an_error(tmp_path, cut):
    path = tar(tmp_path / "code.tar", [("a.py", b"a"), ("b.py", b"b"), ("c.py", b"c")])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match="of .*code.tar is damaged"):
        read(of(path))
    content = tar(path, [("a.py", b"a"), ("b.py", b"b")]).read_bytes()
    path.write_bytes(content[:1030] + b"~" + content[1031:])  # tarfile takes this for the end
    with pytest.raises(UserError, match="the entry a.py of .*code.tar is damaged"):
        read(of(path))


# Tables


def arrow_table(rows=ROWS):
    return pa.Table.from_pylist(rows)


def saved(folder, rows=ROWS, files=2):
    """As `datasets.Dataset.save_to_disk` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05d}-of-{files:05d}.arrow" for i in range(files)]
    whole = arrow_table(rows)
    for i, name in enumerate(names):
        with pa.ipc.new_stream(folder / name, whole.schema) as stream:
            stream.write_table(whole.slice(i * len(rows) // files, len(rows) // files + i), max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def lines(rows=ROWS):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture(params=["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "arrow", "huggingface", "dict"])
def rows_on_disk(request, tmp_path):
    path, kind = tmp_path / f"rows.{request.param}", request.param
    if kind.startswith("jsonl"):
        path.write_bytes({"jsonl": bytes, "jsonl.gz": gzip.compress, "jsonl.zst": zstd}[kind](lines()))
    elif kind == "parquet":
        parquet.write_table(arrow_table(), path, row_group_size=2)
    elif kind == "arrow":
        path = saved(tmp_path / "one", files=1) / "data-00000-of-00001.arrow"
    elif kind == "huggingface":
        saved(path)
    else:
        path.mkdir()
        (path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
        saved(path / "train", ROWS[:2], 1), saved(path / "test", ROWS[2:], 1)
    return path


def test_tables_give_the_rows_of_a_language(rows_on_disk):
    assert read(table(rows_on_disk)) == PYTHON_ROWS
    assert read(table(rows_on_disk, "php")) == PHP_ROWS
    assert read(table(rows_on_disk, "go", called="PHP")) == PHP_ROWS
    everything = read(table(rows_on_disk, columns=COLUMNS | {"language": None}))
    assert len(everything) == 5 and everything[0] == PYTHON_ROWS[0]
    plain = read(table(rows_on_disk, columns={"content": "text"}))
    assert len({document.path for document in plain}) == 5 and plain[0].path.startswith("t/")
    assert all(document.licences == ("ISC",) and document.project == "" for document in plain)


def test_tables_are_cut_where_they_can_be(rows_on_disk, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_BYTES", 20_000)
    made = table(rows_on_disk, columns={"content": "text"})
    whole = [document for piece in sources.pieces(made, "python") for document in sources.read(piece, made)]
    monkeypatch.undo()
    assert read(made) == whole and len({document.path for document in whole}) == 5


def test_a_table_without_the_column_is_an_error(rows_on_disk):
    for column in ("content", "licence", "language"):
        with pytest.raises(UserError, match="unknown column 'nmae'; did you mean 'name'"):
            sources.pieces(table(rows_on_disk, columns=COLUMNS | {column: "nmae"}), "python")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "huggingface"])
@pytest.mark.parametrize("role", COLUMNS)
def test_a_column_of_another_type_is_an_error(tmp_path, kind, role):
    rows = [row | {COLUMNS[role]: 7} for row in ROWS]
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_bytes(lines(rows))
    elif kind == "parquet":
        parquet.write_table(arrow_table(rows), path)
    else:
        saved(path, rows)
    with pytest.raises(UserError, match=f"column '{COLUMNS[role]}'.* holds int(64)?, not text"):
        read(table(path))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("a\n\r\u2028é", max_size=9), st.booleans()), min_size=1, max_size=12), st.integers(1, 70)
)
def test_pieces_of_json_lines_are_the_file_whatever_their_size(tmp_path_factory, rows, piece_bytes):
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    text = "\n".join(("\n" if blank else "") + json.dumps({"content": row}) for row, blank in rows)
    path.write_text(text, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "PIECE_BYTES", piece_bytes)
        made = of(path)
        found = sources.pieces(made, "python")
        read_ = [document for piece in found for document in sources.read(piece, made)]
    assert [document.content.decode() for document in read_] == [row for row, _ in rows]
    assert len(found) == -(-len(text.encode()) // piece_bytes)
    assert read_ == read(made)


@pytest.mark.parametrize(
    "line, message",
    [
        (b'{"content": "a"', "is not a row of a table .*write one JSON object a line"),
        (b"[1]", "is not a row of a table .it is a list"),
        (b"[" * 100_000, "is not a row of a table"),
        (b'{"content": ["a"]}', "column 'content' holds list, not text"),
        (b'{"contents": "a"}', "unknown column 'content'; did you mean 'contents'"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_that_is_no_row_is_named(tmp_path, line, message, packed, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_BYTES", 40)
    content = b'{"content": "a"}\n\n' * 9 + line + b'\n{"content": "a"}\n'
    path = tmp_path / ("rows.jsonl.gz" if packed else "rows.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=f"line 19 of .*rows.jsonl.*{message}") as caught:
        read(of(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_text_that_is_not_utf8_is_handed_on(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        b'\xef\xbb\xbf{"content": "bom"}',
        b'{"content": "\xe9"}',
        b'{"content": "\\ud800", "repo": "\\udcff"}',
        b'{"content": "ok"}',
    ]
    path.write_bytes(b"\n".join(rows).replace(b'"}', b'", "repo": ""}'))
    found = read(of(path, columns={"project": "repo"}))
    assert [document.content for document in found[::3]] == [b"bom", b"ok"]
    for document in found[1:3]:
        with pytest.raises(UnicodeDecodeError):
            document.content.decode()
    assert all("".join((document.path, document.project)).encode() for document in found)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_damaged_and_packed_lines_are_an_error(tmp_path, ending):
    rows = [{"content": os.urandom(3000).hex()} for _ in range(60)]
    path, pack = tmp_path / f"rows.jsonl{ending}", {".gz": gzip.compress, ".zst": zstd}[ending]
    packed = pack(lines(rows))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match="cannot read .*rows.jsonl.*get it again"):
        read(of(path))
    path.write_bytes(packed[: len(packed) // 2] + b"\xff\0\xff\0" + packed[len(packed) // 2 + 4 :])
    if ending == ".gz":
        with pytest.raises(UserError, match="rows.jsonl"):
            read(of(path))
    path.write_bytes(packed + packed)  # packed one behind another
    assert len(read(of(path))) == 120
    path.write_bytes(pack(b'{"content": "a"}\n' + bytes(15_000_000)))
    with pytest.raises(UserError, match="rows.jsonl.* unpacks to more than 100 times its size"):
        read(of(path))


def test_a_piece_does_not_read_far_beyond_its_end():
    file = io.BytesIO(bytes(8 * places.BLOCK) + b"\n{}\n")
    assert list(json_lines._lines(file, places.BLOCK, 2 * places.BLOCK)) == [] and file.tell() <= 3 * places.BLOCK


LIMITED = """
import resource, sys
from babel_jax.corpus import manifest, sources
made = manifest.of_sources({"python": [sys.argv[1]]}, vocab_size=300, max_length=8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = [d for p in sources.pieces(made, "python")[:: int(sys.argv[2])] for d in sources.read(p, made)]
print([(d.content, d.size) for d in found], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_line_of_two_gigabytes_is_not_loaded(tmp_path):
    path = tmp_path / "rows.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"content": "a"}\n')
        file.truncate(2 << 30)  # sparse: a line of zeros
        file.seek(0, 2)
        file.write(b'\n{"content": "b"}\n')
    done = subprocess.run([sys.executable, "-c", LIMITED, path, "1"], capture_output=True, text=True, check=True)
    found, _, more = done.stdout.rpartition(" ")
    assert found == str([(b"a", 1), (None, (2 << 30) - 16), (b"b", 1)])
    assert int(more) < 100_000, f"{more} kB"


def test_parquet_of_other_types_and_none_of_the_language(tmp_path):
    path = tmp_path / "rows.parquet"
    whole = pa.table(
        {
            "content": pa.array(["a", "b", "a"]).dictionary_encode(),
            "lang": pa.array(["Python", "Python", "PHP"]).dictionary_encode(),
        }
    )
    parquet.write_table(whole, path)
    columns = {"language": "lang"}
    assert [document.content for document in read(of(path, columns=columns))] == [b"a", b"b"]
    assert read(of(path, "go", columns=columns)) == []
    parquet.write_table(pa.table({"content": [b"a\xff", None]}), path)
    assert [document.content for document in read(of(path))] == [b"a\xff", None]


def test_columns_that_are_there_twice_or_asked_for_twice_or_empty(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["content", "content"])
    same = pa.table({"content": ["a"], "name": ["me/a.py"]})
    empty = pa.table({"content": ["a"], "name": pa.nulls(1), "spdx": pa.array([[]])})
    roles = {"path": "name", "project": "name"}
    for kind in ("parquet", "arrow"):
        paths = []
        for number, rows in enumerate((twice, same, empty)):
            paths.append(tmp_path / f"{number}.{kind}")
            if kind == "parquet":
                parquet.write_table(rows, paths[-1])
            else:
                with pa.OSFile(str(paths[-1]), "wb") as file, pa.ipc.new_stream(file, rows.schema) as stream:
                    stream.write_table(rows)
        with pytest.raises(UserError, match="has several columns 'content'"):
            read(of(paths[0]))
        assert [d.project for d in read(of(paths[1], columns=roles))] == ["me/a.py"]
        found = read(of(paths[2], columns=roles | {"licence": "spdx"}))
        assert [d[1:] for d in found] == [(b"a", 1, (), "")]


def test_parquet_reads_no_contents_of_other_languages(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    rows = [{"content": "x" * 1000, "lang": lang} for lang in ("PHP", "Python", "PHP") for _ in range(10)]
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=10)
    groups = []
    iter_batches = parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.ParquetFile,
        "iter_batches",
        lambda self, n, g, *a, **k: groups.extend(g) or iter_batches(self, n, g, *a, **k),
    )
    assert len(read(of(path, columns={"language": "lang"}))) == 10 and groups == [1]


def test_a_bomb_in_parquet_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    contents = ["a", "\0" * 30_000_000]
    parquet.write_table(pa.table({"content": contents}), path, compression="zstd", use_dictionary=False)
    with pytest.raises(UserError, match="row group 0 of .*rows.parquet unpacks to more than 100 times"):
        sources.pieces(of(path), "python")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "code.zip", "code.tar", "code.tar.gz"])
def test_what_is_not_what_its_name_says_is_an_error(tmp_path, name):
    for content in (b"", b"something else" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"cannot read .*{name}"):
            sources.pieces(of(tmp_path / name), "python")


def test_a_damaged_parquet_and_arrow_file_is_an_error(tmp_path):
    rows = [{"content": os.urandom(3000).hex()} for _ in range(60)]
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow_table(rows), path, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1  # of one of the texts
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot read .*rows.parquet"):
        read(of(path))
    file = saved(tmp_path / "set", rows, 1) / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-200_000])
    with pytest.raises(UserError, match="cannot read .*data-00000-of-00001.arrow"):
        read(of(tmp_path / "set"))


def test_a_folder_of_tables_by_its_format(tmp_path):
    for i in range(3):
        write(tmp_path, {f"rows/{i % 2}/{i}.jsonl": lines([{"content": str(i)}])})
    found = read(of(tmp_path / "rows", format="jsonl"))
    assert [(d.path, d.content) for d in found] == [
        ("rows/0/0.jsonl/0", b"0"),
        ("rows/0/2.jsonl/0", b"2"),
        ("rows/1/1.jsonl/0", b"1"),
    ]
    with pytest.raises(UserError, match="no Python file .*format: jsonl or parquet reads a folder of tables"):
        sources.pieces(of(tmp_path / "rows"), "python")


@pytest.fixture(scope="module")
def tfds_directory(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    rows = [row | {"spdx": row["spdx"] or [], "repo": row["repo"] or "", "text": row["text"] or ""} for row in ROWS[:3]]

    class Rows(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path, code_path = tmp_path_factory.mktemp("package"), None

        def _info(self):
            texts = {name: tfds.features.Text() for name in ("text", "name", "repo", "lang")}
            features = texts | {
                "spdx": tfds.features.Sequence(tfds.features.Text()),
                "stars": tfds.features.Scalar(np.int32),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, row in enumerate(rows):
                yield i, row | {"stars": 1}

    builder = Rows(data_dir=tmp_path_factory.mktemp("data"), file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir


def test_tfds_directories(tfds_directory, monkeypatch):
    def found(made):
        return sorted(read(made))

    assert found(table(tfds_directory)) == PYTHON_ROWS[:2]
    assert found(table(tfds_directory, "php")) == PHP_ROWS
    plain = {"content": "text"}
    before = read(table(tfds_directory, columns=plain))
    monkeypatch.setattr(reader, "PIECE_BYTES", 1)
    assert read(table(tfds_directory, columns=plain)) == before
    assert len(sources.pieces(table(tfds_directory, columns=plain), "python")) == 3
    with pytest.raises(UserError, match="unknown column 'txt'; did you mean 'text'"):
        read(table(tfds_directory, columns={"content": "txt"}))
    with pytest.raises(UserError, match="the column 'stars' of .* holds int, not text"):
        read(table(tfds_directory, columns={"content": "stars"}))


# URLs


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear(), system.pseudo_dirs.clear()


def test_sources_behind_a_url(memory, tmp_path, folder, monkeypatch):
    shutil.rmtree(folder / ".git")
    write(folder, {".hidden/h.py": b"no\n"})
    tar(tmp_path / "code.tar.gz", [(name, SEEN[name]) for name in sorted(SEEN, key=parts)])
    in_zip(tmp_path / "code.zip", [(name, SEEN[name]) for name in sorted(SEEN, key=parts)])
    (tmp_path / "rows.jsonl").write_bytes(lines())
    parquet.write_table(arrow_table(), tmp_path / "rows.parquet", row_group_size=2)
    saved(tmp_path / "saved")
    for name in ("code", "code.tar.gz", "code.zip", "rows.jsonl", "rows.parquet", "saved"):
        memory.put(str(tmp_path / name), f"/bucket/{name}", recursive=True)
    for scheme in ("memory://bucket", f"file://{tmp_path}"):
        for name in ("code", "code.tar.gz", "code.zip"):
            assert read(of(f"{scheme}/{name}")) == documents(SEEN)
        for name in ("rows.jsonl", "rows.parquet", "saved"):
            assert read(table(f"{scheme}/{name}")) == PYTHON_ROWS
    assert len(read(of("memory://bucket/co*/**/*.py"))) == 3  # .PY is another name there
    monkeypatch.setattr(reader, "PIECE_BYTES", 12)
    assert read(of("memory://bucket/code")) == documents(SEEN)
    assert len(sources.pieces(of("memory://bucket/code"), "python")) == 3
    before = sources.fingerprint(of("memory://bucket/code"), "python")
    memory.pipe("/bucket/code/alpha.py", b"other = 1\n")
    assert sources.fingerprint(of("memory://bucket/code"), "python") != before


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


# The rest


def test_errors_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "data.bin").write_bytes(b"x")
    (tmp_path / "none.jsonl").write_bytes(b"\n\n")
    in_zip(tmp_path / "none.zip", [("a.txt", b"x")])
    for name, message in (
        ("empty", r"no Python file \(\.py\) in .*empty; name a folder"),
        ("missing", "there is no file or folder .*missing"),
        ("*.py", "nothing to read matches"),
        ("data.bin", "cannot tell what .*data.bin is; say its format: files, jsonl"),
        ("none.jsonl", "no Python file"),
        ("none.zip", "no Python file"),
    ):
        with pytest.raises(UserError, match=message):
            sources.pieces(of(tmp_path / name, name="n"), "python")
    with pytest.raises(UserError, match="holds no dataset that `save_to_disk` saved"):
        sources.pieces(of(tmp_path / "empty", format="huggingface"), "python")
    with pytest.raises(UserError, match="cannot read .*empty as a TFDS directory"):
        sources.pieces(of(tmp_path / "empty", format="tfds"), "python")
    with pytest.raises(UserError, match="empty holds nothing of the format parquet"):
        sources.pieces(of(tmp_path / "empty", format="parquet"), "python")
    write(tmp_path, {"one/dataset_dict.json": b'{"splits": [1]}', "two/state.json": b'{"_data_files": [{}]}'})
    for name in ("one", "two"):
        with pytest.raises(UserError, match="cannot read .*json .not the JSON that `save_to_disk` writes"):
            sources.pieces(of(tmp_path / name, format="huggingface"), "python")


def test_fingerprints_change_with_what_is_read(folder, tmp_path):
    shutil.rmtree(folder / ".git")

    def now(path=folder):
        return sources.fingerprint(of(path, name="n"), "python")["n"]

    first = now()
    assert first == now() and first["files"] == 4 and first["commits"] == []
    write(folder, {"note.txt": b"of no account"})
    assert now() == first
    os.utime(folder / "alpha.py", ns=(0, 1))
    second = now()
    assert second != first
    (folder / "alpha.py").rename(folder / "alpha2.py")
    third = now()
    assert third not in (first, second)
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert now(tmp_path / "elsewhere") == third
    path = tar(tmp_path / "code.tar", [("a.py", b"a")])
    archive = now(path)
    os.utime(path, ns=(0, 1))
    assert now(path) != archive


def test_projects_are_the_first_folders_unless_one_is_most_of_the_corpus():
    files = [(f"root/small{i}/x/a.py", 10) for i in range(40)]
    files += [(f"root/large/{part}/{i}.py", 30) for part in "ab" for i in range(2)]
    files += [("root/large/one.py", 200)]
    divided = projects.Projects(iter(files), share=0.1)
    assert divided.project("root/small3/x/a.py") == "root/small3"
    assert divided.project("root/large/a/0.py") == "root/large/a"
    assert divided.project("root/large/one.py") == "root/large/one.py"


def test_what_workers_load_is_small():
    code = (
        "import sys, babel_jax.corpus.sources; "
        "print({'jax', 'pandas', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_place_that_refuses_is_told_from_a_broken_file():
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
