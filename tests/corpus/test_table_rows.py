"""Rows of any kind of table."""

import gzip

import pyarrow as pa
import pytest
from helpers.source_files import COLUMNS, PHP_ROWS, PYTHON_ROWS, ROWS, arrow_table, lines, of, read, saved, table, zstd
from pyarrow import parquet

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources
from babel_jax.corpus.readers import reader


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
    wanted = table(rows_on_disk, columns={"content": "text"})
    whole = [document for piece in sources.pieces(wanted, "python") for document in sources.read(piece, wanted)]
    monkeypatch.undo()
    assert read(wanted) == whole and len({document.path for document in whole}) == 5


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
        documents = read(of(paths[2], columns=roles | {"licence": "spdx"}))
        assert [d[1:5] for d in documents] == [(b"a", 1, (), "")]


def test_a_row_with_a_key_is_a_paragraph_of_that_name(tmp_path):
    rows = pa.table({"content": ["One\n\n two.", "Three.", None], "doc": ["a", "a", "b"], "id": ["p1", None, "p3"]})
    parquet.write_table(rows, tmp_path / "rows.parquet")
    first, second, third = read(of(tmp_path / "rows.parquet", columns={"project": "doc", "key": "id"}))
    assert (first.project, first.keys, first.paragraphs) == ("a", ("p1",), ("One\n two.",))
    assert (second.keys, third.keys, third.content) == ((), (), None)
