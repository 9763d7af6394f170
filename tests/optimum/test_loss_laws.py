"""The laws of the loss: what was planted is recovered, and what they ask for is what brute force finds."""

import itertools

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import loss_laws

LANGUAGES = ["python", "php", "go"]
LEVEL_K, GAMMA_K = np.array([1.0, 0.8, 1.3]), np.array([0.1, 0.3, 0.2])
# A token of Python is worth a fifth of one of PHP; the others are worth little to each other.
WORTH_KxK = np.array([[1, 0.02, 0.05], [0.2, 1, 0.1], [0.3, 0.04, 1]])


def mixes(K, count=14, worth_KxK=None, noise=0.0, seeds=2, shares=None):
    worth_KxK = np.eye(K) if worth_KxK is None else worth_KxK[:K, :K]
    generator = np.random.default_rng(3)
    share_MxK = generator.dirichlet(np.ones(K), count) if shares is None else np.array(shares)
    counted_MxK = share_MxK @ worth_KxK.T
    with np.errstate(divide="ignore"):
        loss_MxK = LEVEL_K[:K] * counted_MxK ** -GAMMA_K[:K]
    return [
        Mix(
            name=f"m{m}",
            seeds=list(range(seeds)),
            score={},
            macro=np.zeros(seeds),
            stages=[{}],
            shares=dict(zip(LANGUAGES, share_MxK[m], strict=False)),
            loss={
                name: loss * np.exp(generator.normal(0, noise, seeds))
                for name, loss in zip(LANGUAGES[:K], loss_MxK[m], strict=True)
            },
        )
        for m in range(len(share_MxK))
    ]


def grid(K, parts):
    """All shares in whole parts, [N, K]."""
    inner = [part for part in itertools.product(range(parts + 1), repeat=K - 1) if sum(part) <= parts]
    return np.array([[*part, parts - sum(part)] for part in inner]) / parts


@pytest.mark.parametrize("K", [2, 3])
def test_a_law_without_interaction_is_recovered_and_asks_for_what_brute_force_finds(K):
    law = loss_laws.no_interaction(mixes(K), LANGUAGES[:K])
    np.testing.assert_allclose(law.level_K, LEVEL_K[:K])
    np.testing.assert_allclose(law.gamma_K, GAMMA_K[:K])
    assert law.held_out_rmse < 1e-9 < 0.05 < law.baseline_rmse and law.runs == 28
    share_NxK = grid(K, 400)
    relative_N = (share_NxK[(share_NxK > 0).all(1)] ** -GAMMA_K[:K]).sum(1)
    best_K = share_NxK[(share_NxK > 0).all(1)][relative_N.argmin()]
    np.testing.assert_allclose(list(law.shares.values()), best_K, atol=1 / 400)
    assert np.argmax(best_K) == 1, "the largest exponent, whatever the level"


@pytest.mark.parametrize("K", [2, 3])
def test_an_interaction_aware_law_is_recovered(K):
    law = loss_laws.equal_benefit(mixes(K, worth_KxK=WORTH_KxK), LANGUAGES[:K])
    np.testing.assert_allclose(law.worth_KxK, WORTH_KxK[:K, :K], atol=1e-3)
    np.testing.assert_allclose(law.gamma_K, GAMMA_K[:K], atol=1e-3)
    assert law.held_out_rmse < 1e-4
    alone = loss_laws.no_interaction(mixes(K, worth_KxK=WORTH_KxK), LANGUAGES[:K])
    assert alone.held_out_rmse > 100 * law.held_out_rmse
    share_NxK = grid(K, 7)[:5]
    np.testing.assert_allclose(
        law.predict(share_NxK), LEVEL_K[:K] * (share_NxK @ WORTH_KxK[:K, :K].T) ** -GAMMA_K[:K], rtol=1e-2
    )


@pytest.mark.parametrize("K", [2, 3])
def test_marginal_benefits_are_equal_and_as_long_as_can_be(K):
    worth_KxK = WORTH_KxK[:K, :K]
    direction_K = loss_laws.least_sum(LEVEL_K[:K], GAMMA_K[:K])
    benefit_K = LEVEL_K[:K] * GAMMA_K[:K] * direction_K ** (-GAMMA_K[:K] - 1)
    np.testing.assert_allclose(benefit_K, benefit_K.mean())
    share_K = loss_laws.longest(direction_K, worth_KxK)
    share_NxK = grid(K, 400)
    length_N = (share_NxK @ worth_KxK.T / direction_K).min(1)
    np.testing.assert_allclose(share_K, share_NxK[length_N.argmax()], atol=1.5 / 400)
    law = loss_laws.equal_benefit(mixes(K, worth_KxK=worth_KxK), LANGUAGES[:K])
    np.testing.assert_allclose(list(law.shares.values()), share_K, atol=2e-3)
    best = (LEVEL_K[:K] * (share_NxK @ worth_KxK.T) ** -GAMMA_K[:K]).sum(1).min()
    assert law.predict(share_K).sum() == pytest.approx(best, rel=5e-3), "the two steps lose little here"


def test_a_language_that_others_carry_gets_no_tokens_of_its_own():
    """A token of Python is worth more to PHP than one of PHP."""
    share_K = loss_laws.longest(np.array([0.8, 0.2]), np.array([[1, 0.1], [2.0, 1]]))
    np.testing.assert_allclose(share_K, [1, 0], atol=1e-9)


def test_noise_does_not_lead_far_away():
    true = loss_laws.no_interaction(mixes(2), LANGUAGES[:2]).shares
    noisy = loss_laws.no_interaction(mixes(2, noise=0.01), LANGUAGES[:2]).shares
    assert noisy["php"] == pytest.approx(true["php"], abs=0.05)


def test_a_language_that_gains_nothing_from_its_share_gets_none():
    np.testing.assert_allclose(loss_laws.least_sum(np.ones(3), [0.2, -0.1, 0.2]), [0.5, 0, 0.5])
    with pytest.raises(UserError, match="no language's loss falls with its own share"):
        loss_laws.least_sum(np.ones(2), [-0.1, 0])


def test_a_mix_that_lacks_a_language_is_no_case_of_the_law_without_interaction():
    shares = [[1, 0], [0.8, 0.2], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8]]
    found = mixes(2, shares=shares)
    assert loss_laws.no_interaction(found, LANGUAGES[:2]).names == ["m1", "m2", "m3", "m4"]
    carried = mixes(2, shares=shares, worth_KxK=WORTH_KxK)
    law = loss_laws.equal_benefit(carried, LANGUAGES[:2])
    assert law.names == ["m0", "m1", "m2", "m3", "m4"] and law.held_out_rmse < 1e-3


@pytest.mark.parametrize("law", [loss_laws.no_interaction, loss_laws.equal_benefit])
def test_what_cannot_be_fitted_is_said(law):
    with pytest.raises(UserError, match="needs 4 static mixes or more with their losses; there are 3"):
        law(mixes(2, 3), LANGUAGES[:2])
    without = [Mix("m", [0], {"python": np.ones(1)}, np.ones(1), stages=[{}])] * 5
    with pytest.raises(UserError, match="there are 0"):
        law(without, LANGUAGES[:2])
    with pytest.raises(UserError, match="mixes of different shares"):
        law(mixes(2, shares=[[0.5, 0.5]] * 5), LANGUAGES[:2])
