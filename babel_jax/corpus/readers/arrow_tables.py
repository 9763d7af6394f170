"""Parquet, cut between row groups, and the Arrow streams of saved Hugging Face datasets, a piece a file."""

import contextlib
import json
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers.places import BLOCK, LARGEST_FILE, exists, is_url, opened, understood
from babel_jax.corpus.readers.reader import Reader, groups, whole
from babel_jax.corpus.readers.table_rows import is_of_language, require_columns, row_document, wrong_type
from babel_jax.corpus.readers.unpacking import LARGEST_RATIO, RATIO_FROM, Bomb

ROWS_AT_ONCE, BYTES_AT_ONCE = 64, 16_000_000  # of Parquet


@contextlib.contextmanager
def _parquet(source, place):
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(opened(place)) if is_url(place) else place
        table = stack.enter_context(
            parquet.ParquetFile(file, pre_buffer=False, buffer_size=BLOCK, page_checksum_verification=True)
        )
        _check_types(source, place, table.schema_arrow)
        yield table


def _cut_parquet(source, place):
    with _parquet(source, place) as table:
        row_groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
    for number, group in enumerate(row_groups):
        column = _content(source, group)
        if column.total_uncompressed_size > max(RATIO_FROM, LARGEST_RATIO * column.total_compressed_size):
            raise Bomb(place, f"row group {number}")
    sizes = ((number, _content(source, group).total_uncompressed_size) for number, group in enumerate(row_groups))
    for numbers in groups(sizes):
        yield "parquet", numbers[0], numbers[-1] + 1


def _content(source, group):
    columns = (group.column(number) for number in range(group.num_columns))
    return next(column for column in columns if column.path_in_schema == source.columns["content"])


def _read_parquet(source, place, first, end):
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
            if is_of_language(source, values):
                buffer = content[i].as_buffer()
                size = buffer.size if buffer is not None else 0
                loaded = buffer.to_pybytes() if buffer is not None and size <= LARGEST_FILE else None
                yield row_document(source, place, row + i, loaded, size, values)
        row += len(batch)


def _columns(source):
    return list(dict.fromkeys(source.columns.values()))


def _check_types(source, place, schema):
    require_columns(source, place, schema.names)
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
            raise wrong_type(place, column, schema.field(column).type)


@contextlib.contextmanager
def _arrow(source, place):
    with opened(place) if is_url(place) else pa.memory_map(place) as file, pa.ipc.open_stream(file) as stream:
        _check_types(source, place, stream.schema)
        yield stream


def _check_arrow(source, place):
    with _arrow(source, place):
        pass


def _read_arrow(source, place):
    """The documents of a file, whose batches are mapped into memory; of a file behind a URL, one batch is in memory."""
    with _arrow(source, place) as stream:
        yield from _batches(source, place, 0, (_valid(batch.select(_columns(source))) for batch in stream))


def _valid(batch):
    batch.validate()
    return batch


def _is_saved(folder):
    return exists(f"{folder}/dataset_dict.json") or _has_state(folder) and exists(f"{folder}/dataset_info.json")


def _has_state(folder):
    return exists(f"{folder}/state.json")


def _saved_files(folder):
    """The files of a dataset, or of several splits, that Hugging Face's `save_to_disk` left in a folder."""
    if exists(f"{folder}/dataset_dict.json"):
        splits = _names(f"{folder}/dataset_dict.json", lambda about: about["splits"])
        return [file for split in splits for file in _files_of_split(f"{folder}/{split}")]
    return _files_of_split(folder)


def _files_of_split(folder):
    if not _has_state(folder):
        raise UserError(f"{folder} holds no dataset that `save_to_disk` saved; name the folder that has state.json.")
    names = _names(f"{folder}/state.json", lambda about: [file["filename"] for file in about["_data_files"]])
    return [f"{folder}/{name}" for name in names]


def _names(place, of):
    """The names that `of` finds in a JSON file, without the folders before them."""
    with understood(place), opened(place) as file:
        try:
            return [Path(name).name for name in of(json.loads(file.read(BLOCK)))]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OSError(f"not the JSON that `save_to_disk` writes: {error!r}") from error


PARQUET = Reader("parquet", "parquet", (".parquet",), _cut_parquet, _read_parquet)
ARROW = Reader("arrow", "huggingface", (".arrow",), whole("arrow", _check_arrow), _read_arrow, _is_saved, _saved_files)
