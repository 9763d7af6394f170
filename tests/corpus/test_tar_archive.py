"""Tar archives, also malicious ones."""

import gzip
import io
import tarfile

import pytest
from helpers.source_files import noise, of, read, tar

from babel_jax.common.errors import UserError


def special(name, kind):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


def test_unsafe_entries_of_tar_are_counted_and_not_read(tmp_path):
    bad = [("../up.py", b"1"), ("/abs.py", b"1"), ("a/../../up.py", b"1"), ("C:\\x.py", b"1"), ("..\\x.py", b"1")]
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    links = [special(f"link{i}.py", kind) for i, kind in enumerate(kinds)]
    documents = read(of(tar(tmp_path / "code.tar", [*bad, *links, ("ok.py", b"ok")])))
    assert [(document.content, document.size) for document in documents] == [(None, -1)] * 9 + [(b"ok", 2)]


def test_a_tar_header_whose_numbers_are_not_numbers(tmp_path):
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
