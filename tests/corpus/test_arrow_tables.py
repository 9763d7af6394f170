"""Parquet and Arrow."""

import os

import pyarrow as pa
import pytest
from helpers.source_files import arrow_table, of, read, saved
from pyarrow import parquet

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources


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
