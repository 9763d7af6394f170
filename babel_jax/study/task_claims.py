"""Claims about tasks beyond writing programs: whether the optimised corpus helps there, and whether they go as writing does."""

import functools

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.material import Task
from babel_jax.common.statistics import Effect
from babel_jax.evolution import stages
from babel_jax.evolution.tasks import TASKS, WRITING, MixScore, rise_and_fall
from babel_jax.organism import world_tasks
from babel_jax.study.claim import (
    A_DECLINE,
    LEVEL,
    OPEN,
    REFUTED,
    SUPPORTED,
    Claim,
    Judged,
    missing,
    not_tested,
    one_seed_note,
    unlearned,
    untested_proposals,
)
from babel_jax.study.findings import Findings
from babel_jax.study.words import language_name, mix_title, names, p_value, percent, points, share


def not_asked(task: Task) -> str:
    """Why there are no scores of a task, a sentence."""
    return f"{task.title[0].upper()}{task.title[1:]} was not asked: {task.needs}."


def is_asked(findings: Findings, task: Task) -> bool:
    """Whether a claim about a task has a place in a study: one of a corpus's tasks only where that was asked."""
    return task in world_tasks.TASKS or task.name in findings.tasks.asked


# --- from-scratch mixes ---------------------------------------------------------------------------------------------------


def helps(findings: Findings, task: Task) -> Judged:
    """The optimised mix minus the original one in a task; the p-value is corrected for the tasks that are compared."""
    name, original = findings.optimised_name, findings.original_name
    if not name or not original:
        return missing("The original or the optimised mix was not trained.")
    pair = _pair(findings, task)
    if pair is None:
        return missing(not_asked(task))
    if reason := unlearned(findings, [findings.mix_named(each) for each in (original, name)]):
        return not_tested(reason)
    before, after = pair
    reached = (
        f"In {task.title} the original mix reaches {percent(before.estimate.value, 1)} (chance {percent(task.chance)}), the "
        f"optimised one ({mix_title(name)}) {percent(after.estimate.value, 1)}"
    )
    if reason := _no_contest(task, pair):
        return not_tested(f"{reached}. {reason}")
    difference = after.minus(before)
    if difference is None:
        return missing("The original and the optimised mix have no seed in common.")
    compared, p_holm = _corrected(findings, task)
    number = points(difference, "+")
    sentence = f"{reached}: a difference of {number}{p_value(p_holm)} (Holm over {compared} task{'s' * (compared > 1)})"
    sentence += _beyond(findings, task) + one_seed_note(findings)
    if untested := untested_proposals(findings, name):
        return not_tested(f"{sentence}. {untested}", number)
    verdict = OPEN if not p_holm < LEVEL else SUPPORTED if difference.value > 0 else REFUTED
    return Judged(verdict, number, f"{sentence}.")


def _pair(findings: Findings, task: Task, subset: str = "all") -> tuple[MixScore, MixScore] | None:
    """The original and the optimised mix in a task; None where one was not asked."""
    wanted = ((name, task.name, subset) for name in (findings.original_name, findings.optimised_name))
    pair = tuple(findings.tasks.mixes.get(key) for key in wanted)
    return None if None in pair else pair


def _no_contest(task: Task, pair: tuple[MixScore, MixScore]) -> str:
    """Why a task cannot tell two mixes apart, a sentence; "" where it can."""
    least = stages.MINIMUM_CHANGE
    if not any(score.is_above(task.chance + least) for score in pair):
        return f"Neither is surely more than {100 * least:.0f} points above chance, so none can be better. Train for longer."
    if all(value == 1 for score in pair for value in score.score.values()):
        return "Every answer is right: no corpus can be better. Ask harder questions."
    return ""


def _corrected(findings: Findings, task: Task) -> tuple[int, float]:
    """(how many tasks are compared, the p-value of one of them, corrected for that)."""
    tested = {}
    for each in TASKS:
        pair = _pair(findings, each)
        if pair and not _no_contest(each, pair) and (difference := pair[1].minus(pair[0])):
            tested[each.name] = difference
    adjusted = dict(zip(tested, statistics.holm([difference.p for difference in tested.values()]), strict=True))
    return len(tested), adjusted[task.name]


def _beyond(findings: Findings, task: Task) -> str:
    """The difference on what the new languages' corpora lack, as a part of a sentence; "" where they lack nothing."""
    pair = _pair(findings, task, "transfer")
    difference: Effect | None = pair and pair[1].minus(pair[0])
    return (
        f"; where the corpus of {names(findings.study.new)} lacks what is asked, {points(difference, '+')}"
        if difference
        else ""
    )


# --- continual pre-training -----------------------------------------------------------------------------------------------


def goes_as_writing(findings: Findings, language: str, task: Task) -> Judged:
    """Up to the best checkpoint in writing, and from there to the end; what counts is as large as in `stages`."""
    here, curves = findings.languages[language], findings.tasks.curves
    of_task = curves.get((language, "continual", task.name, "all"))
    writing = curves.get((language, "continual", WRITING, "all"))
    if of_task is None or writing is None or here.stages is None:
        return missing(not_asked(task))
    if here.stages.verdict != "transition":
        score = "Writing programs" if findings.study.kind == "organism" else "The score of the stages"
        return not_tested(f"{score} in {language_name(language)} does not surely rise and fall here.")
    peak, changes = here.curves.peak_step, rise_and_fall(of_task, here.curves.peak_step)
    if changes is None:
        return missing(f"The task was not asked at step {peak:,}, the best checkpoint in writing.")
    start, best, end = of_task.first(), of_task.at(peak), of_task.end()
    least = stages.MINIMUM_CHANGE
    if not max(point.ci[0] for point in (start, best, end)) > task.chance + least:
        return not_tested(
            f"It is never surely more than {100 * least:.0f} points above chance: {share(best)} where {_measured(findings)} is "
            "best."
        )
    rise, fall = (np.array([each.value, *each.ci]) for each in (changes.rise, changes.fall))
    number = f"{points(changes.rise, '+')}, then {points(changes.fall, '+')}"
    sentence = (
        f"From {percent(start.value)} (chance {percent(task.chance)}) it goes to {percent(best.value)} at the best checkpoint in "
        f"{_measured(findings)}, step {peak:,}, and to {percent(end.value)} at the end: {number}"
        f"{_beside(findings, language, task)}{one_seed_note(findings)}. A change of less than "
        f"{100 * least:.0f} points does not count."
    )
    seen = rise[0] >= least and rise[1] > 0 and fall[0] <= -least and fall[2] < 0
    verdict = SUPPORTED if seen else REFUTED if rise[2] < least or fall[1] > -least else OPEN
    return Judged(verdict, number, sentence)


def _measured(findings: Findings) -> str:
    """What the stages are of."""
    return "writing" if findings.study.kind == "organism" else "the score of the stages"


def _beside(findings: Findings, language: str, task: Task) -> str:
    """Where the control ends, as a part of a sentence; "" without one."""
    control = findings.tasks.curves.get((language, "control", task.name, "all"))
    return f"; the control ends at {share(control.end())}" if control else ""


CLAIMS = (
    *(
        Claim(
            f"course_{task.name}",
            f"{task.title[0].upper()}{task.title[1:]} rises and falls as "
            f"{'writing programs' if task in world_tasks.TASKS else 'the score of the stages'} does",
            functools.partial(goes_as_writing, task=task),
            A_DECLINE,
            applies=functools.partial(is_asked, task=task),
        )
        for task in TASKS
    ),
    *(
        Claim(
            f"task_{task.name}",
            f"The optimised corpus helps {'beyond writing programs:' if task in world_tasks.TASKS else 'in'} {task.title}",
            functools.partial(helps, task=task),
            of_study=True,
            applies=functools.partial(is_asked, task=task),
        )
        for task in TASKS
    ),
)
