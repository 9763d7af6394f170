"""What a study of the embedded world trains on and measures with: its corpora, problems, tasks and identifier places."""

import dataclasses

import numpy as np

from babel_jax.common.files import content_hash
from babel_jax.common.material import ArrayRows, Material, Problems
from babel_jax.organism.frame import FRAME, NAME_1, NAME_2, PROMPT_LENGTH, WORD_1, WORD_2
from babel_jax.organism.world import World, WorldConfig
from babel_jax.organism.world_tasks import TASKS


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
        fingerprint=_fingerprint(config, seed),
        token_text=world.tokens.__getitem__,
    )
    return {
        new: Material(
            new=new,
            heldout={language: _heldout(world, language) for language in (config.primary, new)},
            slots=_slots(world, new),
            problems=_problems(world, new),
            tasks={task.name: task.ask(world, new) for task in TASKS if config.task_share or not task.needs_documents},
            **common,
        )
        for new in config.new
    }


def _fingerprint(config: WorldConfig, seed: int) -> str:
    """Of all that runs are trained on: a world without documents of other tasks is what it was before there were any."""
    numbers = dataclasses.asdict(config)
    if not config.task_share:
        del numbers["task_share"]
    return content_hash([numbers, seed, "world 2"])


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
            **_names(world, fact_Q),
        }
        for language, solution_QxT in _solutions(world, new).items()
    }


def _names(world: World, fact_Q) -> dict[str, np.ndarray]:
    """What the primitives are called in all of the world's languages, where these are more than the two of a slot."""
    if len(world.languages) < 3:
        return {}
    return {f"ids.{name}": ids[fact_Q][:, None].astype(np.int32) for name, ids in world.identifier_ids.items()}
