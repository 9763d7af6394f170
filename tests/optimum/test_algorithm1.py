from types import SimpleNamespace

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.optimum import algorithm1
from babel_jax.optimum.algorithm1 import Amounts
from babel_jax.optimum.calibration import Affine, Calibration, Identity, Link
from babel_jax.optimum.share import Share


def test_pairwise_reading_gives_the_papers_corpus():
    """Python 11B: PHP 5B is P = 0.6875, C# 10B is P = 0.5238 (paper)."""
    assert algorithm1.pairwise_share(5e9, 11e9) == pytest.approx(0.6875)
    assert algorithm1.pairwise_share(10e9, 11e9) == pytest.approx(0.5238, abs=5e-5)
    np.testing.assert_allclose(algorithm1.pairwise_tokens([11 / 16, 11 / 21], 11e9), [5e9, 10e9])
    assert np.isinf(algorithm1.pairwise_tokens(0.0, 11e9)) and algorithm1.pairwise_tokens(1.0, 11e9) == 0


def test_slope_is_the_derivative_of_the_pairwise_tokens():
    step = 1e-6
    numeric = (algorithm1.pairwise_tokens(0.6 + step, 11.0) - algorithm1.pairwise_tokens(0.6 - step, 11.0)) / (2 * step)
    assert algorithm1.pairwise_slope(0.6, 11.0) == pytest.approx(numeric)


def test_joint_reading_solves_all_shares_together_and_inverts():
    tokens = algorithm1.joint_tokens([0.6875, 0.5238], 11e9)
    np.testing.assert_allclose(tokens / (11e9 + tokens.sum()), [1 - 0.6875, 1 - 0.5238])
    assert tokens[0] > algorithm1.pairwise_tokens(0.6875, 11e9), "the other language dilutes the primary"


def test_joint_and_pairwise_agree_for_one_language():
    for p_star in (0.07, 0.5, 0.6875, 1.0):
        np.testing.assert_allclose(algorithm1.joint_tokens(p_star, 11e9), [algorithm1.pairwise_tokens(p_star, 11e9)])


def test_joint_reading_says_when_it_has_no_solution():
    with pytest.raises(UserError, match="no solution"):
        algorithm1.joint_tokens([0.4, 0.5], 11e9)


# --- a language's proposal ------------------------------------------------------------------------------------------------

STEPS = np.array([0, 10, 20, 40, 80])
P_C = np.array([1.0, 0.8, 0.6875, 0.3, 0.0])


def evidence(best_R=(2,) * 200, noise=0.0, p_C=P_C, language="php"):
    """(observation, share curve, verdict) of a language with P = 0.6875, the paper's PHP, at its peak in step 20."""
    generator = np.random.default_rng(1)
    replicates_RxC = np.clip(p_C + noise * generator.normal(size=(1000, 5)), 0, 1)
    score_C = np.array([0.1, 0.5, 0.9, 0.6, 0.4])
    observation = Observation(
        language=language,
        steps=STEPS,
        tokens=STEPS * 100.0,
        seeds=[0, 1],
        solved=[],
        score_SxC=np.array([score_C, np.roll(score_C, 1)]),
        losses={},
        loss_errors={},
        shares={},
    )
    curve = Share(
        source="loss",
        steps=STEPS,
        seeds=[0, 1],
        pooled=p_C,
        value_SxC=np.array([p_C, p_C]),
        out_of_range=np.array([False, False, True, False, False]),
        replicates_RxC=replicates_RxC,
    )
    stages = SimpleNamespace(peak=SimpleNamespace(index=2, step=20), rises=True, best_R=np.array(best_R))
    return observation, curve, stages


def depends(answer, reason="it does.") -> Dependence:
    return Dependence(tested=True, depends=answer, reason=reason, p=0.01, share=None)


def link(fitted, loo_error) -> Calibration:
    nothing = dict.fromkeys(("r2", "slope", "mean_error", "largest_error", "loo_r2"), np.nan)
    return Calibration({"one": Link(parameters=fitted, loo_error=loo_error, **nothing)}, "one", "", 5)


DEPENDS = depends(True)


def test_a_proposal_is_the_share_at_the_best_checkpoint_and_eq3():
    found = algorithm1.propose(*evidence(), DEPENDS, amounts=Amounts(11e9, 23e9))
    assert found.p_star == 0.6875 and found.best_step == 20 and found.best_tokens == 2000
    assert found.tokens == pytest.approx(5e9) and found.tokens_ci == pytest.approx((5e9, 5e9))
    assert found.pairwise_share == pytest.approx(5 / 16)
    assert found.out_of_range and found.source == "loss" and found.calibrated is None
    np.testing.assert_allclose(found.by_seed, [0.6875, 0.3], err_msg="each seed at its own best checkpoint")
    assert found.decision == algorithm1.CHANGE and "has 23B" in found.reason and found.reason.endswith(".")


def test_every_source_of_error_widens_the_interval():
    def width(calibration=None, **changes):
        low, high = algorithm1.propose(*evidence(**changes), DEPENDS, calibration).p_star_ci
        return high - low

    identity = link(Identity(), 0.05)
    assert width() == 0
    assert width(noise=0.02) == pytest.approx(2 * 1.96 * 0.02, rel=0.15)
    assert width(best_R=[1, 2, 2, 3] * 50) == pytest.approx(0.5), "the best checkpoint is not known"
    assert width(identity) == pytest.approx(2 * 1.96 * 0.05, rel=0.15), "a link errs where it was not fitted"
    assert width(identity, noise=0.05) == pytest.approx(2 * 1.96 * 0.05 * 2**0.5, rel=0.15)


def test_the_interval_of_the_tokens_covers_the_truth_at_its_rate():
    """P read with a normal error of 0.04, once at the right checkpoint: 95 % intervals of Eq. 3 hold 5B for 92-98 %."""
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(500):
        p_C = P_C + generator.normal(0, 0.04, 5)
        low, high = algorithm1.propose(*evidence(noise=0.04, p_C=p_C), DEPENDS, amounts=Amounts(11e9)).tokens_ci
        inside += low <= 5e9 <= high
    assert 0.92 <= inside / 500 <= 0.98


def test_a_link_moves_the_share_and_is_named():
    found = algorithm1.propose(*evidence(), DEPENDS, link(Affine(0.1, 0.5), 0.0))
    assert found.p_star == pytest.approx(0.44375) and found.calibrated == "one"
    assert found.p_star_ci == pytest.approx((0.44375, 0.44375)) and found.by_seed[0] == pytest.approx(0.44375)


@pytest.mark.parametrize(
    "dependence, original, decision",
    [
        (DEPENDS, 5.1e9, algorithm1.NO_CHANGE),
        (DEPENDS, 23e9, algorithm1.CHANGE),
        (DEPENDS, None, algorithm1.CHANGE),
        (depends(False, "no peak."), 23e9, algorithm1.ALONE),
        (depends(None, "one seed."), 23e9, algorithm1.UNDECIDED),
        (None, 23e9, algorithm1.UNDECIDED),
    ],
)
def test_nothing_is_changed_without_dependence_and_evidence(dependence, original, decision):
    found = algorithm1.propose(*evidence(noise=0.02), dependence, amounts=Amounts(11e9, original))
    assert found.decision == decision
    assert dependence is None or dependence.depends or dependence.reason in found.reason


def test_a_share_of_zero_or_none_is_said_plainly():
    endless = algorithm1.propose(*evidence(p_C=P_C * 0), DEPENDS, amounts=Amounts(1.0, 1.0))
    assert np.isinf(endless.tokens) and np.isinf(endless.tokens_ci).all() and np.isneginf(endless.slope)
    nothing = algorithm1.propose(*evidence(p_C=P_C * np.nan), DEPENDS, amounts=Amounts(1.0, 1.0))
    assert nothing.decision == algorithm1.NOT_TESTED and np.isnan(nothing.p_star)
    assert "the loss does not fall" in nothing.reason


# --- the corpus -----------------------------------------------------------------------------------------------------------

ORIGINAL = {"python": 11e9, "php": 23e9, "csharp": 16e9, "go": 11e9, "cpp": 28e9}  # the paper's


def proposal(p_star, decision=algorithm1.CHANGE, spread=0.0):
    replicates_R = np.clip(p_star + spread * np.random.default_rng(0).normal(size=1000), 0, 1)
    return SimpleNamespace(p_star=p_star, replicates_R=replicates_R, decision=decision, reason=decision)


def papers(**changes):
    alone = proposal(0.2, algorithm1.ALONE)
    return {"php": proposal(11 / 16), "csharp": proposal(11 / 21), "go": alone, "cpp": alone} | changes


def test_the_papers_corpus():
    """Python 11B with P* 0.6875 and 0.5238: PHP 5B, C# 10B, the others as they were."""
    found = algorithm1.corpus(papers(), "python", ORIGINAL)
    assert found.tokens == pytest.approx({"python": 11e9, "php": 5e9, "csharp": 10e9, "go": 11e9, "cpp": 28e9})
    assert found.unconstrained == pytest.approx(found.tokens) and found.active == []
    assert found.total == pytest.approx(65e9) and found.shares["python"] == pytest.approx(11 / 65)
    assert found.as_written["cpp"] == pytest.approx(44e9), "without the test of dependence"
    assert found.ci["cpp"] == (28e9, 28e9) and found.ci["php"] == pytest.approx((5e9, 5e9))
    assert found.decisions["php"] == algorithm1.CHANGE and found.decisions["cpp"] == algorithm1.ALONE
    assert "asks for 5B tokens [5B, 5B], the original has 23B" in found.reasons["php"]


def test_the_joint_corpus_has_each_changed_languages_own_share():
    found = algorithm1.corpus(papers(php=proposal(0.9), csharp=proposal(0.85)), "python", ORIGINAL, "joint")
    assert found.shares["php"] == pytest.approx(0.1) and found.shares["csharp"] == pytest.approx(0.15)
    assert found.tokens["cpp"] == 28e9 and found.as_written is None, "go and cpp would ask for 1.6 of all tokens"
    assert found.unconstrained["php"] == pytest.approx(0.1 * 50e9 / 0.75) and "joint" in found.reasons["php"]
    with pytest.raises(UserError, match="no solution"):
        algorithm1.corpus(papers(php=proposal(0.4), csharp=proposal(0.5)), "python", ORIGINAL, "joint")
    with pytest.raises(UserError, match="did you mean 'pairwise'"):
        algorithm1.corpus(papers(), "python", ORIGINAL, "pairwis")


def test_the_corpus_decides_by_the_interval_of_its_own_reading():
    """P* = 0.74 +- 0.03 of 101B: pairwise that is 3B to 5B of PHP, joint 18B to 40B, which holds the original 23B."""
    wide = papers(php=proposal(0.74, spread=0.03), csharp=proposal(0.9))
    assert algorithm1.corpus(wide, "python", ORIGINAL).decisions["php"] == algorithm1.CHANGE
    joint = algorithm1.corpus(wide, "python", ORIGINAL, "joint")
    assert joint.decisions["php"] == algorithm1.NO_CHANGE and joint.tokens["php"] == 23e9
    assert joint.shares["csharp"] == pytest.approx(0.1), "solved again without PHP"
    kept = algorithm1.corpus(papers(php=proposal(0.32, spread=0.05)), "python", ORIGINAL)
    assert kept.decisions["php"] == algorithm1.NO_CHANGE and kept.tokens["php"] == 23e9


def test_the_corpus_carries_the_intervals():
    found = algorithm1.corpus(papers(php=proposal(11 / 16, spread=0.03)), "python", ORIGINAL)
    assert found.ci["php"][0] == pytest.approx(11e9 * (1 / (11 / 16 + 0.0588) - 1), rel=0.05)
    assert found.ci["php"][1] == pytest.approx(11e9 * (1 / (11 / 16 - 0.0588) - 1), rel=0.05)
    joint = algorithm1.corpus(papers(php=proposal(0.6, spread=0.15), csharp=proposal(0.6)), "python", ORIGINAL, "joint")
    assert np.isinf(joint.ci["php"][1]), "some replicates ask for all tokens and more"


def test_a_budget_scales_all_languages_alike():
    found = algorithm1.corpus(papers(), "python", ORIGINAL, constraints=algorithm1.Constraints(budget=130e9))
    assert found.tokens == pytest.approx({"python": 22e9, "php": 10e9, "csharp": 20e9, "go": 22e9, "cpp": 56e9})
    assert found.active == ["budget"] and found.unconstrained["php"] == pytest.approx(5e9), "both are shown"


def test_what_a_bound_takes_goes_to_the_nearest_corpus():
    """PHP is held at 2B of its 5B: the 3B go to Python and C# as 11 to 10, C++ and Go stay."""
    limits = algorithm1.Constraints(budget=65e9, available={"php": 2e9})
    found = algorithm1.corpus(papers(), "python", ORIGINAL, constraints=limits)
    factor = (65 - 39 - 2) / 21
    expected = {"python": 11e9 * factor, "php": 2e9, "csharp": 10e9 * factor, "go": 11e9, "cpp": 28e9}
    assert found.tokens == pytest.approx(expected) and found.active == ["budget", "available tokens of php"]

    def divergence(tokens):
        return sum(amount * np.log(amount / found.unconstrained[name]) for name, amount in tokens.items())

    for moved in (-1e9, 1e9):
        other = expected | {"python": expected["python"] - moved, "csharp": expected["csharp"] + moved}
        assert divergence(other) > divergence(found.tokens)


def test_availability_epochs_and_minimum_share_bind_and_are_named():
    available = {"php": 2e9, "go": 5e9}
    limits = algorithm1.Constraints(available=available, max_epochs=2.0)
    found = algorithm1.corpus(papers(), "python", ORIGINAL, constraints=limits)
    assert found.tokens == pytest.approx({"python": 11e9, "php": 4e9, "csharp": 10e9, "go": 10e9, "cpp": 28e9})
    assert found.active == ["available tokens of php", "available tokens of go"]
    limits = algorithm1.Constraints(min_share=0.1)
    found = algorithm1.corpus(papers(), "python", ORIGINAL, constraints=limits)
    assert found.shares["php"] == pytest.approx(0.1) and found.active == ["minimum share of php"]
    assert found.total == pytest.approx(65e9) and found.tokens["cpp"] == pytest.approx(28e9)
    assert found.tokens["csharp"] / found.tokens["python"] == pytest.approx(10 / 11)


def test_tokens_without_end_stop_at_what_there_is():
    endless = papers(php=proposal(0.0))
    assert algorithm1.corpus(endless, "python", ORIGINAL).tokens["php"] == 23e9, "nothing ends them: as they were"
    limits = algorithm1.Constraints(available=ORIGINAL, max_epochs=2.0)
    found = algorithm1.corpus(endless, "python", ORIGINAL, constraints=limits)
    assert found.tokens["php"] == 46e9 and found.active == ["available tokens of php"]
    assert np.isinf(found.unconstrained["php"])


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"budget": 99e9, "available": dict.fromkeys(ORIGINAL, 9e9)}, "lower --budget"),
        ({"budget": 0.0}, "above 0"),
        ({"min_share": 0.3}, "lower --min_share"),
        ({"min_share": 1.0}, "least share"),
        ({"max_epochs": 0.0}, "max_epochs is 0"),
        ({"min_share": 0.1, "available": {"php": 1e9}}, "lower --min_share"),
    ],
)
def test_constraints_that_cannot_be_met_are_errors(limits, message):
    with pytest.raises(UserError, match=message):
        algorithm1.corpus(papers(), "python", ORIGINAL, constraints=algorithm1.Constraints(**limits))


def test_a_language_without_a_size_is_an_error():
    with pytest.raises(UserError, match="unknown language of the original corpus 'cpp'"):
        algorithm1.corpus(papers(), "python", {name: size for name, size in ORIGINAL.items() if name != "cpp"})


def test_several_primaries_stand_as_one():
    np.testing.assert_allclose(algorithm1.merge_primaries([[11 / 16], [11 / 21]], [11e9])[0], [11 / 16, 11 / 21])
    asked_KxP, primary_P = np.array([[0.4, 0.2], [0.1, 0.2]]), [20.0, 10.0]
    common_K, residual_KxP = algorithm1.merge_primaries(asked_KxP, primary_P)
    np.testing.assert_allclose(common_K, [0.6, 0.3])
    np.testing.assert_allclose(residual_KxP, [[0, 0], [-0.1, 0.1]], atol=1e-12)
    assert algorithm1.merge_primaries([0.4, 0.6000001], [1.0, 9.0])[0] == 1, "no share is more than all"
    assert np.isnan(algorithm1.merge_primaries([[np.nan, 0.5], [0.5, 0.5]], [1.0, 1.0])[0]).tolist() == [True, False]
    with pytest.raises(UserError, match="sum to at most 1"):
        algorithm1.merge_primaries([[0.7, 0.5]], primary_P)


def test_primaries_that_stood_as_one_come_apart_in_their_proportions():
    amounts = {"python+cpp": 30.0, "php": 12.0}
    corpus = algorithm1.Corpus(
        reading="pairwise",
        tokens=amounts,
        shares={"python+cpp": 0.75, "php": 0.25},
        total=42.0,
        unconstrained=amounts,
        as_written=None,
        ci={"python+cpp": (30.0, 30.0), "php": (9.0, 15.0)},
        active=[],
        decisions={},
        reasons={},
    )
    found = algorithm1.split_primaries(corpus, "python+cpp", {"python": 2e9, "cpp": 1e9})
    assert found.tokens == pytest.approx({"python": 20.0, "cpp": 10.0, "php": 12.0})
    assert found.shares == pytest.approx({"python": 0.5, "cpp": 0.25, "php": 0.25})
    assert found.ci["python"] == pytest.approx([20.0, 20.0]) and found.ci["php"] == (9.0, 15.0)
    assert found.as_written is None and found.total == 42.0
