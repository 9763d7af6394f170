"""Working-language prompts from real texts: held-out files cut just before a word that both languages know by another name.

In code it is a built-in where it is used; in running text (`Language.prompts` is "cloze") any word, see `cloze.py`.
"""

import dataclasses
import functools
import hashlib
import heapq
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from babel_jax.corpus import cloze
from babel_jax.corpus.document import Document
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.languages.language import Identifier, Language
from babel_jax.languages.lexical import code_only

FEWEST_TOKENS = 16  # of context; the first lines of a file say too little
Groups = dict[Identifier, list[int]]
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
    word = re.search(r"(\w+)!?(?:[\s&]+| *\*+ *)\Z", before)
    return receiver is None and not (word and word[1] in language.declares)


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A held-out file up to an identifier.

    Attributes:
      tokens: ids, int32 [n].
      here, there: the first ids of the pair's identifiers, as they would follow.
      pair: the number of the pair.
      prompt: the number of the file.
      path: of the file.
    """

    tokens: np.ndarray
    here: int
    there: int
    pair: int
    prompt: int
    path: str


def mine(
    texts: Iterable[Document],
    language: Language,
    pairs: Sequence[tuple[Identifier, Identifier]],
    tokenizer: Tokenizer,
    max_length: int,
    per_pair: int,
) -> tuple[list[Prompt], list[str]]:
    """What a `Miner` finds in all the texts."""
    miner = Miner(language, pairs, tokenizer, max_length, per_pair)
    for document in texts:
        miner.add(document)
    return miner.found()


class Miner:
    """Looks for prompts in one language: uses of the first identifier of a pair, where the other language would write the second.

    A prompt is the text up to the identifier (of code the file, of running text the paragraph), cut on the left to
    `max_length` tokens; where the tokenizer begins a text with a mark, that is the first of them. A site counts only where
    the tokens of the prompt are the same whether the identifier of this or of the other language follows, and where the
    identifier's first token begins with it or with the one space before it. Sites are spread over files: no file gives
    a second prompt of a pair while another has yet to give its first; beyond that a hash of the path chooses.
    Of two pairs with the same identifier here, each site goes to one.
    """

    def __init__(
        self,
        language: Language,
        pairs: Sequence[tuple[Identifier, Identifier]],
        tokenizer: Tokenizer,
        max_length: int,
        per_pair: int,
    ):
        self._language, self._pairs, self._tokenizer = language, pairs, tokenizer
        self._max_length, self._per_pair = max_length, per_pair
        self._groups = _by_identifier(pairs)
        self._best = [[] for _ in pairs]  # per pair a heap of its per_pair first sites, the last one on top
        self._coincide = np.zeros(len(pairs), int)
        self._files = 0

    @property
    def is_full(self) -> bool:
        """Whether each pair has as many prompts as are wanted; further texts could only exchange them."""
        return all(len(heap) == self._per_pair for heap in self._best)

    def add(self, document: Document) -> None:
        """Looks through one more file."""
        if not self._per_pair:
            return
        taken, number = [0] * len(self._pairs), self._files
        self._files += 1
        for text in _texts(document, self._language, self._tokenizer):
            for site, byte, pair in text.sites(self._groups, self._pairs, number):
                best, key = self._best[pair], (taken[pair], _hash(document.path, text.begins + site))
                if len(best) == self._per_pair and _order(key) < best[0][0]:
                    continue
                cut = text.cut(site, byte, *(identifier.text for identifier in self._pairs[pair]))
                if cut is None:
                    continue
                tokens, here, there = cut
                if here == there:
                    self._coincide[pair] += 1
                    continue
                taken[pair] += 1
                prompt = Prompt(self._shortened(tokens), here, there, pair, number, document.path)
                (heapq.heappush if len(best) < self._per_pair else heapq.heappushpop)(best, (_order(key), prompt))

    def _shortened(self, tokens):
        begin = self._tokenizer.begin
        if begin is None:
            return tokens[-self._max_length :]
        return np.concatenate([[begin], tokens[len(tokens) - min(len(tokens), self._max_length - 1) :]]).astype(
            np.int32
        )

    def found(self) -> tuple[list[Prompt], list[str]]:
        """(prompts ordered by pair, messages); a message says which pair was rejected because its first tokens coincide."""
        messages, prompts = [], []
        for (here, there), heap, coincide in zip(self._pairs, self._best, self._coincide, strict=True):
            if coincide > len(heap):
                title = self._language.title
                messages.append(f"pair {here.text}/{there.text} rejected in {title}: both begin with the same token.")
            else:
                prompts += [prompt for _, prompt in sorted(heap, key=lambda item: item[0], reverse=True)]
        return prompts, messages


def _texts(document: Document, language: Language, tokenizer: Tokenizer) -> Iterator["_Text"]:
    """What prompts are cut out of, none longer than its text: a file of code, a paragraph of running text."""
    if language.prompts == "cloze":
        for number, (begins, paragraph) in enumerate(cloze.paragraphs(document.text)):
            yield _Paragraph(document.path, paragraph, language, tokenizer, begins, number)
    else:
        yield _Text(document.path, document.text, language, tokenizer)


class _Text:
    """A text in which prompts are looked for: here a whole file of code.

    begins: where it begins in its file, in characters. fewest: tokens of context.
    """

    begins, fewest = 0, FEWEST_TOKENS

    def __init__(self, path: str, text: str, language: Language, tokenizer: Tokenizer):
        self.path, self.text, self.language, self.tokenizer = path, text, language, tokenizer

    def sites(self, groups: Groups, pairs: Sequence, number: int) -> Iterator[tuple[int, int, int]]:
        """(offset of a use in characters and in bytes, the pair that it goes to), one identifier after the other.

        `groups`: the numbers of the `pairs` by their identifier here. `number`: of the file; pairs with the same identifier
        take turns, from file to file another one first.
        """
        code = code_only(self.text, self.language)
        for identifier, same in groups.items():
            uses = sites(code, identifier, self.language)
            byte_of = _bytes_before(self.text, uses)
            for i, site in enumerate(sorted(uses, key=lambda site: _hash(self.path, site))):
                yield site, byte_of[site], same[(i + number) % len(same)]

    @functools.cached_property
    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        return _offsets(self.tokenizer, self.text)

    def cut(self, site: int, byte: int, here: str, there: str) -> tuple[np.ndarray, int, int] | None:
        """(prompt ids, first id of `here`, first id of `there`) or None if no token begins where the identifier does.

        `site`, `byte`: where the identifier begins, in characters and in bytes.
        """
        text, (ids, offsets) = self.text, self._whole
        token = int(np.searchsorted(offsets, byte, side="right")) - 1
        glued = byte - offsets[token]  # bytes of the first token that stand before the identifier
        if glued > 1 or (glued and text[site - 1] != " ") or token < self.fewest:
            return None
        if offsets[token + 1] - byte > len(here.encode()):
            return None
        start = max(0, site - BEFORE)
        behind = text[site + len(here) : site + len(here) + BEHIND]
        local = byte - len(text[:start].encode())
        firsts = []
        for name in (here, there):
            near_ids, near_offsets = _offsets(self.tokenizer, text[start:site] + name + behind)
            near = int(np.searchsorted(near_offsets, local, side="right")) - 1
            if local - near_offsets[near] != glued or near_offsets[near + 1] - local > len(name.encode()):
                return None
            same = min(near, token, FEWEST_TOKENS)
            if not np.array_equal(near_ids[near - same : near], ids[token - same : token]):
                return None
            firsts.append(int(near_ids[near]))
        return (ids[:token], *firsts) if firsts[0] == ids[token] else None


class _Paragraph(_Text):
    """A paragraph of running text; `place`: its number in the file."""

    fewest = 1  # `cloze` counts characters and words

    def __init__(self, path: str, text: str, language: Language, tokenizer: Tokenizer, begins: int, place: int):
        super().__init__(path, text, language, tokenizer)
        self.begins, self.place = begins, place

    def sites(self, groups: Groups, pairs: Sequence, number: int) -> Iterator[tuple[int, int, int]]:
        words = cloze.Words(self.text)
        for identifier in (one for one in groups if one.text in words.sites):
            same = groups[identifier]
            pair = same[(self.place + number) % len(same)]
            if (site := words.blank(*(one.text for one in pairs[pair]))) is not None:
                yield site, len(self.text[:site].encode()), pair


def _by_identifier(pairs) -> Groups:
    """The numbers of the pairs with the same identifier here."""
    groups: Groups = {}
    for pair, (here, _) in enumerate(pairs):
        groups.setdefault(here, []).append(pair)
    return groups


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


def slots(prompts: list[Prompt], here_is_primary: bool, max_length: int, padding: int) -> dict[str, np.ndarray]:
    """Prompts as arrays: tokens int32 [N, T] padded on the right, position [N] of the last prompt token, and per
    prompt primary_id, new_id, pair, prompt (the file), subset (0)."""
    tokens_NxT = np.full((len(prompts), max_length), padding, np.int32)
    for i, prompt in enumerate(prompts):
        tokens_NxT[i, : len(prompt.tokens)] = prompt.tokens
    primary, new = ("here", "there") if here_is_primary else ("there", "here")

    def column(values):
        return np.array(list(values), np.int32)

    return {
        "tokens": tokens_NxT,
        "position": column(len(prompt.tokens) - 1 for prompt in prompts),
        "primary_id": column(getattr(prompt, primary) for prompt in prompts),
        "new_id": column(getattr(prompt, new) for prompt in prompts),
        "pair": column(prompt.pair for prompt in prompts),
        "prompt": column(prompt.prompt for prompt in prompts),
        "subset": np.zeros(len(prompts), np.int32),
    }
