"""What slots in real texts say of their identifiers besides two first tokens: the space before it, names in more languages."""

from collections.abc import Mapping

import numpy as np

from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.languages.language import Identifier, Pairs


def spaced(slots: Mapping[str, np.ndarray], is_primary: bool, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """The column `spaced` int32 [N]: 1 where the identifier's first token begins with the space before it.

    Args:
      slots: prompts in one language, whose own identifier is the primary's if `is_primary`, else the new language's.
    """
    pieces = tokenizer.pieces()
    own_N = slots["primary_id" if is_primary else "new_id"]
    return {"spaced": np.array([pieces[token].startswith(b" ") for token in own_N.tolist()], np.int32)}


def names(
    slots: Mapping[str, np.ndarray],
    primary: str,
    new: str,
    pairs_of: Mapping[str, Pairs],
    tokenizer: Tokenizer,
) -> dict[str, np.ndarray]:
    """Columns `ids.LANGUAGE` int32 [N, M] of three or more languages: the first tokens of the identifier's names there.

    The names of the slot's own pair have the tokens that they have in its context; those of other languages, which share
    the primary's identifier, those that they have behind a space or none. -1: a language has no such name.

    Args:
      slots: with `pair`, the number in `pairs_of[new]`, and `spaced`.
      pairs_of: language -> its pairs with the primary.
    """
    if len(pairs_of) < 2:
        return {}
    ids: dict[str, list[list[int]]] = {name: [] for name in (primary, *pairs_of)}
    columns = (slots[name].tolist() for name in ("pair", "spaced", "primary_id", "new_id"))
    for pair, space, primary_id, new_id in zip(*columns, strict=True):
        ids[primary].append([primary_id])
        of_primary = pairs_of[new][pair][0]
        for language, pairs in pairs_of.items():
            texts = [there.text for here, there in pairs if _same(here, of_primary)]
            known = sorted({_first(text, bool(space), tokenizer) for text in texts} - {-1})
            ids[language].append([new_id] if language == new else known)
    return {f"ids.{language}": _padded(rows) for language, rows in ids.items()}


def _same(first: Identifier, second: Identifier) -> bool:
    return (first.text, first.use) == (second.text, second.use)


def _first(text: str, space: bool, tokenizer: Tokenizer) -> int:
    """The first token of an identifier; -1 where that is a space alone, which says nothing of it."""
    token = int(tokenizer.encode(" " * space + text)[0])
    return token if tokenizer.decode([token]).strip(" ") else -1


def _padded(rows: list[list[int]]) -> np.ndarray:
    width = max(map(len, rows), default=0) or 1
    return np.array([row + [-1] * (width - len(row)) for row in rows], np.int32).reshape(-1, width)
