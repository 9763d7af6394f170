import dataclasses

import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed

from babel_jax.evolution.tasks import WRITING, MixScore, Tasks
from babel_jax.organism.world_tasks import TASKS
from babel_jax.study.claim import MISSING, NOT_TESTED, OPEN, REFUTED, SUPPORTED
from babel_jax.study.verdicts import verdicts

NAMES = [task.name for task in TASKS]


@pytest.fixture(scope="module")
def findings():
    return synthetic_study.found()


def judged(findings, name, language="php"):
    (found,) = (one for one in verdicts(findings) if one.name == name and one.language in (language, None))
    return found


def with_scores(findings, scores: dict, seeds=(0, 1, 2), error=0.01):
    """The study in which the original and the optimised mix have these mean scores by task: {task: (one, other)}."""
    mixes = dict(findings.tasks.mixes)
    for task, pair in scores.items():
        for name, value in zip((findings.original_name, findings.optimised_name), pair, strict=True):
            by_seed = {seed: value + 0.002 * seed for seed in seeds} if 0 < value < 1 else dict.fromkeys(seeds, value)
            for subset in ("all", "transfer"):
                mixes[name, task, subset] = MixScore(by_seed, dict.fromkeys(seeds, error), 100)
    return changed(findings, tasks=dataclasses.replace(findings.tasks, mixes=mixes))


def test_a_corpus_that_helps_in_one_task_and_harms_in_another_is_said_to(findings):
    found = with_scores(findings, dict(port=(0.5, 0.8), returns=(0.9, 0.6), comment=(0.7, 0.71), changed=(0.9, 0.9)))
    expected = dict(port=SUPPORTED, returns=REFUTED, comment=OPEN, changed=OPEN)
    assert {name: judged(found, f"task_{name}").verdict for name in NAMES} == expected
    sentence = judged(found, "task_port").sentence
    assert "Holm over 4 tasks" in sentence and "lacks what is asked, +30.0" in sentence
    assert judged(found, "task_returns").number.startswith("\N{MINUS SIGN}30.0")


def test_a_difference_that_is_one_of_many_has_to_be_larger(findings):
    alone = with_scores(changed(findings, tasks=Tasks()), dict(port=(0.5, 0.5155)), error=0.0085)
    among = with_scores(findings, dict(port=(0.5, 0.5155)) | dict.fromkeys(NAMES[1:], (0.5, 0.5)), error=0.0085)
    assert "Holm over 1 task)" in judged(alone, "task_port").sentence
    assert judged(alone, "task_port").verdict == SUPPORTED and judged(among, "task_port").verdict == OPEN


def test_what_cannot_tell_two_corpora_apart_does_not_test_the_claim(findings):
    pairs = dict(port=(0.0, 0.01), returns=(0.26, 0.25), comment=(1.0, 1.0), changed=(0.5, 0.9))
    found = with_scores(findings, pairs)
    verdict_of = {name: judged(found, f"task_{name}") for name in NAMES}
    assert [verdict_of[name].verdict for name in NAMES] == [NOT_TESTED, NOT_TESTED, NOT_TESTED, SUPPORTED]
    assert (
        "above chance" in verdict_of["returns"].sentence and "Every answer is right" in verdict_of["comment"].sentence
    )
    assert "Holm over 1 task)" in verdict_of["changed"].sentence, "what is not tested is not counted"


def test_mixes_that_had_not_learned_the_primary_are_not_compared(findings):
    found = with_scores(synthetic_study.unlearned(findings, findings.original_name), dict(port=(0.5, 0.8)))
    one = judged(found, "task_port")
    assert one.verdict == NOT_TESTED and "had not learned Python" in one.sentence


def test_a_study_without_such_rows_says_so(findings):
    old = changed(findings, tasks=Tasks())
    for name in NAMES:
        for claim in ("task", "course"):
            one = judged(old, f"{claim}_{name}")
            assert one.verdict == MISSING and one.sentence.endswith("."), one
    assert (
        "`task_share`" in judged(old, "task_port").sentence
        and "earlier version" in judged(old, "task_comment").sentence
    )
    assert judged(synthetic_study.empty(findings), "task_port").verdict == MISSING


def test_a_task_that_only_falls_does_not_go_as_writing_does(findings):
    assert {name: judged(findings, f"course_{name}").verdict for name in NAMES} == dict(
        port=SUPPORTED, returns=REFUTED, comment=SUPPORTED, changed=SUPPORTED
    )
    sentence = judged(findings, "course_comment").sentence
    assert "(chance 25" in sentence and "step 64" in sentence and "the control ends at" in sentence


def test_a_task_at_chance_or_beside_a_language_that_does_not_fall_is_not_tested():
    several = synthetic_study.found(("php", "cpp"))
    assert judged(several, "course_comment", "cpp").verdict == NOT_TESTED
    key = ("php", "continual", "comment", "all")
    curve = several.tasks.curves[key]
    flat = dataclasses.replace(
        curve, value_SxC=0 * curve.value_SxC + 0.25, mean=0 * curve.mean + 0.25, low=0 * curve.low + 0.2
    )
    flat = dataclasses.replace(flat, high=0 * curve.high + 0.3)
    found = changed(several, tasks=dataclasses.replace(several.tasks, curves=several.tasks.curves | {key: flat}))
    one = judged(found, "course_comment", "php")
    assert one.verdict == NOT_TESTED and "above chance" in one.sentence


# --- tasks of corpora -----------------------------------------------------------------------------------------------------


def as_corpus(findings, asked="cloze"):
    """The study as one of a corpus that was asked one of its tasks, with the scores of the world's task `comment`."""
    old = findings.tasks

    def renamed(key):
        return tuple(asked if part == "comment" else part for part in key)

    tasks = dataclasses.replace(
        old,
        curves={renamed(key): curve for key, curve in old.curves.items() if "comment" in key or WRITING in key},
        mixes={renamed(key): score for key, score in old.mixes.items() if "comment" in key or WRITING in key},
    )
    study = dataclasses.replace(findings.study, kind="real_code")
    return changed(findings, tasks=tasks, study=study)


def test_a_corpus_s_task_has_claims_where_it_was_asked_alone(findings):
    names = {one.name for one in verdicts(findings)}
    assert {f"task_{name}" for name in NAMES} <= names and not {"task_cloze", "course_cloze", "task_word"} & names
    found = as_corpus(findings)
    assert found.tasks.asked == ["cloze"]
    course = judged(found, "course_cloze")
    assert course.claim.endswith("rises and falls as the score of the stages does")
    assert "writing" not in course.sentence and judged(findings, "course_comment").verdict == course.verdict
    helped = with_scores(found, dict(cloze=(0.5, 0.8)))
    assert judged(helped, "task_cloze").verdict == SUPPORTED
    assert (
        judged(helped, "task_cloze").claim
        == "The optimised corpus helps in choosing the word that comes next in a text"
    )
    assert "task_word" not in {one.name for one in verdicts(found)}
