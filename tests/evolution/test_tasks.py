import numpy as np
import pytest
from helpers import synthetic_study

from babel_jax.common import measurements
from babel_jax.evolution.curve import over_seeds
from babel_jax.evolution.selection import view
from babel_jax.evolution.tasks import CHANCE, METRICS, NAMES, WRITING, MixScore, rise_and_fall, tasks
from babel_jax.organism import world_tasks

STEPS = np.array([0, 8, 64, 256, 512])


def scored(*values, error=0.01):
    return MixScore(dict(enumerate(values)), dict.fromkeys(range(len(values)), error), 100)


def mix_row(seed, value, language="php", run="mix_unimax", step=10, n=50, **more):
    about = dict(probe="evaluation", metric="task_comment", options={"subset": "all"})
    return measurements.row(**about | dict(run=run, seed=seed, step=step, language=language, value=value, n=n) | more)


def of_rows(*rows, new=("php",)):
    frame = measurements.table(list(rows))
    return tasks(frame, {language: view(frame, "python", language, new) for language in new})


def test_a_planted_study_has_curves_and_mixes_of_every_task():
    found = synthetic_study.found().tasks
    world = [task.name for task in world_tasks.TASKS]
    assert found.asked == world and set(METRICS) == set(CHANCE) == set(NAMES) > {WRITING, *world}
    assert len(NAMES) == len(set(NAMES)), "a task of the world and one of a corpus have the same rows"
    for task in (WRITING, *world):
        assert {run for _, run, name, _ in found.curves if name == task} == {"continual", "control"}
        assert {subset for _, _, name, subset in found.curves if name == task} == {"all", "shared", "transfer"}
    curve = found.curves["php", "continual", "comment", "all"]
    assert curve.unit and curve.n == 100 and (curve.high <= 1).all()
    writing = synthetic_study.found().languages["php"].curves.accuracy["continual", "php", "all"]
    assert np.array_equal(found.curves["php", "continual", WRITING, "all"].value_SxC, writing.value_SxC)


def test_a_study_that_asked_nothing_beside_writing_has_scores_of_that_alone():
    study, frame = synthetic_study.alone()
    old = frame[~frame["metric"].str.startswith("task_").to_numpy(bool)]
    found = tasks(old, {"php": old})
    assert found.asked == [] and {key[2] for key in found.curves} == {WRITING}


def test_a_course_is_read_at_another_tasks_step():
    value_SxC = np.array([[0.3, 0.5, 0.9, 0.7, 0.5], [0.2, 0.5, 0.9, 0.6, 0.4], [0.25, 0.5, 0.8, 0.6, 0.5]])
    found = rise_and_fall(over_seeds(STEPS, value_SxC, np.full((3, 5), 100), [0, 1, 2], unit=True), 64)
    assert found.rise.value == pytest.approx(np.mean([0.6, 0.7, 0.55])) and found.rise.ci[0] > 0.3
    assert found.fall.value == pytest.approx(np.mean([-0.3, -0.4, -0.25])), "the end is the mean of the last quarter"
    assert found.fall.ci[1] < 0
    assert rise_and_fall(over_seeds(STEPS, value_SxC, np.full((3, 5), 100), [0, 1, 2], unit=True), 65) is None


def test_a_course_of_one_seed_has_the_bounds_of_its_questions():
    value_SxC = np.array([[0.3, 0.5, 0.9, 0.7, 0.5]])
    found = rise_and_fall(over_seeds(STEPS, value_SxC, np.full((1, 5), 100), [0], unit=True), 64)
    assert found.rise.value == pytest.approx(0.6)
    assert found.rise.ci[0] < found.rise.value < found.rise.ci[1]
    assert found.fall.ci[0] < found.fall.value < found.fall.ci[1] < 0


def test_mixes_are_paired_over_the_seeds_that_both_have():
    one, other = scored(0.5, 0.6, 0.7), MixScore({1: 0.5, 2: 0.6, 3: 0.0}, {1: 0.01, 2: 0.01, 3: 0.01}, 100)
    difference = one.minus(other)
    assert difference.value == pytest.approx(0.1)
    assert one.minus(MixScore({7: 0.5}, {7: 0.01}, 100)) is None
    sure, unsure = (scored(0.9, 0.9, error=error).minus(scored(0.7, 0.7, error=error)) for error in (0.01, 0.2))
    assert sure.ci[0] > 0 > unsure.ci[0], "few questions that agree by luck do not narrow it"


def test_a_mix_is_read_at_its_last_step_and_its_error_is_never_zero():
    found = of_rows(*(mix_row(seed, 1.0) for seed in (0, 1)), mix_row(0, 0.2, step=5), mix_row(0, 0.1, run="continual"))
    score = found.mixes["unimax", "comment", "all"]
    assert score.score == {0: 1.0, 1: 1.0} and score.n == 50 and min(score.error.values()) > 0
    assert score.estimate.ci[0] < 1 and score.estimate.ci[1] == 1 and score.is_above(0.25) and not score.is_above(0.999)


def test_the_mean_over_languages_leaves_out_a_seed_that_lacks_one():
    rows = [mix_row(0, 0.4), mix_row(0, 0.8, "go"), mix_row(1, 0.9)]
    score = of_rows(*rows, new=("php", "go")).mixes["unimax", "comment", "all"]
    assert score.score == {0: pytest.approx(0.6)} and score.n == 100
