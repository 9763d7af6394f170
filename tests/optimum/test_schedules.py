import dataclasses

import numpy as np
import pytest

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.corpus.mixture import stages_from_config
from babel_jax.corpus.mixture_files import amounts
from babel_jax.optimum import schedules

STEPS = np.array([0, 10, 20, 40, 80, 160, 320, 640])
REPLAY = (0.0, 0.1, 0.25)
PEAK = (80, 0.25)  # of the mean over both languages
TOTAL = 1_000_000


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(statistics, "REPLICATES", 200)


def means(by):
    """Accuracies [K, R, C] over seeds."""
    return np.array([[np.mean([s.mean(1) for s in of[r].solved], axis=0) for r in sorted(of)] for of in by.values()])


def planted_new(replay, steps=STEPS):
    """Rises to 0.9 at step 80 and falls to half of it; what the primary's replay costs is little."""
    distance = np.abs(np.log2(np.maximum(steps, 5) / 80.0))
    return np.where(steps == 0, 0.02, 0.9 - 0.1 * distance - 0.1 * replay)


def planted_primary(replay, steps=STEPS):
    return np.where(steps == 0, 1.0, 0.1 + 3.2 * replay)


def solved(truth_C, seed, problems, jitter=0.02, purpose=0):
    """Answers [C, Q] that hang together over checkpoints: each problem has its own difficulty."""
    rng = np.random.default_rng([seed, purpose])
    level_C = np.clip(truth_C + jitter * rng.normal(), 0, 1)
    return (rng.random(problems) < level_C[:, None]).astype(float)


def phase(truth_C, seeds, problems=200, steps=STEPS, replay=0.0, purpose=0):
    answers = [solved(truth_C, seed, problems, purpose=purpose) for seed in seeds]
    return schedules.Phase(list(seeds), steps, steps * 1000 * (1 - replay), answers)


def runs(seeds=(0, 1, 2), languages=("php",), new=planted_new, primary=planted_primary, **changes):
    def of(truth, k):
        return {r: phase(truth(r), seeds, replay=r, purpose=k, **changes) for r in REPLAY}

    return {language: of(new, 1 + k) for k, language in enumerate(languages)}, {
        language: of(primary, 99) for language in languages
    }


def truth_at(step, replay):
    at = list(STEPS).index(step)
    return (planted_new(replay)[at] + planted_primary(replay)[at]) / 2


def test_the_planted_schedule_is_found():
    surface = schedules.surface(*runs())
    assert surface.replay == [0.0, 0.1, 0.25] and list(surface.tokens) == list(STEPS * 1000)
    assert surface.score_RxC.shape == (3, 8) and surface.score_KxRxC.shape == (1, 3, 8)
    assert ((surface.low_RxC <= surface.score_RxC) & (surface.score_RxC <= surface.high_RxC)).all()
    proposal = schedules.propose(surface, "python", TOTAL)
    assert (proposal.phase_tokens / 1000, proposal.replay) == PEAK
    assert proposal.new_tokens == 60_000 == proposal.by_language["php"].tokens
    assert proposal.stages == [
        {"tokens": TOTAL - 80_000, "weights": {"python": 1.0}},
        {"tokens": 0, "weights": {"python": 0.25, "php": 0.75}},
    ]
    stages_from_config(proposal.stages, 11)
    assert amounts(proposal.stages, TOTAL) == pytest.approx({"python": TOTAL - 60_000, "php": 60_000})
    low, high = proposal.predicted_ci
    assert low <= truth_at(*PEAK) <= high and high - low < 0.3
    wide = schedules.propose(schedules.surface(*runs((0, 1))), "python", TOTAL).predicted_ci
    assert 0 <= wide[0] < wide[1] <= 1  # Student t over two seeds knows no bounds
    assert proposal.reason == "the score is highest inside what was measured" and proposal.active == {}


def test_the_band_of_one_seed_is_that_of_its_problems():
    new, primary = runs((0,))
    surface = schedules.surface(new, primary)
    width_RxC = surface.high_RxC - surface.low_RxC
    accuracy_2xRxC = np.array([means(new)[0], means(primary)[0]])
    error_RxC = np.sqrt((accuracy_2xRxC * (1 - accuracy_2xRxC)).sum(0) / 200) / 2
    np.testing.assert_allclose(width_RxC, 2 * 1.96 * error_RxC, rtol=0.3)
    without = [{"php": {r: by["php"][r] for r in (0.1, 0.25)}} for by in (new, primary)]
    np.testing.assert_allclose(schedules.surface(*without).tokens, STEPS * 1000)  # of the phase, whatever is replayed


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_the_tokens_and_the_score_lie_in_their_intervals(seeds):
    """Of 40 draws; the truth of the score is that of the best phase, which a choice on half of the data can only miss."""
    inside = np.zeros(2)
    for draw in range(40):
        given = [10 * draw + seed for seed in seeds]
        proposal = schedules.propose(schedules.surface(*runs(given, problems=100)), "python", TOTAL)
        for at, (interval, truth) in enumerate(
            ((proposal.phase_tokens_ci, 80_000), (proposal.predicted_ci, truth_at(*PEAK)))
        ):
            inside[at] += interval[0] <= truth <= interval[1]
    assert inside[0] >= 37 and inside[1] >= (
        37 if len(seeds) > 1 else 28
    )  # one seed knows nothing of the seeds' jitter


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_the_best_of_equals_is_no_better_than_the_others(seeds):
    """All phases are worth 0.5: the highest of 24 noisy scores is above that, what is predicted of it is not."""
    flat, highest = [], []
    for draw in range(30):
        rng = np.random.default_rng(draw)
        new, primary = runs(seeds)
        for by in (new, primary):
            for r, run in by["php"].items():
                by["php"][r] = dataclasses.replace(
                    run, solved=[(rng.random((8, 30)) < 0.5).astype(float) for _ in seeds]
                )
        surface = schedules.surface(new, primary)
        flat.append(schedules.propose(surface, "python", TOTAL).predicted)
        highest.append(surface.score_RxC.max())
    assert np.mean(highest) > 0.54 and abs(np.mean(flat) - 0.5) < 0.02


def test_no_phase_and_the_longest_one_can_be_best():
    nothing = schedules.surface(*runs(new=lambda r: np.full(8, 0.3), primary=lambda r: 1 - 0.1 * (STEPS > 0)))
    proposal = schedules.propose(nothing, "python", TOTAL)
    assert proposal.stages == [{"tokens": 0, "weights": {"python": 1.0}}] and proposal.new_tokens == 0
    assert proposal.reason == "no phase of a new language scores better than the primary alone"
    rising = schedules.propose(schedules.surface(*runs(new=lambda r: STEPS / 700)), "python", TOTAL)
    assert rising.phase_tokens == 640_000 and rising.reason.startswith("php: the score still rises")


def test_a_phase_is_held_by_the_run():
    surface = schedules.surface(*runs())
    short = schedules.propose(surface, "python", 50_000)
    assert short.phase_tokens == 40_000 and short.stages[0]["tokens"] == 10_000
    assert "a phase of 80,000 tokens scores best and is too long" in short.active["php"]
    with pytest.raises(UserError, match="no phase that was measured fits into 0 tokens"):
        schedules.propose(surface, "python", 0)


def test_several_languages_share_the_phase_in_proportion_to_their_own_best():
    def later(replay):
        return planted_new(replay, STEPS / 4)  # its peak is at step 320

    new, primary = runs(languages=("php", "go"))
    new["go"] = runs(new=later)[0]["php"]
    surface = schedules.surface(new, primary)
    assert surface.score_KxRxC.shape == (2, 3, 8)
    mean = (means(new).sum(0) + means(primary).mean(0)) / 3
    smooth = mean @ schedules.stages.smoothing_CxC(8).T
    np.testing.assert_allclose(surface.score_RxC, smooth)  # the mean over all three languages
    proposal = schedules.propose(surface, "python", TOTAL)
    assert {name: part.tokens for name, part in proposal.by_language.items()} == {"php": 60_000, "go": 240_000}
    assert proposal.phase_tokens == 400_000
    assert proposal.stages[1]["weights"] == {"python": 0.25, "php": 0.15, "go": 0.6}
    # Half of a run is 250,000 tokens: go may not have its 320,000.
    held = schedules.propose(surface, "python", 500_000)
    assert held.by_language["go"].tokens == 120_000 and list(held.active) == ["go"]


def test_three_seeds_are_not_taken_for_many():
    """The band over seeds is Student's: drawing three seeds with replacement would give a third of it."""
    new, primary = runs()
    surface = schedules.surface(new, primary)
    value_S = surface.score_SxKxRxC[:, 0, 1, 4]
    low, high = statistics.student(value_S)[1:]
    width = surface.high_RxC[1, 4] - surface.low_RxC[1, 4]
    assert width == pytest.approx(high - low, rel=0.25)


def test_only_what_all_runs_have_is_compared():
    new, primary = runs()
    shorter = runs(
        steps=STEPS[:6], new=lambda r: planted_new(r, STEPS[:6]), primary=lambda r: planted_primary(r, STEPS[:6])
    )
    new["php"][0.1], primary["php"][0.1] = shorter[0]["php"][0.1], shorter[1]["php"][0.1]
    fewer = runs((1, 2))
    new["php"][0.0], primary["php"][0.0] = fewer[0]["php"][0.0], fewer[1]["php"][0.0]
    surface = schedules.surface(new, primary)
    assert surface.steps == STEPS[:6].tolist() and surface.seeds == [1, 2]
    of_both = [np.mean(by["php"][0.25].solved[1:], axis=(0, 2))[:6] for by in (new, primary)]
    np.testing.assert_allclose(surface.score_KxRxC[0, 2], np.mean(of_both, axis=0))


def test_runs_that_do_not_fit_together_are_errors_of_one_line():
    new, primary = runs()
    others = runs((7,))[0]
    for broken, message in (
        ({"php": {r: new["php"][r] for r in (0.0, 0.1)}}, "other replay shares in one language"),
        ({"php": others["php"]}, "no seed, or no checkpoint, in common"),
        (runs(problems=3)[0], "judge 4 or more"),
    ):
        with pytest.raises(UserError, match=message) as error:
            schedules.surface(broken, primary)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="from 0 to below 1"):
        schedules.surface({"php": {1.0: new["php"][0.0]}}, {"php": {1.0: primary["php"][0.0]}})
