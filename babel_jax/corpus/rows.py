"""Token rows: documents -> ids -> rows of a fixed length, a TFDS dataset of ArrayRecord files, a config a language."""

import contextlib
import dataclasses
import functools
import io
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.errors import UserError

ROWS_PER_SHARD = 1 << 14  # what is in memory while a shard is written
DATASET = "token_rows"


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
        """Writes a document; returns its ids."""
        ids = self.tokenizer.encode(text)
        np.append(ids, self.tokenizer.document_end).astype(self.dtype).tofile(self._file)
        self.tokens += len(ids) + 1
        return ids

    def close(self) -> None:
        self._file.close()

    def rows(self, length: int) -> int:
        """The number of full rows of `length` tokens; the rest of the last one is left out."""
        return self.tokens // length

    def read(self, first: int, count: int, length: int) -> np.ndarray:
        """Rows first, …, first + count - 1 as [count, length]."""
        item = self.dtype.itemsize
        flat = np.fromfile(self.path, self.dtype, count * length, offset=first * length * item)
        return flat.reshape(-1, length)


@dataclasses.dataclass(eq=False)
class RowsConfig(tfds.core.BuilderConfig):
    """One language's rows: split name -> file of its tokens."""

    splits: dict[str, TokenFile] = dataclasses.field(default_factory=dict)
    row_length: int = 0
    progress: Callable[[int], None] = lambda rows: None


class _LocalInfo(tfds.core.DatasetInfo):
    def initialize_from_bucket(self):
        """Does nothing: the dataset is ours, and TFDS would leave an empty temporary folder behind for asking."""


class TokenRows(tfds.core.ShardBasedBuilder):
    """Rows of T + 1 tokens in the order of the documents.

    Written shard by shard: `GeneratorBasedBuilder` would keep up to 1 GB of rows in memory to shuffle them, and needs
    TensorFlow beyond that. The order of the rows in a run is the business of `mixture.py`.
    """

    VERSION = tfds.core.Version("1.0.0")
    name = DATASET
    pkg_dir_path = Path(__file__).parent
    code_path = None  # where checksums of downloads would lie; finding it needs a package that TFDS does not declare

    def _info(self):
        config = self.builder_config
        dtype = next(iter(config.splits.values())).dtype
        tokens = tfds.features.Tensor(shape=(config.row_length,), dtype=dtype.type)
        return _LocalInfo(
            builder=self,
            description="Source code as rows of token ids; documents one after another, each ended by its mark.",
            features=tfds.features.FeaturesDict({"tokens": tokens}),
        )

    def _shard_iterators_per_split(self, dl_manager):
        config = self.builder_config
        return {
            split: [
                functools.partial(self._shard, file, first)
                for first in range(0, file.rows(config.row_length), ROWS_PER_SHARD)
            ]
            for split, file in config.splits.items()
        }

    def _shard(self, file, first):
        length = self.builder_config.row_length
        count = min(ROWS_PER_SHARD, file.rows(length) - first)
        for i, row_L in enumerate(file.read(first, count, length)):
            yield first + i, {"tokens": row_L}
        self.builder_config.progress(count)


def write(
    directory: Path,
    language: str,
    splits: dict[str, TokenFile],
    row_length: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> dict:
    """Writes one language's token files as the dataset `directory`/token_rows/`language`.

    Returns:
      {split: number of rows}.

    Raises:
      UserError: a split has not even one row.
      OSError: the disk is full.
    """
    for split, file in splits.items():
        if not file.rows(row_length):
            raise UserError(
                f"the {split} split of {language} has {file.tokens} tokens, less than one row of {row_length}; "
                "give more files, or a smaller --max_length."
            )
    config = RowsConfig(name=language, splits=splits, row_length=row_length, progress=progress)
    with _quiet_tfds():
        builder = TokenRows(config=config, data_dir=str(directory), file_format="array_record")
        try:
            builder.download_and_prepare()
        except RuntimeError as error:  # how the ArrayRecord writer reports what the system refused it
            if "write() failed" not in str(error):
                raise
            raise OSError(str(error).partition(";")[0]) from error
    return {split: file.rows(row_length) for split, file in splits.items()}


@contextlib.contextmanager
def _quiet_tfds():
    """TFDS announces a download that does not take place, and warns of every config that is made in code."""
    logger = logging.getLogger("absl")
    level = logger.level
    tfds.disable_progress_bar()
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


class RowSource:
    """Random access to the rows of one split: `len()` and `.rows(indices)`."""

    def __init__(self, source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def rows(self, indices: Iterable[int]) -> np.ndarray:
        """The rows at `indices`, int32 [n, T+1]; an index out of range is a ValueError."""
        indices = [int(i) for i in indices]
        if not indices:
            return np.zeros((0, self._source.dataset_info.features["tokens"].shape[0]), np.int32)
        return np.stack([row["tokens"] for row in self._source.__getitems__(indices)]).astype(np.int32)


def read(directory: Path, language: str) -> dict[str, RowSource]:
    """The splits of one language that `write` left under `directory`: {"train": RowSource, "validation": …}."""
    place = Path(directory, DATASET, language, str(TokenRows.VERSION))
    try:
        builder = tfds.builder_from_directory(str(place))
        return {split: RowSource(builder.as_data_source(split)) for split in builder.info.splits}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read token rows from {place} ({error}); build the corpus again.") from error
