"""The embedded world: facts, programs that state them, problems that need them (a model organism of what the paper describes).

Knowledge is a set of facts `concept word -> primitive`. A program names two concept words in a comment and composes
their primitives. The primary language's corpus covers all T words; a new language's covers the first `shared_words` of
them (S) and words that the primary lacks, the same for all new languages. Words of T\\S never occur in the new language:
solving them there needs the primary's knowledge. A language whose S is all of T needs nothing of the primary.
"""

import dataclasses
from functools import cached_property

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.files import content_hash
from babel_jax.common.material import ArrayRows, Material, Problems
from babel_jax.common.schema import Either, Key, Kind, Number, Place, Section, Table
from babel_jax.organism.frame import FRAME, NAME_1, NAME_2, PROMPT_LENGTH, SHARED_TOKENS, WORD_1, WORD_2
from babel_jax.organism.notation import notation_of
from babel_jax.organism.primitives import PRIMITIVES, meanings


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

    def rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(content_hash(purpose), 16)])

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def programs(self, language: str, word_Nx2: np.ndarray, fact_Nx2: np.ndarray) -> np.ndarray:
        """Token rows [n, 12] that name the words and compose the facts' primitives."""
        notation = notation_of(language)
        own = {"define": notation.define, "end": notation.end}
        rows = np.zeros((len(word_Nx2), len(FRAME)), np.int32)
        for position, slot in enumerate(FRAME):
            if position not in (WORD_1, WORD_2, NAME_1, NAME_2):
                rows[:, position] = self.ids[own.get(slot, slot)]
        rows[:, [WORD_1, WORD_2]] = self.first_word + word_Nx2
        rows[:, [NAME_1, NAME_2]] = self.identifier_ids[language][fact_Nx2]
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
        if purpose == "train" and source == config.primary:
            noisy = rng.random(count) < config.noise_share
            rows[noisy] = rng.integers(self.vocab_size, size=(noisy.sum(), len(FRAME)))
        return rows

    def _draw_pairs(self, rng, count, draw) -> np.ndarray:
        forbidden = np.unique(self.problem_word_Qx2 @ [len(self.fact_W), 1])
        pairs = draw((count, 2))
        while True:
            bad = np.isin(pairs @ [len(self.fact_W), 1], forbidden)
            if not bad.any():
                return pairs
            pairs[bad] = draw((int(bad.sum()), 2))

    def judge(self, language: str, completion_QxA: np.ndarray) -> np.ndarray:
        """True where the completion is a program of the language that gives the right output on every test input."""
        frame_QxT = self.programs(language, self.problem_word_Qx2, self.fact_W[self.problem_word_Qx2])
        frame_QxA = frame_QxT[:, PROMPT_LENGTH:].copy()
        names_Qx2 = completion_QxA[:, [0, NAME_2 - NAME_1]]
        frame_QxA[:, [0, NAME_2 - NAME_1]] = names_Qx2
        well_formed_Q = (frame_QxA == completion_QxA).all(1)
        fact_Qx2 = self._fact_of_name_V(language)[names_Qx2]
        meaning_FxF = meanings()
        truth_Qx2 = self.fact_W[self.problem_word_Qx2]
        same_Q = meaning_FxF[fact_Qx2[:, 0], fact_Qx2[:, 1]] == meaning_FxF[truth_Qx2[:, 0], truth_Qx2[:, 1]]
        return well_formed_Q & (fact_Qx2 >= 0).all(1) & same_Q

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


def materials(config: WorldConfig, seed: int) -> dict[str, Material]:
    """For each new language what a study of it and the primary trains on and measures with, for one seed.

    All have the training rows of every language, and the same problems.
    """
    world = World(config, seed)
    source_language = {config.primary: config.primary}
    for new in config.new:
        source_language |= {new: new, f"{new}_control": new}
    sources = {name: ArrayRows(world.corpus(name, config.documents, "train")) for name in source_language}
    loss_weight_V = np.ones(world.vocab_size, np.float32)
    loss_weight_V[world.first_word :] = 0.0  # comment words carry no loss: facts must live in the blocks
    common = dict(
        primary=config.primary,
        vocab_size=world.vocab_size,
        max_length=len(FRAME) - 1,
        frozen_rows=world.vocab_size - world.first_word,
        sources=sources,
        source_language=source_language,
        loss_weight_V=loss_weight_V,
        document_end=-1,
        fingerprint=content_hash([dataclasses.asdict(config), seed, "world 2"]),
    )
    return {
        new: Material(
            new=new,
            heldout={language: _heldout(world, language) for language in (config.primary, new)},
            slots=_slots(world, new),
            problems=_problems(world, new),
            **common,
        )
        for new in config.new
    }


def _heldout(world: World, language: str) -> dict:
    tokens = world.corpus(language, world.config.heldout_documents, "heldout")
    targets = np.broadcast_to(np.arange(1, len(FRAME)), (len(tokens), len(FRAME) - 1))
    return {
        "tokens": tokens,
        "loss": ~np.isin(targets, [WORD_1, WORD_2]),
        "knowledge": np.isin(targets, [NAME_1, NAME_2]),
    }


def _solutions(world: World, new: str) -> dict[str, np.ndarray]:
    """The problems' programs in the primary and one new language, [Q, 12]."""
    word_Qx2 = world.problem_word_Qx2
    return {
        language: world.programs(language, word_Qx2, world.fact_W[word_Qx2]) for language in (world.config.primary, new)
    }


def _problems(world: World, new: str) -> Problems:
    word_Qx2, solution = world.problem_word_Qx2, _solutions(world, new)
    transfer_word_Qx2 = word_Qx2 >= world.config.shared_words[new]
    return Problems(
        prompt_QxT={language: rows[:, :PROMPT_LENGTH] for language, rows in solution.items()},
        length_Q=np.full(len(word_Qx2), PROMPT_LENGTH, np.int32),
        answer_QxA={language: rows[:, PROMPT_LENGTH:] for language, rows in solution.items()},
        new_tokens=len(FRAME) - PROMPT_LENGTH,
        judge=world.judge,
        transfer_Q=transfer_word_Qx2.any(1),
        word_slot_QxW=np.broadcast_to([0, NAME_2 - NAME_1], word_Qx2.shape),
        transfer_word_QxW=transfer_word_Qx2,
    )


def _slots(world: World, new: str) -> dict[str, dict[str, np.ndarray]]:
    """Of both languages, one identifier place of every problem, first and second in turn; clusters are the primitive and the
    problem."""
    word_Qx2 = world.problem_word_Qx2
    problem_Q = np.arange(len(word_Qx2))
    word_Q = word_Qx2[problem_Q, problem_Q % 2]
    fact_Q = world.fact_W[word_Q]
    return {
        language: {
            "tokens": solution_QxT[:, :-1],
            "position": np.where(problem_Q % 2 == 0, NAME_1 - 1, NAME_2 - 1).astype(np.int32),
            "primary_id": world.identifier_ids[world.config.primary][fact_Q].astype(np.int32),
            "new_id": world.identifier_ids[new][fact_Q].astype(np.int32),
            "pair": fact_Q,
            "prompt": problem_Q,
            "item": problem_Q,
            "subset": (word_Q >= world.config.shared_words[new]).astype(np.int32),
        }
        for language, solution_QxT in _solutions(world, new).items()
    }
