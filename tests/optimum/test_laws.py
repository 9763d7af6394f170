import dataclasses

import numpy as np
import pytest
from scipy import optimize

from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import eq3, laws, rivals, share

NATURAL = dict(python=11, php=23, go=11)
# 1 - accuracy_i = floor + exp(level + sum_j slope_ij r_j): every language gains most from itself, and something from Python.
FLOOR_K, LEVEL = np.array([0.06, 0.08, 0.07]), 0.3 - np.log(5)
SLOPE_KxK = np.array([[-4.0, 0.3, 0.2], [-0.8, -3.5, 0.1], [-0.5, -0.2, -3.0]])


def planted(share_NxK, K):
    return FLOOR_K[:K] + np.exp(LEVEL + np.atleast_2d(share_NxK) @ SLOPE_KxK[:K, :K].T)


def natural(K):
    return dict(list(NATURAL.items())[:K])


def true_optimum(K, y=planted):
    """Shares of the smallest mean y."""
    found = optimize.minimize(
        lambda r: y(r, K).mean(),
        np.full(K, 1 / K),
        bounds=[(0, 1)] * K,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    return found.x


def swarm(K, count, noise=0.0, seeds=3, seed=0, y=planted):
    """Measured mixes of the planted law, with noise of every run and of every seed."""
    generator, names = np.random.default_rng(seed), list(natural(K))
    seed_KxS, total, found = generator.normal(0, noise, (K, seeds)), sum(natural(K).values()), []
    for m, corpus in enumerate(rivals.swarm(natural(K), count, seed)):
        share_K = np.array([corpus[name] for name in names]) / total
        y_KxS = y(share_K, K).T + seed_KxS + generator.normal(0, noise, (K, seeds))
        found.append(
            Mix(
                name=f"swarm_{m:02d}",
                seeds=list(range(seeds)),
                macro=np.full(seeds, np.nan),
                stages=[{"tokens": 0, "weights": {}}],
                shares=dict(zip(names, share_K, strict=True)),
                score=dict(zip(names, 1 - y_KxS, strict=True)),
            )
        )
    return found


def off(found, share_K, primary="python"):
    """Largest relative error of the new languages' tokens for equal tokens of the primary."""
    names = list(found.shares)
    tokens_K = np.array([found.shares[name] for name in names]) / found.shares[primary]
    true_K = np.asarray(share_K) / share_K[names.index(primary)]
    return np.abs(tokens_K / true_K - 1)[1:].max()


@pytest.fixture
def few(monkeypatch):
    """Where intervals do not matter."""
    monkeypatch.setattr(laws, "REPLICATES", 10)


def test_a_law_without_noise_is_recovered(few):
    fitted = laws.fit(swarm(3, 16), list(NATURAL))
    share_NxK = np.random.default_rng(1).dirichlet(np.ones(3), 50)
    np.testing.assert_allclose(laws.predict(fitted, share_NxK), 1 - planted(share_NxK, 3), atol=1e-4)
    assert fitted.loo.macro_rmse < 1e-4
    assert off(laws.best(fitted, NATURAL), true_optimum(3)) < 0.01


@pytest.mark.parametrize("K, count", [(2, 12), (3, 24)])
def test_the_planted_optimum_is_found_within_ten_per_cent(few, K, count):
    errors = [
        off(laws.best(laws.fit(swarm(K, count, 0.002, seed=seed), list(natural(K))), natural(K)), true_optimum(K))
        for seed in range(5)
    ]
    assert max(errors) < 0.1


def test_intervals_hold_the_true_optimum(monkeypatch):
    monkeypatch.setattr(laws, "REPLICATES", 60)
    true, hits = true_optimum(2)[1], []
    for seed in range(20):
        low, high = laws.best(laws.fit(swarm(2, 12, 0.004, seed=seed), ["python", "php"]), natural(2)).ci["php"]
        hits.append(low <= true <= high)
        assert high - low < 0.3
    assert np.mean(hits) >= 0.85


def continual(gamma):
    """Loss and score of the new language as the primary's share of the system falls from 1 to 0.

    The score depends on that share alone, as it does from scratch (there it is the primary's share of the tokens). The
    loss is own + share^gamma (primary - own): by Eq. 1 gamma is 1.
    """
    share_C = np.exp(-np.arange(120) / 20)
    share_C[-1] = 0
    score_C = -planted(np.stack([share_C, 1 - share_C], 1), 2).mean(1)
    return 0.9 + share_C**gamma * (3.1 - 0.9), score_C


def algorithm1_tokens(loss_C, score_C, primary_tokens):
    p_star, _ = share.primary_share(loss_C[score_C.argmax()], loss_C[0], loss_C[-1])
    return eq3.pairwise_tokens(p_star, primary_tokens)


def test_algorithm1_is_right_where_the_loss_is_linear_in_the_primarys_share():
    """Its assumptions: Eq. 1 (loss linear in the share), Eq. 2 (share = token share), one score for both ways of training."""
    python, php = true_optimum(2)
    assert 0.1 < php < 0.9
    assert algorithm1_tokens(*continual(gamma=1), 11.0) == pytest.approx(11 * php / python, rel=0.1)


def test_algorithm1_misses_where_most_of_the_loss_falls_before_the_primary_gives_way(few):
    """Syntax is learned first, so the loss is nearly the own system's while the primary still works: too many new tokens.

    The mixing law does not care, for it was fitted to runs from scratch.
    """
    python, php = true_optimum(2)
    assert algorithm1_tokens(*continual(gamma=4), 11.0) > 2 * 11 * php / python
    best = laws.best(laws.fit(swarm(2, 12, 0.002), ["python", "php"]), natural(2))
    assert 11 * best.shares["php"] / best.shares["python"] == pytest.approx(11 * php / python, rel=0.1)


def bent(share_NxK, K):
    """Python needs little; PHP is best at 20 % and loses by more: the embedded world."""
    share_NxK = np.atleast_2d(share_NxK)
    php_N = 0.12 + 0.8 * np.square(np.sqrt(share_NxK[:, 1]) - np.sqrt(0.2))
    return np.stack([np.full(len(php_N), 0.02), php_N], 1)


def test_only_the_regression_bends_back(few):
    law = laws.law(swarm(2, 20, 0.002, y=bent), ["python", "php"], natural(2))
    assert law.chosen == "quadratic"
    assert law.kinds["quadratic"].best.shares["php"] == pytest.approx(0.2, abs=0.03)
    simple, flexible = (law.kinds[kind].loo.macro_rmse for kind in ("log_linear", "quadratic"))
    assert simple > 3 * flexible
    assert laws.law(swarm(2, 20, 0.002), ["python", "php"], natural(2)).chosen == "log_linear"


def test_what_cannot_be_predicted_stays_nearer_to_the_natural_mix(few):
    """Pure noise: the law's own error is the price of leaving the natural mix."""
    away, careless = [], []
    for seed in range(6):
        mixes = swarm(2, 12, 0.1, seed=seed, y=lambda share_NxK, K: np.full((1, K), 0.5))
        fitted = laws.fit(mixes, ["python", "php"])
        away.append(abs(laws.best(fitted, natural(2)).shares["php"] - 23 / 34))
        sure = dataclasses.replace(fitted, loo=dataclasses.replace(fitted.loo, macro_rmse=0.0))
        careless.append(abs(laws.best(sure, natural(2)).shares["php"] - 23 / 34))
    assert np.mean(away) < 0.6 * np.mean(careless)


def test_the_simpler_law_wins_unless_the_other_is_clearly_better():
    close = laws.clearly_better([0.1, 0.1, 0.1, 0.1], [0.2, 0.1, 0.05, 0.1])
    assert close is False and np.square([0.2, 0.1, 0.05, 0.1]).mean() > 0.01
    assert laws.clearly_better([0.1, 0.1, 0.1, 0.1], [0.2, 0.18, 0.15, 0.2]) is True


def test_the_gain_is_that_over_the_natural_mix(few):
    fitted = laws.fit(swarm(2, 12), ["python", "php"])
    found = laws.best(fitted, natural(2))
    best, before = (laws.predict(fitted, [shares])[0] for shares in (list(found.shares.values()), [11 / 34, 23 / 34]))
    assert found.predicted == pytest.approx({"python": best[0], "php": best[1], "macro": best.mean()})
    assert found.gain.value == pytest.approx(best.mean() - before.mean()) and found.gain.value > 0.01
    assert found.gain.ci[0] <= found.gain.value <= found.gain.ci[1] + 1e-9


def test_staged_and_unmeasured_mixes_are_left_out_and_missing_seeds_skipped(few):
    mixes = swarm(2, 8)
    mixes[0] = dataclasses.replace(mixes[0], stages=mixes[0].stages * 2)
    mixes[1].score["php"] = np.full(3, np.nan)
    mixes[2].score["php"][1] = np.nan
    two_seeds = {name: value_S[:2] for name, value_S in mixes[3].score.items()}
    mixes[3] = dataclasses.replace(mixes[3], seeds=[0, 2], score=two_seeds)
    del mixes[4].score["php"]
    of_python = dict(zip(["python", "php"], 1 - planted([1.0, 0.0], 2)[0][:, None].repeat(3, 1), strict=True))
    mixes[5] = dataclasses.replace(mixes[5], shares={"python": 1.0}, score=of_python)  # php is not in its weights
    fitted = laws.fit(mixes, ["python", "php"])
    assert fitted.names == ["swarm_02", "swarm_03", "swarm_05", "swarm_06", "swarm_07"]
    np.testing.assert_allclose(laws.predict(fitted, [[0.5, 0.5]]), 1 - planted([0.5, 0.5], 2), atol=1e-3)
    assert not np.isnan(fitted.replicates).any()


def test_too_few_mixes_and_wrong_names():
    mixes = swarm(2, 3)
    assert laws.law(mixes, ["python", "php"], natural(2)) is None
    with pytest.raises(UserError, match="needs 4 static mixes or more with their score; there are 3"):
        laws.fit(mixes, ["python", "php"])
    with pytest.raises(UserError, match="unknown kind of mixing law"):
        laws.fit(mixes, ["python", "php"], "cubic")
    with pytest.raises(UserError, match="no share of php"):
        laws.law(swarm(2, 4), ["python", "php"], dict(python=1))


def test_the_ridge_penalty_is_chosen_on_what_was_not_fitted(few, monkeypatch):
    mixes = swarm(3, 14, 0.06, seed=2)
    chosen = laws.fit(mixes, list(NATURAL), "quadratic").loo.macro_rmse
    monkeypatch.setattr(laws, "_RIDGES", laws._RIDGES[:1])
    assert chosen < 0.8 * laws.fit(mixes, list(NATURAL), "quadratic").loo.macro_rmse


def test_a_score_is_never_predicted_outside_what_a_score_can_be():
    """Five mixes on a line: left out, the outermost one is far from what the others say."""
    php = {0.05: (0.47, 0.43, 0.26), 0.1: (0.69, 0.62, 0.68), 0.2: (0.63, 0.51, 0.62), 0.5: (0.53, 0.49, 0.54),
           0.6765: (0.49, 0.47, 0.45)}  # fmt: skip
    mixes = [
        Mix(name=f"{share:.4f}", seeds=[0, 1, 2], stages=[{}], shares={"python": 1 - share, "php": share},
            macro=np.ones(3), score={"python": np.ones(3), "php": np.array(score)})
        for share, score in php.items()
    ]  # fmt: skip
    fitted = laws.fit(mixes, ["python", "php"])
    assert fitted.loo.macro_rmse < 1
    far = laws.predict(fitted, [[1.0, 0.0], [0.0, 1.0]])
    assert far.min() >= 0 and far.max() <= 1
