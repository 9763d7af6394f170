"""JSON Lines, plain or packed, cut between lines. A line that does not hold a JSON object is a `UserError` that names it."""

import json

from babel_jax.common.errors import UserError, one_line, quoted, unknown_name
from babel_jax.corpus.readers import places, reader
from babel_jax.corpus.readers.places import BLOCK, LARGEST_FILE
from babel_jax.corpus.readers.reader import Reader
from babel_jax.corpus.readers.table_rows import is_of_language, row_document
from babel_jax.corpus.readers.unpacking import is_packed, unpacked

ENDINGS = tuple(kind + packed for kind in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".zst"))
LONGEST_JSON_LINE = 8 * LARGEST_FILE  # a character takes six bytes at most (\u0000), and there are other columns


def _cut(source, place):
    if next(_rows(source, place, 0, None), None) is None:  # the first row is checked
        return
    if is_packed(place):
        yield "jsonl", 0, None
    else:
        size, step = places.size(place), reader.PIECE_BYTES
        yield from (("jsonl", start, min(start + step, size)) for start in range(0, size, step))


def _read(source, place, start, end):
    """The documents of the lines that begin in [start, end) of a plain file, or of all (end None).

    A line longer than LONGEST_JSON_LINE is never loaded: it is a document without content, whatever its language.
    """
    for offset, size, values in _rows(source, place, start, end):
        if values is None:
            yield row_document(source, place, offset, None, size, {})
        elif is_of_language(source, values):
            # Of a text that has no bytes in UTF-8, those that clean.py will see to be none.
            content = (values["content"] or "").encode("utf-8", "surrogatepass")
            yield row_document(
                source, place, offset, content if values["content"] is not None else None, len(content), values
            )


def _rows(source, place, start, end):
    """(offset, size, what the columns hold: None for a line that is too long)."""
    number = 0
    with unpacked(place) as file:
        for offset, line, size in _lines(file, start, end):
            number += 1
            if line is None:
                yield offset, size, None
            elif line.strip():
                try:
                    values = _values(source, line.removeprefix(b"\xef\xbb\xbf"))
                except (ValueError, RecursionError) as error:
                    number = _newlines(place, offset) + 1 if start else number
                    raise UserError(
                        f"line {number} of {place} is not a row of a table ({one_line(error)}); write one JSON object a line."
                    ) from error
                yield offset, size, values


def _lines(file, start, end):
    """(offset, line or None if it is too long, its size) of the lines that begin in [start, end).

    By blocks: `readline` takes ten times as long over a line that is skipped.
    """
    skips = start > 0  # up to the first beginning of a line: one byte earlier, `start` may be one
    offset = file.seek(start - 1) if skips else 0
    parts, size = [], 0  # of the line at `offset`, so far
    while block := file.read(BLOCK):
        at = 0
        while (newline := block.find(b"\n", at)) >= 0:
            parts.append(block[at : newline + 1])
            size, at = size + len(parts[-1]), newline + 1
            if not skips:
                yield offset, b"".join(parts) if size <= LONGEST_JSON_LINE else None, size
            offset += size
            skips, parts, size = False, [], 0
            if end is not None and offset >= end:
                return
        parts.append(block[at:])
        size += len(parts[-1])
        if size > LONGEST_JSON_LINE or skips:
            parts = []
        if skips and offset + size >= end:
            return
    if size and not skips:
        yield offset, b"".join(parts) if size <= LONGEST_JSON_LINE else None, size


def _newlines(place, end):
    """How many lines end in the first bytes of a plain file."""
    count = 0
    with places.opened(place) as file:
        while end > 0 and (block := file.read(min(BLOCK, end))):
            count += block.count(b"\n")
            end -= len(block)
    return count


def _values(source, line) -> dict:
    """What the columns of a line hold. Bytes that are not UTF-8 are kept, for clean.py to see."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16; save it as UTF-8")
    table = json.loads(line.decode("utf-8", "surrogateescape"))
    if not isinstance(table, dict):
        raise ValueError(f"it is {quoted(table)}")
    values = {}
    for role, column in source.columns.items():
        if column not in table:
            raise ValueError(f"{unknown_name('column', column, table)} Name it in the source's columns")
        value = values[role] = table[column]
        texts = value if role == "licence" and isinstance(value, list) else [value]
        if not all(text is None or isinstance(text, str) for text in texts):
            raise ValueError(f"the column '{column}' holds {type(value).__name__}, not text")
    return values


READER = Reader("jsonl", "jsonl", ENDINGS, _cut, _read)
