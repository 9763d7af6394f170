"""The findings of planted studies: what was planted is found, and what is missing is said."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic_study

from babel_jax.common import measurements, run_names
from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import mixes
from babel_jax.evolution.observation import observation
from babel_jax.evolution.selection import view
from babel_jax.study import analysis, facts

SEVERAL = tuple(synthetic_study.COVERED)
STEPS = synthetic_study.STEPS[::2]


@pytest.fixture(scope="module")
def found():
    return synthetic_study.found(SEVERAL)


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    frame = synthetic_study.planted(problems=60, layers=2, steps=STEPS, replay=(0.25,))
    return facts.of(synthetic_study.description(frame)), frame


# --- the rows of one language -----------------------------------------------------------------------------------------------


def test_a_view_is_a_study_of_one_language(alone):
    _, frame = alone
    mixed = frame["run"].str.startswith("mix_") | (frame["run"] == "primary_only")
    several = pd.concat(
        [
            frame[mixed | (frame["language"] == "python")],
            frame[~mixed].assign(run=frame["run"] + "_php"),
            frame[~mixed].assign(run=frame["run"] + "_go", language=frame["language"].replace("php", "go")),
        ]
    )
    rows = view(several, "python", "go", ("php", "go"))
    assert set(rows["language"]) == {"python", "go"}
    assert {"continual", "control", "new_only", "primary_only", "replay_0.2500"} <= set(rows["run"])
    assert not any(run.endswith(("_php", "_go")) for run in rows["run"])
    losses = [f[(f["run"] == "continual") & (f["metric"] == "loss")] for f in (rows, frame)]
    new = [f.loc[f["language"] == language, "value"] for f, language in zip(losses, ("go", "php"), strict=True)]
    assert len(new[0]) and np.array_equal(*new)
    assert {run for run in rows["run"] if run.startswith("mix_")} == {
        run for run in frame["run"] if run.startswith("mix_")
    }
    assert view(frame, "python", "php", ("php",)).equals(frame)


def test_an_observation_holds_what_the_rows_say(alone):
    _, frame = alone
    curves = analysis.of_language(frame, "python", "php", {"python": 1.0, "php": 1.0}, print).curves
    seen = observation(frame, curves)
    row = frame[(frame["run"] == "continual") & (frame["metric"] == "loss") & (frame["language"] == "php")]
    row = row[(row["seed"] == 1) & (row["step"] == STEPS[3])].iloc[0]
    assert seen.losses["loss"][1, 3] == row["value"]
    assert seen.loss_errors["loss"][1, 3] == pytest.approx((row["ci_high"] - row["ci_low"]) / 3.92, rel=1e-3)
    assert seen.tokens[3] == json.loads(row["tokens_by_language"])["php"] > seen.tokens[2]
    assert seen.score_SxC.shape == (3, len(STEPS))
    assert all(np.nanmin(share) >= 0 and np.nanmax(share) <= 1 for share in seen.shares.values())
    assert set(seen.shares) == {"knowledge_share", "working_language", "functional_neurons"}


def test_a_mix_is_read_at_its_last_step_in_every_language(found, alone):
    for mix in found.mixes:
        assert mix.shares.keys() == {"python", *SEVERAL} and sum(mix.shares.values()) == pytest.approx(1)
        assert np.allclose(mix.macro, np.mean(list(mix.score.values()), axis=0))
        for language, solved in mix.solved.items():
            assert np.allclose([s.mean() for s in solved], mix.score[language])
    assert {mix.name for mix in found.mixes if len(mix.stages) > 1} == {"schedule"}
    _, frame = alone
    assert "unimax" in [mix.name for mix in mixes(frame, ["python", "php"])]
    gone = frame[~((frame["run"] == "mix_unimax") & (frame["language"] == "php"))]
    assert "unimax" not in [mix.name for mix in mixes(gone, ["python", "php"])]


def test_the_shares_of_a_mix_that_chooses_its_weights_are_those_of_all_seeds(alone):
    _, frame = alone
    here = ((frame["run"] == "mix_unimax") & (frame["seed"] == 2)).to_numpy(bool)
    other = frame.assign(tokens_by_language=frame["tokens_by_language"].astype(object))
    other.loc[here, "tokens_by_language"] = json.dumps({"python": 0, "php": 7})
    before, after = (
        next(mix.shares["php"] for mix in mixes(rows, ["python", "php"]) if mix.name == "unimax")
        for rows in (frame, other)
    )
    assert after == pytest.approx((2 * before + 1) / 3)


# --- what a study says ------------------------------------------------------------------------------------------------------


def test_each_language_is_judged_by_itself(found):
    depends = {language: about.dependence.depends for language, about in found.languages.items()}
    assert depends[SEVERAL[0]] is True and depends[SEVERAL[-1]] is False
    first, last = (found.languages[SEVERAL[place]] for place in (0, -1))
    assert first.stages.verdict == "transition" != last.stages.verdict
    assert first.control.verdict != "transition"
    assert all(
        about.proposals[source].decision.startswith("leave alone") for about in [last] for source in about.proposals
    )


def test_the_corpus_changes_only_what_depends(found):
    original = found.study.original
    for source, corpus in found.corpora.items():
        for language, about in found.languages.items():
            if source not in about.proposals:  # a share that stays the same calibrates nothing
                assert (source, language) == ("calibrated", SEVERAL[-1]) and corpus.tokens[language] == original[
                    language
                ]
                continue
            changes = about.proposals[source].decision == "change"
            assert (corpus.tokens[language] != original[language]) == changes, (source, language)
        assert corpus.tokens[SEVERAL[-1]] == original[SEVERAL[-1]], source
    assert "calibrated" in found.corpora
    assert any(about.proposals["knowledge_share"].decision == "change" for about in found.languages.values())


def test_the_calibrated_share_is_nearer_to_what_was_measured(found):
    about = found.languages[SEVERAL[0]]
    chosen = about.chosen
    links = about.calibration[chosen.source][chosen.measured].links
    assert links[chosen.link].loo_error <= links["identity"].loo_error
    at_peak = about.measured["knowledge_share"].at(about.curves.peak_step).value
    as_written, calibrated = (about.proposals[source].p_star for source in ("loss", "calibrated"))
    assert abs(calibrated - at_peak) < abs(as_written - at_peak)


def test_mixes_are_compared_and_predicted(found):
    assert {pair.kind for pair in found.comparisons} == {"mix", "best"}
    row = next(row for row in found.predicted if row.language == SEVERAL[0])
    mix = next(mix for mix in found.mixes if mix.run == row.run)
    assert row.predicted == mix.shares["python"] / (mix.shares["python"] + mix.shares[SEVERAL[0]])
    assert np.array_equal(row.by_seed, mix.primary_share[SEVERAL[0]])


def test_a_schedule_is_read_off_the_runs_with_replay(alone):
    study, frame = alone
    schedules = analysis.of_rows(study, frame).schedules
    assert schedules.surface.replay == [0, 0.25]
    first, second = schedules.proposal.stages
    assert first["weights"] == {"python": 1.0} and second["tokens"] == 0 and second["weights"]["php"] > 0
    without = frame[~((frame["run"] == "replay_0.2500") & (frame["language"] == "python"))]
    assert said(study, without, "'replay_0.2500' was not judged in python").schedules is None


# --- what is missing --------------------------------------------------------------------------------------------------------


def said(study, frame, *words):
    found = analysis.of_rows(study, frame)
    sentences = [sentence for sentence in found.missing if all(word in sentence for word in words)]
    assert sentences, found.missing
    return found


def test_a_missing_run_is_named(alone):
    study, frame = alone
    missing = facts.StudyRun(run_names.parse("mix_gone"), 2)
    study = dataclasses.replace(study, runs=[missing, *study.runs])
    said(study, frame, "mix_gone", "seed 2")
    found = said(study, frame[frame["run"] != "control"], "Run control has no measurements of seed 0, 1, 2")
    assert found.languages["php"].control is None
    wanted = dataclasses.replace(study, candidates=["regression", "unimax", "unimax_equal_epochs"])
    said(wanted, frame, "Mix regression was not trained: it changes")
    said(wanted, frame, "Mix unimax_equal_epochs was not trained: to show python as often, it would take 10 times the")
    gone = [run for run in study.runs if run.name.role != "new_only"]
    found = said(dataclasses.replace(study, runs=gone), frame[frame["run"] != "new_only"], "no new_only run in php")
    assert "knowledge_share" not in found.languages["php"].proposals
    assert "loss" in found.languages["php"].proposals


def test_a_single_checkpoint_is_no_curve(alone):
    study, frame = alone
    one = frame[(frame["run"] != "continual") | (frame["step"] == STEPS[4])]
    found = said(study, one, "1 measured checkpoints")
    about = found.languages["php"]
    assert about.stages.verdict == "undecided" and "loss" not in about.proposals
    assert all(proposal.decision == "not tested" for proposal in about.proposals.values())
    found = said(study, frame[frame["run"] != "continual"], "0 measured checkpoints")
    assert found.languages["php"].stages is None


def test_checkpoints_that_a_seed_lacks_are_said_and_left_out(alone):
    study, frame = alone
    continual, first = frame["run"] == "continual", frame["seed"] == 0
    gap = frame[~(continual & first & (frame["step"] == STEPS[4]))]
    found = said(study, gap, "Run continual of seed 0 lacks", f"that another seed has: {STEPS[4]};")
    assert len(found.languages["php"].stages.curve.mean_C) == len(STEPS) - 1
    apart = frame[~(continual & (first == frame["step"].isin(STEPS[::2])))]
    assert said(study, apart, "0 measured checkpoints").languages["php"].stages is None


def test_runs_without_judged_problems_are_said(alone):
    study, frame = alone
    found = said(study, frame[frame["metric"] != "solved"], "No problem was judged in php in run continual")
    assert found.languages["php"].proposals == {} and found.mixes == []
    assert "Run mix_unimax is left out of the comparisons: in some seed" in " ".join(found.missing)


def test_a_mix_that_is_compared_is_not_said_to_be_left_out(alone):
    """Whatever its share is written like."""
    study, frame = alone
    found = analysis.of_rows(study, frame.assign(run=frame["run"].replace("mix_0.5000", "mix_0.5")))
    assert "mix_0.5" in {mix.run for mix in found.mixes}
    assert not any("left out of the comparisons" in sentence for sentence in found.missing)


def test_a_loss_that_is_no_number_is_said_and_the_rest_still_stands(alone):
    study, frame = alone
    broken = frame.copy()
    here = (broken["run"] == "continual") & (broken["metric"] == "loss") & (broken["step"] == STEPS[-1])
    broken.loc[here, "value"] = np.nan
    found = said(study, broken, "Run continual has a loss that is no number")
    proposals = found.languages["php"].proposals
    assert "loss" not in proposals and "knowledge_share" in proposals


def test_one_seed_says_what_its_intervals_are(alone):
    study, frame = alone
    found = said(dataclasses.replace(study, seeds=[0]), frame[frame["seed"] == 0], "There is one seed")
    assert np.isfinite(found.languages["php"].stages.decline.ci).all()


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a study: it has no study.json; run `study` first"):
        analysis.of_study(tmp_path)


def test_a_study_of_an_earlier_version_is_refused(tmp_path, alone):
    study, frame = alone
    synthetic_study.write_study(tmp_path, frame)
    (tmp_path / "study.json").write_text(json.dumps(synthetic_study.description(frame) | {"new": "php"}))
    with pytest.raises(UserError, match="of an earlier version; run the study again"):
        analysis.of_study(tmp_path)


def test_what_lies_on_disk_is_what_the_rows_say(tmp_path, alone):
    study, frame = alone
    synthetic_study.write_study(tmp_path, frame)
    grid = tmp_path / "seed0" / "continual" / "diagnostics" / "lens_grid.json"
    grid.parent.mkdir()
    slot = {"top": [[[3]]], "top_probability": [[[250]]], "probability": [[[250]]]}
    grid.write_text(json.dumps({"steps": [0], "slots": [slot]}))
    found = analysis.of_study(tmp_path)
    (read,) = found.languages["php"].lens_grid["slots"]
    assert read["probability_CxLxM"].tolist() == [[[0.25]]]
    again = analysis.of_rows(study, measurements.read(tmp_path))
    assert again.languages["php"].proposals["loss"].p_star == found.languages["php"].proposals["loss"].p_star
