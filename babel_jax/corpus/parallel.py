"""Texts that say the same in two languages: paragraphs of one key in documents of one project, and sentences of such paragraphs.

What a key promises is checked, since pages get out of step: the lengths must be alike and the numbers the same. A paragraph is
cut into sentences only where both have as many; a list, which is one item a line, never is.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from babel_jax.languages.language import Language

# Letters of a Latin text that a character stands for, about: by samples of manuals, games and Bibles.
DENSITY = {"latin": 1.0, "cyrillic": 1.0, "chinese": 3.0, "japanese": 2.0}
LENGTH_RATIO = 2.0  # of the longer to the shorter text, both as if in Latin letters
FEWEST_LETTERS = 20  # of a text, as if in Latin letters; shorter ones are headings and answers that say too little
_ENDS = re.compile(r"""(?<!\b\w)[.!?…]["'»”“’)]*\s+(?=["'«„“‘¿¡(]*(\w))|[。！？][」』”）]*(?=(.))""")
_NUMBER = re.compile(r"\d+")


class Translation(NamedTuple):
    """A paragraph or sentence in two languages.

    project: SOURCE/DOCUMENT. key: the paragraph's. number: of the sentence in it, from 0. texts: in the languages' order.
    """

    project: str
    key: str
    number: int
    texts: tuple[str, str]


def schema(first: str, second: str) -> pa.Schema:
    """The columns of a table of translations between two languages."""
    fields = {"project": pa.string(), "key": pa.string(), "number": pa.int32(), first: pa.string(), second: pa.string()}
    return pa.schema(list(fields.items()))


def table(translations: list[Translation], first: str, second: str) -> pa.Table:
    columns = schema(first, second)
    rows = [(*one[:3], *one.texts) for one in translations]
    return pa.table(
        dict(zip(columns.names, zip(*rows, strict=True), strict=True)) if rows else columns.empty_table(), columns
    )


def read(file: Path, first: str, second: str) -> Iterator[Translation]:
    """The translations in a table, a row group in memory, with their texts in this order of the languages."""
    with pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            for row in parquet.read_row_group(group).to_pylist():
                yield Translation(row["project"], row["key"], row["number"], (row[first], row[second]))


def sentences(paragraph: str) -> list[str]:
    """A paragraph's sentences; the paragraph itself where it is a list of a line an item."""
    if "\n" in paragraph.strip():
        return [paragraph]
    found, begins = [], 0
    for mark in _ENDS.finditer(paragraph):
        if mark[2] or mark[1].isupper():  # no sentence begins behind "z. B." and none in lower case
            found.append(paragraph[begins : mark.end()].strip())
            begins = mark.end()
    return [*found, paragraph[begins:].strip()]


def translations(
    project: str, first: dict[str, str], second: dict[str, str], languages: tuple[Language, Language]
) -> Iterator[Translation]:
    """What a document says in both languages, in the order of the first. `first`, `second`: key -> paragraph."""
    for key in first:
        if key not in second:
            continue
        both = (first[key], second[key])
        if not _agree(*both, *languages):
            continue
        parts = [sentences(text) for text in both]
        pairs = list(zip(*parts, strict=True)) if len(parts[0]) == len(parts[1]) else []
        if not all(_agree(*pair, *languages) for pair in pairs):
            pairs = []
        for number, pair in enumerate(pairs or [both]):
            if min(map(_letters, pair, languages)) >= FEWEST_LETTERS and pair[0].casefold() != pair[1].casefold():
                yield Translation(project, key, number, pair)


def _letters(text: str, language: Language) -> float:
    return len(text) * DENSITY.get(language.script, 1.0)


def _agree(first: str, second: str, one: Language, other: Language) -> bool:
    """Whether two texts may say the same."""
    lengths = sorted((_letters(first, one), _letters(second, other)))
    return lengths[1] <= LENGTH_RATIO * lengths[0] and sorted(_NUMBER.findall(first)) == sorted(_NUMBER.findall(second))
