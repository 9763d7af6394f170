"""Working-language prompts from real code: held-out files cut just before a built-in that both languages know by
another name."""

import functools
import hashlib
import heapq
import re
from collections.abc import Iterable

import numpy as np

from babel_jax.corpus.sources import Document
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.languages import Identifier, Language
from babel_jax.lexical import code_only

PER_PAIR = 50
FEWEST_TOKENS = 16  # of context; the first lines of a file say too little
BEFORE, BEHIND = 2000, 100  # characters around the identifier that decide how it is tokenised


def sites(code: str, identifier: Identifier, language: Language) -> list[int]:
    """Where an identifier is used in a text that `code_only` has blanked: offsets of its first characters."""
    return [
        match.start()
        for match in _called(identifier).finditer(code)
        if _is_use(code[max(0, match.start() - 120) : match.start()], identifier, language)
    ]


@functools.cache
def _called(identifier):
    behind = {"function": r"\s*\(", "method": r"\s*\(", "property": r"(?!\s*\()", "word": r"(?!\s*(?:=|:(?!:)))"}
    return re.compile(rf"(?<![\w$@]){re.escape(identifier.text)}(?!\w){behind[identifier.use]}")


def _is_use(before, identifier, language):
    """Whether what stands before a name makes it the use that the identifier stands for."""
    receiver = next((before.removesuffix(mark) for mark in language.members if before.endswith(mark)), None)
    if identifier.use in ("method", "property"):
        return receiver is not None and not receiver.endswith(identifier.not_of)
    if language.global_mark and before.endswith(language.global_mark):
        before = before.removesuffix(language.global_mark)
        if re.search(r"\w\Z", before):  # the member of a namespace
            return False
    word = re.search(r"(\w+)[\s&]+\Z", before)
    return receiver is None and not (word and word[1] in language.declares)


def mine(
    texts: Iterable[Document],
    language: Language,
    here: list[Identifier],
    there: list[Identifier],
    tokenizer: Tokenizer,
    max_length: int,
    per_pair: int = PER_PAIR,
) -> tuple[list[dict], list[str]]:
    """Prompts in one language: uses of `here[k]`, where the other language would write `there[k]`.

    A prompt is the file up to the identifier, cut on the left to `max_length` tokens. A site counts only where the
    tokens of the prompt are the same whether the identifier of this or of the other language follows, and where the
    identifier's first token begins with it or with the one space before it. Sites are spread over files: no file gives
    a second prompt of a pair while another has yet to give its first; beyond that a hash of the path chooses.
    Of two pairs with the same identifier here, each site goes to one.

    Returns:
      (prompts, messages): a prompt is {"tokens": int32 [n], "here", "there": ids, "pair": k, "prompt": number of its
      file, "path"}, ordered by pair; a message says which pair was rejected because its first tokens coincide.
    """
    best = [[] for _ in here]  # per pair a heap of its per_pair first sites, the last one on top
    coincide = np.zeros(len(here), int)
    for number, document in enumerate(texts):
        path, text = document.path, document.content.decode()
        code = code_only(text, language)
        whole = functools.cache(lambda text=text: _offsets(tokenizer, text))
        for same in _by_identifier(here):
            found_here = sites(code, here[same[0]], language)
            byte_of = _bytes_before(text, found_here)
            order = sorted(found_here, key=lambda site: _hash(path, site))
            taken = [0] * len(here)
            for i, site in enumerate(order):
                pair = same[(i + number) % len(same)]
                key = (taken[pair], _hash(path, site))
                if len(best[pair]) == per_pair and _order(key) < best[pair][0][0]:
                    continue
                found = _cut(text, site, byte_of[site], here[pair].text, there[pair].text, tokenizer, whole())
                if found is None:
                    continue
                prompt, first_here, first_there = found
                if first_here == first_there:
                    coincide[pair] += 1
                    continue
                taken[pair] += 1
                entry = {
                    "tokens": prompt[-max_length:],
                    "here": first_here,
                    "there": first_there,
                    "pair": pair,
                    "prompt": number,
                    "path": path,
                }
                (heapq.heappush if len(best[pair]) < per_pair else heapq.heappushpop)(best[pair], (_order(key), entry))
    messages = []
    for pair, count in enumerate(coincide):
        if count > len(best[pair]):
            best[pair] = []
            messages.append(
                f"pair {here[pair].text}/{there[pair].text} rejected in {language.title}: "
                "both begin with the same token."
            )
    prompts = [entry for heap in best for _, entry in sorted(heap, key=lambda item: item[0], reverse=True)]
    return prompts, messages


def _by_identifier(here):
    groups = {}
    for pair, identifier in enumerate(here):
        groups.setdefault(identifier, []).append(pair)
    return list(groups.values())


def _hash(path, site):
    return int.from_bytes(hashlib.sha256(f"{path}:{site}".encode()).digest()[:8])


def _order(key):
    """Turned round, for heapq keeps its smallest on top and the top must be the site to give up first."""
    return tuple(-part for part in key)


def _offsets(tokenizer, text):
    """(ids, offsets): ids of a text and the offset in bytes at which each begins, plus the end."""
    ids = tokenizer.encode(text)
    return ids, np.concatenate([[0], np.cumsum(tokenizer.token_bytes_V[ids])])


def _bytes_before(text, places):
    """Place in a text -> the bytes before it, of places in order."""
    counts, byte, last = {}, 0, 0
    for place in places:
        byte += len(text[last:place].encode())
        counts[place], last = byte, place
    return counts


def _cut(text, site, byte, here, there, tokenizer, whole):
    """(prompt ids, first id of `here`, first id of `there`) or None if no token begins where the identifier does.

    `site`, `byte`: where the identifier begins, in characters and in bytes.
    """
    ids, offsets = whole
    token = int(np.searchsorted(offsets, byte, side="right")) - 1
    glued = byte - offsets[token]  # bytes of the first token that stand before the identifier
    if glued > 1 or (glued and text[site - 1] != " ") or token < FEWEST_TOKENS:
        return None
    if offsets[token + 1] - byte > len(here):
        return None
    start = max(0, site - BEFORE)
    around = [
        _offsets(tokenizer, text[start:site] + name + text[site + len(here) : site + len(here) + BEHIND])
        for name in (here, there)
    ]
    local = byte - len(text[:start].encode())
    firsts = []
    for name, (near_ids, near_offsets) in zip((here, there), around, strict=True):
        near = int(np.searchsorted(near_offsets, local, side="right")) - 1
        if local - near_offsets[near] != glued or near_offsets[near + 1] - local > len(name):
            return None
        same = min(near, token, FEWEST_TOKENS)
        if not np.array_equal(near_ids[near - same : near], ids[token - same : token]):
            return None
        firsts.append(int(near_ids[near]))
    if firsts[0] != ids[token]:
        return None
    return ids[:token], *firsts


def slots(prompts: list[dict], here_is_primary: bool, max_length: int, padding: int) -> dict[str, np.ndarray]:
    """Prompts as arrays: tokens int32 [N, T] padded on the right, position [N] of the last prompt token, and per
    prompt primary_id, new_id, pair, prompt (the file), subset (0)."""
    tokens_NxT = np.full((len(prompts), max_length), padding, np.int32)
    for i, prompt in enumerate(prompts):
        tokens_NxT[i, : len(prompt["tokens"])] = prompt["tokens"]
    primary, new = ("here", "there") if here_is_primary else ("there", "here")

    def column(values):
        return np.array(list(values), np.int32)

    return {
        "tokens": tokens_NxT,
        "position": column(len(prompt["tokens"]) - 1 for prompt in prompts),
        "primary_id": column(prompt[primary] for prompt in prompts),
        "new_id": column(prompt[new] for prompt in prompts),
        "pair": column(prompt["pair"] for prompt in prompts),
        "prompt": column(prompt["prompt"] for prompt in prompts),
        "subset": np.zeros(len(prompts), np.int32),
    }
