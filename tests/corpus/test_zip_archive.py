"""Zip archives, also malicious ones."""

import stat
import struct
import zipfile

import pytest
from helpers.source_files import in_zip, of, read

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources


def test_unsafe_entries_of_zip_are_counted_and_not_read(tmp_path):
    link = zipfile.ZipInfo("link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad = [("../up.py", b"1"), ("/abs.py", b"1"), ("..\\x.py", b"1"), (link, b"/etc/passwd")]
    documents = read(of(in_zip(tmp_path / "code.zip", [*bad, ("ok.py", b"ok")])))
    assert [(document.content, document.size) for document in documents] == [(None, -1)] * 4 + [(b"ok", 2)]


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
