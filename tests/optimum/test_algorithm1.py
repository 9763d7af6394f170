from types import SimpleNamespace

import numpy as np
import pytest
from helpers import simulated_studies

from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.optimum import algorithm1
from babel_jax.optimum.algorithm1 import Amounts
from babel_jax.optimum.calibration import Affine, Calibration, Identity, Link
from babel_jax.optimum.share import Share

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
    left_out_2xC = np.stack([P_C, np.full(len(P_C), loo_error)])
    return Calibration(
        {"one": Link(parameters=fitted, loo_error=loo_error, left_out_2xC=left_out_2xC, **nothing)}, "one", "", 5
    )


DEPENDS = depends(True)


def test_a_proposal_is_the_share_at_the_best_checkpoint_and_eq3():
    proposal = algorithm1.propose(*evidence(), DEPENDS, amounts=Amounts(11e9, 23e9))
    assert proposal.p_star == 0.6875 and proposal.best_step == 20 and proposal.best_tokens == 2000
    assert proposal.tokens == pytest.approx(5e9) and proposal.tokens_ci == pytest.approx((5e9, 5e9))
    assert proposal.pairwise_share == pytest.approx(5 / 16)
    assert proposal.out_of_range and proposal.source == "loss" and proposal.calibrated is None
    np.testing.assert_allclose(proposal.by_seed, [0.6875, 0.3], err_msg="each seed at its own best checkpoint")
    assert proposal.decision == algorithm1.CHANGE and "has 23B" in proposal.reason and proposal.reason.endswith(".")


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


@pytest.mark.long
def test_intervals_of_a_continual_run_are_not_far_too_narrow():
    """Two checkpoints are as good, as in the embedded world. A mixture of both covers P* in 73 to 80 % of these studies."""
    for found in simulated_studies.coverage("continual, tied", seeds=10, replications=80):
        assert found["covered"] >= 0.88, found


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("name", simulated_studies.STUDIES)
def test_intervals_cover_at_their_rate(name, seeds):
    """400 studies: a rate of 95 % shows as 92 to 98 %. What is read at a best checkpoint that is not sure may cover more, and so
    does one other quantity, the difference of two mixes that are nearly perfect in three seeds (99 %)."""
    for found in simulated_studies.coverage(name, seeds, replications=400):
        searched = name != "from scratch" and found["quantity"] != "end level" or "best" in found["quantity"]
        too_wide = (found["quantity"], seeds) == ("nearly - full, macro", 3)
        assert 0.92 <= found["covered"] <= (1 if searched else 0.995 if too_wide else 0.98), found


def test_a_link_moves_the_share_and_is_named():
    proposal = algorithm1.propose(*evidence(), DEPENDS, link(Affine(0.1, 0.5), 0.0))
    assert proposal.p_star == pytest.approx(0.44375) and proposal.calibrated == "one"
    assert proposal.p_star_ci == pytest.approx((0.44375, 0.44375)) and proposal.by_seed[0] == pytest.approx(0.44375)


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
    proposal = algorithm1.propose(*evidence(noise=0.02), dependence, amounts=Amounts(11e9, original))
    assert proposal.decision == decision
    assert dependence is None or dependence.depends or dependence.reason in proposal.reason


def test_a_share_of_zero_or_none_is_said_plainly():
    endless = algorithm1.propose(*evidence(p_C=P_C * 0), DEPENDS, amounts=Amounts(1.0, 1.0))
    assert np.isinf(endless.tokens) and np.isinf(endless.tokens_ci).all() and np.isneginf(endless.slope)
    nothing = algorithm1.propose(*evidence(p_C=P_C * np.nan), DEPENDS, amounts=Amounts(1.0, 1.0))
    assert nothing.decision == algorithm1.NOT_TESTED and np.isnan(nothing.p_star)
    assert "the loss does not fall" in nothing.reason
