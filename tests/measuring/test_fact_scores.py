"""Facts as a study's accuracy: an untrained model knows none, one that is told knows all."""

import numpy as np
import pytest
from helpers import small_facts

from babel_jax.common import statistics
from babel_jax.corpus.corpus_material import material
from babel_jax.measuring import fact_scores, instruments
from babel_jax.measuring.reading import Settings, subject_of
from babel_jax.model import decoder
from babel_jax.training.config import decoder_config, default


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return material(small_facts.corpus(tmp_path_factory.mktemp("facts")), "python", "php", 4, 24)


@pytest.fixture(scope="module")
def subject(opened):
    model = decoder_config(default(), opened.vocab_size, opened.max_length, opened.frozen_rows)
    return subject_of(decoder.init_params(model, 0), model, opened)


def test_before_any_training_answers_are_right_by_chance(opened, subject):
    rows = fact_scores.fact_rows(subject, opened.facts)
    for language in ("python", "php"):
        of_language = [row for row in rows if row["language"] == language]
        (whole,) = [row for row in of_language if row["metric"] == "accuracy" and row["options"]["subset"] == "all"]
        low, high = statistics.wilson(0.25, whole["n"])
        assert low <= whole["value"] <= high and whole["n"] == small_facts.NUMBER
        (chance,) = [row for row in of_language if row["metric"] == "chance"]
        assert chance["value"] == 0.25 and chance["options"] == {"subset": "all", "choices": 4}
        solved = {row["item"]: row["value"] for row in of_language if row["metric"] == "solved"}
        assert sorted(solved) == list(range(small_facts.NUMBER)) and np.mean([*solved.values()]) == whole["value"]


def test_rows_say_what_was_answered(opened, subject, monkeypatch):
    right_Q = opened.facts["php"].transfer_Q
    monkeypatch.setattr(fact_scores, "answered", lambda subject, facts: {name: right_Q for name in facts})
    rows = fact_scores.fact_rows(subject, {"php": opened.facts["php"]})
    found = {(row["metric"], row["options"]["subset"]): row["value"] for row in rows if row["metric"] != "solved"}
    assert found == {
        ("accuracy", "shared"): 0.0,
        ("accuracy", "transfer"): 1.0,
        ("accuracy", "all"): 0.5,
        ("word_accuracy", "transfer"): 1.0,
        ("chance", "all"): 0.25,
    }
    assert fact_scores.accuracy(subject, opened.facts, "php") == 0.5


def test_facts_stand_for_programs_and_call_sites_and_are_no_task_beside(opened):
    named = {one.name for one in instruments.STUDY if one.applies(opened, Settings())}
    assert "facts" in named and not {"programs", "call sites"} & named
