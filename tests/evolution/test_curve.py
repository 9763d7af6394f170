import dataclasses

import numpy as np
import pytest
from helpers.synthetic_study import changed

from babel_jax.evolution.curve import Point, over_seeds


def test_only_seeds_that_have_both_are_compared():
    one = Point(2.0, (0, 4), np.array([1.0, 3.0]), [0, 1])
    two = Point(15.0, (0, 30), np.array([10.0, 20.0]), [1, 2])
    difference = two.minus(one)
    assert difference.value == 7 and difference.seeds == [1] and np.isnan(difference.ci).all()
    assert np.isnan(changed(two, seeds=[5, 6]).minus(one).value)
    both = changed(two, seeds=[1, 0]).minus(one)
    assert both.by_seed.tolist() == [19, 7] and both.ci[0] < 13 < both.ci[1]


def test_counts_relative_to_step_0_are_shares_of_each_seeds_own_start():
    counts_SxC = np.array([[100.0, 90, 110], [200, 190, 150]])
    grown = over_seeds([0, 10, 20], counts_SxC, np.full((2, 3), 1024), [0, 1], False)
    share = grown.relative_to_first()
    np.testing.assert_allclose(share.value_SxC, [[1, 0.9, 1], [1, 0.95, 0.75]])
    assert share.mean[1] == pytest.approx(0.925) and share.n == 1024 and (share.high <= 1).all()
    assert dataclasses.replace(grown, steps=np.array([5, 10, 20])).relative_to_first() is None, "no step 0"
    nothing = over_seeds([0, 10], np.array([[0.0, 3]]), np.full((1, 2), 9), [0], False)
    assert nothing.relative_to_first() is None
    one = over_seeds(
        [0, 10], np.array([[50.0, 40]]), np.full((1, 2), 64), [0], False, own=np.array([[45, 35], [55, 45.0]])
    )
    assert one.relative_to_first().at(10).ci == pytest.approx((0.7, 0.9))
