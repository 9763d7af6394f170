import numpy as np
import pytest
import synthetic_study
from synthetic_study import STEPS, answers, curve_of

from babel_jax.evolution import stages


def planted(kind, seeds=3, problems=200, steps=STEPS):
    return [answers(curve_of(kind, steps), problems, np.random.default_rng(seed)) for seed in range(seeds)]


@pytest.mark.parametrize("seeds", [1, 3])
def test_rise_and_fall_has_three_stages_that_touch(seeds):
    found = stages.find_stages(STEPS, planted("fall", seeds))
    assert found["translation"][0] == 0 and found["stabilisation"][1] == 768
    assert found["translation"][1] == found["transition"][0] and found["transition"][1] == found["stabilisation"][0]
    assert 64 <= found["transition"][0] <= 96, "the planted peak is at step 80"
    assert 256 <= found["transition"][1] <= 512, "the planted fall has lost 90 % by step 335"


@pytest.mark.parametrize("kind", ["stay", "monotone", "flat"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_no_transition_where_none_was_planted(kind, seeds):
    assert stages.find_stages(STEPS, planted(kind, seeds)) is None


def test_noise_alone_is_no_transition():
    """Every checkpoint a coin flip of its own, 30 times: the highest one always stands out, and none must count."""
    for trial in range(30):
        noise = np.random.default_rng(trial).random((3, len(STEPS), 60)) < 0.5
        assert stages.find_stages(STEPS, noise.astype(float)) is None


def test_a_fall_without_a_rise_is_no_transition():
    """Noise puts the highest checkpoint of the plateau anywhere; nothing rose to it."""
    assert stages.find_stages(STEPS, [s[::-1] for s in planted("stay")]) is None


def test_a_decline_below_the_minimum_does_not_count_however_sure():
    accuracy = curve_of("stay") - 0.03 * synthetic_study.fall(STEPS)
    solved = [answers(accuracy, 4000, np.random.default_rng(0))]
    found = stages.decline(STEPS, solved)
    assert found["ci"][0] > 0 and not found["seen"]


def test_a_decline_that_two_problems_make_does_not_count_however_large():
    solved_CxQ = np.zeros((12, 16))
    solved_CxQ[1:, :8] = 1
    solved_CxQ[9:, 6:] = 0
    found = stages.decline(range(12), [solved_CxQ])
    assert found["value"] > stages.MINIMUM_CHANGE and found["ci"][0] <= 0 and not found["seen"]


def test_a_curve_that_still_falls_has_not_settled():
    accuracy = np.concatenate([np.linspace(0, 0.9, 10), np.linspace(0.9, 0.1, 11)[1:]])
    found = stages.find_stages(STEPS, [answers(accuracy, 400, np.random.default_rng(0))])
    assert found["stabilisation"] is None and found["transition"][1] == 768


def test_seeds_may_have_different_problems_and_few_checkpoints_are_not_smoothed():
    generator = np.random.default_rng(0)
    steps, accuracy = [0, 100, 200, 400, 800, 1200], [0.05, 0.9, 0.7, 0.6, 0.6, 0.6]
    found = stages.find_stages(steps, [answers(accuracy, 150, generator), answers(accuracy, 90, generator)])
    assert found["transition"][0] == 100
    np.testing.assert_array_equal(stages.smoothing_CxC(6), np.eye(6))
    np.testing.assert_allclose(stages.smoothing_CxC(20).sum(1), 1)
    np.testing.assert_allclose(stages.smoothing_CxC(20)[0, :3], [0.5, 0.5, 0])


def test_the_answer_is_the_same_every_time():
    assert stages.decline(STEPS, planted("fall")) == stages.decline(STEPS, planted("fall"))
