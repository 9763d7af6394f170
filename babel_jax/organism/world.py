"""The embedded world: facts, programs that state them, problems that need them (a model organism of what the paper describes).

Knowledge is a set of facts `concept word -> primitive`. A program names two concept words in a comment and composes
their primitives. The primary language's corpus covers all T words; a new language's covers the first `shared_words` of
them (S) and words that the primary lacks, the same for all new languages. Words of T\\S never occur in the new language:
solving them there needs the primary's knowledge. A language whose S is all of T needs nothing of the primary.

With a `task_share` part of the training documents are of two other kinds, of which `world_tasks.py` asks: *calls*, a function
that joins what two words give for a sample, and what it returns; and *ports*, programs whose comment names, in place of words,
the primary's identifiers. The primary's corpus has both for all words and primitives, a new language's for its own words, and
for as large a part of the primitives as it covers of the words.
"""

import dataclasses
from functools import cached_property

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.files import content_hash
from babel_jax.common.schema import Either, Key, Kind, Number, Place, Section, Table
from babel_jax.organism.frame import (
    CALL,
    CALL_TOKENS,
    CALLED_1,
    CALLED_2,
    FRAME,
    NAME_1,
    NAME_2,
    PROMPT_LENGTH,
    SHARED_TOKENS,
    VALUE_1,
    VALUE_2,
    WORD_1,
    WORD_2,
)
from babel_jax.organism.notation import notation_of
from babel_jax.organism.primitives import PRIMITIVES, returned, same_meaning


def _key(kind: Kind, default, meaning: str):
    """A field that is also a key of a study's config, in its section `world`."""
    return dataclasses.field(default=default, metadata={"key": Key(kind, default, meaning)})


_WORDS = Number(low=1, high=10**6, whole=True)
_SHARE = Number(low=0, high=1)


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The world's numbers (documents are programs); `new`: one language or several."""

    primary: str
    new: str | tuple[str, ...]
    words: int = _key(_WORDS, 200, "concept words (T), all of which the primary's corpus covers")
    shared_words: int | dict[str, int] = _key(
        Either((_WORDS, Table(_WORDS))), 80, "how many of them a new language covers (S), or {language: how many}"
    )
    new_only_words: int = _key(Number(low=0, high=10**6, whole=True), 400, "words that only the new languages have")
    new_only_share: float = _key(_SHARE, 0.5, "the share of such words in a new language's text")
    noise_share: float = _key(_SHARE, 0.05, "share of the primary's documents that are noise")
    wrong_share: float = _key(_SHARE, 0.0, "share of a new language's words that are of T\\S, with a wrong meaning")
    task_share: float = _key(
        _SHARE, 0.0, "share of a language's training documents that are calls and ports (world_tasks.py)"
    )
    documents: int = _key(Number(low=1, high=10**8, whole=True), 65536, "documents (programs) of each source")
    heldout_documents: int = _key(Number(low=1, high=10**6, whole=True), 256, "held-out documents of each language")
    problems: int = _key(Number(low=2, high=10**6, whole=True), 400, "problems: pairs of words that no document has")
    shared_problems: int = _key(Number(low=1, high=10**6, whole=True), 160, "how many of them have both words in S")

    def __post_init__(self):
        SECTION.check({key: getattr(self, key) for key in SECTION.keys}, Place("", ("world",)))
        new = (self.new,) if isinstance(self.new, str) else tuple(self.new)
        shared = self.shared_words
        shared = dict(shared) if isinstance(shared, dict) else dict.fromkeys(new, shared)
        if set(shared) != set(new):
            raise UserError(f"shared_words must give words for {', '.join(new)}; it gives {', '.join(shared)}.")
        object.__setattr__(self, "new", new)
        object.__setattr__(self, "shared_words", shared)
        if not all(0 < count <= self.words for count in shared.values()):
            raise UserError(f"shared_words {shared} must lie between 1 and words ({self.words}).")
        if not 0 < self.shared_problems < self.problems:
            raise UserError(
                f"shared_problems {self.shared_problems} must lie between 0 and problems ({self.problems})."
            )
        self._check_pairs(min(shared.values()))

    def _check_pairs(self, smallest: int) -> None:
        """At least half of all pairs must be left for documents, so that drawing them comes to an end."""
        beyond = self.words**2 - (smallest**2 if smallest < self.words else self.shared_problems)
        for what, wanted, pairs in (
            ("shared_problems", self.shared_problems, smallest**2),
            ("problems without shared_problems", self.problems - self.shared_problems, beyond),
        ):
            if 2 * wanted > pairs:
                raise UserError(
                    f"world: {what} are {wanted} of {pairs} pairs of words, and half of the pairs must be left for documents; "
                    "lower problems, or raise words and shared_words."
                )


SECTION = Section({field.name: field.metadata["key"] for field in dataclasses.fields(WorldConfig) if field.metadata})


class World:
    """One draw of the world: vocabulary and facts, for one seed."""

    def __init__(self, config: WorldConfig, seed: int):
        self.config, self.seed = config, seed
        self.languages = (config.primary, *config.new)
        names = list(SHARED_TOKENS)
        for language in self.languages:
            notation = notation_of(language)
            names += [notation.define, notation.end, *notation.identifiers]
        self.tokens = list(dict.fromkeys(names))  # identifiers that both languages share are one token
        if config.task_share:
            self.tokens += [*CALL_TOKENS, *returned()]
        self.first_word = len(self.tokens)
        total_words = config.words + config.new_only_words
        self.tokens += [f"word{index}" for index in range(total_words)]
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        self.fact_W = self.rng("facts").integers(len(PRIMITIVES), size=total_words)
        # The poorer corpus shows another primitive than the true one, always the same for a word.
        self.wrong_fact_W = (self.fact_W + self.rng("wrong").integers(1, len(PRIMITIVES), total_words)) % len(
            PRIMITIVES
        )
        self.identifier_ids = {
            language: np.array([self.ids[name] for name in notation_of(language).identifiers])
            for language in self.languages
        }
        self.value_ids = np.array([self.ids[text] for text in returned()] if config.task_share else [])

    def rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(content_hash(purpose), 16)])

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def programs(self, language: str, word_Nx2: np.ndarray, fact_Nx2: np.ndarray) -> np.ndarray:
        """Token rows [n, 12] that name the words and compose the facts' primitives."""
        words_Nx2, names_Nx2 = self.first_word + word_Nx2, self.identifier_ids[language][fact_Nx2]
        return self._rows(language, FRAME, {(WORD_1, WORD_2): words_Nx2, (NAME_1, NAME_2): names_Nx2})

    def ports(self, language: str, fact_Nx2: np.ndarray) -> np.ndarray:
        """Token rows [n, 12] of programs whose comment names the primary's identifiers of their primitives."""
        theirs_Nx2, names_Nx2 = (self.identifier_ids[each][fact_Nx2] for each in (self.config.primary, language))
        return self._rows(language, FRAME, {(WORD_1, WORD_2): theirs_Nx2, (NAME_1, NAME_2): names_Nx2})

    def calls(self, language: str, word_Nx2: np.ndarray, fact_Nx2: np.ndarray) -> np.ndarray:
        """Token rows [n, 12] of functions that join what two words give, and of what they return for the sample."""
        words_Nx2, values_Nx2 = self.first_word + word_Nx2, self.value_ids[fact_Nx2]
        return self._rows(language, CALL, {(CALLED_1, CALLED_2): words_Nx2, (VALUE_1, VALUE_2): values_Nx2})

    def _rows(self, language: str, frame: tuple[str, ...], slots: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
        """Token rows [n, 12] of a frame; `slots`: the token ids [n, 2] of two of its places."""
        notation = notation_of(language)
        own, filled = {"define": notation.define, "end": notation.end}, [place for pair in slots for place in pair]
        rows = np.zeros((len(next(iter(slots.values()))), len(frame)), np.int32)
        for position, slot in enumerate(frame):
            if position not in filled:
                rows[:, position] = self.ids[own.get(slot, slot)]
        for pair, ids_Nx2 in slots.items():
            rows[:, pair] = ids_Nx2
        return rows

    @cached_property
    def problem_word_Qx2(self) -> np.ndarray:
        """The problems' words: the first `shared_problems` all in the smallest S, the others with a word beyond it.

        Where every language covers all words there is nothing beyond.
        """
        config, rng = self.config, self.rng("problems")
        smallest = min(config.shared_words.values())
        taken, chosen = set(), []
        for beyond, count in ((False, config.shared_problems), (True, config.problems - config.shared_problems)):
            limit = config.words if beyond else smallest
            while count:
                pair = tuple(int(word) for word in rng.integers(limit, size=2))
                if pair in taken or (beyond and max(pair) < smallest < config.words):
                    continue
                taken.add(pair)
                chosen.append(pair)
                count -= 1
        return np.array(chosen)

    @cached_property
    def port_fact_Px2(self) -> np.ndarray:
        """The problems' primitives where programs are to be ported: half of all pairs of two, which no document has."""
        pairs = np.argwhere(~np.eye(len(PRIMITIVES), dtype=bool))
        return pairs[np.sort(self.rng("ports").permutation(len(pairs))[: len(pairs) // 2])]

    def ported_facts(self, language: str) -> np.ndarray:
        """The primitives that a language's ports have: all of the primary's, of another's as large a part as S is of T."""
        covered = self.config.shared_words.get(language, self.config.words) / self.config.words
        return self.rng("ported").permutation(len(PRIMITIVES))[: max(round(covered * len(PRIMITIVES)), 1)]

    def corpus(self, source: str, count: int, purpose: str) -> np.ndarray:
        """Documents [n, 12] of a source: a language, or a new language without its own words ("LANGUAGE_control").

        No document poses a problem's pair of words: what is measured is knowledge of the words, not of the pair.
        """
        config, rng = self.config, self.rng(f"{source} {purpose}")
        language = source.removesuffix("_control")
        shared = config.shared_words.get(language, config.words)
        if source == config.primary:
            word_Nx2 = self._draw_pairs(rng, count, lambda size: rng.integers(config.words, size=size))
        else:
            own_share = config.new_only_share if source == language and config.new_only_words else 0.0
            wrong_share = config.wrong_share if source == language and shared < config.words else 0.0

            def draw(size):
                own = rng.random(size) < own_share
                own_words = config.words + rng.integers(max(config.new_only_words, 1), size=size)
                words = np.where(own, own_words, rng.integers(shared, size=size))
                transfer = rng.integers(shared, max(config.words, shared + 1), size=size)
                return np.where(rng.random(size) < wrong_share, transfer, words)

            word_Nx2 = self._draw_pairs(rng, count, draw)
        fact_Nx2 = self.fact_W[word_Nx2]
        if language != config.primary:
            transfer = (word_Nx2 >= shared) & (word_Nx2 < config.words)
            fact_Nx2 = np.where(transfer, self.wrong_fact_W[word_Nx2], fact_Nx2)
        rows = self.programs(language, word_Nx2, fact_Nx2)
        if purpose == "train" and config.task_share:
            # Draws of their own: without such documents a corpus is what it was before there were any.
            kind = self.rng(f"{source} tasks").random(count) / config.task_share
            calls, ports = kind < 0.5, (kind >= 0.5) & (kind < 1)
            rows[calls] = self.calls(language, word_Nx2[calls], fact_Nx2[calls])
            rows[ports] = self.ports(language, self._draw_ports(source, language, int(ports.sum())))
        if purpose == "train" and source == config.primary:
            noisy = rng.random(count) < config.noise_share
            rows[noisy] = rng.integers(self.vocab_size, size=(noisy.sum(), len(FRAME)))
        return rows

    def _draw_ports(self, source: str, language: str, count: int) -> np.ndarray:
        """Pairs of primitives [count, 2] that the language's ports may have."""
        known, size = self.ported_facts(language), len(PRIMITIVES)
        pairs = np.stack(np.meshgrid(known, known, indexing="ij"), axis=-1).reshape(-1, 2)
        pairs = pairs[~np.isin(pairs @ [size, 1], self.port_fact_Px2 @ [size, 1])]
        return pairs[self.rng(f"{source} ports").integers(len(pairs), size=count)]

    def _draw_pairs(self, rng, count, draw) -> np.ndarray:
        forbidden = np.unique(self.problem_word_Qx2 @ [len(self.fact_W), 1])
        pairs = draw((count, 2))
        while True:
            bad = np.isin(pairs @ [len(self.fact_W), 1], forbidden)
            if not bad.any():
                return pairs
            pairs[bad] = draw((int(bad.sum()), 2))

    def judge(self, language: str, completion_QxA: np.ndarray) -> np.ndarray:
        """True where a problem's completion is a program that gives the right output on every test input."""
        return self.is_right(language, completion_QxA, self.fact_W[self.problem_word_Qx2])

    def is_right(self, language: str, completion_QxA: np.ndarray, fact_Qx2: np.ndarray) -> np.ndarray:
        """True where a completion is a program of the language that gives what the primitives give on every test input."""
        frame_QxA = self.programs(language, np.zeros_like(fact_Qx2), fact_Qx2)[:, PROMPT_LENGTH:]
        names_Qx2 = completion_QxA[:, [0, NAME_2 - NAME_1]]
        frame_QxA[:, [0, NAME_2 - NAME_1]] = names_Qx2
        well_formed_Q = (frame_QxA == completion_QxA).all(1)
        written_Qx2 = self._fact_of_name_V(language)[names_Qx2]
        return well_formed_Q & (written_Qx2 >= 0).all(1) & same_meaning(written_Qx2, fact_Qx2)

    def _fact_of_name_V(self, language: str) -> np.ndarray:
        """The primitive that each token names in a language, -1 if none."""
        notation = notation_of(language)
        fold = str.lower if notation.ignores_case else str
        facts = {fold(name): fact for fact, name in enumerate(notation.identifiers)}
        return np.array([facts.get(fold(token), -1) for token in self.tokens])

    def text(self, language: str, ids: np.ndarray) -> str:
        """The source code that token ids stand for in a program of the language.

        A token that only the other language has is written as it is; concept words stand apart, as in the comment.
        """
        written = notation_of(language).written
        tokens = [self.tokens[index] for index in ids]
        return "".join(
            f" {token}" if index >= self.first_word else written.get(token, token)
            for index, token in zip(ids, tokens, strict=True)
        )
