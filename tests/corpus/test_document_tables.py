"""Documents between the phases."""

import errno

import numpy as np
import pyarrow.parquet as pq
import pytest

from babel_jax.corpus.phases import document_tables


def test_a_writer_that_fails_leaves_no_file(tmp_path, monkeypatch):
    """On a full disk, where closing fails as well, what is left would keep it full."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    monkeypatch.setattr(pq.ParquetWriter, "close", full)
    with (
        pytest.raises(OSError, match="No space"),
        document_tables.document_file(tmp_path / "d.parquet", signed=False) as append,
    ):
        append(**dict.fromkeys(document_tables.COLUMNS) | {"bytes": 1, "content": "x"})
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_documents_come_back_by_number_from_row_groups_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(document_tables, "ROW_GROUP_BYTES", 30)
    (tmp_path / "clean").mkdir()
    texts = [f"text {i} of ten" for i in range(10)]
    for piece, part in (("a", texts[:7]), ("b", texts[7:])):
        with document_tables.document_file(tmp_path / "clean" / f"{piece}.parquet", signed=True) as append:
            for text in part:
                append(**dict.fromkeys(document_tables.COLUMNS) | {"bytes": len(text), "content": text})
    documents = document_tables.Documents(tmp_path, ["a", "b"])
    assert [pq.read_metadata(file).num_row_groups for file in documents.files] == [3, 1]
    assert len(documents) == 10 and list(documents.texts(np.array([0, 2, 6, 7, 9]))) == [
        texts[i] for i in (0, 2, 6, 7, 9)
    ]
    assert [part.tolist() for part in documents.by_piece(np.array([1, 6, 8]))] == [[1, 6], [1]]
    assert documents.column("content").to_pylist() == texts
