import dataclasses

import numpy as np
import pytest
from helpers.synthetic_study import STEPS, judged

from babel_jax.common.statistics import Effect
from babel_jax.evolution import stages
from babel_jax.evolution.dependence import THRESHOLD, dependence


@pytest.fixture(scope="module")
def verdicts():
    found = {kind: stages.find(STEPS, judged(kind, problems=400)) for kind in ("fall", "stay")}
    return found | {"undecided": dataclasses.replace(found["fall"], verdict="undecided")}


def test_a_language_that_falls_and_needs_the_primary_depends_on_it(verdicts):
    answer = dependence(verdicts["fall"], {"knowledge_share": [0.52, 0.57, 0.49], "working_language": [0, 0, 0]})
    assert answer.depends is True and answer.p < 0.05
    assert answer.share.name == "knowledge_share" and answer.share.ci[0] > THRESHOLD
    assert f"{100 * verdicts['fall'].decline.value:.0f} points" in answer.reason and "53 %" in answer.reason


@pytest.mark.parametrize("share", [[0.0, 0.0, 0.0], [0.01, 0.02, 0.0]])
def test_a_language_that_needs_nothing_of_the_primary_does_not_depend_though_it_falls(verdicts, share):
    answer = dependence(verdicts["fall"], {"knowledge_share": share}, {"knowledge_share": [150, 140, 160]})
    assert answer.depends is False and answer.p == 1 and "knowledge share" in answer.reason


def test_a_language_that_stays_does_not_depend_whatever_it_needs(verdicts):
    answer = dependence(verdicts["stay"], {"knowledge_share": [0.56, 0.58, 0.56]})
    assert answer.depends is False and "rises and stays" in answer.reason
    assert dependence(verdicts["stay"], {"knowledge_share": None}).depends is False


def test_no_evidence_either_way_is_undecided(verdicts):
    wide = {"knowledge_share": [0.1, 0.5, 0.0]}
    assert dependence(verdicts["fall"], wide).depends is None, "the interval holds the threshold"
    assert dependence(verdicts["undecided"], {"knowledge_share": [0.5, 0.6, 0.5]}).depends is None
    unmeasured = dependence(verdicts["fall"], {"knowledge_share": None, "working_language": None})
    assert unmeasured.depends is None and np.isnan(unmeasured.p) and "not measured" in unmeasured.reason


def test_the_working_language_counts_where_the_knowledge_share_is_missing(verdicts):
    shares = {"knowledge_share": [np.nan] * 3, "working_language": [0.4, 0.42, np.nan]}
    answer = dependence(verdicts["fall"], shares)
    assert answer.share.name == "working_language" and answer.depends is True


def test_one_seed_needs_the_number_of_observations_behind_its_share(verdicts):
    shares = {"knowledge_share": [0.5]}
    assert dependence(verdicts["fall"], shares).depends is None
    answer = dependence(verdicts["fall"], shares, counts={"knowledge_share": [300]})
    assert answer.depends is True and answer.share.ci == pytest.approx((0.44, 0.56), abs=0.01)


def test_seeds_that_agree_by_chance_are_not_certain(verdicts):
    """Two seeds that solve five problems each, none of which needs the primary: an interval of width 0 would decide."""
    answer = dependence(verdicts["fall"], {"knowledge_share": [0.0, 0.0]}, {"knowledge_share": [5, 5]})
    assert answer.depends is None and answer.share.ci == pytest.approx((0, 0.278), abs=0.001)
    for counts in (None, {"knowledge_share": [0, 0]}):
        unknown = dependence(verdicts["fall"], {"knowledge_share": [0.0, 0.0]}, counts)
        assert unknown.depends is None and np.isnan(unknown.share.ci).all()


def test_a_rise_is_not_called_a_decline_below_0(verdicts):
    rising = dataclasses.replace(verdicts["undecided"], decline=Effect(-0.38, (-0.69, -0.06), 0.04))
    reason = dependence(rising, {"knowledge_share": [0.5, 0.6, 0.5]}).reason
    assert reason.startswith("Undecided: a further rise of 38 points [6, 69], and a knowledge share")


def test_it_is_seldom_said_of_a_language_at_the_threshold(verdicts):
    """A share of just THRESHOLD: "depends" is wrong, and so is "does not"; each at most in 2.5 % of the draws."""
    share_DxS = np.random.default_rng(0).normal(THRESHOLD, 0.03, (500, 3))
    said = [dependence(verdicts["fall"], {"knowledge_share": share_S}).depends for share_S in share_DxS]
    assert said.count(True) / 500 < 0.045 and said.count(False) / 500 < 0.045
