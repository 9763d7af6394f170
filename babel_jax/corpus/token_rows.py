"""Token rows: ids of documents end to end, cut into rows of a fixed length, a TFDS dataset of ArrayRecord files a language.

A file is written by whoever comes to it: its bytes depend on its tokens alone.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from babel_jax.common.errors import UserError, one_line
from babel_jax.common.files import whole
from babel_jax.corpus.records import REBUILD
from babel_jax.corpus.tokenizer import Tokenizer

ROWS_PER_SHARD = 1 << 14
ROWS_AT_ONCE = 1 << 10  # what is in memory while a shard is written
DATASET, VERSION = "token_rows", "1.0.0"


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds every id: two bytes a token up to a vocabulary of 65,536."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


class TokenFile:
    """Ids of documents one after another in a plain file, each document followed by the id that ends it."""

    def __init__(self, path: Path, tokenizer: Tokenizer):
        self.path, self.tokenizer = path, tokenizer
        self.dtype = token_dtype(tokenizer.vocab_size)
        self.tokens = 0
        self._file = path.open("wb")

    def append(self, text: str) -> np.ndarray:
        """Writes a document; returns its ids.

        Raises:
          UserError: the tokenizer spells another number of bytes than the text has, or writes the mark that ends documents.
        """
        ids = self.tokenizer.encode(text)
        if (ids == self.tokenizer.document_end).any() or self.tokenizer.token_bytes_V[ids].sum() != len(text.encode()):
            raise UserError(
                f"the tokenizer does not give back the text {text[:60]!r}…; take another tokenizer, or leave this document out."
            )
        # Not by `tofile`, which says nothing where the disk is full.
        self._file.write(np.append(ids, self.tokenizer.document_end).astype(self.dtype).tobytes())
        self.tokens += len(ids) + 1
        return ids

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def count(tokens: int, length: int) -> tuple[int, int]:
    """(full rows of `length` tokens, shards that hold them); the rest of the last row is left out."""
    rows = tokens // length
    return rows, -(-rows // ROWS_PER_SHARD)


def _folder(directory, language):
    return Path(directory, DATASET, language, VERSION)


def shard_path(directory: Path, language: str, split: str, shard: int, shards: int) -> Path:
    """The file of one shard, named as TFDS looks for it."""
    return _folder(directory, language) / f"{DATASET}-{split}.array_record-{shard:05}-of-{shards:05}"


def _features(length, dtype):
    # As raw bytes: a list of numbers takes seven times as long to write.
    tokens = tfds.features.Tensor(shape=(length,), dtype=dtype.type, encoding="bytes")
    return tfds.features.FeaturesDict({"tokens": tokens})


def _tokens(files, dtype, first, number) -> np.ndarray:
    """Tokens first, …, first + number - 1 of token files put end to end."""
    parts = []
    for path, tokens in files:
        here = min(tokens - first, number)
        if here > 0:
            parts.append(np.fromfile(path, dtype, here, offset=first * dtype.itemsize))
            number -= len(parts[-1])
        first = max(0, first - tokens)
    if number:
        raise UserError(f"{number} tokens are missing in the files of {files[0][0].parent}; build the corpus again.")
    return np.concatenate(parts)


def write_shard(
    target: Path, files: list[tuple[Path, int]], dtype: np.dtype, first_row: int, rows: int, length: int
) -> None:
    """Writes rows first_row, …, first_row + rows - 1 of token files put end to end as one ArrayRecord file.

    Args:
      target: see `shard_path`; it appears whole or not at all.
      files: (file of ids of type `dtype`, how many it has), in their order.
      length: tokens of a row, T + 1.

    Raises:
      UserError: a file has fewer tokens than stated.
      OSError: the disk is full.
    """
    features = _features(length, dtype)
    try:
        with whole(target) as partial:
            writer = ArrayRecordWriter(str(partial), "group_size:1")  # a row can be read without its neighbours
            for first in range(first_row, first_row + rows, ROWS_AT_ONCE):
                number = min(ROWS_AT_ONCE, first_row + rows - first)
                for row_L in _tokens(files, dtype, first * length, number * length).reshape(number, length):
                    writer.write(features.serialize_example({"tokens": row_L}))
            writer.close()
    except RuntimeError as error:  # how the ArrayRecord writer reports what the system refused it
        if "() failed" not in str(error):
            raise
        raise OSError(str(error).partition(";")[0]) from error


def write_info(directory: Path, language: str, rows_by_split: dict[str, int], length: int, dtype: np.dtype) -> None:
    """Writes what TFDS needs to open the shards of one language, all of which are there by now; no split is empty."""
    infos = []
    for split, rows in rows_by_split.items():
        shards = -(-rows // ROWS_PER_SHARD)
        lengths = [min(ROWS_PER_SHARD, rows - first) for first in range(0, rows, ROWS_PER_SHARD)]
        size = sum(shard_path(directory, language, split, shard, shards).stat().st_size for shard in range(shards))
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=size))
    tfds.folder_dataset.write_metadata(
        data_dir=_folder(directory, language),
        features=_features(length, dtype),
        split_infos=infos,
        description="Source code as rows of token ids; documents one after another, each ended by its mark.",
        check_data=False,  # would need TensorFlow
    )


class RowSource:
    """Random access to the rows of one split: `len()` and `.rows(indices)`."""

    def __init__(self, source, place):
        self._source, self._place = source, place

    def __len__(self) -> int:
        return len(self._source)

    def rows(self, indices: Iterable[int]) -> np.ndarray:
        """The rows at `indices`, int32 [n, T+1]; an index out of range is a ValueError.

        Raises:
          UserError: a shard is gone or damaged.
        """
        indices = [int(i) for i in indices]
        if not indices:
            return np.zeros((0, self._source.dataset_info.features["tokens"].shape[0]), np.int32)
        if wrong := [i for i in indices if not 0 <= i < len(self)]:
            raise ValueError(f"row {wrong[0]} is not below num_records, {len(self)}")
        try:
            return np.stack([row["tokens"] for row in self._source.__getitems__(indices)]).astype(np.int32)
        except Exception as error:  # whatever ArrayRecord and TFDS raise on damaged files
            raise UserError(f"cannot read token rows from {self._place} ({one_line(error)}); {REBUILD}.") from error


def read(directory: Path, language: str) -> dict[str, RowSource]:
    """The splits of one language under `directory`: {"train": RowSource, "validation": RowSource}.

    Raises:
      UserError: a file is missing, or has another size than it was written with.
    """
    place = _folder(directory, language)
    try:
        builder = tfds.builder_from_directory(str(place))
        for split in builder.info.splits.values():
            shards = [Path(name) for name in split.filepaths]
            if gone := [shard.name for shard in shards if not shard.is_file()]:
                raise UserError(f"there is no {place / gone[0]}; {REBUILD}.")
            if (size := sum(shard.stat().st_size for shard in shards)) != split.num_bytes:
                raise UserError(
                    f"the {split.name} shards in {place} have {size} bytes and were written with {split.num_bytes}; {REBUILD}."
                )
        return {split: RowSource(builder.as_data_source(split), place) for split in builder.info.splits}
    except UserError:
        raise
    except Exception as error:  # whatever TFDS raises on damaged files
        raise UserError(f"cannot read token rows from {place} ({one_line(error)}); {REBUILD}.") from error
