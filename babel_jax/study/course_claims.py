"""Claims about the course of continual pre-training: it rises, declines, and depends on the primary."""

import dataclasses

import numpy as np

from babel_jax.evolution import stages
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.stages import Stages
from babel_jax.study.claim import OPEN, REFUTED, SUPPORTED, Judged, below, missing, no_knowledge, not_tested, opposite
from babel_jax.study.findings import Findings
from babel_jax.study.words import as_sentence, bounds, language_name, p_value, percent, points, share


def transition(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    run = here.stages
    if run is None:
        return missing("The continual run was not evaluated on two problems or more.")
    number = _declines(run)
    sentence = _from_peak(run, f"accuracy in {language_name(language)} {number}") + _taken_alone(here.curves)
    if run.verdict == "undecided":
        return Judged(OPEN, number, f"The data cannot tell a transition from none. {sentence}.")
    if run.verdict != "transition":
        rise = points(run.rise)
        return Judged(REFUTED, number, f"No transition seen. {sentence}; it rises by {rise} before.")
    settled = run.settles
    settles = f"It settles from step {settled.step:,} on." if settled else "It has not settled by the last step."
    return Judged(SUPPORTED, number, f"{sentence}. {settles}")


def _declines(run: Stages) -> str:
    """The change from the best checkpoint before the last quarter to the end; below 0 it is a rise."""
    change = run.decline
    return f"declines by {points(change)}" if change.value >= 0 else f"rises by {points(opposite(change))}"


def _from_peak(run: Stages, change: str) -> str:
    at = f"step {run.peak.step:,}{bounds(run.peak.step_ci, digits=0)}"
    if not run.peak_in_end:
        return f"From the peak at {at} to the end, {change}"
    return (
        f"The peak, at {at}, lies in the last quarter of the checkpoints; from the best one before that quarter to the end, "
        f"{change}"
    )


def _taken_alone(curves: Curves) -> str:
    """In how many seeds a transition is seen, as the end of a sentence; "" for one seed."""
    if len(curves.seeds) < 2:
        return ""
    seen = [one for one in curves.stages_by_seed.values() if one is not None]
    peaks = ", ".join(format(one["transition"][0], ",") for one in seen)
    return (
        f"; a transition is seen in {len(seen)} of {len(curves.stages_by_seed)} seeds taken alone"
        f"{f' (peaks at step {peaks})' if peaks else ''}"
    )


def control(findings: Findings, language: str) -> Judged:
    run = findings.languages[language].control
    if run is None:
        return missing("This study has no control run.")
    if not run.learned:
        best = share(run.peak)
        return not_tested(f"The control has not learned anything to lose: it solves {best} at best.")
    number = _declines(run)
    sentence = f"The control {number} and ends at {share(run.plateau)}"
    if run.verdict == "transition":
        why = "It declines too, so what the control leaves out does not cause the decline."
        return Judged(REFUTED, number, f"{sentence}. {why}")
    if run.verdict == "undecided":
        return Judged(OPEN, number, f"{sentence}; the data cannot tell a transition from none.")
    least = f"a decline of less than {100 * stages.MINIMUM_CHANGE:.0f} points does not count"
    return Judged(SUPPORTED, number, f"{sentence}; no transition seen ({least}).")


def dependence(findings: Findings, language: str) -> Judged:
    test = findings.languages[language].dependence
    if test is None:
        return missing("The dependence test needs a continual run with judged problems.")
    if not test.tested:
        return not_tested(test.reason)
    verdict, p = {True: SUPPORTED, False: REFUTED, None: OPEN}[test.depends], p_value(test.p)
    return Judged(verdict, p.removeprefix(", "), as_sentence(test.reason.rstrip(".") + p))


def knowledge(findings: Findings, language: str) -> Judged:
    curves = findings.languages[language].curves
    here = curves.knowledge.get("continual")
    if curves.unlearned and curves.peak_step is not None:
        return not_tested(no_knowledge(curves))
    if here is None or curves.peak_step is None:
        return missing("The knowledge share needs the same problems in both languages.")
    if here.ceiling == 0:
        return Judged(OPEN, "", "No problem of this language needs the primary's knowledge: the share is 0 throughout.")
    change = here.change(curves.peak_step)
    if np.isnan(change.value):
        return not_tested("It has no value at the peak or at the end, where no problem was solved.")
    number = f"{percent(change.before)} to {share(dataclasses.replace(here.end(), value=change.after))}"
    sentence = f"The knowledge share goes from {number} (peak to end), a change of {points(change, '+')}"
    beside = curves.knowledge.get("control")
    if beside and not np.isnan(beside.end().value):
        sentence += f"; in the control it ends at {share(beside.end())}"
    ceiling = f"Its ceiling, {percent(here.ceiling)}, is set by the problem set."
    return Judged(below(change.ci), number, f"{sentence}. {ceiling}")
