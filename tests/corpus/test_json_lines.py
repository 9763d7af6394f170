"""JSON Lines."""

import gzip
import io
import json
import os
import subprocess
import sys

import pytest
from helpers.source_files import lines, of, read, zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources
from babel_jax.corpus.readers import json_lines, places, reader


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
        wanted = of(path)
        pieces = sources.pieces(wanted, "python")
        documents = [document for piece in pieces for document in sources.read(piece, wanted)]
    assert [document.content.decode() for document in documents] == [row for row, _ in rows]
    assert len(pieces) == -(-len(text.encode()) // piece_bytes)
    assert documents == read(wanted)


@pytest.mark.parametrize(
    "line, message",
    [
        (b'{"content": "a"', "is not a row of a table .*write one JSON object a line"),
        (b"[1]", "is not a row of a table .it is a list"),
        (b"[" * 100_000, "is not a row of a table"),
        (b'{"content": ["a"]}', "column 'content' holds list, not text"),
        (b'{"contents": "a"}', "unknown column 'content'; did you mean 'contents'. Name it in the source's columns"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_that_is_not_a_row_is_named(tmp_path, line, message, packed, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_BYTES", 40)
    content = b'{"content": "a"}\n\n' * 9 + line + b'\n{"content": "a"}\n'
    path = tmp_path / ("rows.jsonl.gz" if packed else "rows.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=f"line 19 of .*rows.jsonl.*{message}") as caught:
        read(of(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_text_that_is_not_utf8_is_passed_on(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        b'\xef\xbb\xbf{"content": "bom"}',
        b'{"content": "\xe9"}',
        b'{"content": "\\ud800", "repo": "\\udcff"}',
        b'{"content": "ok"}',
    ]
    path.write_bytes(b"\n".join(rows).replace(b'"}', b'", "repo": ""}'))
    documents = read(of(path, columns={"project": "repo"}))
    assert [document.content for document in documents[::3]] == [b"bom", b"ok"]
    for document in documents[1:3]:
        with pytest.raises(UnicodeDecodeError):
            document.content.decode()
    assert all("".join((document.path, document.project)).encode() for document in documents)


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


LONG = 400 << 20  # bytes; a process that loaded it would need four times what the test allows
LIMITED = """
import resource, sys
from babel_jax.corpus import manifest, sources
wanted = manifest.of_sources({"python": [sys.argv[1]]}, vocab_size=300, max_length=8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
documents = [d for p in sources.pieces(wanted, "python") for d in sources.read(p, wanted)]
print([(d.content, d.size) for d in documents], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.processes
def test_a_line_of_hundreds_of_megabytes_is_not_loaded(tmp_path):
    path = tmp_path / "rows.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"content": "a"}\n')
        file.truncate(LONG)  # sparse: a line of zeros
        file.seek(0, 2)
        file.write(b'\n{"content": "b"}\n')
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    documents, _, more = done.stdout.rpartition(" ")
    assert documents == str([(b"a", 1), (None, LONG - 16), (b"b", 1)])
    assert int(more) < 100_000, f"{more} kB"
