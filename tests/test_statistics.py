import numpy as np
import pytest
from scipy import stats

from babel_jax.evolution import statistics


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
    hard_Q = np.arange(200) < 100
    solved_2xQ = np.array([hard_Q, hard_Q | (np.arange(200) < 120)])
    value, low, high = statistics.paired_bootstrap(solved_2xQ, [-1, 1])
    assert value == pytest.approx(0.1) and 0.05 < low < high < 0.15


def test_cross_fitted_gap_has_no_winners_curse():
    """Twenty equally good candidates: the naive maximum is ahead, the cross-fitted one is not."""
    generator = np.random.default_rng(1)
    identity, first = np.eye(20), np.eye(20)[0]
    naive, fitted, excluded = [], [], 0
    for _ in range(40):
        solved_CxQ = (generator.random((20, 100)) < 0.5).astype(float)
        gap, low, _ = statistics.cross_fitted_gap(statistics.resampled_halves([solved_CxQ], 200), identity, first)
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
