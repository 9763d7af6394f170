"""A corpus on disk, as `build` leaves it: opened, and refused where its files are not those that were built."""

import dataclasses
import functools
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from babel_jax.common.errors import UserError
from babel_jax.common.files import read_json, read_record, typed
from babel_jax.common.material import RowSource
from babel_jax.corpus import fact_rows, parallel, stated_facts, tokenizer
from babel_jax.corpus.document import Document
from babel_jax.corpus.manifest import language_of
from babel_jax.corpus.parallel import Translation
from babel_jax.corpus.records import REBUILD, SPLITS, Contents, Statistics
from babel_jax.corpus.stated_facts import Stated
from babel_jax.corpus.word_pairs import with_words
from babel_jax.languages import registry
from babel_jax.languages.language import Language

FORMAT = 2  # of the directory; a corpus of another one is built again
FEWEST_PAIRS = 2  # with prompts, of two languages: intervals are drawn over pairs
# Files that are compared at each opening.
SMALL = ("tokenizer.model", "tokenizer.json", "dataset_info.json", "features.json", "facts.json")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus on disk.

    Attributes:
      train, validation: language -> its rows, in the order of the manifest; with facts, those of training state them, too.
      control: new language -> the rows of its training text with all facts stated; {} without facts.
    """

    directory: Path
    manifest: Contents
    tokenizer: tokenizer.Tokenizer
    train: dict[str, RowSource]
    validation: dict[str, RowSource]
    control: dict[str, RowSource] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def facts(self) -> Stated | None:
        """What was written into the training text to be asked; None: nothing."""
        return fact_rows.read(self.directory) if stated_facts.FILE in self.manifest.files else None

    @functools.cached_property
    def stats(self) -> Statistics:
        return typed(Statistics, json.loads(_as_built(self.directory, self.manifest, "stats.json")))

    def language(self, name: str) -> Language:
        """What is known of one of its languages: as it was built with, where it is not one of the package.

        A natural language has, besides its own, the pairs of words that the corpus has confirmed.

        Raises:
          UserError: it is one of another version of the package.
        """
        if name not in registry.LANGUAGES and not self.manifest.definition(name):
            raise UserError(
                f"{self.directory} was built with the language '{name}', which this version of the package does not have; "
                "take the version that built it, or build it again with a `definition` of the language."
            )
        language = language_of(name, self.manifest.definition(name), str(self.directory))
        pairs = dict(language.pairs)
        for file in self.manifest.files:
            if match := re.fullmatch(rf"word_pairs/(\w+)-{name}\.json", file):
                words = json.loads(_as_built(self.directory, self.manifest, file))
                pairs[match[1]] = with_words(pairs.get(match[1], ()), words)
        return dataclasses.replace(language, pairs=pairs)

    def slots(self, primary: str, new: str) -> dict[str, dict[str, np.ndarray]]:
        """Language -> call sites of the identifier pairs in its held-out files (see `call_sites.slots`).

        Raises:
          UserError: there are fewer than FEWEST_PAIRS with prompts in either language.
        """
        if few := self.too_few_pairs(primary, new):
            raise UserError(few)
        turned = f"call_sites/{primary}-{new}.npz" not in self.manifest.files
        first, second = (new, primary) if turned else (primary, new)
        columns = {"primary_id": "new_id", "new_id": "primary_id"} if turned else {}
        arrays_of = {primary: {}, new: {}}
        with np.load(
            io.BytesIO(_as_built(self.directory, self.manifest, f"call_sites/{first}-{second}.npz"))
        ) as arrays:
            for name in arrays.files:
                language, _, column = name.partition("/")
                arrays_of[language][columns.get(column, column)] = arrays[name]
        return arrays_of

    def too_few_pairs(self, primary: str, new: str) -> str:
        """Why no study can be made of two of its languages, and what to do; "" if it can."""
        sites = self.stats.call_sites.get(f"{primary}-{new}") or self.stats.call_sites.get(f"{new}-{primary}")
        pairs = len(sites.pairs) if sites else 0
        usable = {name: sum(map(bool, sites.prompts[name])) if sites else 0 for name in (primary, new)}
        if min(usable.values()) >= FEWEST_PAIRS:
            return ""
        titles = [self.language(name).title for name in (primary, new)]
        there = " and ".join(f"{count} in {title}" for title, count in zip(titles, usable.values(), strict=True))
        return (
            f"{self.directory} has too few prompts to study {' and '.join(titles)}: that takes those of at least {FEWEST_PAIRS} "
            f"pairs of their built-ins, and of the {pairs} that are known there are those of {there}; write further `pairs` in "
            "the file of one of them, or build the corpus of more files."
        )

    def translations(self, first: str, second: str, split: str = "validation") -> list[Translation]:
        """The paragraphs and sentences of a split that stand in two natural languages, with `texts` in this order of them.

        Raises:
          UserError: the corpus has none of these two languages.
        """
        if file := self.translations_file(first, second, split):
            return list(parallel.read(file, first, second))
        raise UserError(
            f"{self.directory} has no texts that stand in both {first} and {second}; build it of two natural languages whose "
            "documents have the same projects and keys."
        )

    def translations_file(self, first: str, second: str, split: str = "validation") -> Path | None:
        """Where they lie, whichever of the languages is the first one there; None: the corpus was built without."""
        names = (f"parallel/{one}-{other}.{split}.parquet" for one, other in ((first, second), (second, first)))
        return next((self.directory / name for name in names if name in self.manifest.files), None)

    def heldout(self, language: str) -> Iterator[Document]:
        """The documents of the validation split."""
        return heldout(self.directory, language)


def load(directory: Path) -> Corpus:
    """Opens a corpus that `build` made.

    Raises:
      UserError: there is none, or it is damaged.
    """
    from babel_jax.corpus import token_rows

    directory = Path(directory)
    manifest = read_contents(directory)
    for file in manifest.files:
        if Path(file).name in SMALL:
            _as_built(directory, manifest, file)
    model = tokenizer.load(directory)
    if model.sha != manifest.tokenizer.sha:
        raise UserError(f"the tokenizer in {directory} is not the one that made the rows beside it; build it again.")
    splits = {language: token_rows.read(directory / "rows", language) for language in manifest.languages}
    train, validation = ({language: rows[split] for language, rows in splits.items()} for split in SPLITS)
    if stated_facts.FILE not in manifest.files:
        return Corpus(directory, manifest, model, train, validation)
    stated, control = {}, {}
    for language, text in train.items():
        with np.load(io.BytesIO(_as_built(directory, manifest, fact_rows.file(language)))) as arrays:
            stated[language] = fact_rows.JoinedRows(text, arrays[fact_rows.STATED])
            if fact_rows.CONTROL in arrays:
                control[language] = fact_rows.JoinedRows(text, arrays[fact_rows.CONTROL])
    return Corpus(directory, manifest, model, stated, validation, control)


def read_contents(directory: Path) -> Contents:
    """Its manifest.json.

    Raises:
      UserError: there is none, it is damaged, or of another format.
    """
    if not (directory / "manifest.json").exists():
        raise UserError(f"{directory} holds no corpus; make one with `python -m babel_jax corpus build`.")
    manifest = read_json(directory / "manifest.json", {"settings?": dict}, REBUILD)
    if manifest.get("settings", {}).get("format") != FORMAT:
        raise UserError(f"{directory} is a corpus of another version's format; build it again.")
    return read_record(directory / "manifest.json", Contents, REBUILD)


def _as_built(directory: Path, manifest: Contents, file: str) -> bytes:
    """The content of a small file.

    Raises:
      UserError: it is not the one that was built.
    """
    try:
        content = (directory / file).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {directory / file} ({error.strerror or error}); {REBUILD}.") from error
    if hashlib.sha256(content).hexdigest() != manifest.files.get(file):
        raise UserError(f"{directory / file} is not the file that was built; {REBUILD}.")
    return content


def heldout(directory: Path, language: str) -> Iterator[Document]:
    """The documents of the validation split, a row group in memory."""
    with pq.ParquetFile(directory / "heldout" / f"{language}.parquet") as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                content = row["content"].encode()
                yield Document(row["path"], content, len(content), tuple(row["licences"]), row["project"])
