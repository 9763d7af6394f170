"""What a study lacks is said in full sentences, and the rest still stands."""

import dataclasses

import numpy as np
import pytest
from helpers import synthetic_study

from babel_jax.common import run_names
from babel_jax.study import facts

STEPS = synthetic_study.STEPS[::2]


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    return synthetic_study.alone()


def said(study, frame, *words):
    findings = synthetic_study.analysed(study, frame)
    sentences = [sentence for sentence in findings.missing if all(word in sentence for word in words)]
    assert sentences, findings.missing
    return findings


@pytest.mark.long
def test_a_missing_run_is_named(alone):
    study, frame = alone
    missing = facts.StudyRun(run_names.parse("mix_gone"), 2)
    study = dataclasses.replace(study, runs=[missing, *study.runs])
    said(study, frame, "mix_gone", "seed 2")
    findings = said(study, frame[frame["run"] != "control"], "Run control has no measurements of seed 0, 1, 2")
    assert findings.languages["php"].control is None
    wanted = dataclasses.replace(study, candidates=["regression", "unimax", "unimax_equal_epochs"])
    said(wanted, frame, "Mix regression was not trained: it changes")
    said(wanted, frame, "Mix unimax_equal_epochs was not trained: to show python as often, it would take 10 times the")
    gone = [run for run in study.runs if run.name.role != "new_only"]
    findings = said(dataclasses.replace(study, runs=gone), frame[frame["run"] != "new_only"], "no new_only run in php")
    assert "knowledge_share" not in findings.languages["php"].proposals
    assert "loss" in findings.languages["php"].proposals


def test_a_single_checkpoint_is_no_curve(alone):
    study, frame = alone
    one = frame[(frame["run"] != "continual") | (frame["step"] == STEPS[4])]
    findings = said(study, one, "1 measured checkpoints")
    about = findings.languages["php"]
    assert about.stages.verdict == "undecided" and "loss" not in about.proposals
    assert all(proposal.decision == "not tested" for proposal in about.proposals.values())
    findings = said(study, frame[frame["run"] != "continual"], "0 measured checkpoints")
    assert findings.languages["php"].stages is None


def test_checkpoints_that_a_seed_lacks_are_said_and_left_out(alone):
    study, frame = alone
    continual, first = frame["run"] == "continual", frame["seed"] == 0
    gap = frame[~(continual & first & (frame["step"] == STEPS[4]))]
    findings = said(study, gap, "Run continual of seed 0 lacks", f"that another seed has: {STEPS[4]};")
    assert len(findings.languages["php"].stages.curve.mean_C) == len(STEPS) - 1
    apart = frame[~(continual & (first == frame["step"].isin(STEPS[::2])))]
    assert said(study, apart, "0 measured checkpoints").languages["php"].stages is None


def test_runs_without_judged_problems_are_said(alone):
    study, frame = alone
    findings = said(study, frame[frame["metric"] != "solved"], "No problem was judged in php in run continual")
    assert findings.languages["php"].proposals == {} and findings.mixes == []
    assert "Run mix_unimax is left out of the comparisons: in some seed" in " ".join(findings.missing)


def test_a_mix_that_is_compared_is_not_said_to_be_left_out(alone):
    """Whatever its share is written like."""
    study, frame = alone
    findings = synthetic_study.analysed(study, frame.assign(run=frame["run"].replace("mix_0.5000", "mix_0.5")))
    assert "mix_0.5" in {mix.run for mix in findings.mixes}
    assert not any("left out of the comparisons" in sentence for sentence in findings.missing)


def test_a_loss_that_is_no_number_is_said_and_the_rest_still_stands(alone):
    study, frame = alone
    broken = frame.copy()
    here = (broken["run"] == "continual") & (broken["metric"] == "loss") & (broken["step"] == STEPS[-1])
    broken.loc[here, "value"] = np.nan
    findings = said(study, broken, "Run continual has a loss that is not a number")
    proposals = findings.languages["php"].proposals
    assert "loss" not in proposals and "knowledge_share" in proposals


def test_one_seed_says_what_its_intervals_are(alone):
    study, frame = alone
    findings = said(dataclasses.replace(study, seeds=[0]), frame[frame["seed"] == 0], "There is one seed")
    assert np.isfinite(findings.languages["php"].stages.decline.ci).all()
