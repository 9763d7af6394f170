"""Parallel sentences as rows of tokens: held-out ones of a corpus, or lines of files that a user gives."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.common.material import Parallel
from babel_jax.corpus.questions import ENOUGH_QUESTIONS, FEWEST_QUESTIONS, NOT_OF_THIS_KIND, WIDTHS, TaskTexts, order
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.languages.language import Language

RETRIEVAL = "retrieval"  # the name of the task
SENTENCE_TOKENS = 128  # of a sentence; what follows is not read
FEWEST_WORDS = 5  # of spaced text; titles and buttons say too little to be found
MOST_LETTERS = 300  # longer ones, and those of several lines, are paragraphs and lists
FEWEST_LETTERS = 12  # of text without spaces
_LANGUAGE = re.compile(r",(?=\w+=)")


def ask_retrieval(texts: TaskTexts) -> Parallel | str:
    """Held-out sentences in the other language and in this one; of what is said twice in either, neither."""
    if texts.other is None or texts.translations is None:
        return NOT_OF_THIS_KIND
    given = list(texts.translations())
    seen = [[_folded(pair[side]) for pair in given] for side in (0, 1)]
    twice = [
        {text for text in side if text in once or once.add(text)}
        for side, once in zip(seen, (set(), set()), strict=True)
    ]
    usable = [
        pair
        for pair, first, second in zip(given, *seen, strict=True)
        if first not in twice[0]
        and second not in twice[1]
        and all(map(_is_sentence, pair, (texts.other, texts.language)))
    ]
    usable.sort(key=lambda pair: order(*pair))
    if len(usable) < FEWEST_QUESTIONS:
        return f"there are {len(usable)} sentences with a translation in the held-out text, and {FEWEST_QUESTIONS} are the least"
    sides = dict(
        zip((texts.other.name, texts.language.name), zip(*usable[:ENOUGH_QUESTIONS], strict=True), strict=True)
    )
    return parallel(sides, texts.other.name, texts.language.name, texts.tokenizer, texts.longest)


def parallel(
    sentences: dict[str, Iterable[str]], other: str, language: str, tokenizer: Tokenizer, longest: int
) -> Parallel:
    """Sentences of two languages, as many of both, as rows of at most `longest` tokens."""
    most, mark = min(SENTENCE_TOKENS, longest), [] if tokenizer.begin is None else [tokenizer.begin]
    tokens_NxT, length_N = {}, {}
    for name in (other, language):
        rows = [np.r_[mark, tokenizer.encode(text)].astype(np.int32)[:most] for text in sentences[name]]
        length_N[name] = np.array([len(row) for row in rows], np.int32)
        width = min(most, -(-int(length_N[name].max()) // WIDTHS) * WIDTHS)
        tokens_NxT[name] = np.full((len(rows), width), tokenizer.padding, np.int32)
        for place, row in zip(tokens_NxT[name], rows, strict=True):
            place[: len(row)] = row
    return Parallel(language, other, tokens_NxT, length_N)


def read_lines(given: str) -> dict[str, list[str]]:
    """Language -> its sentences, of files that are parallel line by line: NAME=FILE,NAME=FILE…

    Lines that are empty in any of the files are left out of all.

    Raises:
      UserError: it is not written so; a file cannot be read; they have different numbers of lines; too few are left.
    """
    named = [part.partition("=") for part in _LANGUAGE.split(given)]
    lines: dict[str, list[str]] = {}
    for name, mark, place in named:
        if not (name and mark and place) or name in lines:
            raise UserError(f"--parallel is {given}; write NAME=FILE,NAME=FILE, each language once.")
        text = files.read_text(place, "give --parallel a file of lines for each language.")
        lines[name] = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if len(lines) < 2:
        raise UserError(f"--parallel names {given} alone; give the file of at least one other language.")
    counts = {name: len(of) for name, of in lines.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{Path(place).name} {counts[name]}" for name, _, place in named)
        raise UserError(
            f"--parallel: the files have different numbers of lines ({said}); line n of each must say the same."
        )
    whole = [row for row in zip(*lines.values(), strict=True) if all(row)]
    if len(whole) < FEWEST_QUESTIONS:
        raise UserError(
            f"--parallel: {len(whole)} lines have a sentence in every language; give at least {FEWEST_QUESTIONS}."
        )
    return dict(zip(lines, map(list, zip(*whole, strict=True)), strict=True))


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _is_sentence(text: str, language: Language) -> bool:
    if "\n" in text.strip() or len(text) > MOST_LETTERS:
        return False
    return len(text.split()) >= FEWEST_WORDS if language.is_spaced else len(text) >= FEWEST_LETTERS
