import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.optimum import eq3


def test_pairwise_reading_gives_the_papers_corpus():
    """Python 11B: PHP 5B is P = 0.6875, C# 10B is P = 0.5238 (paper)."""
    assert eq3.pairwise_share(5e9, 11e9) == pytest.approx(0.6875)
    assert eq3.pairwise_share(10e9, 11e9) == pytest.approx(0.5238, abs=5e-5)
    np.testing.assert_allclose(eq3.pairwise_tokens([11 / 16, 11 / 21], 11e9), [5e9, 10e9])
    assert np.isinf(eq3.pairwise_tokens(0.0, 11e9)) and eq3.pairwise_tokens(1.0, 11e9) == 0


def test_slope_is_the_derivative_of_the_pairwise_tokens():
    step = 1e-6
    numeric = (eq3.pairwise_tokens(0.6 + step, 11.0) - eq3.pairwise_tokens(0.6 - step, 11.0)) / (2 * step)
    assert eq3.pairwise_slope(0.6, 11.0) == pytest.approx(numeric)


def test_joint_reading_solves_all_shares_together_and_inverts():
    tokens = eq3.joint_tokens([0.6875, 0.5238], 11e9)
    np.testing.assert_allclose(tokens / (11e9 + tokens.sum()), [1 - 0.6875, 1 - 0.5238])
    assert tokens[0] > eq3.pairwise_tokens(0.6875, 11e9), "the other language dilutes the primary"


def test_joint_and_pairwise_agree_for_one_language():
    for p_star in (0.07, 0.5, 0.6875, 1.0):
        np.testing.assert_allclose(eq3.joint_tokens(p_star, 11e9), [eq3.pairwise_tokens(p_star, 11e9)])


def test_joint_reading_says_when_it_has_no_solution():
    with pytest.raises(UserError, match="no solution"):
        eq3.joint_tokens([0.4, 0.5], 11e9)
