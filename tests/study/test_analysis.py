"""The findings of planted studies: what was planted is found."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic_study

from babel_jax.common import measurements
from babel_jax.optimum import peak_tokens
from babel_jax.study import analysis

SEVERAL = ("php", "cpp")


@pytest.fixture(scope="module")
def found():
    return synthetic_study.found(SEVERAL)


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    return synthetic_study.alone()


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
    schedules = synthetic_study.analysed(study, frame).schedules
    assert schedules.surface.replay == [0, 0.25]
    first, second = schedules.proposal.stages
    assert first["weights"] == {"python": 1.0} and second["tokens"] == 0 and second["weights"]["php"] > 0
    without = frame[~((frame["run"] == "replay_0.2500") & (frame["language"] == "python"))]
    lacking = synthetic_study.analysed(study, without)
    assert lacking.schedules is None
    assert any("'replay_0.2500' was not judged in python" in sentence for sentence in lacking.missing)


def test_every_measured_share_is_a_source_and_asks_for_a_corpus(found):
    about = found.languages[SEVERAL[0]]
    assert {"working_language", "functional_neurons"} < {*about.proposals, *found.corpora}
    neurons = about.proposals["functional_neurons"]
    left = about.measured["functional_neurons"].at(about.curves.peak_step)
    assert neurons.p_star == pytest.approx(left.value) and about.shares["functional_neurons"].pooled[0] == 1
    asked = {mark.source: mark.share for mark in found.asked}
    assert {*found.corpora, "peak_tokens"} == set(asked) and 0 < asked[
        "functional_neurons"
    ] < found.study.original_share


def test_the_peak_asks_for_the_tokens_seen_by_then(found):
    """Of the language that falls; the other, which stays, keeps what it has."""
    first, last = (found.languages[language] for language in SEVERAL)
    low, high = first.peak_tokens.tokens_ci
    assert low <= 100 * first.curves.peak_step <= high and first.peak_tokens.decision == "change"
    assert last.peak_tokens.decision == peak_tokens.KEEP
    corpus, original = found.peak_corpus, found.study.original
    assert corpus.tokens[SEVERAL[0]] == first.peak_tokens.tokens
    assert corpus.shares[SEVERAL[1]] == pytest.approx(original[SEVERAL[1]] / sum(original.values()))
    assert corpus.total == pytest.approx(synthetic_study.MIX_TOKENS)


def test_a_run_trained_as_the_mixes_are_is_read_in_place_of_the_continual_run(alone):
    """The predictor of this study peaks at half as many tokens; shares and proposals stay those of the continual run."""
    study, frame = alone
    rows = frame[(frame["run"] == "continual") & frame["probe"].isin(["evaluation", "loss"])]
    earlier = {step: step // 2 for step in rows["step"].unique()}
    seen = rows["tokens_by_language"].map(lambda text: json.dumps({k: v // 2 for k, v in json.loads(text).items()}))
    predictor = rows.assign(run="predictor", step=rows["step"].map(earlier), tokens_by_language=seen)
    before = synthetic_study.analysed(study, frame).languages["php"]
    after = synthetic_study.analysed(study, pd.concat([frame, predictor], ignore_index=True)).languages["php"]
    assert before.predictor is None and before.predicting is before.observation
    assert after.predicting is after.predictor and after.predictor.shares == {} and after.predictor.losses
    assert after.peak_tokens.tokens == pytest.approx(before.peak_tokens.tokens / 2, rel=0.01)
    assert after.proposals["loss"].p_star == before.proposals["loss"].p_star
    assert after.observation.tokens.tolist() == before.observation.tokens.tolist()


def test_what_lies_on_disk_is_what_the_rows_say(tmp_path, alone):
    study, frame = alone
    synthetic_study.write_study(tmp_path, frame)
    grid = tmp_path / "seed0" / "continual" / "diagnostics" / "lens_grid.json"
    grid.parent.mkdir()
    slot = {"top": [[[3]]], "top_probability": [[[250]]], "probability": [[[250]]]}
    grid.write_text(json.dumps({"steps": [0], "slots": [slot]}))
    findings = analysis.of_study(tmp_path)
    (read,) = findings.languages["php"].lens_grid["slots"]
    assert read["probability_CxLxM"].tolist() == [[[0.25]]]
    again = synthetic_study.analysed(study, measurements.read(tmp_path))
    assert again.languages["php"].proposals["loss"].p_star == findings.languages["php"].proposals["loss"].p_star


def test_laws_of_the_loss_are_fitted_to_the_swarm_and_the_sweep():
    """Planted: every loss falls with its own share alone, alike in all languages."""
    found = synthetic_study.found(("php", "cpp"))
    assert set(found.loss_laws) == {"no_interaction", "equal_benefit"}
    for law in found.loss_laws.values():
        assert set(law.names) == {mix.name for mix in found.mixes if mix.run_name.is_swarm or mix.run_name.is_share}
        assert law.runs == 3 * len(law.names) and law.held_out_rmse < law.baseline_rmse
    alone = found.loss_laws["no_interaction"]
    assert (alone.gamma_K > 0).all() and alone.shares["php"] == pytest.approx(alone.shares["cpp"], abs=0.1)


def test_a_curve_that_is_trained_as_the_mixes_are_goes_before_the_continual_run(alone):
    study, frame = alone
    rows = frame[(frame["run"] == "continual").to_numpy(bool)]
    both = pd.concat([frame.astype({"run": str}), rows.assign(run="predictor")], ignore_index=True)
    law = synthetic_study.analysed(study, both).curve_laws["php"]
    assert law.curve.run == "predictor" and set(law.rmse) >= {"none", "constant", "primary", "log_linear"}


def test_a_run_that_has_learned_nothing_foretells_nothing(alone):
    study, frame = alone
    failed = frame.assign(
        value=frame["value"].where(~((frame["run"] == "continual") & (frame["metric"] == "solved")), 0.0)
    )
    found = synthetic_study.analysed(study, failed)
    assert found.curve_laws == {}
    assert any("run 'continual' has not learned php" in sentence for sentence in found.missing)
