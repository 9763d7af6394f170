import numpy as np
import pytest
import synthetic_study

from babel_jax import evolution
from babel_jax.evolution import knowledge, measured


def test_knowledge_share_on_a_table_done_by_hand():
    needs_Q = knowledge.needs_primary_Q(primary_solved_Q=[1, 1, 1, 0, 0], new_solved_Q=[0, 0, 1, 0, 1])
    np.testing.assert_array_equal(needs_Q, [True, True, False, False, False])
    found = knowledge.knowledge_share(needs_Q, [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    np.testing.assert_allclose(found["share_C"], [2 / 5, 1 / 3, 0, np.nan])
    np.testing.assert_array_equal(found["solved_C"], [5, 3, 1, 0])
    assert found["ceiling"] == 2 / 5, "the share of a model that solves everything"


@pytest.fixture(scope="module")
def frame():
    return synthetic_study.planted(seeds=3, problems=80, steps=synthetic_study.STEPS[::2], layers=2)


def test_the_share_starts_at_its_ceiling_and_falls_with_the_primarys_knowledge(frame):
    curves = evolution.curves(frame, "python", "php")
    share = curves["knowledge"]["continual"]
    assert share["ceiling"] == pytest.approx(0.6, abs=0.03)
    peak = measured.at(share, curves["decline"]["peak_step"])["value"]
    change = measured.change(share, curves["decline"]["peak_step"])
    assert peak > 0.5 and change["ci"][1] < 0
    control = curves["knowledge"]["control"]
    assert measured.end(control)["value"] == pytest.approx(0.6, abs=0.05)


def test_the_share_has_no_meaning_where_the_problems_differ_between_languages():
    assert evolution.curves(synthetic_study.real_code(), "python", "php")["knowledge"] == {}


def test_the_share_is_none_where_a_run_is_missing(frame):
    assert measured.knowledge_curve(frame[frame["run"] != "new_only"], "continual", "python", "php") is None


def test_curves_hold_what_was_measured(frame):
    curves = evolution.curves(frame, "python", "php")
    rows = measured.select(frame, {"subset": "shared"}, run="continual", language="php", metric="accuracy", step=96)
    place = list(curves["accuracy"]["continual", "php", "shared"]["steps"]).index(96)
    np.testing.assert_allclose(curves["accuracy"]["continual", "php", "shared"]["value_SxC"][:, place], rows["value"])
    assert len(curves["lens"]["continual", "primary_share_pair"]) == 2


def test_a_share_that_is_undefined_at_the_start_has_an_end():
    share_C = np.array([np.nan, 0.6, 0.5, 0.4, 0.4, 0.4, 0.3, 0.2])
    curve = {
        "steps": np.arange(8),
        "value_SxC": share_C[None],
        "low": share_C - 0.1,
        "high": share_C + 0.1,
        "unit": True,
        "seeds": [0],
    }
    assert measured.end(curve)["value"] == pytest.approx(0.25)
    assert measured.end(curve)["ci"] == pytest.approx([0.15, 0.35])
