"""Packed files, read as if they were plain."""

import gzip
import lzma

import pytest
from helpers.source_files import zstd

from babel_jax.corpus.readers.unpacking import Bomb, is_packed, unpacked


@pytest.mark.parametrize(
    ("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".XZ", lzma.compress), (".zst", zstd)]
)
def test_a_packed_file_reads_as_the_plain_one(tmp_path, ending, pack):
    path = tmp_path / f"rows.jsonl{ending}"
    path.write_bytes(pack(b"a\nb\n" * 1000))
    assert is_packed(str(path)) == bool(ending)
    with unpacked(str(path)) as file:
        assert file.read(4) == b"a\nb\n" and len(file.read()) == 3996


def test_a_file_that_grows_without_end_is_refused_while_it_is_read(tmp_path):
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000)))
    with pytest.raises(Bomb, match="unpacks to more than 100 times its size"), unpacked(str(path)) as file:
        while file.read(1 << 20):
            pass
