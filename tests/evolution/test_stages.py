import numpy as np
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import STEPS, answers, curve_of, judged
from scipy import special

from babel_jax.common import statistics
from babel_jax.evolution import stages

DRAWS = 500


def found_stages(steps, solved):
    return stages.find(steps, solved).stages


@pytest.mark.parametrize("seeds", [1, 3])
def test_rise_and_fall_has_three_stages_that_touch(seeds):
    bounds = found_stages(STEPS, judged("fall", seeds))
    assert bounds["translation"][0] == 0 and bounds["stabilisation"][1] == 768
    assert bounds["translation"][1] == bounds["transition"][0] and bounds["transition"][1] == bounds["stabilisation"][0]
    assert 64 <= bounds["transition"][0] <= 96, "the planted peak is at step 80"
    assert 256 <= bounds["transition"][1] <= 512, "the planted fall has lost 90 % by step 335"


@pytest.mark.parametrize("kind", ["stay", "monotone", "flat"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_no_transition_where_none_was_planted(kind, seeds):
    assert found_stages(STEPS, judged(kind, seeds)) is None


def test_noise_alone_is_no_transition():
    """Every checkpoint a coin flip of its own, 30 times: the highest one always stands out, and none must count."""
    for trial in range(30):
        noise = np.random.default_rng(trial).random((3, len(STEPS), 60)) < 0.5
        assert found_stages(STEPS, noise.astype(float)) is None


def test_a_fall_without_a_rise_is_no_transition():
    """Noise puts the highest checkpoint of the plateau anywhere; nothing rose to it."""
    assert found_stages(STEPS, [s[::-1] for s in judged("stay")]) is None


def test_a_decline_below_the_minimum_does_not_count_however_sure():
    accuracy = curve_of("stay") - 0.03 * synthetic_study.fall(STEPS)
    solved = [answers(accuracy, 4000, np.random.default_rng(0))]
    run = stages.find(STEPS, solved)
    assert run.decline.ci[0] > 0 and run.verdict != "transition"


def test_a_decline_that_two_problems_make_does_not_count_however_large():
    solved_CxQ = np.zeros((12, 16))
    solved_CxQ[1:, :8] = 1
    solved_CxQ[9:, 6:] = 0
    run = stages.find(range(12), [solved_CxQ])
    assert run.decline.value > stages.MINIMUM_CHANGE and run.decline.ci[0] <= 0 and run.verdict != "transition"


def test_a_curve_that_still_falls_has_not_settled():
    accuracy = np.concatenate([np.linspace(0, 0.9, 10), np.linspace(0.9, 0.1, 11)[1:]])
    bounds = found_stages(STEPS, [answers(accuracy, 400, np.random.default_rng(0))])
    assert bounds["stabilisation"] is None and bounds["transition"][1] == 768


def test_seeds_may_have_different_problems_and_few_checkpoints_are_not_smoothed():
    generator = np.random.default_rng(0)
    steps, accuracy = [0, 100, 200, 400, 800, 1200], [0.05, 0.9, 0.7, 0.6, 0.6, 0.6]
    bounds = found_stages(steps, [answers(accuracy, problems, generator) for problems in (150, 90, 120)])
    assert bounds["transition"][0] == 100
    np.testing.assert_array_equal(stages.smoothing_CxC(6), np.eye(6))
    np.testing.assert_allclose(stages.smoothing_CxC(20).sum(1), 1)
    np.testing.assert_allclose(stages.smoothing_CxC(20)[0, :3], [2 / 3, 1 / 3, 0])


def test_the_answer_is_the_same_every_time():
    first, second = (stages.find(STEPS, judged("fall")) for _ in range(2))
    assert (first.decline, first.rise, first.settles) == (second.decline, second.rise, second.settles)
    np.testing.assert_array_equal(first.best_R, second.best_R)


def jittered(kind, generator, steps=STEPS) -> np.ndarray:
    """One seed's accuracies: its own pace, top and loss, as far from another's as three runs of the organism are."""
    x = np.asarray(steps) / np.exp(generator.normal(0, 0.12))
    top, lost = 0.92 + generator.normal(0, 0.02), 0.41 + generator.normal(0, 0.05)
    curves = {
        "fall": lambda: 0.04 + top * synthetic_study.rise(x) - lost * synthetic_study.fall(x),
        "rising": lambda: 0.05 + 0.9 * top * np.linspace(0, 1, len(x)),
        "flat": lambda: np.full(len(x), 0.5 + generator.normal(0, 0.03)),
    }
    return np.clip(curves[kind](), 0, 1)


def runs(kind, seeds, problems, draw, steps=STEPS) -> list[np.ndarray]:
    """0/1 answers [C, Q] per seed; half of what makes a problem hard stays, the other half drifts over checkpoints.

    Neighbouring checkpoints agree as the organism's do (correlation 0.8; 0.6 five checkpoints later).
    """
    generator = np.random.default_rng(draw)
    solved = []
    for _ in range(seeds):
        accuracy_C = jittered(kind, generator, steps)
        drift_CxQ = generator.normal(size=(len(steps), problems))
        for c in range(1, len(steps)):
            drift_CxQ[c] = 0.9 * drift_CxQ[c - 1] + np.sqrt(1 - 0.9**2) * drift_CxQ[c]
        hard_CxQ = np.sqrt(0.5) * (generator.normal(size=problems) + drift_CxQ)
        solved.append((hard_CxQ < special.ndtri(accuracy_C)[:, None]).astype(float))
    return solved


def population(kind) -> np.ndarray:
    """What the intervals speak about: the mean accuracy [C] over all seeds."""
    generator = np.random.default_rng(1000)
    return np.mean([jittered(kind, generator) for _ in range(10_000)], axis=0)


def test_intervals_of_three_seeds_cover_the_planted_truth_at_the_nominal_rate():
    mean_C, end = population("fall"), stages.end_C(len(STEPS))
    truth = {"peak": mean_C.max(), "plateau": end @ mean_C, "decline": mean_C.max() - end @ mean_C}
    truth["rise"] = mean_C.max() - mean_C[0]
    best = STEPS[mean_C.argmax()]
    found = [stages.find(STEPS, runs("fall", 3, 60, draw)) for draw in range(DRAWS)]
    for name, value in truth.items():
        covered = np.mean([getattr(f, name).ci[0] <= value <= getattr(f, name).ci[1] for f in found])
        most = 0.98 if name == "plateau" else 0.995  # their bounds span those of the neighbours that may be the best
        assert 0.92 <= covered <= most, f"{name}: {covered:.3f} of the intervals cover"
        assert np.mean([getattr(f, name).value for f in found]) == pytest.approx(value, abs=0.015), name
    low, high = np.transpose([f.peak.step_ci for f in found])
    assert np.mean((low <= best) & (best <= high)) >= 0.92
    assert np.mean(high - low) < 200, "the interval of the peak's step must say something"
    assert np.mean([f.verdict == "transition" for f in found]) > 0.9


@pytest.mark.long
def test_intervals_of_one_seed_cover_its_own_accuracies():
    """One curve for all draws: the interval speaks about other problems for that model."""
    mean_C, end = curve_of("fall"), stages.end_C(len(STEPS))
    truth = {"plateau": end @ mean_C, "decline": mean_C.max() - end @ mean_C}
    found = [stages.find(STEPS, [answers_of(mean_C, 150, np.random.default_rng(draw))]) for draw in range(DRAWS)]
    for name, value in truth.items():
        covered = np.mean([getattr(f, name).ci[0] <= value <= getattr(f, name).ci[1] for f in found])
        assert 0.92 <= covered <= 0.98, name


def answers_of(accuracy_C, problems, generator) -> np.ndarray:
    """As `answers`, with difficulties drawn at random: other problems than these are what the interval speaks about."""
    hard_CxQ = generator.normal(size=problems) + 0.5 * generator.normal(size=(len(accuracy_C), problems))
    return (hard_CxQ < np.sqrt(1.25) * special.ndtri(accuracy_C)[:, None]).astype(float)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("kind", ["rising", "flat", "coin"])
def test_no_transition_in_what_rises_is_flat_or_is_noise(kind, seeds):
    def solved(draw):
        if kind == "coin":
            return np.random.default_rng(draw).integers(0, 2, (seeds, len(STEPS), 60)).astype(float)
        return runs(kind, seeds, 60, draw)

    seen = [stages.find(STEPS, solved(draw)).verdict == "transition" for draw in range(200)]
    assert np.mean(seen) <= 0.05


def test_the_verdicts_in_words():
    kinds = ("fall", "stay", "monotone")
    verdict = {kind: stages.find(STEPS, judged(kind, problems=400)).verdict for kind in kinds}
    assert verdict == {"fall": "transition", "stay": "rises and stays", "monotone": "undecided"}, (
        "who still rises has not stayed"
    )
    assert stages.find(STEPS, np.zeros((3, len(STEPS), 60))).verdict == "no rise"
    few = [
        answers(curve_of("fall"), 200, np.random.default_rng(0)),
        answers(curve_of("stay"), 200, np.random.default_rng(1)),
    ]
    assert stages.find(STEPS, few).verdict == "undecided", "one seed falls, the other does not"
    assert stages.find(STEPS, [s[:, :3] for s in judged("stay", 1)]).verdict == "undecided", "three problems"


def test_the_parts_of_a_verdict_agree_with_each_other():
    run = stages.find(STEPS, judged("fall"))
    peak, curve, best_R = run.peak, run.curve, run.best_R
    assert STEPS[peak.step_probability.argmax()] == peak.step == run.stages["translation"][1]
    np.testing.assert_allclose(peak.step_probability, np.bincount(best_R, minlength=len(STEPS)) / len(best_R))
    np.testing.assert_allclose(curve.mean_C, stages.pooled_curve_C(judged("fall")))
    assert (curve.low_C <= curve.mean_C).all() and (curve.mean_C <= curve.high_C).all()
    assert run.settles.step == run.stages["stabilisation"][0]
    low, high = run.settles.step_ci
    assert peak.step < low <= run.settles.step and not high < run.settles.step
    assert run.decline.p < 0.05 and run.decline.value == pytest.approx(0.4, abs=0.05)


def test_a_sharp_peak_keeps_its_height():
    """Smoothing chooses the checkpoint; were it also the measure, a peak of one checkpoint would lose a fifth."""
    accuracy = np.where(np.arange(20) == 8, 0.9, 0.5)
    accuracy[:5] = 0.1
    run = stages.find(STEPS, [answers(accuracy, 400, np.random.default_rng(seed)) for seed in range(3)])
    assert run.peak.step == STEPS[8] and run.peak.value == pytest.approx(0.9, abs=0.02)


def test_a_neighbour_that_may_be_the_best_lowers_the_lower_bounds():
    """Smoothed, step 64 is ahead of step 80 by a hair in every seed; unsmoothed, 80 is six points lower, and may be the peak."""
    accuracy_C = np.concatenate([[0.05] * 7, [0.8, 0.96, 0.9, 0.86], np.linspace(0.84, 0.5, 9)])
    ahead_S, height_S = np.array([0.005, 0.01, 0.02, 0.04]), np.array([-0.01, 0.01, 0.01, -0.01])
    accuracy_SxC = np.tile(accuracy_C, (4, 1))
    accuracy_SxC[:, 7] += ahead_S
    accuracy_SxC[:, [8, 10]] += height_S[:, None]
    accuracy_SxC[:, [9, 7]] += height_S[:, None]
    run = stages.find(STEPS, [exact(accuracy_C, 400) for accuracy_C in accuracy_SxC])
    assert run.peak.step == STEPS[8] == 64 and run.peak.value == pytest.approx(0.96)
    assert run.peak.step_probability[9] > stages.UNLIKELY and run.peak.step_ci == [64, 80]
    assert run.peak.ci[0] == pytest.approx(statistics.student(accuracy_SxC[:, 9])[1]), "of the neighbour"
    end_S = accuracy_SxC @ stages.end_C(20)
    assert run.decline.ci[0] == pytest.approx(statistics.student(accuracy_SxC[:, 9] - end_S)[1])
    assert run.peak.ci[1] == pytest.approx(statistics.student(accuracy_SxC[:, 8])[2]), "of the best one"


@pytest.mark.parametrize("checkpoints", [1, 2])
def test_one_or_two_checkpoints_decide_nothing(checkpoints):
    run = stages.find(STEPS[:checkpoints], [s[-checkpoints:] for s in judged("fall")])
    assert run.verdict == "undecided" and run.stages is None and run.settles is None
    assert stages.find(STEPS, [s[:, :1] for s in judged("fall", 1)]) is None


def exact(accuracy_C, problems=100) -> np.ndarray:
    """Answers with just these accuracies; what is solved at a lower one is solved at a higher one."""
    return (np.arange(problems) < np.round(problems * np.asarray(accuracy_C))[:, None]).astype(float)


def test_it_settles_where_the_curve_reaches_its_end_level():
    accuracy = [0.1, 0.9, 0.7, 0.5, 0.5, 0.5, 0.5, 0.5]
    bounds = found_stages(range(8), [exact(accuracy), exact(accuracy, 90), exact(accuracy, 110)])
    assert bounds == {"translation": [0, 1], "transition": [1, 3], "stabilisation": [3, 7]}


def test_a_curve_that_is_best_in_its_last_quarter_has_no_transition():
    """The fall in between is real, but the run ends at its best: nothing says that it would have stayed down."""
    accuracy = np.array([0.1, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.3, 1.0])
    run = stages.find(range(12), [exact(accuracy - shift) for shift in (0, 0.01, 0.02)])
    assert run.decline.p < 0.05 and run.decline.value > stages.MINIMUM_CHANGE
    assert run.verdict == "undecided" and run.stages is None


def test_a_wide_interval_is_neither_no_rise_nor_no_decline():
    flat, stay = np.full(8, 0.5), np.array([0.1, 0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    fall = np.where(np.arange(8) > 4, 0.7, stay)
    assert stages.find(range(8), [exact(stay), exact(stay), exact(fall)]).verdict == "undecided"
    risen = flat + 0.12 * (np.arange(8) > 2)
    # Chosen without the third seed, no checkpoint stands above the first one; that is no evidence that there is none.
    run = stages.find(range(8), [exact(flat), exact(flat), exact(risen)])
    assert run.rise.value < stages.MINIMUM_CHANGE and run.verdict == "undecided"
