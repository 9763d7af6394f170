"""The directory of a prepared TFDS dataset, cut between examples."""

import functools

import numpy as np

from babel_jax.common.errors import UserError, one_line
from babel_jax.corpus.readers import reader
from babel_jax.corpus.readers.places import exists
from babel_jax.corpus.readers.reader import Reader
from babel_jax.corpus.readers.table_rows import is_of_language, require_columns, row_document, wrong_type


@functools.cache
def _tfds(place):
    import tensorflow_datasets as tfds  # takes a second, which few sources need

    try:
        return tfds.builder_from_directory(place)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {place} as a TFDS directory ({one_line(error)}); name the folder of a version."
        ) from error


def _cut(source, place):
    info = _tfds(place).info
    require_columns(source, place, info.features)
    for name, split in info.splits.items():
        examples, step = split.num_examples, max(1, reader.PIECE_BYTES * split.num_examples // max(1, split.num_bytes))
        yield from (("tfds", name, first, min(first + step, examples)) for first in range(0, examples, step))


def _read(source, place, split, first, end):
    """The documents of the examples `first`, …, `end` - 1 of a split."""
    examples = _tfds(place).as_data_source(split)
    for number in range(first, end):
        example = examples[number]
        others = (item for item in source.columns.items() if item[0] != "content")
        values = {role: _plain(place, column, example[column]) for role, column in others}
        if is_of_language(source, values):
            content = example[source.columns["content"]]
            if not isinstance(content, bytes):
                raise wrong_type(place, source.columns["content"], type(content).__name__)
            yield row_document(source, place, f"{split}/{number}", content, len(content), values)


def _plain(place, column, value):
    """The text of a feature, or its texts: TFDS gives them as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | np.ndarray):
        return [_plain(place, column, item) for item in value]
    raise wrong_type(place, column, type(value).__name__)


def _is_one(folder):
    return all(exists(f"{folder}/{name}") for name in ("features.json", "dataset_info.json"))


READER = Reader("tfds", "tfds", (), _cut, _read, _is_one, lambda folder: [folder])
