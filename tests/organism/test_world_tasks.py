import json

import numpy as np
import pytest
from helpers import world_config

from babel_jax.common.material import Problems
from babel_jax.organism import world_material
from babel_jax.organism.frame import (
    CALL,
    CALLED_1,
    CALLED_2,
    FRAME,
    NAME_1,
    NAME_2,
    PROMPT_LENGTH,
    VALUE_1,
    VALUE_2,
    WORD_1,
    WORD_2,
)
from babel_jax.organism.primitives import PRIMITIVES, SAMPLE, same_meaning
from babel_jax.organism.world import World, WorldConfig
from babel_jax.organism.world_tasks import MOST_QUESTIONS, TASKS

CONFIG = WorldConfig(primary="python", new="php", task_share=0.3, documents=64)
WORLD = World(CONFIG, seed=0)
CORPORA = {name: WORLD.corpus(name, 20_000, "train") for name in ("python", "php", "php_control")}
ASKED = world_material.materials(CONFIG, 0)["php"].tasks


def calls_of(name):
    rows = CORPORA[name]
    frame = [CALL.index(token) for token in ("f(x):", "return", "(x)", "f(sample) =")]  # noise has none
    return rows[(rows[:, frame] == [WORLD.ids[CALL[place]] for place in frame]).all(1)]


def ports_of(name):
    rows = CORPORA[name]
    commented = np.isin(rows[:, [WORD_1, WORD_2]], WORLD.identifier_ids["python"]).all(1)
    return rows[commented & (rows[:, 0] == WORLD.ids["#"]) & (rows[:, 3] == WORLD.ids["\n"])]


def words_in(rows, places):
    return rows[:, places] - WORLD.first_word


# --- documents ------------------------------------------------------------------------------------------------------------


def test_a_world_without_such_documents_is_what_it_was_before_there_were_any():
    plain = WorldConfig(primary="python", new="php", documents=64)
    assert world_material.materials(plain, 3)["php"].fingerprint == "ae3abaa081021797"
    assert not {"f(sample) =", json.dumps(SAMPLE.upper())} & set(World(plain, 0).tokens)
    assert set(world_material.materials(plain, 0)["php"].tasks) == {
        task.name for task in TASKS if not task.needs_documents
    }
    assert set(ASKED) == {task.name for task in TASKS}


@pytest.mark.parametrize("name", CORPORA)
def test_the_share_of_calls_and_ports_is_as_asked(name):
    assert len(calls_of(name)) / 20_000 == pytest.approx(0.15, abs=0.015)
    assert len(ports_of(name)) / 20_000 == pytest.approx(0.15, abs=0.015)
    heldout = WORLD.corpus(name, 500, "heldout")
    assert (heldout[:, 0] == WORLD.ids["#"]).all() and (heldout[:, WORD_1] >= WORLD.first_word).all()


@pytest.mark.parametrize("name", CORPORA)
def test_calls_return_what_the_functions_of_their_words_really_give(name):
    functions = list(PRIMITIVES.values())
    for row in calls_of(name)[:200]:
        for word, value in ((CALLED_1, VALUE_1), (CALLED_2, VALUE_2)):
            fact = WORLD.fact_W[row[word] - WORLD.first_word]
            assert WORLD.tokens[row[value]] == json.dumps(functions[fact](SAMPLE))


def test_a_new_language_has_calls_of_its_own_words_and_ports_of_a_part_of_the_functions():
    known = {name: set(np.unique(words_in(calls_of(name), [CALLED_1, CALLED_2]))) for name in CORPORA}
    assert known["python"] == set(range(200))
    assert known["php"] == {*range(80), *range(200, 600)} and known["php_control"] == set(range(80))
    ported = set(WORLD.identifier_ids["php"][WORLD.ported_facts("php")])
    assert len(ported) == 6 and set(np.unique(ports_of("php")[:, [NAME_1, NAME_2]])) == ported
    assert len(np.unique(ports_of("python")[:, [NAME_1, NAME_2]])) == len(PRIMITIVES)


@pytest.mark.parametrize("name, language", [("python", "python"), ("php", "php")])
def test_no_document_poses_a_question_and_every_port_says_the_same_twice(name, language):
    posed = {tuple(pair) for pair in WORLD.problem_word_Qx2.tolist()}
    assert not posed & {tuple(pair) for pair in words_in(calls_of(name), [CALLED_1, CALLED_2]).tolist()}
    rows = ports_of(name)
    fact_of = {
        whose: {token: fact for fact, token in enumerate(WORLD.identifier_ids[whose])} for whose in WORLD.languages
    }
    told = [[fact_of["python"][token] for token in row] for row in rows[:, [WORD_1, WORD_2]]]
    done = [[fact_of[language][token] for token in row] for row in rows[:, [NAME_1, NAME_2]]]
    assert told == done
    assert not {tuple(pair) for pair in WORLD.port_fact_Px2.tolist()} & {tuple(pair) for pair in told}


# --- questions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, places, differs", [
    ("comment", (WORD_1, WORD_2), (WORD_1, WORD_2)),
    ("changed", (WORD_1, WORD_2), (NAME_1, NAME_2)),
    ("returns", (CALLED_1, CALLED_2), (VALUE_1, VALUE_2)),
])  # fmt: skip
def test_candidates_differ_in_one_place_and_where_the_corpus_lacks_a_word_in_that_of_such_a_word(name, places, differs):
    choices = ASKED[name]
    assert len(choices.tokens_QxCxT1) == MOST_QUESTIONS and choices.transfer_Q.sum() == 60
    right_QxT1, wrong_QxCxT1 = choices.tokens_QxCxT1[:, 0], choices.tokens_QxCxT1[:, 1:]
    changed_QxCxT1 = wrong_QxCxT1 != right_QxT1[:, None]
    assert (changed_QxCxT1.sum(-1) == 1).all() and changed_QxCxT1[..., list(differs)].any(-1).all()
    slot_QxC = changed_QxCxT1[..., differs[1]].astype(int)
    assert (slot_QxC == slot_QxC[:, :1]).all() and 0.2 < slot_QxC.mean() < 0.8
    word_Qx2 = words_in(right_QxT1, list(places))
    asked_Q = np.take_along_axis(word_Qx2, slot_QxC[:, :1], axis=1)[:, 0]
    assert np.array_equal(asked_Q >= 80, choices.transfer_Q)
    assert {tuple(pair) for pair in word_Qx2.tolist()} <= {tuple(pair) for pair in WORLD.problem_word_Qx2.tolist()}
    assert all(len({tuple(row) for row in rows.tolist()}) == rows.shape[0] for rows in choices.tokens_QxCxT1)
    assert (choices.scored_QxCxT.sum(2) == {"comment": 5, "changed": 5, "returns": 3}[name]).all()
    assert choices.scored_QxCxT[:, :, {"comment": NAME_1, "changed": NAME_1, "returns": VALUE_1}[name] - 1].all()


def test_wrong_comments_mean_something_else_and_are_of_the_same_part_of_the_words():
    choices = ASKED["comment"]
    for rows, transfer in zip(choices.tokens_QxCxT1, choices.transfer_Q, strict=True):
        word_Cx2 = words_in(rows, [WORD_1, WORD_2])
        (slot,) = np.flatnonzero((word_Cx2 != word_Cx2[0]).any(0))
        assert ((word_Cx2[:, slot] >= 80) == transfer).all() and word_Cx2.max() < 200
        assert not same_meaning(WORLD.fact_W[word_Cx2[1:]], WORLD.fact_W[word_Cx2[0]]).any()


def test_a_changed_program_is_one_that_the_judge_refuses():
    choices, every = ASKED["changed"], len(WORLD.problem_word_Qx2) // MOST_QUESTIONS
    fact_Qx2 = WORLD.fact_W[WORLD.problem_word_Qx2[::every]]
    right, changed = (WORLD.is_right("php", choices.tokens_QxCxT1[:, c, PROMPT_LENGTH:], fact_Qx2) for c in (0, 1))
    assert right.all() and not changed.any()


def test_a_port_is_right_where_it_does_the_same_and_a_copy_is_none():
    problems = ASKED["port"]
    assert isinstance(problems, Problems) and problems.judge("php", problems.answer_QxA["php"]).all()
    copied = problems.answer_QxA["php"].copy()
    copied[:, [0, NAME_2 - NAME_1]] = problems.prompt_QxT["php"][:, [WORD_1, WORD_2]]
    assert not problems.judge("php", copied).any()
    assert not (copied == problems.answer_QxA["php"])[:, [0, NAME_2 - NAME_1]].any(), "no identifier is both languages'"
    assert 0 < problems.transfer_Q.sum() < len(problems.transfer_Q)
    ported = WORLD.identifier_ids["php"][WORLD.ported_facts("php")]
    lacks = ~np.isin(problems.answer_QxA["php"][:, [0, NAME_2 - NAME_1]], ported)
    assert np.array_equal(lacks, problems.transfer_word_QxW) and problems.prompt_QxT["php"].shape[1] == PROMPT_LENGTH


def test_the_questions_of_a_seed_stay_the_same_and_those_of_another_differ():
    again, other = (world_material.materials(CONFIG, seed)["php"].tasks for seed in (0, 1))
    for name in ("comment", "changed", "returns"):
        assert np.array_equal(again[name].tokens_QxCxT1, ASKED[name].tokens_QxCxT1)
        assert not np.array_equal(other[name].tokens_QxCxT1, ASKED[name].tokens_QxCxT1)


def test_a_language_that_covers_all_words_has_no_question_that_needs_the_primary():
    tasks = world_material.materials(world_config(shared_words=20, task_share=0.5), 0)["php"].tasks
    assert not any(task.transfer_Q.any() for task in tasks.values())


def test_a_question_is_left_out_where_a_tiny_world_has_no_three_other_words():
    tasks = world_material.materials(world_config(words=20, shared_words=18, problems=40, shared_problems=16), 0)[
        "php"
    ].tasks
    assert len(tasks["changed"].transfer_Q) == 40 and tasks["changed"].transfer_Q.any()
    assert not tasks["comment"].transfer_Q.any(), "there are two words beyond S"
    assert len(tasks["comment"].tokens_QxCxT1) == 16 == (~tasks["changed"].transfer_Q).sum()


def test_frames_are_of_one_length():
    assert len(CALL) == len(FRAME) == len(set(CALL)) == CORPORA["php"].shape[1]
