import math

import numpy as np
import pytest
from scipy import stats

from babel_jax.common import statistics


def test_wilson_agrees_with_scipy_and_stays_inside_the_unit_interval():
    for k, n in ((0, 20), (7, 20), (20, 20), (33, 154)):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        low, high = statistics.wilson(k / n, n)
        np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-12)
        assert low > -1e-12 and high < 1 + 1e-12


def test_student_agrees_with_scipy_and_skips_missing_seeds():
    value_SxC = np.array([[1.0, 2.0, np.nan], [2.0, 2.5, 7.0], [4.0, 2.0, np.nan]])
    mean, low, high = statistics.student(value_SxC)
    expected = stats.t.interval(0.95, 2, loc=value_SxC[:, 0].mean(), scale=stats.sem(value_SxC[:, 0]))
    np.testing.assert_allclose([low[0], high[0]], expected)
    assert mean[2] == 7.0 and np.isnan(low[2]), "one seed says nothing about other seeds"


def test_student_covers_the_truth_at_three_seeds():
    value_SxC = np.random.default_rng(0).normal(0.3, 0.1, (3, 4000))
    _, low, high = statistics.student(value_SxC)
    assert 0.94 < np.mean((low < 0.3) & (high > 0.3)) < 0.96


def test_pairing_removes_what_is_common_to_both_conditions():
    common = np.array([0.1, 0.5, 0.9])
    value, low, high = statistics.paired_difference(common, common + [0.09, 0.10, 0.11])
    assert value == pytest.approx(0.1) and low > 0.07 and high < 0.13


def test_cross_fitted_gap_has_no_winners_curse(monkeypatch):
    """Twenty equally good candidates: the naive maximum is ahead, the cross-fitted one is not."""
    monkeypatch.setattr(statistics, "REPLICATES", 200)
    generator = np.random.default_rng(1)
    identity, first = np.eye(20), np.eye(20)[0]
    naive, fitted, excluded = [], [], 0
    for _ in range(40):
        solved_CxQ = (generator.random((20, 100)) < 0.5).astype(float)
        gap, low, _ = statistics.cross_fitted_gap(statistics.resampled_halves([solved_CxQ]), identity, first)
        naive.append(solved_CxQ.mean(1).max() - solved_CxQ[0].mean())
        fitted.append(gap)
        excluded += low > 0
    assert np.mean(naive) > 0.06
    assert abs(np.mean(fitted)) < 0.03
    assert excluded <= 4


def test_cross_fitted_gap_finds_a_real_gap_and_refuses_tiny_sets():
    generator = np.random.default_rng(2)
    accuracy_C = np.array([0.3, 0.8, 0.4])
    solved = [(generator.random((3, 200)) < accuracy_C[:, None]).astype(float) for _ in range(3)]
    gap, low, high = statistics.cross_fitted_gap(statistics.resampled_halves(solved), np.eye(3), np.eye(3)[2])
    assert low < 0.4 < high and low > 0.3
    assert gap == pytest.approx(0.4, abs=0.05)
    assert np.isnan(statistics.resampled_halves([np.ones((3, 3))])).all()


def test_two_level_is_students_interval_over_seeds_and_over_problems_for_one_seed():
    generator = np.random.default_rng(0)
    values = [generator.random(problems) - 0.2 for problems in (50, 80, 60)]
    means = [value.mean() for value in values]
    test = stats.ttest_1samp(means, 0)
    mean, low, high, p = statistics.two_level(values)
    np.testing.assert_allclose([mean, low, high, p], [np.mean(means), *test.confidence_interval(), test.pvalue])
    _, low, high, p = statistics.two_level(values[:1])
    expected = stats.ttest_1samp(values[0], 0)
    np.testing.assert_allclose([low, high], expected.confidence_interval(), atol=0.03)
    assert p < 0.001 and low <= expected.confidence_interval().low, "two problems more, one at each end"


def test_two_level_covers_where_seeds_vary_and_where_all_is_solved():
    """The percentile bootstrap over three seeds covers about 75 %; that must not come back."""
    covered = []
    for draw in range(2000):
        generator = np.random.default_rng(draw)
        level_S = np.clip(0.6 + generator.normal(0, 0.1, 3), 0, 1)
        _, low, high, _ = statistics.two_level([generator.random(100) < level for level in level_S], 0)
        covered.append(low <= 0.6 <= high)
    assert 0.93 < np.mean(covered) < 0.97
    mean, low, high, _ = statistics.two_level([np.ones(8), np.ones(8)], 0)
    assert mean == high == 1 and 0.7 < low < 0.95, "16 solved problems leave room for an unsolved one"


def test_what_is_measured_was_not_part_of_the_choice():
    solved = [np.zeros((4, 10)) for _ in range(3)]
    solved[0][1], solved[1][2], solved[2][2] = 1, 1, 0.5
    chosen = statistics.cross_fitted(solved, np.eye(4))
    assert [set(best_Q) for best_Q in chosen] == [{2}, {1}, {1}]  # each seed alone would choose 1, 2, 2
    solved_CxQ = np.zeros((3, 10))
    solved_CxQ[1, 0] = 1  # one problem alone makes checkpoint 1 the best
    (chosen_Q,) = statistics.cross_fitted([solved_CxQ], np.eye(3))
    assert chosen_Q[0] == 0 and 0 in chosen_Q and 1 in chosen_Q


def test_a_choice_without_a_winner_has_no_winners_curse():
    gaps = []
    for draw in range(200):
        solved = (np.random.default_rng(draw).random((3, 20, 40)) < 0.5).astype(float)
        chosen = statistics.cross_fitted(solved, np.eye(20))
        gaps.append(np.mean([s[best, np.arange(40)] for s, best in zip(solved, chosen, strict=True)]) - 0.5)
    assert abs(np.mean(gaps)) < 0.01


def test_replicated_curves_have_the_quantiles_of_students_interval(monkeypatch):
    monkeypatch.setattr(statistics, "REPLICATES", 20_000)
    solved = (np.random.default_rng(0).random((3, 5, 100)) < 0.6).astype(float)
    contrast = np.array([1, 0, -1, 0, 0.5])
    drawn_R = statistics.replicated_curves(solved) @ contrast
    _, low, high = statistics.student(statistics.accuracies(solved) @ contrast)
    np.testing.assert_allclose(np.quantile(drawn_R, [0.025, 0.975]), [low, high], rtol=0.05)
    one = statistics.replicated_curves(solved[:1]) @ contrast
    contrast_Q = contrast @ solved[0]
    expected = stats.t.interval(0.95, 99, contrast_Q.mean(), stats.sem(contrast_Q))
    np.testing.assert_allclose(np.quantile(one, [0.025, 0.975]), expected, rtol=0.05)
    assert np.isnan(statistics.replicated_curves([np.ones((5, 1))])).all(), "one problem has no spread"


def test_the_envelope_spans_the_intervals_of_all_candidates():
    generator = np.random.default_rng(0)
    one_Rx1 = generator.normal(size=(1000, 1))
    np.testing.assert_array_equal(statistics.envelope(one_Rx1), one_Rx1[:, 0])
    both_Rx2 = one_Rx1 + [0, 1]
    low, high = np.quantile(statistics.envelope(both_Rx2), statistics.TAILS)
    assert low == pytest.approx(np.quantile(one_Rx1, 0.025)) and high == pytest.approx(np.quantile(one_Rx1 + 1, 0.975))
    order_R = one_Rx1[:, 0].argsort()
    assert (np.diff(statistics.envelope(both_Rx2)[order_R]) >= 0).all(), "a low draw stays a low draw"
    assert np.isnan(statistics.envelope(np.full((4, 2), np.nan))).all()


def test_the_envelope_covers_the_value_of_a_candidate_that_is_as_good_as_another():
    """Of two as good, noise makes one the best; the truth is the other's value. A mixture of both covers 88 %."""
    covered = []
    for draw in range(400):
        generator = np.random.default_rng(draw)
        lead, *value_2 = generator.normal(size=3) + [0, 0, 5]
        value_RxK = np.array(value_2) + generator.normal(size=(1000, 2))
        may_be_best = np.abs(lead) < stats.norm.ppf(1 - 0.0125)
        spanned = statistics.envelope(value_RxK if may_be_best else value_RxK[:, [int(lead < 0)]])
        low, high = np.quantile(spanned, statistics.TAILS)
        covered.append(low <= 0 <= high)
    assert 0.93 <= np.mean(covered) <= 0.98


def test_an_interval_of_steps_ends_at_steps():
    assert statistics.interval_R(np.repeat([64, 80, 128], [30, 960, 10])) == [64, 80]
    for early in range(20, 30):
        assert statistics.interval_R(np.repeat([64, 80], [early, 1000 - early]))[0] in (64, 80)


def test_holm_is_the_step_down_correction():
    np.testing.assert_allclose(statistics.holm([0.01, np.nan, 0.04, 0.03]), [0.03, np.nan, 0.06, 0.06])
    assert statistics.holm([]) == []


def test_mcnemar_is_the_exact_binomial():
    for first, second in ((0, 0), (1, 0), (3, 11), (11, 3), (40, 22)):
        n = first + second
        by_hand = min(1, 2 * sum(math.comb(n, i) for i in range(min(first, second) + 1)) / 2**n)
        assert statistics.mcnemar(first, second) == pytest.approx(by_hand)
