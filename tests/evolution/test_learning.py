"""When a from-scratch run has learned the primary: a bar by seed, and the first checkpoint that reaches it."""

import numpy as np
import pytest

from babel_jax.common import measurements
from babel_jax.evolution import learning

STEPS = (100, 200, 400)


def judged(run, seed, accuracy_of: dict, problems=100) -> list[dict]:
    """Rows of a run that solves such a part of Python's problems at each step."""
    about = dict(run=run, seed=seed, probe="evaluation", language="python", metric="solved", options={"subset": "all"})
    return [
        measurements.row(**about, step=step, item=item, value=float(item < round(part * problems)))
        for step, part in accuracy_of.items()
        for item in range(problems)
    ]


def lost(run, seed, loss_of: dict) -> list[dict]:
    about = dict(run=run, seed=seed, probe="loss", language="python", metric="loss")
    return [measurements.row(**about, step=step, value=loss) for step, loss in loss_of.items()]


def test_the_bar_is_the_primary_only_run_of_the_same_seed():
    """Seed 0's run of the primary alone solves 80 %, so 76 % is enough there and not in seed 1."""
    rows = [row for seed, part in enumerate((0.8, 1.0)) for row in judged("primary_only", seed, {800: part})]
    rows += [row for seed in (0, 1) for row in judged("mix_0.5000", seed, {100: 0.02, 200: 0.76, 400: 0.94})]
    frame = measurements.table(rows)
    bar = learning.bar(frame, "python", by_loss=False)
    assert bar.level == {0: 0.8, 1: 1.0} and bar.source == learning.PRIMARY_ONLY
    found = learning.learning(frame, "mix_0.5000", "python", bar)
    assert found.at_end_S.tolist() == [True, False]
    np.testing.assert_equal(found.first_S, [200, np.nan])
    assert np.isnan(found.soon.value), "one run never has"


def test_how_soon_lies_between_two_checkpoints():
    """All seeds at step 400: they learned it somewhere between 200 and 400, which is what the interval says."""
    found = learning.Learning([0, 1, 2], np.array(STEPS), np.array([[False, False, True]] * 3))
    assert found.soon.value == 400 and found.soon.ci == (200, 400)
    found = learning.Learning([0, 1, 2], np.array(STEPS), np.array([[True] * 3, [True] * 3, [False, True, True]]))
    assert found.soon.value == pytest.approx(400 / 3) and found.soon.ci[0] == 0 < 200 < found.soon.ci[1]
    assert np.isnan(learning.Learning([0], np.array(STEPS), np.array([[False, True, True]])).soon.ci).all()


def test_a_loss_has_a_stated_distance():
    rows = lost("primary_only", 0, {640: 2.0}) + lost("primary_only", 1, {640: 2.0})
    rows += lost("mix_0.5000", 0, {100: 9.0, 400: 2.19}) + lost("mix_0.5000", 1, {100: 9.0, 400: 2.21})
    frame = measurements.table(rows)
    found = learning.learning(frame, "mix_0.5000", "python", learning.bar(frame, "python", by_loss=True))
    assert found.at_end_S.tolist() == [True, False] and found.steps.tolist() == [100, 400]


def test_what_stands_in_for_a_primary_only_run_is_named():
    rows = judged("continual_php", 0, {0: 0.9, 50: 0.2}) + judged("mix_0.5000", 0, {400: 0.86})
    frame = measurements.table(rows)
    bar = learning.bar(frame, "python", by_loss=False)
    assert bar.source == "a continual run's first checkpoint" and bar.level == {0: 0.9}
    assert learning.learning(frame, "mix_0.5000", "python", bar).at_end_S.tolist() == [True]
    later = measurements.table(judged("continual_php", 0, {50: 0.2}))
    assert learning.bar(later, "python", by_loss=False) is None, "a checkpoint behind the first is of another model"


def test_a_primary_only_run_that_has_learned_nothing_sets_no_bar():
    frame = measurements.table(judged("primary_only", 0, {800: 0.03}) + judged("mix_0.5000", 0, {400: 0.5}))
    assert learning.bar(frame, "python", by_loss=False) is None


def test_of_four_answers_one_in_four_is_right_by_chance():
    """A primary-only run that guesses sets no bar, where one that writes as many programs sets one."""

    def bar_of(accuracy, choices):
        about = dict(seed=0, step=9, probe="evaluation", language="python", value=0.25, n=100)
        chance = measurements.row(run="primary_only", metric="chance", options={"subset": "all"} | choices, **about)
        rows = measurements.table([*judged("primary_only", 0, {9: accuracy}), chance])
        return learning.bar(rows, "python", by_loss=False)

    assert bar_of(0.27, {}) is not None and bar_of(0.27, {"choices": 4}) is None
    assert bar_of(0.9, {"choices": 4}).level == {0: pytest.approx(0.9)}
