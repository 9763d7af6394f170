"""Documents between the phases."""

import errno

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
        document_tables.document_file(tmp_path / "d.parquet", signed=False) as file,
    ):
        file.add(**dict.fromkeys(document_tables.DocumentFile.SCHEMA) | {"bytes": 1, "content": "x"})
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
