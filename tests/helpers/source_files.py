"""Folders, archives and tables of source files, manifests of them, and all documents of one."""

import bz2
import dataclasses
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile

import pyarrow as pa

from babel_jax.common import files
from babel_jax.corpus import manifest, sources
from babel_jax.corpus.document import Document
from babel_jax.corpus.readers import places
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


def read(wanted, language=None):
    """All documents, of pieces that went through JSON."""
    language = language or next(iter(wanted.languages))
    written = [json.dumps(dataclasses.asdict(piece)) for piece in sources.pieces(wanted, language)]
    cut = [files.typed(Piece, json.loads(text)) for text in written]
    assert cut == sources.pieces(wanted, language) and [piece.number for piece in cut] == list(range(len(cut)))
    return [document for piece in cut for document in sources.read(piece, wanted)]


def documents(files, name="code"):
    return [Document(f"{name}/{path}", files[path], len(files[path])) for path in sorted(files, key=parts)]


def parts(path):
    return path.split("/")


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


def noise(count):
    return [(f"{i}.py", os.urandom(20_000)) for i in range(count)]


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
