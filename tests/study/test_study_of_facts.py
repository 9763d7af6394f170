"""A study whose accuracy is that of facts: what it measures, and what it says."""

import dataclasses

import numpy as np
import pytest
from helpers import small_facts

from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.evolution.selection import chance_of_choice, select, solved
from babel_jax.study import analysis, facts, jobs
from babel_jax.study.jobs import Job
from babel_jax.study.plan import Study

RUNS = ("primary_only", "new_only", "continual", "control")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("facts")
    made = Study(small_facts.config(small_facts.corpus(root)), root / "study")
    for name in RUNS:
        jobs.execute(made, Job(0, RunName(name)), lambda message: None)
    return made


@pytest.fixture(scope="module")
def frame(study):
    return measurements.read(study.directory)


def accuracy(frame, run, language, subset, step=-1) -> float:
    rows = select(frame, {"subset": subset}, run=run, language=language, metric="accuracy").sort_values("step")
    assert (rows["n"] == {"all": 40, "shared": 20, "transfer": 20}[subset]).all()
    return float(rows["value"].iloc[step])


def test_the_primary_is_trained_until_it_knows_the_facts(study, frame):
    assert accuracy(frame, "primary_only", "python", "all") > 0.9
    steps = frame[(frame["run"] == "primary_only").to_numpy(bool)]["step"].unique()
    assert 0 < max(steps) < study.config.runs.primary_only.steps and max(steps) % 100 == 0


def test_what_the_primary_alone_states_is_carried_over_and_never_known_without_it(frame):
    """Of facts that only Python states a model of PHP knows nothing; one that knows Python answers them in PHP as well."""
    start, best = (accuracy(frame, "continual", "php", "transfer", place) for place in (0, 2))
    alone = accuracy(frame, "new_only", "php", "transfer")
    assert alone < 0.5 and best > alone + 0.2 and best > start
    assert accuracy(frame, "new_only", "php", "shared") > 0.6
    assert accuracy(frame, "control", "php", "transfer") > 0.6


def test_rows_are_those_that_programs_have(frame):
    rows = select(frame, probe="evaluation", run="continual")
    assert {"solved", "accuracy", "word_accuracy", "chance", "bits_per_byte"} == set(rows["metric"])
    assert chance_of_choice(frame, "php") == chance_of_choice(frame, "python") == 0.25
    of_php, of_python = solved(frame, "continual", "php"), solved(frame, "continual", "python")
    assert np.array_equal(of_php.item[0], of_python.item[0]) and np.array_equal(of_php.subset[0], of_python.subset[0])
    assert of_php.chance == 0.25 and of_php.solved[0].shape == (4, 40)
    patched = select(frame, probe="patch", metric="word_accuracy", language="php")
    assert len(patched) == 4 and set(patched["n"]) == {20}


def test_findings_are_those_of_the_embedded_world(study, frame):
    about = facts.of(jobs._description(study, [Job(0, RunName(name)) for name in RUNS], jobs._Seconds(study.directory)))
    found = analysis.of_rows(about, frame)
    here = found.languages["php"]
    assert here.curves.chance == 0.25 and here.curves.above_chance is True and here.curves.unlearned == []
    assert here.stages.verdict in ("transition", "rises and stays", "undecided") and here.control is not None
    share = here.curves.knowledge["continual"]
    assert share.ceiling > 0.2 and 0 < share.at(here.curves.peak_step).value < 1
    assert here.dependence is not None and here.peak_tokens is not None
    assert found.bar.measure == "accuracy" and found.bar.level[0] > 0.9
    assert set(here.curves.patches) == {"none", "embeddings", "ffn", "blocks"}


def test_a_control_and_facts_come_with_the_corpus(study):
    material = study.materials(0)["php"]
    assert material.source_language["php_control"] == "php" and len(material.sources["php_control"]) > len(
        material.sources["php"]
    )
    assert set(material.facts) == {"python", "php"} and material.facts["php"].transfer_Q.sum() == 20
    np.testing.assert_array_equal(material.facts["php"].transfer_Q, material.facts["python"].transfer_Q)
    assert "facts" in material.tasks


def test_no_run_stops_by_facts_that_are_not_there(study, monkeypatch):
    bare = {name: dataclasses.replace(material, facts={}) for name, material in study.materials(0).items()}
    monkeypatch.setitem(study._materials, 0, bare)
    with pytest.raises(UserError, match="asks for solved problems or facts, and the corpus has none"):
        jobs._check_runs(study, [RunName("primary_only")], 0, here=False)
