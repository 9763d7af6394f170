import dataclasses

import jax
import numpy as np
import pytest
from helpers import loud, small_material, world_config

from babel_jax.common.material import Choices, Parallel
from babel_jax.measuring import instruments, task_scores
from babel_jax.measuring.reading import Reading, Settings, subject_of
from babel_jax.model.decoder import PRESETS, Decoder, DecoderConfig
from babel_jax.organism import world_material

MATERIAL = world_material.materials(world_config(task_share=0.3), 0)["php"]
CONFIG = DecoderConfig(
    vocab_size=MATERIAL.vocab_size, max_length=MATERIAL.max_length, frozen_rows=MATERIAL.frozen_rows, **PRESETS["test"]
)
PARAMS = loud(CONFIG)
SUBJECT = subject_of(PARAMS, CONFIG, MATERIAL)


def rows(material=MATERIAL):
    return task_scores.task_rows(Reading(SUBJECT, material, None, Settings()))


def chosen_plainly(choices: Choices) -> np.ndarray:
    """Whether the first candidate is the most probable one, by all logits of the model."""
    tokens_QxCxT1 = choices.tokens_QxCxT1
    logits, _ = Decoder(CONFIG).apply({"params": PARAMS}, tokens_QxCxT1.reshape(-1, tokens_QxCxT1.shape[-1])[:, :-1])
    log_prob = np.asarray(jax.nn.log_softmax(logits)).reshape(*tokens_QxCxT1.shape[:2], -1, CONFIG.vocab_size)
    told_QxCxT = np.take_along_axis(log_prob, tokens_QxCxT1[..., 1:, None], axis=-1)[..., 0]
    return (told_QxCxT * choices.scored_QxCxT).sum(-1).argmax(1) == 0


def test_the_most_probable_candidate_is_chosen_by_what_is_scored_alone():
    choices = {name: task for name, task in MATERIAL.tasks.items() if isinstance(task, Choices)}
    found = task_scores.choose(SUBJECT, choices)
    assert set(found) == {"returns", "comment", "changed"}
    for name, right_Q in ((name, chosen.right_Q) for name, chosen in found.items()):
        assert np.array_equal(right_Q, chosen_plainly(choices[name])), name
        assert 0 < right_Q.mean() < 1, f"{name}: this test needs both"


def test_a_candidate_as_probable_as_the_right_one_is_a_mistake():
    choices = MATERIAL.tasks["changed"]
    same = dataclasses.replace(choices, tokens_QxCxT1=np.repeat(choices.tokens_QxCxT1[:, :1], 2, axis=1))
    assert not task_scores.choose(SUBJECT, {"same": same})["same"].right_Q.any()
    assert task_scores.choose(SUBJECT, {}) == {}


def by_hand(lengths, aside="", bytes_Q=None) -> Choices:
    """Questions whose candidates share their first 3 tokens; candidate c has `lengths[c]` scored ones behind them."""
    rng, width = np.random.default_rng(0), 4 + max(lengths)
    tokens = rng.integers(1, CONFIG.vocab_size - CONFIG.frozen_rows, (40, len(lengths), width)).astype(np.int32)
    tokens[:, :, :3] = tokens[:, :1, :3]
    place = np.arange(1, width)
    scored = (place >= 3) & (place < 3 + np.array(lengths)[:, None])
    return Choices(tokens, np.broadcast_to(scored, (40, *scored.shape)), np.zeros(40, bool), aside, bytes_Q)


def test_candidates_may_differ_in_how_many_targets_are_scored():
    choices = {"long": by_hand((2, 1, 3)), "short": by_hand((2, 1))}
    found = task_scores.choose(SUBJECT, choices)
    for name, task in choices.items():
        assert np.array_equal(found[name].right_Q, chosen_plainly(task)), name
    assert choices["long"].tokens_QxCxT1.shape[2] != choices["short"].tokens_QxCxT1.shape[2], "of two widths"


def test_what_is_counted_apart_is_no_answer_and_has_a_row_of_its_own():
    answers, beside = by_hand((2, 2, 2)), by_hand((2, 2, 2), aside="copied")
    found = task_scores.choose(SUBJECT, {"a": answers, "b": beside})
    assert np.array_equal(found["b"].right_Q, found["a"].nats_QxC[:, 0] < found["a"].nats_QxC[:, 1])
    last_Q = found["a"].nats_QxC.argmin(1) == 2
    assert np.array_equal(found["b"].apart_Q, last_Q) and 0 < last_Q.mean() < 1
    rows_of = {row["metric"]: row for row in rows(small_material(tasks={"b": beside}))}
    assert rows_of["task_b_copied"]["value"] == last_Q.mean() and rows_of["task_b_copied"]["n"] == 40


def test_bits_per_byte_are_of_the_right_answers():
    bytes_Q = np.arange(1.0, 41)
    material = small_material(tasks={"b": by_hand((2, 1), bytes_Q=bytes_Q)})
    (row,) = (row for row in rows(material) if row["metric"] == "bits_per_byte_b")
    nats_Q = task_scores.choose(SUBJECT, material.tasks)["b"].nats_QxC[:, 0]
    assert row["value"] == pytest.approx(nats_Q.sum() / np.log(2) / bytes_Q.sum()) and row["n"] == bytes_Q.sum()
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_a_row_a_task_and_subset_with_how_many_questions_it_is_of():
    found = {(row["metric"], row["options"]["subset"]): row for row in rows()}
    assert {metric for metric, _ in found} == {f"task_{name}" for name in MATERIAL.tasks}
    for name, task in MATERIAL.tasks.items():
        every, shared, transfer = (found[f"task_{name}", subset] for subset in ("all", "shared", "transfer"))
        assert every["n"] == len(task.transfer_Q) == shared["n"] + transfer["n"]
        assert transfer["n"] == task.transfer_Q.sum() and every["language"] == "php"
        mean = (shared["value"] * shared["n"] + transfer["value"] * transfer["n"]) / every["n"]
        assert every["value"] == pytest.approx(mean) and every["ci_low"] < every["ci_high"]


def test_a_subset_without_questions_has_no_row():
    material = world_material.materials(world_config(shared_words=20), 0)["php"]
    assert {row["options"]["subset"] for row in rows(material)} == {"all", "shared"}


def test_a_study_asks_where_there_are_tasks():
    (tasks,) = (one for one in instruments.STUDY if one.name == "tasks")
    assert tasks.applies(MATERIAL, Settings()) and not tasks.applies(small_material(tasks={}), Settings())
    assert {row["metric"] for row in tasks.rows(Reading(SUBJECT, MATERIAL, None, Settings()))} >= {"task_comment"}


def test_a_probe_asks_a_corpus_alone_and_by_layer_too():
    (of_study,), (of_probe,) = (
        [one for one in kind if one.name == "tasks"] for kind in (instruments.STUDY, instruments.PROBE)
    )
    rng = np.random.default_rng(0)
    tokens = {name: rng.integers(1, 50, (24, 8)).astype(np.int32) for name in ("python", "php")}
    found = Parallel("php", "python", tokens, dict.fromkeys(tokens, np.full(24, 8, np.int32)))
    material = small_material(problems=None).asking({"php": {"retrieval": found}})
    assert of_probe.applies(material, Settings()) and not of_probe.applies(MATERIAL, Settings())
    reading = Reading(SUBJECT, material, None, Settings())
    assert {row["metric"] for row in of_study.rows(reading)} == {"task_retrieval"}
    assert {row["metric"] for row in of_probe.rows(reading)} == {"task_retrieval", "retrieval"}


def test_every_language_is_asked_its_own():
    one, other = by_hand((2, 1)), by_hand((1, 2))
    asked = small_material().asking({"php": {"a": one}, "python": {"a": other}})
    assert list(asked.tasks_in) == ["php", "python"] and asked.tasks == {"a": one}
    of_language = {row["language"]: row["value"] for row in rows(asked) if row["options"]["subset"] == "all"}
    for language, task in (("php", one), ("python", other)):
        assert of_language[language] == task_scores.choose(SUBJECT, {"a": task})["a"].right_Q.mean()
