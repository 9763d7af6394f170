"""Documents of tables: JSON Lines, Parquet, saved Hugging Face datasets (Arrow), TFDS directories; a row, a document.

A row of another language is passed over where a column tells. Content that is missing gives a document without one. A
column that is not there or holds no text, and a line that is no JSON, is a `UserError`.
"""

import contextlib
import functools
import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from babel_jax.common.errors import UserError, one_line, quoted, unknown_name
from babel_jax.corpus.archives import LARGEST_RATIO, RATIO_FROM, Bomb, unpacked
from babel_jax.corpus.places import BLOCK, LARGEST_FILE, is_url, opened

JSON_LINES = tuple(kind + packed for kind in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".zst"))
LONGEST_JSON_LINE = 8 * LARGEST_FILE  # a character takes six bytes at most (\u0000), and there are other columns
ROWS_AT_ONCE, BYTES_AT_ONCE = 64, 16_000_000  # of Parquet and TFDS


def _row(source, place, number, content, size, values):
    """The document of a row. `values`: what its other columns hold; `number` names it where none holds a path."""
    project = values.get("project") or ""
    path = (values["path"],) if values.get("path") else (source.relative(place), str(number))
    licences = values.get("licence") or ()
    licences = (licences,) if isinstance(licences, str) else tuple(licence for licence in licences if licence)
    return source.document((project, *path), content, size, licences, project)


def _is_wanted(source, values):
    return "language" not in source.columns or (values["language"] or "").casefold() in source.wanted


def _require_columns(source, place, known):
    for column in source.columns.values():
        if column not in known:
            raise UserError(f"{place}: {unknown_name('column', column, known)} Name it in the source's columns.")


def _wrong_type(place, column, kind):
    return UserError(
        f"the column '{column}' of {place} holds {kind}, not text; name another one in the source's columns."
    )


# JSON Lines


def jsonl_has_rows(source, place: str) -> bool:
    """Whether there is a row at all; the first one is checked."""
    return next(_jsonl_rows(source, place, 0, None), None) is not None


def jsonl_documents(source, place: str, start: int, end: int | None):
    """The documents of the lines that begin in [start, end) of a plain file, or of all (end None).

    A line longer than LONGEST_JSON_LINE is never loaded: it is a document without content, whatever its language.
    """
    for offset, size, values in _jsonl_rows(source, place, start, end):
        if values is None:
            yield _row(source, place, offset, None, size, {})
        elif _is_wanted(source, values):
            # Of a text that has no bytes in UTF-8, those that clean.py will see to be none.
            content = (values["content"] or "").encode("utf-8", "surrogatepass")
            yield _row(source, place, offset, content if values["content"] is not None else None, len(content), values)


def _jsonl_rows(source, place, start, end):
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
    with opened(place) as file:
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
            raise ValueError(str(unknown_name("column", column, table)))
        value = values[role] = table[column]
        texts = value if role == "licence" and isinstance(value, list) else [value]
        if not all(text is None or isinstance(text, str) for text in texts):
            raise ValueError(f"the column '{column}' holds {type(value).__name__}, not text")
    return values


# Parquet


@contextlib.contextmanager
def _parquet(source, place):
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(place)) if is_url(place) else place
        table = stack.enter_context(
            parquet.ParquetFile(file, pre_buffer=False, buffer_size=BLOCK, page_checksum_verification=True)
        )
        _check_types(source, place, table.schema_arrow)
        yield table


def parquet_sizes(source, place: str) -> list[tuple[int, int]]:
    """(number, bytes of content) of the row groups."""
    with _parquet(source, place) as table:
        groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
    for number, group in enumerate(groups):
        column = _content(source, group)
        if column.total_uncompressed_size > max(RATIO_FROM, LARGEST_RATIO * column.total_compressed_size):
            raise Bomb(place, f"row group {number}")
    return [(number, _content(source, group).total_uncompressed_size) for number, group in enumerate(groups)]


def _content(source, group):
    columns = (group.column(number) for number in range(group.num_columns))
    return next(column for column in columns if column.path_in_schema == source.columns["content"])


def parquet_documents(source, place: str, first: int, end: int):
    """The documents of the row groups `first`, …, `end` - 1. In memory are a page, and about BYTES_AT_ONCE."""
    with _parquet(source, place) as table:
        row = sum(table.metadata.row_group(number).num_rows for number in range(first))
        for number in range(first, end):
            group = table.metadata.row_group(number)
            if _has_language(source, table, number):
                fit = BYTES_AT_ONCE * group.num_rows // max(1, _content(source, group).total_uncompressed_size)
                batches = table.iter_batches(
                    max(1, min(ROWS_AT_ONCE, fit)), [number], _columns(source), use_threads=False
                )
                yield from _batches(source, place, row, batches)
            row += group.num_rows


def _has_language(source, table, number):
    """Whether a row group has a row of the language: the contents of another one are not read."""
    if "language" not in source.columns:
        return True
    column = table.read_row_group(number, [source.columns["language"]], use_threads=False).column(0)
    return any((value or "").casefold() in source.wanted for value in column.unique().to_pylist())


def _batches(source, place, row, batches):
    for batch in batches:
        content = batch.column(source.columns["content"]).cast(pa.large_binary())
        content.validate(full=True)
        others = {
            role: batch.column(column).to_pylist() for role, column in source.columns.items() if role != "content"
        }
        for i in range(len(batch)):
            values = {role: column[i] for role, column in others.items()}
            if _is_wanted(source, values):
                buffer = content[i].as_buffer()
                size = buffer.size if buffer is not None else 0
                loaded = buffer.to_pybytes() if buffer is not None and size <= LARGEST_FILE else None
                yield _row(source, place, row + i, loaded, size, values)
        row += len(batch)


def _columns(source):
    return list(dict.fromkeys(source.columns.values()))


def _check_types(source, place, schema):
    _require_columns(source, place, schema.names)
    for role, column in source.columns.items():
        if schema.names.count(column) > 1:
            raise UserError(f"{place} has several columns '{column}'; name another one in the source's columns.")
        kind = schema.field(column).type
        if role == "licence" and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            kind = kind.value_type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        binary = role == "content" and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
        nothing = role != "content" and pa.types.is_null(kind)  # pandas writes it where no row has a value
        if not text and not binary and not nothing:
            raise _wrong_type(place, column, schema.field(column).type)


# Arrow streams: the files of a saved Hugging Face dataset


@contextlib.contextmanager
def _arrow(source, place):
    with opened(place) if is_url(place) else pa.memory_map(place) as file, pa.ipc.open_stream(file) as stream:
        _check_types(source, place, stream.schema)
        yield stream


def check_arrow(source, place: str) -> None:
    """A file that is no Arrow stream or lacks a column is an error."""
    with _arrow(source, place):
        pass


def arrow_documents(source, place: str):
    """The documents of a file, whose batches are mapped into memory; of a file behind a URL, one batch is in memory."""
    with _arrow(source, place) as stream:
        yield from _batches(source, place, 0, (_valid(batch.select(_columns(source))) for batch in stream))


def _valid(batch):
    batch.validate()
    return batch


# TFDS


@functools.cache
def _tfds(place):
    import tensorflow_datasets as tfds  # takes a second, which few sources need

    try:
        return tfds.builder_from_directory(place)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {place} as a TFDS directory ({one_line(error)}); name the folder of a version."
        ) from error


def tfds_splits(source, place: str) -> list[tuple[str, int, int]]:
    """(split, examples, bytes) of all splits."""
    info = _tfds(place).info
    _require_columns(source, place, info.features)
    return [(name, split.num_examples, split.num_bytes) for name, split in info.splits.items()]


def tfds_documents(source, place: str, split: str, first: int, end: int):
    """The documents of the examples `first`, …, `end` - 1 of a split."""
    examples = _tfds(place).as_data_source(split)
    for number in range(first, end):
        example = examples[number]
        others = (item for item in source.columns.items() if item[0] != "content")
        values = {role: _plain(place, column, example[column]) for role, column in others}
        if _is_wanted(source, values):
            content = example[source.columns["content"]]
            if not isinstance(content, bytes):
                raise _wrong_type(place, source.columns["content"], type(content).__name__)
            yield _row(source, place, f"{split}/{number}", content, len(content), values)


def _plain(place, column, value):
    """The text of a feature, or its texts: TFDS gives them as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | np.ndarray):
        return [_plain(place, column, item) for item in value]
    raise _wrong_type(place, column, type(value).__name__)
