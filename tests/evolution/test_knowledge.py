import numpy as np
import pandas as pd
import pytest
from helpers import synthetic_study

from babel_jax import evolution
from babel_jax.evolution import knowledge
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.selection import select


def test_knowledge_share_on_a_table_done_by_hand():
    needs_Q = knowledge.needs_primary_Q(primary_solved_Q=[1, 1, 1, 0, 0], new_solved_Q=[0, 0, 1, 0, 1])
    np.testing.assert_array_equal(needs_Q, [True, True, False, False, False])
    share_C, solved_C = knowledge.knowledge_share(
        needs_Q, [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    )
    np.testing.assert_allclose(share_C, [2 / 5, 1 / 3, 0, np.nan])
    np.testing.assert_array_equal(solved_C, [5, 3, 1, 0])


@pytest.fixture(scope="module")
def frame():
    return synthetic_study.planted(seeds=3, problems=80, steps=synthetic_study.STEPS[::2], layers=2)


def test_the_share_starts_at_its_ceiling_and_falls_with_the_primarys_knowledge(frame):
    curves = evolution.curves(frame, "python", "php")
    share = curves.knowledge["continual"]
    assert share.ceiling == pytest.approx(0.6, abs=0.03)
    peak = share.at(curves.peak_step).value
    change = share.change(curves.peak_step)
    assert peak > 0.5 and change.ci[1] < 0
    control = curves.knowledge["control"]
    assert control.end().value == pytest.approx(0.6, abs=0.05)


def test_the_share_has_no_meaning_where_the_problems_differ_between_languages():
    assert evolution.curves(synthetic_study.real_code(), "python", "php").knowledge == {}


def test_the_share_is_none_where_a_run_is_missing(frame):
    assert knowledge.knowledge_curve(frame[frame["run"] != "new_only"], "continual", "python", "php") is None


def test_curves_hold_what_was_measured(frame):
    curves = evolution.curves(frame, "python", "php")
    rows = select(frame, {"subset": "shared"}, run="continual", language="php", metric="accuracy", step=96)
    place = list(curves.accuracy["continual", "php", "shared"].steps).index(96)
    np.testing.assert_allclose(curves.accuracy["continual", "php", "shared"].value_SxC[:, place], rows["value"])
    assert len(curves.lens["continual", "primary_share_pair"]) == 2


def test_a_share_that_is_undefined_at_the_start_has_an_end():
    share_C = np.array([np.nan, 0.6, 0.5, 0.4, 0.4, 0.4, 0.3, 0.2])
    value_SxC = share_C[None]
    curve = Curve(
        np.arange(8), value_SxC, share_C, share_C - 0.1, share_C + 0.1, n=5, seeds=[0], interval="", unit=True
    )
    assert curve.end().value == pytest.approx(0.25) and curve.end().ci == pytest.approx((0.15, 0.35))


def test_who_guesses_among_four_has_learned_nothing():
    frame = synthetic_study.planted(seeds=2, problems=40)
    assert knowledge.unlearned(frame, "python", "php") == []
    rows = select(frame, run="new_only", language="php", metric="solved")
    guessed = frame.copy()
    guessed.loc[rows.index, "value"] = (rows["item"] % 4 == 0).astype(float)
    assert knowledge.unlearned(guessed, "python", "php") == []  # a quarter of all programs is something
    chance = frame.iloc[[0]].assign(
        probe="evaluation", metric="chance", language="php", value=0.25, options='{"subset": "all", "choices": 4}'
    )
    assert knowledge.unlearned(pd.concat([guessed, chance], ignore_index=True), "python", "php") == ["new_only"]
