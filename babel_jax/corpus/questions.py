"""Questions about a corpus's held-out text with answers to choose from, as rows of tokens.

A candidate is a text whose first part is read and whose second part is scored. Letters as in `common/material.py`.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from babel_jax.common.material import Choices
from babel_jax.corpus.document import Document
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.languages.language import Language, Pairs

CHOICES = 4
MOST_QUESTIONS = 200  # of a task
ENOUGH_QUESTIONS = 120  # of tasks that a study asks beside what it is about: some 4 points of standard error
FEWEST_QUESTIONS = 20  # fewer say nothing
MOST_READ = 4_000_000  # bytes of held-out text that questions are looked for in: some seconds
NOT_OF_THIS_KIND = ""  # why a task of code is not asked of a natural language, or the other way round: nobody misses it
WIDTHS = 16  # rows are as long as a multiple of this: few widths, few programs to compile


@dataclasses.dataclass(frozen=True)
class TaskTexts:
    """What the questions of a corpus's tasks in one language are made of.

    Attributes:
      language: in which is asked.
      other: the language that its `pairs` are with: the primary, or of the primary the first new one; None: they have no pairs.
      pairs: of the other language's and this one's identifiers or words.
      documents: gives held-out documents of this language.
      translations: gives what the held-out text says in the other language and in this one; None: nobody knows.
      tokenizer: the model's.
      longest: tokens that a model reads, T.
      directory: of the corpus; None: texts without one.
    """

    language: Language
    other: Language | None
    pairs: Pairs
    documents: Callable[[], Iterable[Document]]
    translations: Callable[[], Iterable[tuple[str, str]]] | None
    tokenizer: Tokenizer
    longest: int
    directory: Path | None = None


def first(documents: Iterable[Document]) -> list[Document]:
    """The documents that questions are made of: MOST_READ bytes of them, in their order."""
    kept, read = [], 0
    for document in documents:
        kept.append(document)
        read += len(document.content)
        if read >= MOST_READ:
            break
    return kept


@dataclasses.dataclass(frozen=True)
class Question:
    """candidates: (what is read, what is scored behind it), the right one first. transfer: as of `material.Problems`."""

    candidates: tuple[tuple[str, str], ...]
    transfer: bool = False


def choices(
    asked: Iterable[Sequence[Question]],
    tokenizer: Tokenizer,
    longest: int,
    aside: str = "",
    cut: bool = False,
    most: int = ENOUGH_QUESTIONS,
) -> Choices | str:
    """Questions, each with as many candidates, as rows; or why there are too few of them, the end of a sentence.

    Scored is every token with a byte of a candidate's second part.

    Args:
      asked: sets of questions that are kept whole or left out, so that within each every answer is as often right as others.
      longest: T. A question with a longer candidate is left out; or (`cut`) what its candidates read is cut on the left, of
        all by as many tokens.
      aside: as of `Choices`.
      most: questions.
    """
    kept: list[Question] = []
    rows: list[list[tuple[np.ndarray, int]]] = []
    for together in asked:
        fitted = [
            _fitted([_read(tokenizer, *one) for one in question.candidates], tokenizer.begin, longest + 1, cut)
            for question in together
        ]
        if len(kept) + len(fitted) > most:
            break
        if None not in fitted:
            kept += together
            rows += fitted
    if len(kept) < FEWEST_QUESTIONS:
        return f"there are {len(kept)} questions in the held-out text, and {FEWEST_QUESTIONS} are the least"
    width = min(longest, -(-(max(len(ids) for row in rows for ids, _ in row) - 1) // WIDTHS) * WIDTHS) + 1
    shape = len(rows), len(rows[0])
    tokens_QxCxT1 = np.full((*shape, width), tokenizer.padding, np.int32)
    scored_QxCxT = np.zeros((*shape, width - 1), bool)
    for q, row in enumerate(rows):
        for c, (ids, first) in enumerate(row):
            tokens_QxCxT1[q, c, : len(ids)] = ids
            scored_QxCxT[q, c, first - 1 : len(ids) - 1] = True
    bytes_QxT = tokenizer.token_bytes_V[tokens_QxCxT1[:, 0, 1:]] * scored_QxCxT[:, 0]
    transfer_Q = np.array([question.transfer for question in kept])
    return Choices(tokens_QxCxT1, scored_QxCxT, transfer_Q, aside, bytes_QxT.sum(1).astype(np.float64))


def _read(tokenizer: Tokenizer, before: str, scored: str) -> tuple[np.ndarray, int]:
    """(ids of both, the index of the first one with a byte of what is scored)."""
    ids = tokenizer.encode(before + scored)
    ends = np.cumsum(tokenizer.token_bytes_V[ids])
    return ids, int(np.searchsorted(ends, len(before.encode()), side="right"))


def _fitted(read: list[tuple[np.ndarray, int]], begin: int | None, most: int, cut: bool):
    """Candidates of at most so many ids behind the mark that begins a text, each with a token before what is scored; or None."""
    mark = [] if begin is None else [begin]
    surplus = max(0, *(len(ids) + len(mark) - most for ids, _ in read))
    if surplus and not cut:
        return None
    if any(first - surplus + len(mark) < 1 for _, first in read):
        return None
    return [(np.r_[mark, ids[surplus:]].astype(np.int32), first - surplus + len(mark)) for ids, first in read]


def order(*parts: object) -> bytes:
    """A key that puts things in an order of their own, the same on every machine."""
    return hashlib.sha256(":".join(map(str, parts)).encode()).digest()


def groups(words: Iterable[str]) -> list[list[str]]:
    """Words of about the same length in groups of CHOICES; up to three are left over.

    Where every word of a group is asked about as often and the others are its wrong answers, a model that only likes some
    words better than others, whatever it is asked, gets exactly one of CHOICES right.
    """
    ranked = sorted(words, key=lambda word: (len(word), order(word)))
    return [ranked[at : at + CHOICES] for at in range(0, len(ranked) - CHOICES + 1, CHOICES)]


def right_first(right: str, group: Sequence[str]) -> list[str]:
    return [right, *(word for word in group if word != right)]
