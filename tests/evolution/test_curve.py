import numpy as np
from helpers.synthetic_study import changed

from babel_jax.evolution.curve import Point


def test_only_seeds_that_have_both_are_compared():
    one = Point(2.0, (0, 4), np.array([1.0, 3.0]), [0, 1])
    two = Point(15.0, (0, 30), np.array([10.0, 20.0]), [1, 2])
    difference = two.minus(one)
    assert difference.value == 7 and difference.seeds == [1] and np.isnan(difference.ci).all()
    assert np.isnan(changed(two, seeds=[5, 6]).minus(one).value)
    both = changed(two, seeds=[1, 0]).minus(one)
    assert both.by_seed.tolist() == [19, 7] and both.ci[0] < 13 < both.ci[1]
