"""What a source stands for, whatever kind of file it holds."""

import os
import shutil
import subprocess
import sys

import pytest
from helpers.source_files import (
    PYTHON_ROWS,
    SEEN,
    arrow_table,
    documents,
    in_zip,
    lines,
    of,
    parts,
    read,
    saved,
    table,
    tar,
    write,
)
from pyarrow import parquet

from babel_jax.common.errors import UserError
from babel_jax.corpus import manifest, sources
from babel_jax.corpus.readers import reader


def test_several_sources_go_one_after_another(tmp_path):
    write(tmp_path, {"b/x.py": b"1", "a/x.py": b"2"})
    wanted = manifest.of_sources({"python": [tmp_path / "b", tmp_path / "a"]}, vocab_size=300, max_length=8)
    assert [(piece.number, piece.source) for piece in sources.pieces(wanted, "python")] == [(0, 0), (1, 1)]
    assert [document.path for document in read(wanted)] == ["b/x.py", "a/x.py"]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "code.zip", "code.tar", "code.tar.gz"])
def test_what_is_not_what_its_name_says_is_an_error(tmp_path, name):
    for content in (b"", b"something else" * 100):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"cannot read .*{name}"):
            sources.pieces(of(tmp_path / name), "python")


def test_a_folder_of_tables_by_its_format(tmp_path):
    for i in range(3):
        write(tmp_path, {f"rows/{i % 2}/{i}.jsonl": lines([{"content": str(i)}])})
    documents_read = read(of(tmp_path / "rows", format="jsonl"))
    assert [(d.path, d.content) for d in documents_read] == [
        ("rows/0/0.jsonl/0", b"0"),
        ("rows/0/2.jsonl/0", b"2"),
        ("rows/1/1.jsonl/0", b"1"),
    ]
    with pytest.raises(UserError, match="no Python file .*format: jsonl or parquet reads a folder of tables"):
        sources.pieces(of(tmp_path / "rows"), "python")


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


def test_errors_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "data.bin").write_bytes(b"x")
    (tmp_path / "none.jsonl").write_bytes(b"\n\n")
    in_zip(tmp_path / "none.zip", [("a.txt", b"x")])
    for name, message in (
        ("empty", r"no Python file \(\.py\) in .*empty; name a folder"),
        ("missing", "there is no file or folder .*missing"),
        ("*.py", "nothing to read matches"),
        ("data.bin", "cannot recognise .*data.bin; name its format: files, jsonl"),
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


@pytest.mark.processes
def test_what_workers_load_is_small():
    code = (
        "import sys, babel_jax.corpus.sources; "
        "print({'jax', 'pandas', 'matplotlib', 'tensorflow_datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
