from types import SimpleNamespace

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.optimum import algorithm1, best_corpus

ORIGINAL = {"python": 11e9, "php": 23e9, "csharp": 16e9, "go": 11e9, "cpp": 28e9}  # the paper's


def proposal(p_star, decision=algorithm1.CHANGE, spread=0.0):
    replicates_R = np.clip(p_star + spread * np.random.default_rng(0).normal(size=1000), 0, 1)
    return SimpleNamespace(p_star=p_star, replicates_R=replicates_R, decision=decision, reason=decision)


def papers(**changes):
    alone = proposal(0.2, algorithm1.ALONE)
    return {"php": proposal(11 / 16), "csharp": proposal(11 / 21), "go": alone, "cpp": alone} | changes


def test_the_papers_corpus():
    """Python 11B with P* 0.6875 and 0.5238: PHP 5B, C# 10B, the others as they were."""
    corpus = best_corpus.corpus(papers(), "python", ORIGINAL)
    assert corpus.tokens == pytest.approx({"python": 11e9, "php": 5e9, "csharp": 10e9, "go": 11e9, "cpp": 28e9})
    assert corpus.unconstrained == pytest.approx(corpus.tokens) and corpus.active == []
    assert corpus.total == pytest.approx(65e9) and corpus.shares["python"] == pytest.approx(11 / 65)
    assert corpus.as_written["cpp"] == pytest.approx(44e9), "without the test of dependence"
    assert corpus.ci["cpp"] == (28e9, 28e9) and corpus.ci["php"] == pytest.approx((5e9, 5e9))
    assert corpus.decisions["php"] == algorithm1.CHANGE and corpus.decisions["cpp"] == algorithm1.ALONE
    assert "asks for 5B tokens [5B, 5B], the original has 23B" in corpus.reasons["php"]


def test_the_joint_corpus_has_each_changed_languages_own_share():
    corpus = best_corpus.corpus(papers(php=proposal(0.9), csharp=proposal(0.85)), "python", ORIGINAL, "joint")
    assert corpus.shares["php"] == pytest.approx(0.1) and corpus.shares["csharp"] == pytest.approx(0.15)
    assert corpus.tokens["cpp"] == 28e9 and corpus.as_written is None, "go and cpp would ask for 1.6 of all tokens"
    assert corpus.unconstrained["php"] == pytest.approx(0.1 * 50e9 / 0.75) and "joint" in corpus.reasons["php"]
    with pytest.raises(UserError, match="no solution"):
        best_corpus.corpus(papers(php=proposal(0.4), csharp=proposal(0.5)), "python", ORIGINAL, "joint")
    with pytest.raises(UserError, match="did you mean 'pairwise'"):
        best_corpus.corpus(papers(), "python", ORIGINAL, "pairwis")


def test_the_corpus_decides_by_the_interval_of_its_own_reading():
    """P* = 0.74 +- 0.03 of 101B: pairwise that is 3B to 5B of PHP, joint 18B to 40B, which holds the original 23B."""
    wide = papers(php=proposal(0.74, spread=0.03), csharp=proposal(0.9))
    assert best_corpus.corpus(wide, "python", ORIGINAL).decisions["php"] == algorithm1.CHANGE
    joint = best_corpus.corpus(wide, "python", ORIGINAL, "joint")
    assert joint.decisions["php"] == algorithm1.NO_CHANGE and joint.tokens["php"] == 23e9
    assert joint.shares["csharp"] == pytest.approx(0.1), "solved again without PHP"
    kept = best_corpus.corpus(papers(php=proposal(0.32, spread=0.05)), "python", ORIGINAL)
    assert kept.decisions["php"] == algorithm1.NO_CHANGE and kept.tokens["php"] == 23e9


def test_the_corpus_carries_the_intervals():
    corpus = best_corpus.corpus(papers(php=proposal(11 / 16, spread=0.03)), "python", ORIGINAL)
    assert corpus.ci["php"][0] == pytest.approx(11e9 * (1 / (11 / 16 + 0.0588) - 1), rel=0.05)
    assert corpus.ci["php"][1] == pytest.approx(11e9 * (1 / (11 / 16 - 0.0588) - 1), rel=0.05)
    joint = best_corpus.corpus(
        papers(php=proposal(0.6, spread=0.15), csharp=proposal(0.6)), "python", ORIGINAL, "joint"
    )
    assert np.isinf(joint.ci["php"][1]), "some replicates ask for all tokens and more"


def test_a_budget_scales_all_languages_alike():
    corpus = best_corpus.corpus(papers(), "python", ORIGINAL, constraints=best_corpus.Constraints(budget=130e9))
    assert corpus.tokens == pytest.approx({"python": 22e9, "php": 10e9, "csharp": 20e9, "go": 22e9, "cpp": 56e9})
    assert corpus.active == ["budget"] and corpus.unconstrained["php"] == pytest.approx(5e9), "both are shown"


def test_what_a_bound_takes_goes_to_the_nearest_corpus():
    """PHP is held at 2B of its 5B: the 3B go to Python and C# as 11 to 10, C++ and Go stay."""
    limits = best_corpus.Constraints(budget=65e9, available={"php": 2e9})
    corpus = best_corpus.corpus(papers(), "python", ORIGINAL, constraints=limits)
    factor = (65 - 39 - 2) / 21
    expected = {"python": 11e9 * factor, "php": 2e9, "csharp": 10e9 * factor, "go": 11e9, "cpp": 28e9}
    assert corpus.tokens == pytest.approx(expected) and corpus.active == ["budget", "available tokens of php"]

    def divergence(tokens):
        return sum(amount * np.log(amount / corpus.unconstrained[name]) for name, amount in tokens.items())

    for moved in (-1e9, 1e9):
        other = expected | {"python": expected["python"] - moved, "csharp": expected["csharp"] + moved}
        assert divergence(other) > divergence(corpus.tokens)


def test_availability_epochs_and_minimum_share_bind_and_are_named():
    available = {"php": 2e9, "go": 5e9}
    limits = best_corpus.Constraints(available=available, max_epochs=2.0)
    corpus = best_corpus.corpus(papers(), "python", ORIGINAL, constraints=limits)
    assert corpus.tokens == pytest.approx({"python": 11e9, "php": 4e9, "csharp": 10e9, "go": 10e9, "cpp": 28e9})
    assert corpus.active == ["available tokens of php", "available tokens of go"]
    limits = best_corpus.Constraints(min_share=0.1)
    corpus = best_corpus.corpus(papers(), "python", ORIGINAL, constraints=limits)
    assert corpus.shares["php"] == pytest.approx(0.1) and corpus.active == ["minimum share of php"]
    assert corpus.total == pytest.approx(65e9) and corpus.tokens["cpp"] == pytest.approx(28e9)
    assert corpus.tokens["csharp"] / corpus.tokens["python"] == pytest.approx(10 / 11)


def test_tokens_without_end_stop_at_what_there_is():
    endless = papers(php=proposal(0.0))
    assert best_corpus.corpus(endless, "python", ORIGINAL).tokens["php"] == 23e9, "nothing ends them: as they were"
    limits = best_corpus.Constraints(available=ORIGINAL, max_epochs=2.0)
    corpus = best_corpus.corpus(endless, "python", ORIGINAL, constraints=limits)
    assert corpus.tokens["php"] == 46e9 and corpus.active == ["available tokens of php"]
    assert np.isinf(corpus.unconstrained["php"])


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"budget": 99e9, "available": dict.fromkeys(ORIGINAL, 9e9)}, "lower --budget"),
        ({"budget": 0.0}, "above 0"),
        ({"min_share": 0.3}, "lower --min_share"),
        ({"min_share": 1.0}, "least share"),
        ({"max_epochs": 0.0}, "max_epochs is 0"),
        ({"min_share": 0.1, "available": {"php": 1e9}}, "lower --min_share"),
    ],
)
def test_constraints_that_cannot_be_met_are_errors(limits, message):
    with pytest.raises(UserError, match=message):
        best_corpus.corpus(papers(), "python", ORIGINAL, constraints=best_corpus.Constraints(**limits))


def test_a_language_without_a_size_is_an_error():
    with pytest.raises(UserError, match="unknown language of the original corpus 'cpp'"):
        best_corpus.corpus(papers(), "python", {name: size for name, size in ORIGINAL.items() if name != "cpp"})


def test_several_primaries_stand_as_one():
    np.testing.assert_allclose(best_corpus.merge_primaries([[11 / 16], [11 / 21]], [11e9])[0], [11 / 16, 11 / 21])
    asked_KxP, primary_P = np.array([[0.4, 0.2], [0.1, 0.2]]), [20.0, 10.0]
    common_K, residual_KxP = best_corpus.merge_primaries(asked_KxP, primary_P)
    np.testing.assert_allclose(common_K, [0.6, 0.3])
    np.testing.assert_allclose(residual_KxP, [[0, 0], [-0.1, 0.1]], atol=1e-12)
    assert best_corpus.merge_primaries([0.4, 0.6000001], [1.0, 9.0])[0] == 1, "no share is more than all"
    assert np.isnan(best_corpus.merge_primaries([[np.nan, 0.5], [0.5, 0.5]], [1.0, 1.0])[0]).tolist() == [True, False]
    with pytest.raises(UserError, match="sum to at most 1"):
        best_corpus.merge_primaries([[0.7, 0.5]], primary_P)


def test_primaries_that_stood_as_one_come_apart_in_their_proportions():
    amounts = {"python+cpp": 30.0, "php": 12.0}
    corpus = best_corpus.Corpus(
        reading="pairwise",
        tokens=amounts,
        shares={"python+cpp": 0.75, "php": 0.25},
        total=42.0,
        unconstrained=amounts,
        as_written=None,
        ci={"python+cpp": (30.0, 30.0), "php": (9.0, 15.0)},
        active=[],
        decisions={},
        reasons={},
    )
    found = best_corpus.split_primaries(corpus, "python+cpp", {"python": 2e9, "cpp": 1e9})
    assert found.tokens == pytest.approx({"python": 20.0, "cpp": 10.0, "php": 12.0})
    assert found.shares == pytest.approx({"python": 0.5, "cpp": 0.25, "php": 0.25})
    assert found.ci["python"] == pytest.approx([20.0, 20.0]) and found.ci["php"] == (9.0, 15.0)
    assert found.as_written is None and found.total == 42.0
