import warnings

import numpy as np
import pytest
from helpers.counted import as_sets, counts, quick
from hypothesis import given

from babel_jax.probes import by_scores, neuron_rows
from babel_jax.probes.attribution import pls
from babel_jax.probes.definitions import BY_SCORES


@quick
@given(counts(largest=8))
def test_pls_needs_a_clear_best_language(score):
    L, F, K = score.shape
    owned = []
    for i in range(L):
        for j in range(F):
            *_, second, best = sorted(score[i, j].tolist())
            if best > 0 and best >= 1.5 * second:
                owned.append((-best, i, j, score[i, j].tolist().index(best)))
    want = sorted(owned)[: round(L * F * 0.2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        member = pls(score, 0.2)
    for k in range(K):
        assert as_sets(member[k]) == {(i, j) for _, i, j, language in want if language == k}


def test_pls_takes_a_score_of_just_one_and_a_half_times_the_second():
    score = np.array([[[2, 3, 1], [2, 2.9, 1], [0, 0, 0], [0, 0, 1]]])
    member = pls(score, top_rate=0.5)
    assert [as_sets(member[k]) for k in range(3)] == [set(), {(0, 0)}, {(0, 3)}]


def test_top_scores_never_take_what_has_none():
    score = np.array([[3.0, 0, np.nan, 3], [-5, 7, 3, 0]])
    assert as_sets(by_scores.top_scores(score, 3)) == {(1, 1), (0, 0), (0, 3)}
    with pytest.warns(UserWarning, match="only 4 of the 6"):
        assert as_sets(by_scores.top_scores(score, 6)) == {(0, 0), (0, 3), (1, 1), (1, 2)}


def score_rows(name, scores, language, languages=("a", "b"), count=None):
    """Of a definition: the rows of its numbers, those of its curve."""
    rows = neuron_rows.score_rows(BY_SCORES[name], scores, language, list(languages), count)
    layers = 1 + np.shape(scores)[0]
    return rows[:layers], rows[layers:]


def test_definitions_by_score():
    score = np.random.default_rng(0).uniform(0.1, 1, (8, 25))
    (type1, _), (type2, _) = (score_rows(f"centroid_type{kind}", score, "b", count=10) for kind in (1, 2))
    best = {place for place in np.ndindex(5, 25) if score[place] >= np.sort(score[:5], None)[-10]}
    assert [row["value"] for row in type1] == [10, *(sum(i == layer for i, _ in best) for layer in range(8))]
    assert [row["value"] for row in type2][:6] == [10, 0, 0, 0, 0, 0]
    # What removing a neuron does to a log-probability: the most negative ones carry it, and NaN was not tried.
    effect = np.where(score > 0.5, np.nan, -score)
    effect[7, 3] = -5
    effect[2, 1] = 9
    assert as_sets(BY_SCORES["causal"].mask(effect, "b", ["a", "b"], 1)) == {(7, 3)}
    assert score_rows("causal", effect, "b")[0][0]["value"] == 2
    scores = np.stack([score, score[::-1] * 0.01], axis=-1)
    assert score_rows("pls", scores, "a")[0][0]["value"] == 2
    with pytest.warns(UserWarning, match="only 0 of the 2"):
        number, curve = score_rows("causal", 0 * score, "b")
    assert number[0]["value"] == 0 and curve == []


def test_curves_of_definitions_by_score():
    score = np.arange(1.0, 33).reshape(8, 4)
    _, rows = score_rows("causal", -score, "b", count=1)
    at = np.geomspace(0.32, 32, 20)
    assert [row["value"] for row in rows] == [(score > value).sum() for value in at] and rows[0]["value"] == 32
    assert [row["options"]["score"] for row in rows] == pytest.approx(at)
    _, rows = score_rows("centroid_type2", score, "b", count=1)
    assert [rows[0]["value"], rows[-1]["value"], rows[-1]["options"]["score"]] == [12, 0, pytest.approx(32)]
    scores = np.array([[[1, 1, 0], [2, 1, 0], [3, 1, 1], [0, 0, 0]]])
    _, rows = score_rows("pls", scores, "a", "abc")
    numbers = {row["options"]["ratio"]: row["value"] for row in rows}
    assert [numbers[at] for at in (1, 1.5, 2.5)] == [3, 2, 1]
    assert {row["metric"] for row in rows} == {"pls_sensitivity"} and rows[0]["options"]["varied"] == "ratio"
