import dataclasses

import jax
import numpy as np
import pytest
from helpers import loud, small_material, world_config

from babel_jax.common.material import Choices
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
    return told_QxCxT[..., choices.scored_T].sum(-1).argmax(1) == 0


def test_the_most_probable_candidate_is_chosen_by_what_is_scored_alone():
    choices = {name: task for name, task in MATERIAL.tasks.items() if isinstance(task, Choices)}
    found = task_scores.right_choices(SUBJECT, choices)
    assert set(found) == {"returns", "comment", "changed"}
    for name, right_Q in found.items():
        assert np.array_equal(right_Q, chosen_plainly(choices[name])), name
        assert 0 < right_Q.mean() < 1, f"{name}: this test needs both"


def test_a_candidate_as_probable_as_the_right_one_is_a_mistake():
    choices = MATERIAL.tasks["changed"]
    same = dataclasses.replace(choices, tokens_QxCxT1=np.repeat(choices.tokens_QxCxT1[:, :1], 2, axis=1))
    assert not task_scores.right_choices(SUBJECT, {"same": same})["same"].any()
    assert task_scores.right_choices(SUBJECT, {}) == {}


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
