"""Tasks beyond writing programs: what else a model of the embedded world is asked in a new language.

Two need no training text of their own: which comment a program answers, and which of two programs is the right one. Two are
asked where the world has documents of their kind (`task_share`): what a call returns, and a program ported from the primary.
Where a question is about a word that the new language's corpus lacks, its answers differ at such a word alone, so that nothing
but the primary's knowledge tells them apart. Letters as in `common/material.py`.
"""

import numpy as np

from babel_jax.common.material import Choices, Problems, Task
from babel_jax.organism.frame import FRAME, NAME_1, NAME_2, PROMPT_LENGTH, VALUE_1
from babel_jax.organism.primitives import PRIMITIVES, same_meaning
from babel_jax.organism.world import World

CHOICES = 4  # of comments and of returned values; of programs there are two
MOST_QUESTIONS = (
    100  # of those with a choice: they are to cost a third of writing programs; beside seeds, few are enough
)


def asked(world: World, new: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The problems that questions with a choice are about: (words [Q, 2], which of the two is asked about [Q], transfer [Q]).

    An even part of all problems, at most MOST_QUESTIONS. Asked about is a word that the language's corpus lacks, if there is one.
    """
    every = -(-len(world.problem_word_Qx2) // MOST_QUESTIONS)
    word_Qx2 = world.problem_word_Qx2[::every]
    lacks_Qx2 = word_Qx2 >= world.config.shared_words[new]
    either_Q = world.rng(f"{new} asked").integers(2, size=len(word_Qx2))
    slot_Q = np.where(lacks_Qx2.all(1) | ~lacks_Qx2.any(1), either_Q, lacks_Qx2.argmax(1))
    return word_Qx2, slot_Q, lacks_Qx2.any(1)


def other_facts(world: World, word_Qx2: np.ndarray, slot_Q: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each question the primitives [Q, F - 1] in a random order that the word asked about does not mean."""
    fact_Q = np.take_along_axis(world.fact_W[word_Qx2], slot_Q[:, None], axis=1)
    others_QxF = np.broadcast_to(np.arange(len(PRIMITIVES) - 1), (len(word_Qx2), len(PRIMITIVES) - 1))
    return rng.permuted(others_QxF + (others_QxF >= fact_Q), axis=1)


def put(pair_Qx2: np.ndarray, slot_Q: np.ndarray, value_QxC: np.ndarray) -> np.ndarray:
    """The pairs [Q, 1 + C, 2]: as they are, and with each of the values where the slot is."""
    pair_QxCx2 = np.repeat(pair_Qx2[:, None], 1 + value_QxC.shape[1], axis=1)
    pair_QxCx2[np.arange(len(pair_Qx2)), 1:, slot_Q] = value_QxC
    return pair_QxCx2


def choices(rows_NxT1: np.ndarray, transfer_Q: np.ndarray, first_scored: int) -> Choices:
    """Questions of candidates that follow each other; what is scored begins with the token `first_scored`."""
    tokens_QxCxT1 = rows_NxT1.reshape(len(transfer_Q), len(rows_NxT1) // max(len(transfer_Q), 1), rows_NxT1.shape[1])
    return Choices.scored_from(tokens_QxCxT1, first_scored, transfer_Q)


# --- the tasks ------------------------------------------------------------------------------------------------------------


def ask_comment(world: World, new: str) -> Choices:
    """How probable is a program after its comment, and after three that name another word, of the same part of the words?

    Where there are not three others of another meaning, which takes a tiny world, a question is left out.
    """
    (word_Qx2, slot_Q, transfer_Q), rng = asked(world, new), world.rng(f"{new} comments")
    shared, words = world.config.shared_words[new], world.config.words
    pools = np.arange(shared), np.arange(shared if shared < words else 0, words)
    kept, wrong = [], []
    for q, (pair, slot) in enumerate(zip(word_Qx2, slot_Q, strict=True)):
        pair_Wx2 = put(pair[None], slot[None], pools[int(pair[slot] >= shared)][None])[0, 1:]
        other_W = pair_Wx2[~same_meaning(world.fact_W[pair_Wx2], world.fact_W[pair]), slot]
        if len(other_W) >= CHOICES - 1:
            kept.append(q)
            wrong.append(rng.permutation(other_W)[: CHOICES - 1])
    word_Nx2 = put(word_Qx2[kept], slot_Q[kept], np.reshape(wrong, (-1, CHOICES - 1))).reshape(-1, 2)
    right_Nx2 = np.repeat(world.fact_W[word_Qx2[kept]], CHOICES, axis=0)
    return choices(world.programs(new, word_Nx2, right_Nx2), transfer_Q[kept], PROMPT_LENGTH)


def ask_changed(world: World, new: str) -> Choices:
    """Is the right program more probable than one in which an identifier is another, so that it does something else?"""
    word_Qx2, slot_Q, transfer_Q = asked(world, new)
    fact_Qx2 = world.fact_W[word_Qx2]
    others_QxF = other_facts(world, word_Qx2, slot_Q, world.rng(f"{new} changed"))
    changed_QxFx2 = put(fact_Qx2, slot_Q, others_QxF)[:, 1:]
    first_Q = (~same_meaning(changed_QxFx2, fact_Qx2[:, None])).argmax(1)
    fact_Nx2 = np.stack([fact_Qx2, changed_QxFx2[np.arange(len(first_Q)), first_Q]], axis=1).reshape(-1, 2)
    return choices(world.programs(new, np.repeat(word_Qx2, 2, axis=0), fact_Nx2), transfer_Q, PROMPT_LENGTH)


def ask_returned(world: World, new: str) -> Choices:
    """What a call returns, among three texts of which one half is another function's."""
    word_Qx2, slot_Q, transfer_Q = asked(world, new)
    others_QxF = other_facts(world, word_Qx2, slot_Q, world.rng(f"{new} returned"))
    fact_Nx2 = put(world.fact_W[word_Qx2], slot_Q, others_QxF[:, : CHOICES - 1]).reshape(-1, 2)
    return choices(world.calls(new, np.repeat(word_Qx2, CHOICES, axis=0), fact_Nx2), transfer_Q, VALUE_1)


def ask_ported(world: World, new: str) -> Problems:
    """The program in the new language that does what the primary's identifiers in the comment do.

    Identifiers that both languages have are left out: they could be copied.
    """
    name_Fx2 = np.stack([world.identifier_ids[language] for language in (world.config.primary, new)], axis=1)
    differs_F = name_Fx2[:, 0] != name_Fx2[:, 1]
    fact_Qx2 = world.port_fact_Px2[differs_F[world.port_fact_Px2].all(1)]
    rows = world.ports(new, fact_Qx2)
    lacks_Qx2 = ~np.isin(fact_Qx2, world.ported_facts(new))
    return Problems(
        prompt_QxT={new: rows[:, :PROMPT_LENGTH]},
        length_Q=np.full(len(rows), PROMPT_LENGTH, np.int32),
        answer_QxA={new: rows[:, PROMPT_LENGTH:]},
        new_tokens=len(FRAME) - PROMPT_LENGTH,
        judge=lambda language, completion_QxA: world.is_right(language, completion_QxA, fact_Qx2),
        transfer_Q=lacks_Qx2.any(1),
        word_slot_QxW=np.broadcast_to([0, NAME_2 - NAME_1], fact_Qx2.shape),
        transfer_word_QxW=lacks_Qx2,
    )


_TAUGHT = "the embedded world teaches that where its `task_share` is above 0"
# `ask`: (world, new language) -> `Choices` or `Problems`.
TASKS = (
    Task("port", "translating a program from the primary", "translating", 0.0, ask_ported, _TAUGHT, True),
    Task("returns", "saying what a program returns", "returned value", 1 / CHOICES, ask_returned, _TAUGHT, True),
    Task("comment", "choosing the comment that a program answers", "chosen comment", 1 / CHOICES, ask_comment),
    Task("changed", "telling a program from one with a changed identifier", "changed program", 1 / 2, ask_changed),
)
