"""Which tokens stand for an identifier, and prompts of one's own.

Three modes:
  first     the identifier's first token: the one in this context, and the ones that the tokenizer begins it
            with, with and without a space before it;
  prefix    every item of the vocabulary that the identifier begins with, with and without the space mark; a pair is
            left out where a set is empty or the two have an item in common;
  sequence  all its tokens, each read after the ones before it (one row an identifier): the mean log
            probability of a token. `pair` and `prob` are defined (prob compares the geometric means of the tokens'
            probabilities), `argmax` and `topk` are not.
Where there is no tokenizer (the embedded world) an identifier is one token, and every mode is that token.

A file of prompts is JSON Lines, one object a line:
  {"language": "php", "text": "<?php\\n$n = ", "primary": "len", "new": "strlen", "pair": "length", "prompt": "a.php"}
  language        of the prompt: the primary or the new language of the study
  text or tokens  the prompt up to the identifier, as text or as token ids; what is too long is cut on the left; a text
                  begins with the mark that the model's tokenizer puts there, token ids stand as they are
  primary, new    what either language would write next: text, a token id, or the list of its ids in order
  pair            optional, a name or a number: prompts of one pair are drawn together in the intervals; by default the
                  prompts with the same two identifiers
  prompt          optional, a name or a number: prompts of one file or problem; by default each is its own
  subset          optional, 1 where the identifier needs the primary's knowledge, else 0
  names           optional, what further languages would write, {LANGUAGE: text, token id or list}: the lens then also says
                  which of all languages' names each layer prefers
  item            optional, on all lines or on none, a number: prompts of two languages with the same item are parallel
Letters as in `model/decoder.py`; N slots, M tokens of a set, S tokens of an identifier, P positions.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from babel_jax.common import files
from babel_jax.common.errors import UserError, quoted, unknown_name

MODES = ("first", "prefix", "sequence")
SIDES = ("primary", "new")
FIELDS = ("language", "text", "tokens", "primary", "new", "names", "pair", "prompt", "subset", "item")


def check_mode(mode: str) -> None:
    """Raises a `UserError` for a mode of reading identifiers that does not exist."""
    if mode not in MODES:
        raise unknown_name("mode of identifiers", mode, MODES)


def first_tokens(text: str, tokenizer) -> set[int]:
    """The ids that an identifier begins with, with and without a space before it (never a lone space)."""
    ids = set()
    for written in (text, " " + text):
        first = int(tokenizer.encode(written)[0])
        piece = tokenizer.decode([first]).strip(" ")
        if piece and text.startswith(piece):
            ids.add(first)
    return ids


def prefix_tokens(text: str, pieces: list[bytes]) -> set[int]:
    """The ids of a vocabulary (`tokenizer.pieces()`) that an identifier begins with, with and without a space before it."""
    # Of tokens with the same bytes the last: SentencePiece's byte tokens come first, and stand only where no other does.
    last = {piece: i for i, piece in enumerate(pieces)}
    return {i for piece, i in last.items() if (bare := piece.removeprefix(b" ")) and text.encode().startswith(bare)}


def _texts(pair):
    return tuple(identifier if isinstance(identifier, str) else identifier.text for identifier in pair)


def with_identifiers(slots: dict, pairs, tokenizer, mode: str) -> tuple[dict, list[str]]:
    """Slots with the tokens that stand for their two identifiers.

    Args:
      slots: as in `material.Material`, of one language; `pair` is the place in `pairs`.
      pairs: (primary's, new language's) `languages.Identifier` or text.
      tokenizer: None where an identifier is one token (the embedded world): the ids are taken as they are.
      mode: "first", "prefix" or "sequence".

    Returns:
      `(slots, messages)`: without the slots of pairs that this mode cannot read, each of which gets a message; with
      `primary_ids`, `new_ids` int32 [N, M], or in mode "sequence" `primary_sequence`, `new_sequence` int32 [N, S],
      all -1 padded.

    Raises:
      UserError: unknown mode, or no slot is left.
    """
    check_mode(mode)
    first_Nx2 = np.stack([np.asarray(slots[f"{side}_id"], np.int32) for side in SIDES], axis=1)
    kept, messages = np.ones(len(first_Nx2), bool), []
    if tokenizer is None:
        ids_of_sides = [[[token] for token in first_N] for first_N in first_Nx2.T.tolist()]
    else:
        pieces = tokenizer.pieces()
        tokens_of = functools.cache(lambda text, first: _tokens(text, first, tokenizer, pieces, mode))
        ids_of_sides, reasons = [[], []], {}
        for n, (pair, first_2) in enumerate(zip(np.asarray(slots["pair"]).tolist(), first_Nx2.tolist(), strict=True)):
            ids_2 = [tokens_of(text, first) for text, first in zip(_texts(pairs[pair]), first_2, strict=True)]
            for side in (0, 1):
                ids_of_sides[side].append(ids_2[side])
            if mode == "sequence":  # in its context another token may stand first: one that reaches beyond
                kept[n] = all(ids[0] == first for ids, first in zip(ids_2, first_2, strict=True))
            elif reason := _unreadable(*_texts(pairs[pair]), *ids_2, tokenizer):
                reasons[pair] = reason
        messages = [reasons[pair] for pair in sorted(reasons)]
        if not kept.all():
            messages.append(
                f"{(~kept).sum()} prompts left out: their identifier alone has other tokens than in its context."
            )
        kept &= ~np.isin(slots["pair"], list(reasons))
    if not kept.any():
        raise UserError(
            f"no prompt is left that mode '{mode}' can read; take another mode or other pairs."
            + "".join(f" {message}" for message in messages[:1])
        )
    names = [f"{side}_sequence" if mode == "sequence" else f"{side}_ids" for side in SIDES]
    chosen = {name: np.asarray(values)[kept] for name, values in slots.items()}
    width = max(len(ids) for side in ids_of_sides for ids, keep in zip(side, kept, strict=True) if keep)
    for name, side in zip(names, ids_of_sides, strict=True):
        chosen[name] = _padded([ids for ids, keep in zip(side, kept, strict=True) if keep], width)
    return chosen, messages


def _tokens(text, first, tokenizer, pieces, mode):
    """The tokens of one identifier whose first token is `first` in its context."""
    if mode == "prefix":
        return sorted(prefix_tokens(text, pieces))
    if mode == "first":
        return [first, *sorted(first_tokens(text, tokenizer) - {first})]
    return tokenizer.encode(" " * pieces[first].startswith(b" ") + text).tolist()


def _unreadable(primary, new, primary_ids, new_ids, tokenizer):
    """Why the sets of a pair cannot be read; None if they can."""
    common = set(primary_ids) & set(new_ids)
    if common:
        token = tokenizer.decode([min(common)])
        return f"pair {primary}/{new} rejected: both may begin with the token {token!r} (id {min(common)})."
    empty = [text for text, ids in ((primary, primary_ids), (new, new_ids)) if not ids]
    return f"pair {primary}/{new} rejected: no token is a beginning of {empty[0]}." if empty else None


def _padded(lists: Iterable[list[int]], width: int):
    padded = [[*ids, *[-1] * (width - len(ids))] for ids in lists]
    return np.array(padded, np.int32).reshape(-1, width)


def identifier_set(slots: dict, side: str) -> np.ndarray:
    """The token ids that stand for the identifier of one language ("primary" or "new"), [N, M], -1 padded."""
    if f"{side}_ids" in slots:
        return np.asarray(slots[f"{side}_ids"], np.int32)
    return np.asarray(slots[f"{side}_id"], np.int32)[:, None]


def sequence_rows(slots: dict, begin: int = -1) -> dict:
    """Rows in which the identifiers' tokens are read one after another: each slot's primary one, then each slot's new one.

    A row is the prompt and the identifier but for its last token; where that is too long both rows of the slot lose as
    many tokens on the left, behind the mark that a text begins with.

    Args:
      slots: with `primary_sequence`, `new_sequence` [N, S], as from `with_identifiers`.
      begin: the id of that mark; -1: there is none.

    Returns:
      `tokens` int32 [2 N, T] right-padded, `position` [2 N, S]: where each token of the identifier is predicted, and
      `candidates` [2 N, S, 1]: that token; -1 where the identifier is over.
    """
    tokens_NxT, position_N = np.asarray(slots["tokens"], np.int32), np.asarray(slots["position"])
    sequences = [np.asarray(slots[f"{side}_sequence"], np.int32) for side in SIDES]
    length_N = position_N + 1
    tokens_of = [(sequence_NxS >= 0).sum(axis=1) for sequence_NxS in sequences]
    T, S = tokens_NxT.shape[1], sequences[0].shape[1]
    surplus_N = np.maximum(length_N + np.maximum(*tokens_of) - 1 - T, 0)
    mark_N = (tokens_NxT[:, 0] == begin).astype(int)
    if (surplus_N + mark_N >= length_N).any():
        raise UserError(f"an identifier of {S} tokens does not fit rows of {T}; take mode 'first' or a longer model.")
    rows = np.zeros((2, *tokens_NxT.shape), np.int32)
    position = np.zeros((2, len(tokens_NxT), S), np.int32)
    for side, (sequence_NxS, count_N) in enumerate(zip(sequences, tokens_of, strict=True)):
        for n in range(len(tokens_NxT)):
            prompt = np.delete(tokens_NxT[n, : length_N[n]], np.s_[mark_N[n] : mark_N[n] + surplus_N[n]])
            row = np.concatenate([prompt, sequence_NxS[n, : count_N[n] - 1]])
            rows[side, n, : len(row)] = row
            position[side, n] = len(prompt) - 1 + np.minimum(np.arange(S), max(count_N[n] - 1, 0))
    return {
        "tokens": rows.reshape(-1, T),
        "position": position.reshape(-1, S),
        "candidates": np.concatenate(sequences)[:, :, None],
    }


def sequence_log_probs(log_prob_LxnxPx1, slots: dict) -> tuple:
    """Nats per token of each identifier: primary_log_prob_LxN, new_log_prob_LxN.

    Args:
      log_prob_LxnxPx1: what the lens says about the candidates of `sequence_rows(slots)`, n = 2 N.
    """
    log_prob_LxnxS = np.asarray(log_prob_LxnxPx1)[..., 0]
    given_nxS = np.concatenate([np.asarray(slots[f"{side}_sequence"]) >= 0 for side in SIDES])
    sum_Lxn = np.where(given_nxS, log_prob_LxnxS, 0).sum(axis=-1, dtype=np.float64)
    return tuple(np.split(sum_Lxn / np.maximum(given_nxS.sum(axis=-1), 1), 2, axis=1))


def read_prompts(
    given, languages: tuple[str, str], tokenizer, vocab_size: int, max_length: int, mode: str = "first"
) -> dict[str, dict]:
    """Slots of each language from a file of prompts (the module's docstring says how it is written).

    Args:
      given: the file, or a list of what would stand on its lines.
      languages: (primary, new); each must have a prompt.
      tokenizer: None where prompts and identifiers are token ids.
      max_length: T.
      mode: how identifiers are read; identifiers given as ids are taken as they are, in "first" and "prefix" the first.

    Returns:
      language -> slots as in `material.Material`, with `primary_ids`, `new_ids` (or `primary_sequence`,
      `new_sequence`), `spaced` where there is a tokenizer, `ids.LANGUAGE` where the file has `names` (and identifiers are not
      read whole), and `item` where it has it.

    Raises:
      UserError: a file that cannot be read; a line that is not such an object, with its number; a pair whose tokens
        coincide; a language without a prompt.
    """
    check_mode(mode)
    place, lines = _lines(given)
    pieces = tokenizer.pieces() if tokenizer else []
    if len(pieces) > vocab_size:
        raise UserError(f"the tokenizer has {len(pieces)} tokens and the model {vocab_size}; take the model's own.")
    entries, identifiers = [], _Identifiers(tokenizer, pieces, vocab_size, mode)
    for number, line in lines:
        try:
            entries.append(_entry(line, number, languages, identifiers))
        except ValueError as error:
            raise UserError(f"{place}, line {number}: {error}") from error
    items = [entry["item"] is not None for entry in entries]
    if any(items) and not all(items):
        number = entries[items.index(not items[0])]["number"]
        raise UserError(
            f"{place}, line {number}: some lines have an 'item' and some have none; give it to all or none."
        )
    missing = [language for language in languages if language not in {entry["language"] for entry in entries}]
    if missing:
        raise UserError(f"{place} has no prompt in {missing[0]}; both {' and '.join(languages)} need some.")
    by_appearance = {field: dict.fromkeys(entry[field] for entry in entries) for field in ("pair", "prompt")}
    numbers = {field: {name: n for n, name in enumerate(names)} for field, names in by_appearance.items()}
    padding = tokenizer.padding if tokenizer else 0
    named = dict.fromkeys(name for entry in entries for name in entry["names"])
    slots = {}
    for language in languages:
        here = [entry for entry in entries if entry["language"] == language]
        slots[language] = _slots(here, numbers, max_length, padding, mode)
        if tokenizer:
            slots[language]["spaced"] = np.array([pieces[e["first"][0]].startswith(b" ") for e in here], np.int32)
        if named and mode != "sequence":
            slots[language] |= _names(here, languages, named)
    return slots


def _lines(given) -> tuple[object, Iterable[tuple[int, dict]]]:
    """(what errors call the place, the lines by number)."""
    if isinstance(given, list | tuple):
        if strays := [number for number, line in enumerate(given, 1) if not isinstance(line, dict)]:
            raise UserError(
                f"the prompts, line {strays[0]}: not a dict; give each its language, text, primary and new."
            )
        return "the prompts", list(enumerate(given, 1))
    content = files.read_bytes(given, "give --prompts a file of JSON Lines.")
    return given, files.json_lines(content, given, 'write {"language": …, "text": …, "primary": …, "new": …}.')


class _Identifiers(NamedTuple):
    """How identifiers are read in a file of prompts."""

    tokenizer: object
    pieces: list[bytes]
    vocab_size: int
    mode: str


def _entry(line, number, languages, identifiers: _Identifiers):
    """One line as `language`, `tokens`, per side the identifier's tokens in order and what is read of it, and clusters.

    A ValueError says what is wrong with it.
    """
    tokenizer, pieces, vocab_size, mode = identifiers
    for name in line:
        if name not in FIELDS:
            raise ValueError(str(unknown_name("field", name, FIELDS)))
    for name in ("language", *SIDES):
        if name not in line:
            raise ValueError(f"no '{name}'; write it.")
    if line["language"] not in languages:
        raise ValueError(f"language {quoted(line['language'])} is not {' or '.join(languages)}.")
    if ("text" in line) == ("tokens" in line):
        raise ValueError("write either 'text' or 'tokens'.")
    named = line.get("names", {})
    if not isinstance(named, dict) or set(named) & set(languages):
        raise ValueError(f"'names' must be {{language: identifier}} of other languages than {' and '.join(languages)}.")
    written = {side: line[side] for side in SIDES} | {f"names.{name}": value for name, value in named.items()}
    prompt, sequences = _in_context(line, written, tokenizer, vocab_size)
    read = [_read(one, ids, tokenizer, pieces, mode) for one, ids in zip(written.values(), sequences, strict=True)]
    sides = read[: len(SIDES)]
    names = [line[side] if isinstance(line[side], str) else str(line[side]) for side in SIDES]
    if mode == "sequence":
        reason = f"{names[0]} and {names[1]} are the same tokens." if sides[0] == sides[1] else None
    elif tokenizer is None:
        reason = f"{names[0]} and {names[1]} begin with the same token." if set(sides[0]) & set(sides[1]) else None
    else:
        reason = _unreadable(*names, *sides, tokenizer)
    if reason:
        raise ValueError(reason)
    cluster = {name: line.get(name, default) for name, default in (("pair", tuple(names)), ("prompt", (number,)))}
    for name, value in cluster.items():
        if not isinstance(value, tuple) and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise ValueError(f"'{name}' must be a name or a number.")
    if line.get("subset", 0) not in (0, 1):
        raise ValueError("'subset' must be 0 or 1.")
    item = line.get("item")
    if item is not None and not (_is_id(item) and item < 2**31):
        raise ValueError("'item' must be a number from 0 on, below 2^31.")
    return {
        "number": number,
        "language": line["language"],
        "begin": [] if tokenizer is None or tokenizer.begin is None or "tokens" in line else [tokenizer.begin],
        "tokens": prompt,
        "first": [ids[0] for ids in sequences],
        "sides": sides,
        "names": dict(zip(named, read[len(SIDES) :], strict=True)),
        "subset": int(line.get("subset", 0)),
        "item": item,
    } | cluster


def _is_id(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _ids(value, name, vocab_size):
    """Token ids of a line, as a list."""
    ids = value if isinstance(value, list) else [value]
    if not ids or not all(map(_is_id, ids)):
        raise ValueError(f"'{name}' must be token ids.")
    if max(ids) >= vocab_size:
        raise ValueError(f"token id {max(ids)} of '{name}' is not in the vocabulary of {vocab_size}.")
    return ids


def _in_context(line, written, tokenizer, vocab_size):
    """(prompt tokens, [tokens of each identifier that is `written`, by name]) in context, one after the other.

    One space at the end of a prompt belongs to the identifier's first token where the tokenizer says so.
    """
    given = {"text": line.get("text")} | written
    texts = [name for name, value in given.items() if isinstance(value, str)]
    if texts and tokenizer is None:
        raise ValueError(f"'{texts[0]}' is text and there is no tokenizer; give token ids.")
    for name in texts:
        if not given[name]:
            raise ValueError(f"'{name}' is empty.")

    def alone(name):
        if isinstance(written[name], str):
            return tokenizer.encode(written[name]).tolist()
        return _ids(written[name], name, vocab_size)

    if "tokens" in line:
        return _ids(line["tokens"], "tokens", vocab_size), [alone(name) for name in written]
    text = line["text"]
    if not isinstance(text, str):
        raise ValueError("'text' must be text; give token ids as 'tokens'.")
    for cut in (text, text.removesuffix(" ")):
        prompt = tokenizer.encode(cut).tolist()
        sequences = []
        for name, identifier in written.items():
            if isinstance(identifier, str):
                whole = tokenizer.encode(text + identifier).tolist()
                sequences.append(whole[len(prompt) :] if whole[: len(prompt)] == prompt else [])
            else:
                sequences.append(alone(name) if cut == text else [])
        # A lone space as an identifier's first token would say nothing about the identifier.
        if prompt and all(ids and tokenizer.decode(ids[:1]).strip(" ") for ids in sequences):
            return prompt, sequences
    raise ValueError(
        "the tokenizer cuts the end of 'text' otherwise before an identifier; end it elsewhere or take another pair."
    )


def _read(identifier, sequence, tokenizer, pieces, mode):
    """The tokens that stand for an identifier in a mode, line its tokens in context."""
    if mode == "sequence":
        return sequence
    if not isinstance(identifier, str):
        return sequence[:1]
    return _tokens(identifier.strip(" "), sequence[0], tokenizer, pieces, mode)


def _names(entries, languages: tuple[str, str], named) -> dict[str, np.ndarray]:
    """Columns `ids.LANGUAGE` [N, M]: what stands for the identifier in the two languages and in those of `named`."""
    ids = {name: [entry["sides"][place] for entry in entries] for place, name in enumerate(languages)}
    ids |= {name: [entry["names"].get(name, []) for entry in entries] for name in named}
    return {f"ids.{name}": _padded(lists, max(map(len, lists)) or 1) for name, lists in ids.items()}


def _slots(entries, numbers, max_length, padding, mode):
    tokens_NxT = np.full((len(entries), max_length), padding, np.int32)
    last = []
    for row, entry in zip(tokens_NxT, entries, strict=True):
        begin = entry["begin"]
        cut = begin + entry["tokens"][max(0, len(entry["tokens"]) + len(begin) - max_length) :]
        row[: len(cut)] = cut
        last.append(len(cut) - 1)

    def column(values):
        return np.array(list(values), np.int32)

    slots = {
        "tokens": tokens_NxT,
        "position": column(last),
        "primary_id": column(entry["first"][0] for entry in entries),
        "new_id": column(entry["first"][1] for entry in entries),
        "subset": column(entry["subset"] for entry in entries),
    }
    slots |= {name: column(numbers[name][entry[name]] for entry in entries) for name in numbers}
    if entries[0]["item"] is not None:
        slots["item"] = column(entry["item"] for entry in entries)
    width = max(len(ids) for entry in entries for ids in entry["sides"])
    for place, side in enumerate(SIDES):
        name = f"{side}_sequence" if mode == "sequence" else f"{side}_ids"
        slots[name] = _padded((entry["sides"][place] for entry in entries), width)
    return slots
