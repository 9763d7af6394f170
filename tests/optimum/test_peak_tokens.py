import dataclasses

import numpy as np
import pytest
from helpers.synthetic_study import STEPS, answers, curve_of, judged

from babel_jax.common import statistics
from babel_jax.evolution import stages
from babel_jax.evolution.observation import Observation
from babel_jax.optimum import algorithm1, peak_tokens
from babel_jax.optimum.best_corpus import Constraints

ORIGINAL = {"python": 11.0, "php": 23.0, "cpp": 28.0}
BUDGET = 620_000.0  # 110,000 tokens of Python, 230,000 of PHP, 280,000 of C++


def seen(solved, language="php", tokens_a_step=704) -> Observation:
    return Observation(
        language=language,
        steps=STEPS,
        tokens=STEPS * float(tokens_a_step),
        seeds=list(range(len(solved))),
        solved=solved,
        score_SxC=statistics.accuracies(solved),
        losses={},
        loss_errors={},
        shares={},
    )


def peak(kind: str, seeds=3, **more) -> peak_tokens.PeakTokens:
    return peak_tokens.of_observation(seen(judged(kind, seeds), **more))


def of_tokens(tokens: float, decision=algorithm1.CHANGE, half=0.1, language="php") -> peak_tokens.PeakTokens:
    replicates_R = tokens * np.linspace(1 - half, 1 + half, 101)
    interval = algorithm1.percentiles(replicates_R)
    return peak_tokens.PeakTokens(
        language, tokens, interval, 64, np.array([tokens]), replicates_R, decision, "because."
    )


# --- what a language's peak says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_tokens_seen_at_a_planted_peak_are_in_the_interval(seeds):
    """The planted curve is highest at step 80, which has seen 56,320 tokens."""
    found = peak("fall", seeds)
    low, high = found.tokens_ci
    assert low <= 80 * 704 <= high < 230_000 and low < high
    assert found.tokens == pytest.approx(80 * 704, rel=0.25) and found.decision == algorithm1.CHANGE
    assert found.by_seed.shape == (seeds,) and found.best_step in (64, 80, 96)
    twice = peak("fall", seeds, tokens_a_step=1408)
    np.testing.assert_allclose(twice.replicates_R, 2 * found.replicates_R)


@pytest.mark.parametrize(
    "kind, decision, because",
    [
        ("stay", peak_tokens.KEEP, "rises and stays"),
        ("monotone", peak_tokens.KEEP, "the last one"),
        ("flat", algorithm1.NOT_TESTED, "not determined"),
    ],
)
def test_a_language_that_does_not_fall_after_its_peak_is_not_cut(kind, decision, because):
    found = peak(kind)
    assert found.decision == decision and because in found.reason and found.reason.startswith("php: ")
    assert np.isnan(found.tokens) == (decision == algorithm1.NOT_TESTED)
    assert not found.tokens_ci[1] > 768 * 704, "nothing was seen beyond"
    corpus = peak_tokens.corpus({"php": found}, "python", ORIGINAL, Constraints(budget=BUDGET))
    assert corpus.tokens == pytest.approx({"python": 110_000, "php": 230_000, "cpp": 280_000})
    assert corpus.as_written is None if decision == algorithm1.NOT_TESTED else corpus.as_written == corpus.tokens


def test_a_fall_that_is_not_sure_cuts_nothing():
    """Two problems of sixteen are lost at the end: too few to say so."""
    solved_CxQ = np.zeros((len(STEPS), 16))
    solved_CxQ[3:, :8] = 1
    solved_CxQ[12:, 6:] = 0
    found = peak_tokens.of_observation(seen([solved_CxQ]))
    assert found.decision == algorithm1.UNDECIDED and "undecided" in found.reason


def test_no_curve_of_one_problem():
    assert peak_tokens.of_observation(seen([np.ones((len(STEPS), 1))])) is None


# --- between checkpoints ----------------------------------------------------------------------------------------------------


def test_a_peak_between_checkpoints_is_the_vertex_of_a_parabola_in_log_tokens():
    tokens_C = np.array([0, 10, 20, 40, 80, 160.0])
    curve_C = 1 - np.log(np.maximum(tokens_C, 1) / 50) ** 2
    assert peak_tokens.peak_of(curve_C, tokens_C) == pytest.approx(50)
    assert peak_tokens.peak_of([np.arange(6.0), -np.arange(6.0)], tokens_C).tolist() == [160, 0], "an end"
    second_C = np.array([0, 1, 0.5, 0, 0, 0])
    assert peak_tokens.peak_of(second_C, tokens_C) == 10, "no logarithm of the 0 tokens before it"
    assert peak_tokens.peak_of([1.0, 1.0, 1.0], [1.0, 2.0, 4.0]) == 1, "the first of equals"
    assert peak_tokens.peak_of([0.0, 1.0], [0.0, 5.0]) == 5
    with np.errstate(all="raise"):
        assert peak_tokens.peak_of([1.0, 0.5, 1e-10], [1.0, 2.0, 4.0]) == 1, (
            "the vertex of what is nearly a line is far away"
        )


def test_between_checkpoints_the_peak_is_nearer_to_the_truth():
    """Sixty noisy curves whose peaks lie anywhere: root mean square of the error in log tokens."""
    generator, at_checkpoint, between = np.random.default_rng(0), [], []
    fine = np.linspace(0, 768, 7681)
    truth = fine[curve_of("fall", fine).argmax()]
    for _ in range(60):
        stretch = np.exp(generator.uniform(-0.3, 0.3))  # moves the peak by as much
        curve_C = curve_of("fall", STEPS / stretch)
        solved = [answers(curve_C, 200, generator) for _ in range(3)]
        smooth_C = stages.pooled_curve_C(solved)
        at_checkpoint.append(np.log(STEPS[smooth_C.argmax()] / (truth * stretch)))
        between.append(np.log(peak_tokens.peak_of(smooth_C, STEPS) / (truth * stretch)))
    assert np.square(between).mean() < 0.95 * np.square(at_checkpoint).mean()


def test_the_interval_covers_a_peak_that_lies_anywhere():
    """A peak that is the same in every seed, 100 times; what lies between the checkpoints was not measured."""
    generator, inside = np.random.default_rng(1), 0
    for _ in range(100):
        stretch = np.exp(generator.uniform(-0.5, 0.5))
        x_C = np.log(np.maximum(STEPS, 0.5) / (64 * stretch))
        solved = [answers(0.9 - 0.1 * x_C**2, 200, generator) for _ in range(3)]
        low, high = peak_tokens.of_observation(seen(solved)).tokens_ci
        inside += low <= 64 * stretch * 704 <= high
    assert 92 <= inside <= 100


# --- the corpus -------------------------------------------------------------------------------------------------------------


def test_the_rest_of_the_budget_is_the_primarys():
    peaks = {"php": of_tokens(50_000.0), "cpp": of_tokens(1.0, peak_tokens.KEEP)}
    corpus = peak_tokens.corpus(peaks, "python", ORIGINAL, Constraints(budget=BUDGET))
    assert corpus.tokens == pytest.approx({"python": 290_000, "php": 50_000, "cpp": 280_000}), "C++ is not cut"
    assert corpus.as_written == corpus.tokens and corpus.total == pytest.approx(BUDGET)
    assert corpus.decisions == {"php": algorithm1.CHANGE, "cpp": peak_tokens.KEEP}
    assert "asks for 50k tokens" in corpus.reasons["php"] and "has 230k" in corpus.reasons["php"]
    twice = peak_tokens.corpus(peaks, "python", ORIGINAL, Constraints(budget=2 * BUDGET))
    assert twice.tokens["php"] == 50_000, "an absolute number, whatever the budget"
    assert twice.tokens["cpp"] == 560_000


def test_without_a_budget_the_primary_keeps_what_it_has():
    corpus = peak_tokens.corpus({"php": of_tokens(5.0)}, "python", ORIGINAL, Constraints())
    assert corpus.tokens == {"python": 11.0, "php": 5.0, "cpp": 28.0}


def test_an_interval_that_holds_the_original_changes_nothing_but_is_what_the_rule_as_written_asks():
    corpus = peak_tokens.corpus({"php": of_tokens(220_000.0)}, "python", ORIGINAL, Constraints(budget=BUDGET))
    assert corpus.decisions["php"] == algorithm1.NO_CHANGE and corpus.tokens["php"] == pytest.approx(230_000)
    assert corpus.as_written == pytest.approx({"python": 120_000, "php": 220_000, "cpp": 280_000})


def test_peaks_beyond_the_budget_are_scaled_and_that_is_said():
    peaks = {name: of_tokens(510_000.0, language=name) for name in ("php", "cpp")}
    corpus = peak_tokens.corpus(peaks, "python", ORIGINAL, Constraints(budget=BUDGET))
    assert corpus.tokens == pytest.approx({"python": 110_000, "php": 255_000, "cpp": 255_000})
    assert "least share of python, by which the others have 50% of what they ask for" in corpus.active


def test_constraints_hold():
    peaks = {"php": of_tokens(50_000.0)}
    limits = Constraints(budget=BUDGET, min_share=0.1)
    assert peak_tokens.corpus(peaks, "python", ORIGINAL, limits).tokens["php"] == pytest.approx(62_000)


def test_a_language_that_was_not_tested_keeps_its_tokens_beside_one_that_was():
    unknown = dataclasses.replace(of_tokens(np.nan, algorithm1.NOT_TESTED), language="cpp")
    corpus = peak_tokens.corpus(
        {"php": of_tokens(50_000.0), "cpp": unknown}, "python", ORIGINAL, Constraints(budget=BUDGET)
    )
    assert corpus.as_written == pytest.approx({"python": 290_000, "php": 50_000, "cpp": 280_000})
