"""Documents between the phases: Parquet files, written a row group at a time and read a column or a row group at a time."""

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from babel_jax.common.files import whole
from babel_jax.corpus import duplicates
from babel_jax.corpus.records import SPLITS

ROW_GROUP_BYTES = 1_000_000  # of documents held at a time, and read again to look at one of them
COLUMNS = {  # of a document that `clean` keeps
    "path": pa.string(),
    "project": pa.string(),
    "licences": pa.list_(pa.string()),
    "size": pa.int64(),  # as its source has it; `bytes` is what redaction left
    "bytes": pa.int64(),
    "digest": pa.binary(32),
    "contaminated": pa.string(),
    "poor": pa.string(),
    "redacted": pa.string(),
    "keys": pa.list_(pa.string()),  # of its paragraphs, in a natural language
    "content": pa.string(),
}


@contextlib.contextmanager
def row_groups(target, schema, table_of=pa.concat_tables):
    """A function that appends (item, its bytes) to a Parquet file: `table_of` makes of a list of items each row group, of about
    ROW_GROUP_BYTES."""
    held, size = [], 0
    with whole(target) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def append(item, item_bytes):
            nonlocal size
            held.append(item)
            size += item_bytes
            if size >= ROW_GROUP_BYTES:
                flush()

        def flush():
            nonlocal size
            if held:
                writer.write_table(table_of(held))
                held.clear()
                size = 0

        yield append
        flush()


def rows_of(file):
    """The documents of a file that `document_file` wrote, in order; a row group is in memory."""
    with pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            yield from parquet.read_row_group(group).to_pylist()


@contextlib.contextmanager
def document_file(path, signed):
    """A function that appends a document, given by its COLUMNS; `signed`: with its MinHash signature."""
    fields = COLUMNS | ({"signature": pa.binary(4 * duplicates.PERMUTATIONS)} if signed else {})
    schema = pa.schema(list(fields.items()))

    def table_of(rows):
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        if signed:
            columns["signature"] = [row.tobytes() for row in duplicates.signatures(columns["content"])]
        return pa.table(columns, schema)

    with row_groups(path, schema, table_of) as append:
        yield lambda **row: append(row, row["bytes"])


def _file(work, piece):
    """Running text lies where the phase `paragraphs` has put it, code where `clean` did."""
    unique = work / "paragraphs" / f"{piece}.parquet"
    return unique if unique.exists() else work / "clean" / f"{piece}.parquet"


class Documents:
    """The documents of pieces that `clean` left, and of running text `paragraphs`: columns at once, texts on request.

    files: the Parquet files, one a piece. first: the number of each one's first document, and at last their number.
    """

    def __init__(self, work, pieces):
        self.files = [_file(work, piece) for piece in pieces]
        # (file, number) of every row group; documents of each, and of each file
        self._groups, rows, pieces = [], [], []
        for file in self.files:
            metadata = pq.read_metadata(file)
            self._groups += [(file, group) for group in range(metadata.num_row_groups)]
            rows += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            pieces.append(metadata.num_rows)
        self._group_first, self.first = (np.cumsum([0, *counts], dtype=np.int64) for counts in (rows, pieces))

    def __len__(self):
        return int(self.first[-1])

    def column(self, name):
        """One column of all documents."""
        return pa.concat_tables([pq.read_table(file, columns=[name]) for file in self.files])[0]

    def bytes_column(self, name, width):
        """A column of so many bytes a document, uint8 [D, width]."""
        array = np.empty((len(self), width), np.uint8)
        for file, first in zip(self.files, self.first, strict=False):
            values = pq.read_table(file, columns=[name])[0].to_pylist()
            array[first : first + len(values)] = np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)
        return array

    def rows(self, indices, columns):
        """Dicts of the columns of the documents at `indices`, which are sorted; one row group at a time is in memory."""
        groups = np.searchsorted(self._group_first, indices, side="right") - 1
        for group in np.unique(groups):
            file, number = self._groups[group]
            with pq.ParquetFile(file) as parquet:
                table = parquet.read_row_group(number, columns=columns)
            yield from table.take(indices[groups == group] - self._group_first[group]).to_pylist()

    def texts(self, indices):
        return (row["content"] for row in self.rows(indices, ["content"]))

    def by_piece(self, indices):
        """Of sorted indices those into each piece, counted from its first document."""
        bounds = np.searchsorted(indices, self.first)
        return [indices[begin:end] - first for begin, end, first in zip(bounds, bounds[1:], self.first, strict=False)]


def selected(work, pieces, documents: Documents):
    """(numbers [N], projects [N]) of the documents that the phase `select` keeps, numbered as `documents` of these pieces."""
    numbers, projects = [np.zeros(0, np.int64)], []
    for piece, first in zip(pieces, documents.first, strict=False):
        table = pq.read_table(work / "select" / f"{piece}.parquet", columns=["row", "project"])
        numbers.append(first + table["row"].to_numpy())
        projects += table["project"].to_pylist()
    return np.concatenate(numbers), np.array(projects, object)


def split_file(work, piece):
    """The documents of a piece that the corpus holds, with their projects and splits."""
    joint = work / "hold_out" / f"{piece}.parquet"  # of a natural language
    return joint if joint.exists() else work / "select" / f"{piece}.parquet"


def rows_by_split(work, piece):
    """split -> the rows of a piece's documents in it."""
    table = pq.read_table(split_file(work, piece), columns=["row", "split"])
    split = np.array(table["split"].to_pylist())
    return {each: table["row"].to_numpy()[split == each] for each in SPLITS}
