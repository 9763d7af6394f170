import dataclasses

import numpy as np
import pytest
from helpers import simulated_studies

from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import compare

NEW = "php"


def mixes(score_MxS, languages=(NEW,), names=None):
    """Mixes with these scores in every language (or [M, languages, S]), without judged problems."""
    score = np.asarray(score_MxS, float)
    score = score if score.ndim == 3 else np.repeat(score[:, None], len(languages), 1)
    return [
        Mix(
            names[m] if names else f"m{m}",
            list(range(score.shape[2])),
            dict(zip(languages, by_language, strict=True)),
            by_language.mean(0),
            tokens=1000,
        )
        for m, by_language in enumerate(score)
    ]


def judged(name, solved_by_language, seeds=(4,)):
    """A mix that solves the same problems in all seeds: {language: [Q]}."""
    score = {language: np.full(len(seeds), np.mean(solved_Q)) for language, solved_Q in solved_by_language.items()}
    solved = {language: [np.asarray(solved_Q, float)] * len(seeds) for language, solved_Q in solved_by_language.items()}
    return Mix(name, list(seeds), score, np.mean(list(score.values()), axis=0), tokens=1000, solved=solved)


def test_mixes_are_compared_within_seeds():
    pair = compare.compare(mixes([[0.1, 0.5, 0.9], [0.2, 0.62, 0.98]]), "m0", "m1")
    assert pair.value == pytest.approx(0.1) and pair.ci[0] > 0 and 0.005 < pair.p < 0.05
    assert pair.first_value == pytest.approx(0.5) and pair.second_value == pytest.approx(0.6)
    assert pair.n == 3 and pair.interval == "seeds"
    np.testing.assert_allclose(pair.by_seed, [0.1, 0.12, 0.08])


def test_only_seeds_that_both_have_count():
    one, two = mixes([[0.1, 0.5, 0.9], [0.2, np.nan, 0.98]])
    assert compare.compare([one, two], "m0", "m1").seeds == [0, 2]
    two = dataclasses.replace(two, seeds=[5, 6, 7])
    assert compare.compare([one, two], "m0", "m1") is None
    with pytest.raises(UserError, match="did you mean 'm1'"):
        compare.compare([one, two], "m0", "m11")


def test_the_interval_covers_the_planted_difference():
    generator, hits, low_p = np.random.default_rng(0), 0, 0
    for _ in range(500):
        seed_S = generator.normal(0, 0.2, 3)  # what is easy in a seed is easy for every mix
        score_MxS = 0.5 + seed_S + generator.normal(0, 0.03, (2, 3)) + [[0], [0.1]]
        pair = compare.compare(mixes(score_MxS), "m0", "m1")
        hits += pair.ci[0] <= 0.1 <= pair.ci[1]
        low_p += (pair.p < 0.05) == (not pair.ci[0] <= 0 <= pair.ci[1])
    assert 0.92 <= hits / 500 <= 0.98
    assert low_p == 500, "p-value and interval say the same"


def test_one_seed_is_compared_over_its_problems():
    solved_2xQ = np.array([np.arange(200) < 100, np.arange(200) < 130])
    pair = [judged(name, {NEW: solved_Q}) for name, solved_Q in zip("ab", solved_2xQ, strict=True)]
    found = compare.compare(pair, "a", "b")
    assert found.value == pytest.approx(0.15) and 0.09 < found.ci[0] < found.ci[1] < 0.21
    assert found.n == 200 and found.interval == "problems" and found.p < 1e-6
    assert compare.gap_to_best(pair, "a").ci[0] > 0.05
    pair = [dataclasses.replace(mix, solved={}) for mix in pair]
    assert np.isnan(compare.compare(pair, "a", "b").ci).all(), "no problems, no interval"
    assert np.isnan(compare.gap_to_best(pair, "a").value)


def test_problems_bring_their_answers_in_all_languages_along():
    """The same problems are gained in both languages: as wide as one language. Unequal sets count as independent."""
    before_Q, after_Q = np.arange(200) < 100, np.arange(200) < 130
    alone, both, unequal = (
        compare.compare([judged("a", before), judged("b", after)], "a", "b").ci
        for before, after in (
            ({"go": before_Q}, {"go": after_Q}),
            ({"go": before_Q, "php": before_Q}, {"go": after_Q, "php": after_Q}),
            ({"go": before_Q, "php": before_Q[60:140]}, {"go": after_Q, "php": after_Q[60:140]}),
        )
    )
    np.testing.assert_allclose(both, alone)
    go, php = (np.var(after_Q[part] - 1.0 * before_Q[part], ddof=1) for part in (slice(None), slice(60, 140)))
    assert np.diff(unequal)[0] == pytest.approx(2 * 1.9690 * np.sqrt(go / 200 + php / 80) / 2, rel=1e-3)


def test_the_best_mix_is_chosen_on_the_other_seeds():
    gap = compare.gap_to_best(mixes([[0.9, 0.45, 0.45], [0.5, 0.5, 0.5], [0.4, 0.4, 0.4]]), "m2")
    np.testing.assert_allclose(gap.by_seed, [0.1, 0.05, 0.05], err_msg="seed 0's luck must not count for seed 0")
    assert gap.second == "m0" and gap.chosen == ["m1", "m0", "m0"]


def test_the_best_is_sought_among_mixes_of_as_many_tokens_measured_in_the_same_seeds():
    """A swarm's mix has one seed, and a longer run is no better mix."""
    given = mixes([[0.3] * 3, [0.5] * 3, [0.9] * 3, [0.9] * 3], names=["natural", "best", "swarm_00", "longer"])
    one = np.array([0.9])
    given[2] = dataclasses.replace(given[2], seeds=[0], macro=one, score={NEW: one})
    given[3] = dataclasses.replace(given[3], tokens=6000)
    gap = compare.gap_to_best(given, "natural")
    assert gap.second == "best" and gap.value == pytest.approx(0.2) and gap.seeds == [0, 1, 2]
    assert [row.second for row in compare.comparisons(given, "natural") if row.kind == "best"] == ["best"] * 2


def test_a_mix_that_is_chosen_itself_may_still_stay_behind_another():
    """It is the best whichever seed is left out, so no gap was measured; three seeds do not prove that there is none."""
    pair = mixes([[0.5, 0.52, 0.54], [0.49, 0.53, 0.5]])
    gap, ahead = compare.gap_to_best(pair, "m0"), compare.compare(pair, "m0", "m1")
    assert gap.value == 0 and gap.chosen == ["m0"] * 3
    assert gap.ci == (0, ahead.ci[1]) and ahead.ci[1] > 0
    alone = compare.gap_to_best(pair[:1], "m0")
    assert alone.ci == (0, 0), "nothing else was trained"


def test_intervals_of_differences_are_not_far_too_narrow():
    """The whole simulation is tests/bench/coverage.py; few studies see whether a bootstrap over three seeds is back."""
    for found in simulated_studies.coverage("from scratch", seeds=3, replications=80):
        assert found["covered"] >= 0.88, found


def test_the_best_of_equals_is_not_ahead():
    """Twenty equally good mixes, three seeds: the naive maximum is ahead, the reported gap is not."""
    generator, naive, fitted = np.random.default_rng(1), [], []
    for _ in range(200):
        score_MxS = generator.normal(0.5, 0.03, (20, 3))
        fitted.append(compare.gap_to_best(mixes(score_MxS), "m0").value)
        naive.append(score_MxS.mean(1).max() - score_MxS[0].mean())
    assert np.mean(naive) > 0.025 and abs(np.mean(fitted)) < 0.006


def test_every_mix_is_compared_with_the_original_and_the_p_values_corrected():
    score = np.full((4, 2, 3), 0.5) + np.array([0.0, 0.01, -0.01])
    score[1, 0] += [0.1, 0.11, 0.12]
    score[2, 1] -= [0.1, 0.3, 0.15]
    pairs = compare.comparisons(mixes(score, ("go", "php"), ["natural", "a", "b", "c"]), "natural")
    assert [(row.score, row.second) for row in pairs if row.kind == "mix"] == [
        (score, name) for score in ("macro", "go", "php") for name in "abc"
    ]
    best = {row.score: row.second for row in pairs if row.kind == "best"}
    assert best["go"] == best["macro"] == "a"
    row = next(row for row in pairs if row.score == "go" and row.second == "a")
    assert row.p_holm == pytest.approx(3 * row.p)
    assert compare.comparisons(mixes(score, ("go", "php")), "natural") == []
    assert compare.comparisons(mixes(score[:1], ("go", "php")), "m0") == [], "nothing to compare with"


def test_the_guard_fails_if_one_language_is_harmed():
    """Macro rises, Go falls: the paper's own corpus."""
    score = np.array([[[0.2, 0.22, 0.21], [0.2, 0.21, 0.2]], [[0.5, 0.53, 0.52], [0.16, 0.165, 0.158]]])
    pair = mixes(score, ("php", "go"))
    guarded = compare.guard(pair, "m0", "m1")
    assert compare.compare(pair, "m0", "m1").ci[0] > 0 and guarded.passes is False
    assert guarded.languages["go"].ci[1] < 0 < guarded.languages["php"].ci[0]
    pair[1].score["go"] = np.array([0.1, 0.3, 0.2])
    assert compare.guard(pair, "m0", "m1").passes is True, "noise is no harm"
    pair[1].score["go"] = np.array([0.1, np.nan, np.nan])
    assert compare.guard(pair, "m0", "m1").passes is None, "one seed without problems tells nothing"


def test_two_seeds_that_agree_by_luck_are_no_proof():
    """Their problems say how sure each of the two differences is."""
    generator = np.random.default_rng(0)
    solved = [generator.permutation(100) < count for count in (50, 60)]
    pair = [
        judged(name, {"php": solved_Q}, seeds=(0, 1)) for name, solved_Q in zip(("one", "other"), solved, strict=True)
    ]
    found = compare.compare(pair, "one", "other", "php")
    assert found.value == pytest.approx(0.1) and found.ci[0] < found.value - 0.05 and 0 < found.p < 1
    error = np.std(np.subtract(*(part.astype(float) for part in solved)), ddof=1) / np.sqrt(200)
    assert found.ci[1] - found.value == pytest.approx(1.96 * error, rel=1e-3)


def test_random_mixes_of_one_seed_are_no_candidates():
    def mix(name, seeds):
        return Mix(name, seeds, {"php": np.array([0.5 + 0.01 * s for s in seeds])}, np.full(len(seeds), 0.5), tokens=1)

    pairs = compare.comparisons([mix("o", [0, 1, 2]), mix("law", [0, 1, 2]), mix("swarm_00", [1])], "o")
    assert {pair.second for pair in pairs if pair.kind == "mix"} == {"law"}


@pytest.mark.parametrize("low, high, harm", [(-0.05, -0.01, True), (-0.015, -0.005, False), (-0.05, 0.01, False)])
def test_a_loss_surely_within_the_tolerance_is_no_harm(low, high, harm):
    assert compare.Harm((low + high) / 2, (low, high), 0.01, tested=True).is_harm == harm
