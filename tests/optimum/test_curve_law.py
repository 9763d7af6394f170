"""The curve as a law: where mixes follow a continual run's curve it is found, and where they do not that is said."""

import dataclasses

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import curve_law, laws

TOKENS_C = np.array([0, 2_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000])
SCORE_C = np.array([0.05, 0.3, 0.6, 0.8, 0.95, 0.85, 0.7, 0.6, 0.55])
BUDGET = 600_000
SHARES = (0.01, 0.03, 0.06, 0.1, 0.2, 0.35, 0.5, 0.68)


def curve(score_C=SCORE_C, language="php", seeds=3):
    offsets_S = np.arange(seeds) - (seeds - 1) / 2
    return curve_law.TokenCurve(language, "predictor", TOKENS_C, score_C + 0.02 * offsets_S[:, None])


def mixes(score_of, shares=SHARES, budget=BUDGET, noise=0.0, seeds=2, seed=0):
    """`score_of`: (tokens of PHP, the primary's share) -> its score."""
    generator = np.random.default_rng(seed)
    return [
        Mix(
            name=f"{share:.4f}",
            seeds=list(range(seeds)),
            score={
                "python": np.ones(seeds),
                "php": score_of(share * budget, 1 - share) + generator.normal(0, noise, seeds),
            },
            macro=np.zeros(seeds),
            stages=[{}],
            tokens=budget,
            shares={"python": 1 - share, "php": share},
        )
        for share in shares
    ]


def fitted(score_of, law=None, **how):
    return curve_law.fit(curve(), mixes(score_of, **how), ["python", "php"], law)


def test_the_curve_goes_through_its_checkpoints_and_between_them_in_log_tokens():
    here = curve()
    np.testing.assert_allclose(here(TOKENS_C), SCORE_C)
    unit = TOKENS_C[1]
    middle = unit * (np.sqrt((1 + 64_000 / unit) * (1 + 128_000 / unit)) - 1)
    assert here(middle) == pytest.approx((0.85 + 0.7) / 2)
    assert here(10 * BUDGET) == 0.55, "beyond its end it stays"


def test_mixes_that_lie_on_the_curve_are_foretold_without_a_fit():
    law = fitted(lambda tokens, primary: curve()(tokens))
    assert law.rmse["none"] < 1e-9 and law.order.value == pytest.approx(1) and law.chosen == "constant"
    assert law.order.ci[0] < 0.99, "eight pairs may be in order by luck"
    assert law.runs == 16 and law.beyond == 0 and law.baseline_rmse > 0.1
    assert curve_law.best_tokens(law, BUDGET) == 32_000


def test_a_constant_distance_is_found_on_the_other_mixes():
    law = fitted(lambda tokens, primary: curve()(tokens) - 0.2)
    assert law.rmse["none"] == pytest.approx(0.2) and law.rmse["constant"] < 1e-9
    assert law.distance.value == pytest.approx(-0.2)
    assert law.chosen == "constant" and law.coefficients("constant") == pytest.approx([-0.2])
    one_off = mixes(lambda tokens, primary: curve()(tokens) - 0.2)
    one_off[3].score["php"] += 0.14
    error_M = (found := curve_law.fit(curve(), one_off, ["python", "php"])).held_out["constant"] - found.measured_M
    assert error_M[3] == pytest.approx(-0.14), "the mix itself is not among those that the distance is fitted to"
    assert error_M[0] == pytest.approx(0.02)


def test_the_primarys_share_counts_only_where_it_clearly_helps():
    follows = fitted(lambda tokens, primary: curve()(tokens) - 0.4 + 0.3 * primary)
    assert follows.chosen == "primary" and follows.coefficients("primary") == pytest.approx([-0.4, 0.3])
    assert follows.rmse["primary"] < 1e-9 < 0.05 < follows.rmse["constant"]
    noisy = [fitted(lambda tokens, primary: curve()(tokens) - 0.2, noise=0.03, seed=seed) for seed in range(10)]
    assert [law.chosen for law in noisy].count("constant") >= 9


def test_the_best_amount_is_what_brute_force_finds():
    law = fitted(lambda tokens, primary: curve()(tokens))
    law = dataclasses.replace(law, measured_M=law.measured_M + 6 * law.primary_M - 6, chosen="primary")
    tokens_N = np.linspace(2_000, BUDGET, 100_000)
    score_N = law.curve(tokens_N) - 6 * tokens_N / BUDGET
    assert curve_law.best_tokens(law, BUDGET) == pytest.approx(tokens_N[score_N.argmax()], rel=0.02)
    assert curve_law.best_tokens(law, BUDGET) < 25_000
    assert curve_law.best_tokens(dataclasses.replace(law, chosen="constant"), BUDGET) == 32_000
    rises = dataclasses.replace(law, curve=curve(np.linspace(0, 0.9, len(TOKENS_C))), chosen="constant")
    assert curve_law.best_tokens(rises, 100_000) == 100_000, "no more than the budget"
    assert curve_law.best_tokens(rises, 1_000) == 1_000


def test_a_flat_curve_says_nothing():
    law = curve_law.fit(curve(np.full(len(TOKENS_C), 0.5), seeds=1), mixes(lambda t, p: p), ["python", "php"])
    assert np.isnan(law.order.value)
    unlike = fitted(lambda tokens, primary: 1 - curve()(tokens))
    assert unlike.order.value == pytest.approx(-1) and unlike.rmse["constant"] > unlike.baseline_rmse


def test_several_languages_share_the_budget_and_the_primary_keeps_what_it_has_in_the_original():
    law = fitted(lambda tokens, primary: curve()(tokens))
    two = [law, dataclasses.replace(law, curve=curve(language="go"))]
    assert curve_law.corpus(two, "python", BUDGET, 0.3) == dict(python=BUDGET - 64_000, php=32_000, go=32_000)
    assert curve_law.corpus(two, "python", 80_000, 0.3) == pytest.approx(dict(python=24_000, php=28_000, go=28_000))


def test_mixing_laws_are_set_beside_it_on_the_same_mixes_alone(monkeypatch):
    monkeypatch.setattr(laws, "REPLICATES", 5)
    here = mixes(lambda tokens, primary: curve()(tokens) - 0.1)
    law = laws.law(here, ["python", "php"], dict(python=0.32, php=0.68))
    found = curve_law.fit(curve(), here, ["python", "php"], law)
    assert set(found.rmse) == {"none", "constant", "primary", "log_linear", "quadratic"}
    assert found.rmse["constant"] < 1e-9 < 0.02 < found.rmse["log_linear"]
    np.testing.assert_array_equal(found.held_out["quadratic"], law.kinds["quadratic"].loo.predicted_MxK[:, 1])
    assert set(curve_law.fit(curve(), here[1:], ["python", "php"], law).rmse) == {"none", "constant", "primary"}


def test_a_law_of_one_budget_is_tested_on_another():
    small = fitted(lambda tokens, primary: curve()(tokens) - 0.2)
    large = fitted(lambda tokens, primary: curve()(tokens) - 0.1, budget=2 * BUDGET)
    assert large.beyond == 2
    there, back = curve_law.across({"small": small, "large": large})
    assert (there.fitted_on, there.tested_on, there.mixes, there.runs) == ("small", "large", 8, 16)
    assert there.rmse["constant"] == pytest.approx(0.1) and there.rmse["none"] == pytest.approx(0.1)
    assert back.rmse["constant"] == pytest.approx(0.1) and back.rmse["none"] == pytest.approx(0.2)
    assert there.order.value == pytest.approx(1) and there.baseline_rmse > 0.1
    row = curve_law.frame([there, back]).iloc[1]
    assert (row["fitted_on"], row["tested_on"], row["none"], row["fitted"]) == ("large", "small", 0.2, 0.1)
    other = dataclasses.replace(large, curve=curve(language="go"))
    assert curve_law.across({"small": small, "other": other}) == []


def test_what_cannot_be_tested_is_said():
    with pytest.raises(UserError, match="4 static mixes or more with their score; there are 3"):
        fitted(lambda tokens, primary: primary, shares=SHARES[:3])
    with pytest.raises(UserError, match="'predictor' has seen no php"):
        curve_law.TokenCurve("php", "predictor", np.zeros(3), np.zeros((1, 3)))
