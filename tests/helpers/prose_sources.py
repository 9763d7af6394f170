"""Made files of running text: catalogues, Bible modules, and the documents that a source of them gives."""

import struct
import zlib

from helpers.source_files import of, read


def paragraphs(path, format, language="en", **source):
    """Project -> {key: paragraph} of all documents of a source."""
    found = {}
    for document in read(of(path, language, format=format, **source)):
        assert len(document.keys) == len(document.paragraphs) == len(set(document.keys)) and document.size == len(
            document.content
        )
        found[document.project] = dict(zip(document.keys, document.paragraphs, strict=True))
    return found


def catalogue(messages, order="<", charset="UTF-8"):
    """A .mo file of these (English, translation)."""
    texts = [("", f"Content-Type: text/plain; charset={charset}\n"), *messages]
    both = [
        [text.encode(charset if side else "utf-8") for text in column]
        for side, column in enumerate(zip(*texts, strict=True))
    ]
    tables, body, at = [b"", b""], b"", 28 + 16 * len(texts)
    for side, column in enumerate(both):
        for text in column:
            tables[side] += struct.pack(f"{order}2I", len(text), at + len(body))
            body += text + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, 0)
    return head + tables[0] + tables[1] + body


def bible(folder, books, testament="ot"):
    """A zText module: `books` are lists of what stands at each place of .bzv, as it is marked up."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks, places, packed = b"", struct.pack("<2IH", 0, 0, 0), b""
    for number, entries in enumerate(books):
        texts = [text.encode() for text in entries]
        content = zlib.compress(b"".join(texts))
        blocks += struct.pack("<3I", len(packed), len(content), sum(map(len, texts)))
        packed += content
        start = 0
        for text in texts:
            places += struct.pack("<2IH", number, start, len(text))
            start += len(text)
    for ending, content in ((".bzs", blocks), (".bzv", places), (".bzz", packed)):
        (folder / f"{testament}{ending}").write_bytes(content)
    return folder
