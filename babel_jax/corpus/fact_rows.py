"""The text that states a corpus's facts, and its token rows; and the rows of a language with those of its facts behind them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from babel_jax.common.files import read_record
from babel_jax.common.material import RowSource
from babel_jax.corpus import fact_sentences, stated_facts
from babel_jax.corpus.fact_sources import forms_of
from babel_jax.corpus.records import REBUILD
from babel_jax.corpus.stated_facts import Stated
from babel_jax.corpus.tokenizer import Tokenizer

SPELT = 4  # a spelling is stated once where a fact is stated so often: every name has two of its own
STATED, CONTROL = "stated", "control"  # the arrays of a language's file


def file(language: str) -> str:
    """The rows of a language in a corpus."""
    return f"facts/{language}.npz"


def read(directory: Path) -> Stated:
    """The facts of a corpus, or of one that is being built."""
    return read_record(directory / stated_facts.FILE, Stated, REBUILD)


def documents(stated: Stated, language: str, control: bool = False) -> list[str]:
    """What is written into a language's training text, a document each, mixed; `control`: into that of its control.

    Beside its facts, the names of all facts that the primary spells otherwise, each by itself: that states no fact.
    """
    forms, texts = forms_of(stated.kind, language), []
    for fact in stated.of(language, control):
        texts += fact_sentences.statements(forms, fact.names[language], stated.times)
    for fact in stated.facts:
        texts += fact_sentences.spellings(forms, fact.names[language], fact.primary, -(-stated.times // SPELT))
    return fact_sentences.in_order(texts, language)


def sample(stated: Stated) -> Iterator[str]:
    """Every form and every name once and more, for the vocabulary."""
    for language in stated.languages:
        forms = forms_of(stated.kind, language)
        for fact in stated.facts:
            yield from fact_sentences.statements(forms, fact.names[language], len(forms.stated))


def rows(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> np.ndarray:
    """Documents as token rows, int32 [n, length]; the last row is filled up with the first documents again."""
    ids = np.concatenate([np.append(tokenizer.encode(text), tokenizer.document_end) for text in texts])
    return np.resize(ids, (-(-len(ids) // length), length)).astype(np.int32)


def arrays(stated: Stated, language: str, tokenizer: Tokenizer, length: int) -> dict[str, np.ndarray]:
    """The rows of a language's file: of its facts, and in a new language of its control's."""
    which = {STATED: False} if language == stated.languages[0] else {STATED: False, CONTROL: True}
    return {name: rows(documents(stated, language, control), tokenizer, length) for name, control in which.items()}


class JoinedRows:
    """Rows of text, then rows of facts."""

    def __init__(self, text: RowSource, more_NxT1: np.ndarray):
        self._text, self._more_NxT1 = text, more_NxT1

    def __len__(self) -> int:
        return len(self._text) + len(self._more_NxT1)

    def rows(self, indices) -> np.ndarray:
        """Token ids int32 [n, T + 1]; an index out of range is a ValueError."""
        index_N = np.asarray(indices, np.int64)
        if len(wrong_N := index_N[(index_N < 0) | (index_N >= len(self))]):
            raise ValueError(f"row {wrong_N[0]} is not below num_records, {len(self)}")
        of_text_N = index_N < len(self._text)
        found = np.zeros((len(index_N), self._more_NxT1.shape[1]), np.int32)
        found[of_text_N] = self._text.rows(index_N[of_text_N])
        found[~of_text_N] = self._more_NxT1[index_N[~of_text_N] - len(self._text)]
        return found
