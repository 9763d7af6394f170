"""What a study trains on and measures with: the one interface between a corpus (or the embedded world) and all else."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np


class RowSource(Protocol):
    """Fixed-length token rows with random access."""

    def __len__(self) -> int: ...

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Token ids int32 [n, T + 1] of the rows at `indices` [n]; all indices are below `len(self)`."""


@dataclasses.dataclass(frozen=True)
class ArrayRows:
    """Rows held in memory."""

    tokens_NxT1: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens_NxT1)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.tokens_NxT1[indices]


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What of a material decides the shapes on the device; see `Material`."""

    vocab_size: int
    max_length: int
    frozen_rows: int
    document_end: int


@dataclasses.dataclass(frozen=True)
class Problems:
    """Problems that a model solves by writing a program (greedy), and how a program is judged.

    Attributes:
      prompt_QxT: prompts by language, int32, right-padded; `length_Q` their lengths.
      answer_QxA: the canonical completions by language.
      new_tokens: how many tokens a completion may have.
      judge: `(language, completion_QxA) -> bool [Q]`, true where the program does what the problem asks for.
      transfer_Q: true where a problem needs knowledge that the new language's corpus does not hold.
      word_slot_QxW: index in the completion of each word's identifier; `transfer_word_QxW`: true where that word's
        meaning does not stand in the new language's corpus.
    """

    prompt_QxT: dict[str, np.ndarray]
    length_Q: np.ndarray
    answer_QxA: dict[str, np.ndarray]
    new_tokens: int
    judge: Callable[[str, np.ndarray], np.ndarray]
    transfer_Q: np.ndarray
    word_slot_QxW: np.ndarray
    transfer_word_QxW: np.ndarray


@dataclasses.dataclass(frozen=True)
class Choices:
    """Questions with the answers to choose from, of which a model chooses the one that it finds most probable.

    Attributes:
      tokens_QxCxT1: the candidates of each question as whole rows, int32, right-padded; the first one is right.
      scored_QxCxT: true at the targets whose log-probabilities are summed; candidates may differ in how many these are.
      transfer_Q: as of `Problems`.
      aside: what the last candidate is, where it is no answer and only counted: how often it is more probable than every
        answer. "": all candidates are answers.
      bytes_Q: bytes of text that the scored targets of the right answer stand for; None: tokens that are no text.
    """

    tokens_QxCxT1: np.ndarray
    scored_QxCxT: np.ndarray
    transfer_Q: np.ndarray
    aside: str = ""
    bytes_Q: np.ndarray | None = None

    @classmethod
    def scored_from(cls, tokens_QxCxT1: np.ndarray, first: int, transfer_Q: np.ndarray) -> "Choices":
        """Candidates of one form: every token from index `first` on is scored."""
        shape = (*tokens_QxCxT1.shape[:2], tokens_QxCxT1.shape[2] - 1)
        scored_QxCxT = np.broadcast_to(np.arange(1, tokens_QxCxT1.shape[2]) >= first, shape)
        return cls(tokens_QxCxT1, scored_QxCxT, transfer_Q)


@dataclasses.dataclass(frozen=True)
class Parallel:
    """Sentences that say the same in two languages, of which those of one are looked for by the model's states of the other's.

    Attributes:
      language, other: what is asked in, and the language that it is compared with.
      tokens_NxT: by language, int32, right-padded; `length_N` of them. Rows of the same number are translations.
    """

    language: str
    other: str
    tokens_NxT: dict[str, np.ndarray]
    length_N: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Task:
    """Something that a model is asked beside writing programs.

    Attributes:
      name: of its rows, figures and claims; title: what is done, as a part of a sentence; short: the same over a panel.
      chance: the share of right answers of a model that knows nothing.
      ask: what makes the questions; its arguments are those of the registry that the task stands in.
      needs: why it may not have been asked, a sentence's end behind "was not asked: ".
      needs_documents: in the embedded world, whether only a world with a `task_share` teaches what is asked.
    """

    name: str
    title: str
    short: str
    chance: float
    ask: Callable[..., "Asked"]
    needs: str = "a study asks it of the embedded world, and an earlier version did not"
    needs_documents: bool = False


Asked = Problems | Choices | Parallel


@dataclasses.dataclass(frozen=True)
class Material:
    """Everything that depends on the data, for one seed.

    Attributes:
      primary, new: the two languages' names.
      vocab_size, max_length: V and T (inputs have T tokens, rows T + 1).
      frozen_rows: the last rows of the vocabulary whose input embedding is never trained.
      sources: training rows by name (languages, and variants of them such as a control's).
      source_language: the language that each source counts for.
      heldout: language -> {"tokens" int32 [N, T + 1], "loss" and "knowledge" bool [N, T]: targets that count, targets
        that bear knowledge}; with real code also "bytes" float [N, T], the bytes that a target token stands for.
      loss_weight_V: weight of a target token in the training loss.
      document_end: id of the token that ends a document, or -1.
      document_begin: id of the mark that the model expects before a text, with which rows and prompts begin, or -1.
      slots: language -> places where an identifier must come: "tokens" int32 [N, T] (right-padded prompts), "position"
        [N] (predicts the identifier), "primary_id", "new_id" [N] (first token of either language's identifier), "pair",
        "prompt" [N] (clusters), "subset" [N] (1: needs the primary's knowledge). Sets of identifiers may stand as "primary_ids",
        "new_ids" [N, M] (-1: none); slots of two languages with an equal "item" [N] say the same. "spaced" [N]: 1 where the
        identifier's first token begins with the space before it. "ids.LANGUAGE" [N, M]: the first tokens of the identifier's
        name in every language of three or more.
      problems: None where no program is judged (real code).
      tasks: by name, what else is asked in the new language (`organism/world_tasks.py`, `corpus/corpus_tasks.py`).
      tasks_elsewhere: the same in other languages, by language: of a probe, which has several.
      facts: language -> the facts that a corpus states, asked in both languages, the same questions in the same order; {}: none.
        Where no program is judged, right answers are a study's accuracy.
      fingerprint: changes when anything above does.
      about: what a page says of the texts, plain data as `corpus/loose_texts.py` writes it; {}: nothing.
      token_text: a token's id -> its text, for what people read; None: not known.
    """

    primary: str
    new: str
    vocab_size: int
    max_length: int
    frozen_rows: int
    sources: dict[str, RowSource]
    source_language: dict[str, str]
    heldout: dict[str, dict[str, np.ndarray]]
    loss_weight_V: np.ndarray
    document_end: int
    slots: dict[str, dict[str, np.ndarray]]
    problems: Problems | None
    fingerprint: str
    tasks: dict[str, Asked] = dataclasses.field(default_factory=dict)
    tasks_elsewhere: dict[str, dict[str, Asked]] = dataclasses.field(default_factory=dict)
    facts: dict[str, Choices] = dataclasses.field(default_factory=dict)
    about: dict = dataclasses.field(default_factory=dict)
    document_begin: int = -1
    token_text: Callable[[int], str] | None = None

    @property
    def tasks_in(self) -> dict[str, dict[str, Asked]]:
        """By language, what is asked in it; the new one first."""
        asked = {self.new: self.tasks} | self.tasks_elsewhere
        return {language: tasks for language, tasks in asked.items() if tasks}

    def asking(self, tasks: dict[str, dict[str, Asked]]) -> "Material":
        """The same material with other tasks, by language."""
        elsewhere = {language: here for language, here in tasks.items() if language != self.new and here}
        return dataclasses.replace(self, tasks=tasks.get(self.new, {}), tasks_elsewhere=elsewhere)
