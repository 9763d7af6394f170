"""What is said of the curve as a law, by how it fares on mixes left out."""

import numpy as np
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed, unlearned

from babel_jax.common.statistics import Estimate
from babel_jax.optimum.curve_law import TokenCurve
from babel_jax.study import law_claims
from babel_jax.study.claim import MISSING, NOT_TESTED, OPEN, REFUTED, SUPPORTED

LAW = ("curve_laws", "php")


@pytest.fixture
def findings():
    """A planted study whose curve is made to reach all its mixes."""
    return changed(synthetic_study.found(), *LAW, beyond=1)


@pytest.mark.parametrize("error, expected", [(0.04, SUPPORTED), (0.08, OPEN), (0.12, REFUTED)])
def test_a_law_must_remove_half_of_the_trivial_error(findings, error, expected):
    rmse = findings.curve_laws["php"].rmse | {"constant": error}
    judged = law_claims.curve(changed(findings, *LAW, rmse=rmse, baseline_rmse=0.1, chosen="constant"))
    assert judged.verdict == expected and judged.number == f"off by {100 * error:.1f} points, without it 10.0"
    assert "over 7 mixes, 21 runs" in judged.sentence and "3 seeds" in judged.sentence
    for kind, name in (("log_linear", "log-linear mixing law"), ("quadratic", "quadratic regression")):
        assert f"by the {name} by {100 * rmse[kind]:.1f}" in judged.sentence
    assert "(1 of the mixes have more tokens than it has seen)" in judged.sentence


def test_the_distance_that_was_chosen_is_judged(findings):
    rmse = findings.curve_laws["php"].rmse | {"constant": 0.2, "primary": 0.01}
    judged = law_claims.curve(changed(findings, *LAW, rmse=rmse, baseline_rmse=0.1, chosen="primary"))
    assert judged.verdict == SUPPORTED and "depends on the primary's share" in judged.sentence


def test_several_languages_are_judged_together():
    findings = synthetic_study.found(("php", "cpp"))
    for language, error in (("php", 0.03), ("cpp", 0.05)):
        rmse = findings.curve_laws[language].rmse | {"constant": error}
        findings = changed(findings, "curve_laws", language, beyond=0, rmse=rmse, baseline_rmse=0.1, chosen="constant")
    judged = law_claims.curve(findings)
    assert (
        judged.verdict == SUPPORTED and judged.number == f"off by {100 * np.sqrt(0.0017):.1f} points, without it 10.0"
    )
    assert "In PHP the curve" in judged.sentence and "In C++ the curve" in judged.sentence


def test_what_is_no_test_is_said_to_be_none(findings):
    assert law_claims.curve(synthetic_study.found()).verdict == NOT_TESTED, "most mixes lie beyond the planted curve"
    assert "6 of 7 mixes have more PHP" in law_claims.curve(synthetic_study.found()).sentence
    assert law_claims.curve(unlearned(findings, "0.1000")).verdict == NOT_TESTED
    nothing = changed(findings, curve_laws={})
    assert law_claims.curve(nothing).verdict == MISSING
    gap = "Curve as a law in php: run 'continual' has not learned php."
    assert law_claims.curve(changed(nothing, missing=[gap])).sentence == gap
    constant = changed(findings, *LAW, order=Estimate(np.nan, (np.nan, np.nan)))
    assert "gives no order" in law_claims.curve(constant).sentence and "nan" not in law_claims.curve(constant).sentence


def test_the_curve_of_a_planted_study_is_that_of_its_run(findings):
    law, stages = findings.curve_laws["php"], findings.languages["php"].stages
    assert isinstance(law.curve, TokenCurve) and law.curve.run == "continual"
    assert law.curve.score_SxC.mean(0).max() == pytest.approx(stages.curve.mean_C.max(), abs=0.05)
    assert law.curve.tokens_C[-1] == 100 * synthetic_study.STEPS[::2][-1] or law.curve.tokens_C[0] == 0
    assert law.tokens_M == pytest.approx([synthetic_study.MIX_TOKENS * float(name) for name in law.names], rel=1e-3)
