"""Texts without a corpus: files of several languages as the material that a model is probed on, read with its own tokenizer.

Nothing is trained on these texts, so all of them are held out from training as far as this package knows. What is held out
here is from each other: a file gives rows (on which losses are taken and neurons are counted) or prompts (at which the
working language is read and neurons are changed), never both. Files come in the order of a hash of their paths; of the
first ones, which are needed for rows, every second goes to prompts, and so do all further ones.

They are cleaned as those of a corpus are, running text by the paragraph, but that near-copies of files stay and nothing is
redacted: what is read here is not kept.
Reading stops when rows and prompts are there, and for prompts at MOST_MINED bytes, for some pairs are never found.
"""

import collections
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.files import content_hash
from babel_jax.common.material import Asked, Material
from babel_jax.corpus import call_sites, corpus_tasks, manifest, prose, rules, slot_columns, sources
from babel_jax.corpus.corpus_files import FEWEST_PAIRS
from babel_jax.corpus.document import Document
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.questions import MOST_READ, TaskTexts
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.languages import registry
from babel_jax.languages.language import Language, Pairs

MOST_MINED = 4_000_000  # bytes of a language that are looked through for prompts: some 20 seconds
FEWEST_ROWS = 2  # of a language: intervals are drawn over rows
FEWEST_DOCUMENTS = 16  # that give rows, where there are so many: none gives more than its part
_LANGUAGE = re.compile(r",(?=\w+=)")


@dataclasses.dataclass(frozen=True)
class Amounts:
    """How much of the texts a model reads.

    Attributes:
      rows: of each language.
      row_tokens: of each row, T; a model that reads fewer gets shorter rows.
      prompt_tokens: the context of a prompt, on whose left the rest is cut off.
      per_pair: the most prompts of a pair of identifiers in a language; 0: none are looked for.
    """

    rows: int = 64
    row_tokens: int = 512
    prompt_tokens: int = 64
    per_pair: int = 20


def parsed(text: str) -> Manifest:
    """What `--texts` names: NAME=PLACE[,PLACE…],NAME=PLACE… with the primary language first, or the file of a manifest.

    Raises:
      UserError: it is neither.
    """
    if "=" not in text:
        if text.partition(":")[0].endswith((*manifest.DATA_SUFFIXES, ".py")):
            return manifest.load(text)
        raise UserError(f"--texts is {text}; write NAME=FOLDER,NAME=FOLDER, or name the file of a manifest.")
    given: dict[str, list[str]] = {}
    for part in _LANGUAGE.split(text):
        name, _, listed = part.partition("=")
        given.setdefault(name, []).extend(place for place in listed.split(",") if place)
    return of(given)


def of(texts: Mapping[str, object]) -> Manifest:
    """Texts as a manifest's languages give them: language -> a place, a source (a dict with `path`, `columns`, …), or several.

    Raises:
      UserError: as `manifest.check`.
    """
    languages = {}
    for name, given in texts.items():
        listed = given if isinstance(given, list | tuple) else [given]
        languages[name] = {"sources": [one if isinstance(one, dict) else str(one) for one in listed]}
    return manifest.check({"languages": languages}, "texts")


def material(
    texts: Manifest | Mapping[str, object],
    tokenizer: Tokenizer,
    *,
    vocab_size: int,
    longest: int,
    amounts: Amounts = Amounts(),
) -> Material:
    """Rows and prompts of texts, for a model whose own tokenizer is given.

    Each new language's prompts are those of its own pairs with the primary; the primary's are those of its pairs with the
    first of them that has any. A language with prompts of too few pairs is read without prompts; `about` says so.

    Args:
      texts: a manifest, of which the languages and the cleaning count, or what `of` takes; the primary first.
      vocab_size, longest: of the model: rows of its embedding, positions.

    Raises:
      UserError: fewer than two languages, one whose texts cannot be read or are too short, or a tokenizer of another model.
    """
    if not isinstance(texts, Manifest):
        texts = of(texts)
    languages = {name: texts.language(name) for name in texts.languages}
    if len(languages) < 2:
        raise UserError(
            f"the texts are of {next(iter(languages))} alone; probes compare languages: give those of at least two."
        )
    check_belongs(tokenizer, vocab_size)
    for language in languages.values():
        registry.remember(language)
    amounts = dataclasses.replace(
        amounts,
        row_tokens=min(amounts.row_tokens, longest),
        prompt_tokens=min(amounts.prompt_tokens, amounts.row_tokens, longest),
    )
    pairs_of, messages = _pairs(languages, amounts)
    read = {name: _Reader(language, tokenizer, pairs_of.get(name), amounts) for name, language in languages.items()}
    for here in read.values():
        here.read(texts)
        messages += here.messages
    primary = next(iter(languages))
    slots, of_pairs, said = _slots(read, primary)
    known = {here.other: here.pairs for here in read.values() if here.other}
    for name, here in slots.items():
        slots[name] = here | slot_columns.names(here, primary, read[name].other, known, tokenizer)
    about = {
        "row_tokens": amounts.row_tokens,
        "prompt_tokens": amounts.prompt_tokens,
        "languages": {name: here.about(texts.languages[name].sources) for name, here in read.items()},
        "pairs": of_pairs,
        "messages": messages + said,
    }
    tasks = {name: here.tasks(_counterpart(languages, name), about["messages"]) for name, here in read.items()}
    heldout = _heldout({name: here.rows for name, here in read.items()}, slots)
    return bare(
        tuple(languages), tokenizer, vocab_size, amounts.row_tokens, heldout=heldout, slots=slots, about=about
    ).asking(tasks)


def bare(languages: tuple[str, ...], tokenizer: Tokenizer | None, vocab_size: int, length: int, **parts) -> Material:
    """A material for a model with a tokenizer of its own (None: its tokens are ids), without rows and prompts but for `parts`."""
    if tokenizer:
        check_belongs(tokenizer, vocab_size)
    parts = {"heldout": {}, "slots": {}} | parts
    return Material(
        primary=languages[0],
        new=languages[1],
        vocab_size=vocab_size,
        max_length=length,
        frozen_rows=0,
        sources={},
        source_language={},
        loss_weight_V=np.ones(vocab_size, np.float32),
        document_end=tokenizer.document_end if tokenizer else -1,
        document_begin=-1 if tokenizer is None or tokenizer.begin is None else tokenizer.begin,
        problems=None,
        fingerprint=_fingerprint(tokenizer, parts["heldout"], parts["slots"]),
        token_text=(lambda token: tokenizer.decode([token])) if tokenizer else None,
        **parts,
    )


def check_belongs(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Refuses a tokenizer with ids that the model has no rows for. A model may have more rows than its tokenizer has ids."""
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model {vocab_size}; take the model's own."
        )


def _pairs(languages: dict[str, Language], amounts: Amounts) -> tuple[dict[str, tuple[str, Pairs]], list[str]]:
    """(language -> (the new language of its pairs, the pairs as (the primary's, the new one's identifier)), messages)."""
    primary, *news = languages
    found, messages = {}, []
    for new in news if amounts.per_pair else ():
        try:
            pairs = registry.identifier_pairs(languages[primary], languages[new])
        except UserError as error:
            messages.append(f"no prompts in {languages[new].title}: {error}")
            continue
        found[new] = (new, pairs)
        found.setdefault(primary, (new, pairs))
    return found, messages


def _counterpart(languages: dict[str, Language], name: str) -> Language:
    """The language that one's tasks compare it with: the primary, or of the primary the first new one."""
    primary, new, *_ = languages
    return languages[primary if name != primary else new]


class _Reader:
    """Reads one language's texts into rows and prompts."""

    def __init__(self, language: Language, tokenizer: Tokenizer, pairs: tuple[str, Pairs] | None, amounts: Amounts):
        self.language, self._tokenizer, self._amounts = language, tokenizer, amounts
        self.other, self.pairs = pairs or (None, ())
        self._rows = _Rows(tokenizer, amounts.rows, amounts.row_tokens)
        turned = self.other == language.name
        mined = [pair[::-1] if turned else pair for pair in self.pairs]
        sizes = amounts.prompt_tokens, amounts.per_pair
        self._miner = call_sites.Miner(language, mined, tokenizer, *sizes) if mined else None
        self._mined = 0  # bytes
        self._left_out = collections.Counter()
        self.files, self.messages = 0, []
        self.rows: dict[str, np.ndarray] = {}
        self._for_tasks: list[Document] = []
        self._bytes = 0  # of these

    def read(self, texts: Manifest) -> None:
        """Reads as far as is needed; then `rows`, `slots()`, `about()` and `messages` say what came of it."""
        documents = self._kept(self._fit(texts))
        for number, document in enumerate(documents):
            self.files += 1
            is_mined = self._miner is None or self._miner.is_full or self._mined >= MOST_MINED
            if self._rows.is_full and is_mined:
                break
            if not self._rows.is_full and (is_mined or number % 2 == 0):
                self._rows.add(document.text)
            else:
                self._miner.add(document)
                self._mined += len(document.content)
        title = self.language.title
        if not self.files:
            raise UserError(
                f"none of the {sum(self._left_out.values())} {title} files is fit to be read ({self._reasons()}); give others."
            )
        self.rows = self._rows.cut()
        found = len(self.rows["tokens"])
        if found < FEWEST_ROWS:
            raise UserError(
                f"the texts of {title} are too short: {self._rows.tokens} tokens make {found} rows of "
                f"{self._amounts.row_tokens}, and {FEWEST_ROWS} are the least; give more, or ask for shorter rows."
            )
        if found < self._amounts.rows:
            self.messages.append(
                f"{title} has {found} rows of the {self._amounts.rows} that are asked for; give more texts."
            )
        if self._left_out:
            self.messages.append(f"{title}: {sum(self._left_out.values())} files left out ({self._reasons()}).")

    def _kept(self, documents: Iterator[Document]) -> Iterator[Document]:
        """The documents, of which the first ones are kept for tasks: these are asked about what is read anyway."""
        for document in documents:
            if self._bytes < MOST_READ:
                self._for_tasks.append(document)
                self._bytes += len(document.content)
            yield document

    def _reasons(self):
        return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in self._left_out.most_common())

    def _fit(self, texts: Manifest) -> Iterator[Document]:
        """The documents that the cleaning keeps."""
        seen, unique = set(), prose.Unique()
        for document in sources.drawn(texts, self.language.name):
            reason = rules.unfit(document, self.language, texts.clean)
            if not reason and prose.is_prose(self.language):
                cleaned, _ = prose.clean(document, self.language)
                document = cleaned.holding(unique.of(cleaned.keys, cleaned.paragraphs))
                reason = None if document.content else "size"
            reason = reason or rules.poor(document, self.language, texts.clean)
            digest = hashlib.sha256(document.content or b"").digest()
            if not reason and texts.clean.exact_duplicates and digest in seen:
                reason = "duplicate"
            if reason:
                self._left_out[reason] += 1
            else:
                seen.add(digest)
                yield document

    def slots(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """(prompts as `call_sites.slots` has them, messages); to be asked of a language that has pairs."""
        prompts, messages = self._miner.found()
        is_primary = self.other != self.language.name
        found = call_sites.slots(prompts, is_primary, self._amounts.prompt_tokens, self._tokenizer.padding)
        return found | slot_columns.spaced(found, is_primary, self._tokenizer), messages

    def tasks(self, other: Language, messages: list[str]) -> dict[str, Asked]:
        """What is asked in this language; what is not is added to the messages."""
        try:
            pairs = registry.identifier_pairs(other, self.language)
        except UserError:  # said where prompts are looked for
            pairs = ()
        documents, longest = self._for_tasks, self._amounts.row_tokens
        texts = TaskTexts(self.language, other, pairs, lambda: documents, None, self._tokenizer, longest)
        asked, reasons = corpus_tasks.asked(texts)
        messages += reasons
        return asked

    def about(self, given: tuple[manifest.GivenSource, ...]) -> dict:
        counted = self.rows["bytes"] * self.rows["loss"]
        return {
            "title": self.language.title,
            "sources": [source.path for source in given],
            "files": self.files,
            "left_out": dict(self._left_out),
            "rows": len(self.rows["tokens"]),
            "bytes": int(counted.sum()),
        }


class _Rows:
    """Documents of one language end to end, cut into rows of T + 1 tokens.

    Where the tokenizer begins a text with a mark, each document and each row begin with it.
    """

    def __init__(self, tokenizer: Tokenizer, rows: int, length: int):
        self._tokenizer, self._length, self._wanted = tokenizer, length, rows * (length + 1)
        self._most = max(length + 1, -(-self._wanted // FEWEST_DOCUMENTS))
        self._parts, self._rest = [], []  # (ids, whether the document ends behind them)
        self.tokens = 0

    @property
    def is_full(self) -> bool:
        return self.tokens >= self._wanted

    def add(self, text: str) -> None:
        ids = self._tokenizer.encode(text)
        parts = [ids[start : start + self._most] for start in range(0, len(ids), self._most)]
        for number, part in enumerate(parts):
            (self._rest if number else self._parts).append((part, number == len(parts) - 1))
        self.tokens += len(parts[0]) + 1

    def cut(self) -> dict[str, np.ndarray]:
        """ "tokens" int32 [N, T + 1], "loss" bool and "bytes" float [N, T]; of a material's `heldout`, all but "knowledge"."""
        parts = self._parts if self.is_full else self._parts + self._rest
        begin, end = self._tokenizer.begin, self._tokenizer.document_end
        mark = [] if begin is None else [begin]
        tokens_S = np.concatenate([np.r_[mark, ids, end] for ids, _ in parts]).astype(np.int32)
        # An end that stands where the document goes on is nothing that the model could know.
        known_S = np.concatenate([np.r_[[True] * (len(mark) + len(ids)), ends] for ids, ends in parts])
        self.tokens = len(tokens_S)
        rows, at, most = [], 0, self._wanted // (self._length + 1)
        while len(rows) < most:
            before = mark if tokens_S[at : at + 1].tolist() != mark else []
            stop = at + self._length + 1 - len(before)
            if stop > len(tokens_S):
                break
            rows.append((np.r_[before, tokens_S[at:stop]], np.r_[[True] * len(before), known_S[at:stop]]))
            at = stop
        tokens_NxT1 = np.array([row for row, _ in rows], np.int32).reshape(len(rows), self._length + 1)
        known_NxT1 = np.array([known for _, known in rows], bool).reshape(tokens_NxT1.shape)
        first_NxT = np.isin(tokens_NxT1[:, :-1], [*mark, end])  # a document's first token is predicted by nothing
        return {
            "tokens": tokens_NxT1,
            "loss": known_NxT1[:, 1:] & ~first_NxT,
            "bytes": self._tokenizer.token_bytes_V[tokens_NxT1[:, 1:]].astype(np.float64),
        }


def _slots(read: dict[str, _Reader], primary: str) -> tuple[dict, dict, list[str]]:
    """(slots by language, what is said of the pairs, messages)."""
    slots, of_pairs, messages = {}, {}, []
    for name, here in read.items():
        if here.other is None:
            continue
        arrays, said = here.slots()
        messages += said
        counts = np.bincount(arrays["pair"], minlength=len(here.pairs)).tolist()
        names = [f"{first.text}/{second.text}" for first, second in here.pairs]
        about = of_pairs.setdefault(f"{primary}-{here.other}", {"names": names, "prompts": {}})
        about["prompts"][name] = counts
        if (usable := sum(map(bool, counts))) >= FEWEST_PAIRS:
            slots[name] = arrays
        else:
            messages.append(
                f"no prompts in {here.language.title}: {usable} of {len(counts)} pairs have some and {FEWEST_PAIRS} are the "
                "least; give more files."
            )
    return slots, of_pairs, messages


def _heldout(rows: dict[str, dict], slots: dict[str, dict]) -> dict[str, dict]:
    """Rows with the targets that bear knowledge: those that begin an identifier of the prompts, as in a corpus."""
    identifiers = [here[side] for here in slots.values() for side in ("primary_id", "new_id")]
    known = np.unique(np.concatenate(identifiers)) if identifiers else np.zeros(0, np.int32)
    return {
        name: here | {"knowledge": here["loss"] & np.isin(here["tokens"][:, 1:], known)} for name, here in rows.items()
    }


def _fingerprint(tokenizer: Tokenizer | None, heldout: dict, slots: dict) -> str:
    digest = hashlib.sha256(json.dumps([tokenizer.sha, tokenizer.begin] if tokenizer else None).encode())
    for part in (heldout, slots):
        for language, arrays in sorted(part.items()):
            for name, values in sorted(arrays.items()):
                digest.update(f"{language}/{name} {values.shape} {values.dtype}\n".encode() + values.tobytes())
    return content_hash(digest.hexdigest())


def summary(about: dict) -> Iterator[str]:
    """What is to be read, a line each, from `Material.about`: rows, prompts, and what is missing."""
    for here in about["languages"].values():
        yield (
            f"{here['title']}: {here['rows']} rows of {about['row_tokens']} tokens, {here['bytes']} bytes, "
            f"from {here['files']} files."
        )
    for pair, here in about["pairs"].items():
        for name, counts in here["prompts"].items():
            usable = sum(map(bool, counts))
            yield f"{pair}: {sum(counts)} prompts in {registry.title(name)}, of {usable} of {len(counts)} pairs."
    yield from about["messages"]
