"""What the data say to each claim: one verdict a claim, in words, with its main number and interval.

The sentences are chosen by the data, not by the hypothesis; what was not measured is said to be so. A claim takes something
for granted, such as a model that has learned the language: where that does not hold it was measured, but not tested.
Nothing is corrected for the number of claims.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from babel_jax.common.run_names import ALGORITHM1, SCHEDULE
from babel_jax.common.statistics import Estimate
from babel_jax.evolution import stages
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.mixes import Mix
from babel_jax.evolution.stages import Stages
from babel_jax.optimum import algorithm1
from babel_jax.optimum import rivals as searches
from babel_jax.optimum.calibration import Link
from babel_jax.study import candidates
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.words import (
    NBSP,
    as_sentence,
    bounds,
    flops,
    language_name,
    minus,
    mix_title,
    names,
    p_value,
    percent,
    points,
    share,
)

SUPPORTED, REFUTED, OPEN, NOT_TESTED, MISSING = "supported", "not supported", "undecided", "not tested", "not measured"
CALIBRATED = 0.1  # mean error up to which P(l) counts as following a measured share
PREDICTS = 0.5  # part of the trivial prediction's error that a law may keep and still count as predicting
NEGLIGIBLE = 0.02  # a proposal surely this near to the best mix is a hit; a loss surely smaller than this is no harm
LAWS = {"log_linear": "log-linear mixing law", "quadratic": "quadratic regression"}
UNTESTED = (
    "The best checkpoint is the first or the last one, where Eq. 1 gives 1 or 0 by construction: "
    "this is no test of Algorithm 1."
)
UNDETERMINED = "P* is not determined in any language: this is no test of Algorithm 1."


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the data say to one claim.

    Attributes:
      name: of the claim, as `summary.json` has it.
      claim: a sentence about the hypothesis.
      verdict: SUPPORTED, REFUTED, OPEN, NOT_TESTED or MISSING.
      number: the main number with its 95 % interval, as text; "" where there is none to go by.
      sentence: all numbers, and what they say.
      language: the new language that it is about; None for what holds of the whole study.
    """

    name: str
    claim: str
    verdict: str
    number: str
    sentence: str
    language: str | None = None


@dataclasses.dataclass(frozen=True)
class Judged:
    """`verdict`, `number` and `sentence` as of `Verdict`."""

    verdict: str
    number: str
    sentence: str


# What a claim takes for granted of the continual run.
NOTHING, A_PEAK, A_DECLINE = "nothing", "a best checkpoint", "a best checkpoint, and checkpoints behind it"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim, and the function that judges it: of the findings, and of a language where the claim is about one."""

    name: str
    text: str
    judge: Callable[..., Judged]
    needs: str = NOTHING


def verdicts(findings: Findings) -> list[Verdict]:
    """Every verdict on a study: those of each new language in turn, then those of the whole study."""
    return [
        *(_of_language(claim, findings, language) for language in findings.languages for claim in OF_A_LANGUAGE),
        *(_verdict(claim, claim.judge(findings)) for claim in OF_THE_STUDY),
    ]


def _of_language(claim: Claim, findings: Findings, language: str) -> Verdict:
    judged = claim.judge(findings, language)
    if judged.verdict != MISSING and (reason := _no_test(findings.languages[language], claim.needs)):
        judged = not_tested(reason)
    return _verdict(claim, judged, language)


def _verdict(claim: Claim, judged: Judged, language: str | None = None) -> Verdict:
    return Verdict(claim.name, claim.text, judged.verdict, judged.number, judged.sentence, language)


def missing(sentence: str) -> Judged:
    return Judged(MISSING, "", sentence)


def not_tested(sentence: str, number: str = "") -> Judged:
    return Judged(NOT_TESTED, number, sentence)


# --- what several claims go by -------------------------------------------------------------------------------------------


def _no_test(here: LanguageFindings, needs: str) -> str:
    """Why a claim that starts from the best checkpoint was not tested in a language, a sentence; "" where it was."""
    if needs == NOTHING:
        return ""
    run = here.stages
    if run is None:
        return "" if here.curves.peak_step is None else "One problem of one seed is no curve. Judge more problems."
    if not run.rises:
        return as_sentence(stages.no_peak(run)) + ("" if run.learned else " Train for longer.")
    if needs == A_DECLINE and run.ends_at_peak:
        return "The best checkpoint is the last one: nothing was measured behind it."
    return ""


def _alone(findings: Findings) -> str:
    return "" if len(findings.study.seeds) > 1 else " (one seed: nothing is known about others)"


def _above(ci) -> str:
    """The claim that a difference is above 0, judged by its interval; NaN bounds leave it open."""
    return SUPPORTED if ci[0] > 0 else REFUTED if ci[1] < 0 else OPEN


def _below(ci) -> str:
    """The claim that a difference is below 0."""
    return _above(_negative(ci))


def _negative(ci) -> list[float]:
    return [-bound for bound in ci[::-1]]


def _reversed(change: Estimate) -> Estimate:
    return Estimate(-change.value, _negative(change.ci))


def _declines(run: Stages) -> str:
    """The change from the best checkpoint before the last quarter to the end; below 0 it is a rise."""
    change = run.decline
    return f"declines by {points(change)}" if change.value >= 0 else f"rises by {points(_reversed(change))}"


def _no_knowledge(curves: Curves) -> str:
    runs = " and ".join(run.replace("_", "-") for run in curves.unlearned)
    return (
        f"There is no knowledge share: the {runs} model has not learned to solve anything, so it is not known which problems "
        "need the primary. Train it for longer."
    )


def _no_contest(findings: Findings, mixes: list[Mix]) -> str:
    """Why mixes cannot be ranked by what they solve, a sentence; "" where they can."""
    new = names(findings.study.new)
    if not findings.learned(mixes):
        best = max(mix.estimate(language).value for mix in mixes for language in findings.study.new)
        return (
            f"No mix in this comparison has learned {new}: at best {percent(best, 1)} of the problems are solved, and surely "
            f"more than {percent(stages.CHANCE + stages.MINIMUM_CHANGE)} counts. Train for longer."
        )
    score = findings.main_score
    if all((mix.score_S(score) == 1).all() for mix in mixes):
        return f"Every mix in this comparison solves all problems in {new}: no corpus can be better. Judge harder problems."
    return ""


def _untested(findings: Findings) -> str:
    """Why the proposals from the loss are no test of Algorithm 1, a sentence; "" where they are."""
    proposals = [here.proposals.get(algorithm1.DEFAULT_SOURCE) for here in findings.languages.values()]
    p_star_K = np.array([proposal.p_star for proposal in proposals if proposal is not None])
    if not p_star_K.size or np.isnan(p_star_K).all():
        return UNDETERMINED
    return UNTESTED if np.isin(p_star_K[~np.isnan(p_star_K)], (0, 1)).all() else ""


# --- claims about one new language ---------------------------------------------------------------------------------------


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
        why = "It declines too, so the decline is not owed to what the control leaves out."
        return Judged(REFUTED, number, f"{sentence}. {why}")
    if run.verdict == "undecided":
        return Judged(OPEN, number, f"{sentence}; the data cannot tell a transition from none.")
    least = f"a decline of less than {100 * stages.MINIMUM_CHANGE:.0f} points is none"
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
        return not_tested(_no_knowledge(curves))
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
    return Judged(_below(change.ci), number, f"{sentence}. {ceiling}")


def patches(findings: Findings, language: str) -> Judged:
    curves = findings.languages[language].curves
    if not {"none", "embeddings", "blocks"} <= curves.patches.keys():
        return missing("Representation patches were not measured.")
    accuracy = {part: curve.last() for part, curve in curves.patches.items()}
    words = {"embeddings": "the peak's embeddings", "ffn": "its feed-forward layers", "blocks": "its blocks"}
    parts = ", with ".join(f"{words[part]} {share(accuracy[part])}" for part in words if part in accuracy)
    over_end, over_embeddings = (accuracy["blocks"].minus(accuracy[one]) for one in ("none", "embeddings"))
    sentence = (
        f"Accuracy per T\\S word at the end is {share(accuracy['none'])}; with {parts}. The blocks add {points(over_end, '+')}, "
        f"{points(over_embeddings, '+')} more than the embeddings{_alone(findings)}."
    )
    judged = {_above(gain.ci) for gain in (over_end, over_embeddings)}
    verdict = judged.pop() if len(judged) == 1 else OPEN
    return Judged(verdict, f"the peak's blocks: {points(over_end, '+')}", sentence)


def working_language(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    continual, beside = (here.curves.working_language.get(run) for run in ("continual", "control"))
    if continual is None or here.curves.peak_step is None:
        return missing("The lens was not run.")
    first, at_peak, end = continual.first(), continual.at(here.curves.peak_step), continual.end()
    number = f"{percent(first.value)} to {share(end)}"
    sentence = (
        f"The primary's share in the intermediate layers goes from {percent(first.value)} at the start over "
        f"{share(at_peak)} at the peak to {share(end)} at the end."
    )
    if beside is None:
        return Judged(OPEN, number, f"{sentence} There is no control to compare it with.")
    control_end = beside.end()
    number += f", control to {share(control_end)}"
    fall, control_fall = first.value - end.value, beside.first().value - control_end.value
    declines, control_declines = (
        run is not None and run.verdict == "transition" for run in (here.stages, here.control)
    )
    if declines and not control_declines and control_fall > 0.5 * fall > 0:
        sentence += (
            f" It falls in the control too, to {share(control_end)}, where no transition is seen: "
            f"the change is real, but no marker of the decline."
        )
        return Judged(REFUTED, number, sentence)
    return Judged(OPEN, number, f"{sentence} In the control it ends at {share(control_end)}.")


def functional(findings: Findings, language: str) -> Judged:
    curves = findings.languages[language].curves
    here, control = (curves.neurons.get((run, "functional")) for run in ("continual", "control"))
    if here is None or curves.peak_step is None:
        return missing("Functional neurons are defined only where both languages' slots are aligned.")
    step = curves.peak_step
    change, beside = here.change(step), control and control.change(step)
    number = f"{here.at(step).value:.0f} to {here.end().value:.0f}"
    sentence = f"The number of functional neurons, of {here.n:,}, goes from {number} (peak to end)"
    if beside is None:
        return Judged(OPEN, number, f"{sentence}; no control was measured.")
    extra = beside.minus(change)
    if np.isnan(extra.value):
        return Judged(OPEN, number, f"{sentence}; no seed has a control beside it.")
    verdict = _above(extra.ci)
    if verdict == SUPPORTED and change.ci[1] >= 0:
        verdict = OPEN
    falls = minus(format(-change.value, ".0f")) + bounds(_negative(change.ci), digits=0)
    in_control = f"{control.at(step).value:.0f} to {control.end().value:.0f}"
    more = f"{minus(format(extra.value, '+.0f'))}{bounds(extra.ci, digits=0, sign='+')} beyond the control's fall"
    sentence += f", by {falls}; in the control from {in_control}. That is {more}{_alone(findings)}."
    return Judged(verdict, more, sentence)


def lape(findings: Findings, language: str) -> Judged:
    cuts = findings.languages[language].curves.sensitivity
    if not cuts:
        return missing("The LAPE count was not measured over several cuts.")
    changes = [minus(format(cut.value, "+.1f")) for cut in (cuts[0], cuts[-1])]
    rates = [f"{100 * cut.top_rate:g}{NBSP}%" for cut in (cuts[0], cuts[-1])]
    number = f"{' to '.join(changes)}, by cut"
    sentence = "From peak to end the LAPE count changes by " + " and by ".join(
        f"{change} at the cut of {rate}" for change, rate in zip(changes, rates, strict=True)
    )
    values = np.array([cut.value for cut in cuts])
    if not ((values < 0).all() or (values > 0).all()):
        return Judged(OPEN, number, f"{sentence}. The sign depends on the cut: draw no conclusion.")
    judged = {_below(cut.ci) for cut in cuts}
    verdict = judged.pop() if len(judged) == 1 else OPEN
    doubt = ", but not every interval excludes 0" * (verdict == OPEN)
    return Judged(verdict, number, f"{sentence}. The sign is the same at every cut{doubt}.")


def causes(findings: Findings, language: str) -> Judged:
    """Ablation beyond random sets: does it hurt where the primary is needed, and more than where it is not?"""
    ablated = findings.languages[language].causes
    if not ablated or ablated.verdict.matters is None:
        return missing("The transferring neurons were not ablated.")
    matters, specific, crossover = ablated.verdict.matters, ablated.verdict.specific, ablated.verdict.crossover
    verdict, number = _below(matters.ci), points(matters, "+")
    sentence = (
        "Beyond random sets of as many neurons, ablating the functional transferring neurons at the peak changes the "
        f"problems solved that need the primary by {number}{p_value(matters.p)}"
    )
    if specific is None:
        return Judged(OPEN if verdict == SUPPORTED else verdict, number, f"{sentence}{_alone(findings)}.")
    sentence += f"; those minus the problems that do not need it by {points(specific, '+')}{p_value(specific.p)}"
    if crossover is not None:
        sentence += f"; compared with the neurons of the shared problems, a difference of {points(crossover, '+')}"
    sentence += f"{_alone(findings)}."
    if verdict == SUPPORTED and specific.ci[1] >= 0:
        number = f"{points(specific, '+')} beyond problems that do not need it"
        return Judged(OPEN, number, f"{sentence} It is not shown to be specific to the transfer.")
    return Judged(verdict, number, sentence)


def calibration(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    fit = here.calibration.get(algorithm1.DEFAULT_SOURCE, {}).get("knowledge_share")
    if not fit and here.curves.unlearned:
        return not_tested(_no_knowledge(here.curves))
    if not fit:
        return missing("Loss or knowledge share was not measured.")
    plain, best = fit.links["identity"], fit.link
    if np.isnan(plain.r2):
        return Judged(OPEN, "", "The knowledge share is the same at every checkpoint, so there is nothing to follow.")
    number = f"off by {100 * plain.mean_error:.0f} points on average"
    sentence = (
        f"Over the checkpoints P(l) is {number} and by up to {100 * plain.largest_error:.0f} ({_fit(plain)}); it counts as "
        f"following up to {100 * CALIBRATED:.0f} points on average."
    )
    linked = (
        "No link predicts a checkpoint left out better."
        if fit.best == "identity"
        else f"With the {fit.best} link a checkpoint left out is missed by {100 * best.loo_error:.0f} points instead "
        f"of {100 * plain.loo_error:.0f}."
    )
    verdict = SUPPORTED if plain.mean_error <= CALIBRATED else REFUTED
    return Judged(verdict, number, f"{sentence} {linked}")


def _fit(plain: Link) -> str:
    """How well P(l) itself follows a share. Below 0, R2 says only that the share's own mean would do better."""
    r2 = f"R2 {plain.r2:.2f}" if plain.r2 >= 0 else "R2 below 0"
    return r2 + ("" if np.isnan(plain.slope) else f", slope {minus(format(plain.slope, '.2f'))}")


def proposal(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    proposed = here.proposals.get(algorithm1.DEFAULT_SOURCE)
    if not proposed:
        reason = next((said for said in here.gaps if said.startswith("Share from loss: ")), "")
        if reason:
            return not_tested(f"There is no proposal. {reason}")
        return missing("There is no proposal: loss or accuracy was not measured.")
    reason, decision = as_sentence(proposed.reason.removeprefix(f"{language}: ")), proposed.decision
    if np.isnan(proposed.p_star):
        return not_tested(reason)
    if proposed.p_star in (0, 1):
        return not_tested(UNTESTED)
    number = f"P* {proposed.p_star:.2f}{bounds(proposed.p_star_ci)}"
    verdict = {
        algorithm1.CHANGE: SUPPORTED,
        algorithm1.NO_CHANGE: REFUTED,
        algorithm1.ALONE: REFUTED,
    }.get(decision, OPEN)
    said = "" if reason.lower().startswith(decision) else f": {decision}"
    return Judged(verdict, number, f"{number}{said}. {reason}")


# --- claims about the whole study ----------------------------------------------------------------------------------------


def optimum(findings: Findings) -> Judged:
    gap = findings.behind_best(f"{ALGORITHM1}{algorithm1.DEFAULT_SOURCE}")
    if gap is None:
        return missing("The proposed mix, or others to compare it with, was not trained.")
    mix, best = (findings.mix_named(name) for name in (gap.first, gap.second))
    if reason := _no_contest(findings, [mix, best, *findings.static_rivals(mix.name)]):
        return not_tested(reason)
    if np.isnan(gap.value):
        return not_tested("One seed's problems are too few to choose the best mix on some and measure it on others.")
    number = f"{points(gap)} behind the best mix"
    if gap.value < 0:
        number = f"{points(_reversed(gap))} ahead of what the other seeds find best"
    primary, new = findings.study.primary, names(findings.study.new)
    sentence = (
        f"Algorithm 1 as written asks for {percent(findings.new_share(mix), 1)} {new}; the best mix trained "
        f"({mix_title(best.name)}) has {percent(findings.new_share(best), 1)} and "
        f"{percent(best.shares.get(primary, 0), 1)} {language_name(primary)}. The proposal is {number}"
    )
    if untested := _untested(findings):
        return not_tested(f"{sentence}. {untested}", number)
    if gap.ci[0] > 0:
        return Judged(REFUTED, number, f"{sentence}: Algorithm 1 as written misses the optimum{_alone(findings)}.")
    if gap.ci[1] <= NEGLIGIBLE:
        return Judged(SUPPORTED, number, f"{sentence}{_alone(findings)}.")
    return Judged(OPEN, number, f"{sentence}: the data cannot tell a hit from a miss{_alone(findings)}.")


def original(findings: Findings) -> Judged:
    name = findings.optimised_name
    pair = name and findings.against_original(name)
    if not pair:
        return missing("The original or the optimised mix was not trained.")
    if reason := _no_contest(findings, [findings.mix_named(each) for each in (pair.first, pair.second)]):
        return not_tested(reason)
    number = points(pair, "+")
    sentence = (
        f"The original mix reaches {percent(pair.first_value, 1)}, the optimised one ({mix_title(name)}) "
        f"{percent(pair.second_value, 1)}: a difference of {number}{_alone(findings)}."
    )
    if untested := _untested(findings):
        return not_tested(f"{sentence} {untested}", number)
    return Judged(_above(pair.ci), number, sentence)


def rivals(findings: Findings) -> Judged:
    """Against each rival by name; supported only where every one of them is beaten."""
    name = findings.optimised_name
    rivals = [candidate.name for candidate in candidates.CANDIDATES if candidate.is_rival]
    pairs = {rival: pair for rival in rivals if name and (pair := findings.between(rival, name))}
    if not pairs:
        return missing("No rival of the optimised mix was trained.")
    if reason := _no_contest(findings, [findings.mix_named(each) for each in (name, *pairs)]):
        return not_tested(reason)
    judged = [_above(pair.ci) for pair in pairs.values()]
    sentence = f"The optimised mix ({mix_title(name)}) minus " + ", ".join(
        f"{mix_title(rival)}: {points(pair, '+')}" for rival, pair in pairs.items()
    )
    number = f"ahead of {judged.count(SUPPORTED)}, behind {judged.count(REFUTED)}, of {len(pairs)}"
    verdict = SUPPORTED if set(judged) == {SUPPORTED} else REFUTED if REFUTED in judged else OPEN
    return Judged(verdict, number, f"{sentence}{_alone(findings)}.")


def guard(findings: Findings) -> Judged:
    name = findings.optimised_name
    if not name or not findings.original_name:
        return missing("The original or the optimised mix was not trained.")
    guarded = findings.guard(name)
    by_language = guarded.languages
    untested = [language for language, each in by_language.items() if not each.tested]
    if untested and guarded.passes is not False:
        either = names(untested).replace(" and ", " or ")
        return not_tested(
            f"Neither the original nor the optimised mix has learned {either}, so no harm could show. Train for longer."
        )
    changes = {language: f"{language_name(language)} {points(each, '+')}" for language, each in by_language.items()}
    worst = min(by_language, key=lambda language: by_language[language].value)
    harmless = all(each.ci[0] > -NEGLIGIBLE for each in by_language.values())
    verdict = REFUTED if guarded.passes is False else SUPPORTED if harmless else OPEN
    rule = f"One interval wholly below 0 is harm; all above \N{MINUS SIGN}{100 * NEGLIGIBLE:.0f} points are none"
    sentence = f"Against the original mix: {', '.join(changes.values())}{_alone(findings)}. {rule}."
    return Judged(verdict, changes[worst], sentence)


def schedule(findings: Findings) -> Judged:
    mixes = findings.static_rivals(SCHEDULE)
    if not mixes:
        return missing("No schedule was trained from scratch, or no equally long mix beside it.")
    if reason := _no_contest(findings, [findings.mix_named(SCHEDULE), *mixes]):
        return not_tested(reason)
    score = findings.main_score
    best = max(mixes, key=lambda mix: mix.estimate(score).value)
    pair = findings.between(best.name, SCHEDULE)
    number = points(pair, "+")
    sentence = (
        f"The schedule reaches {percent(pair.second_value, 1)}, the best of {len(mixes)} mixes with constant shares "
        f"({mix_title(best.name)}) {percent(pair.first_value, 1)}: a difference of {number}{_alone(findings)}"
    )
    return Judged(_above(pair.ci), number, f"{sentence}. The best was picked on these seeds, which favours it.")


def law(findings: Findings) -> Judged:
    fitted_law = findings.laws
    if not fitted_law:
        reason = next((said for said in findings.missing if said.startswith("Mixing law: ")), "")
        return not_tested(reason) if reason else missing("There are too few mixes to fit a law to.")
    held_out = fitted_law.fitted.loo
    error, trivial = held_out.macro_rmse, held_out.baseline_rmse
    number = f"off by {100 * error:.1f} points, without it {100 * trivial:.1f}"
    sentence = (
        f"The {LAWS[fitted_law.chosen]} misses the mean score of a mix left out by {100 * error:.1f} points (root "
        f"mean square over {len(held_out.macro_error_M)} mixes), the mean of the others by {100 * trivial:.1f}; it counts as "
        f"foretelling if it removes {100 * (1 - PREDICTS):.0f}{NBSP}% of that. This law was chosen because {fitted_law.reason}"
    )
    verdict = SUPPORTED if error <= PREDICTS * trivial else REFUTED if error >= trivial else OPEN
    return Judged(verdict, number, as_sentence(sentence))


def predicted(findings: Findings) -> Judged:
    """Eq. 2's share of the primary against the lens in from-scratch runs."""
    rows = [row for row in findings.predicted if np.isfinite(row.predicted) and np.isfinite(row.measured)]
    if not rows:
        return missing("The from-scratch runs were not probed.")
    if not findings.learned(findings.mixes):
        return not_tested(_no_contest(findings, findings.mixes))
    error = np.abs([row.measured - row.predicted for row in rows])
    number = f"off by {100 * error.mean():.0f} points on average"
    sentence = (
        f"Over {len(rows)} pairs of a mix and a language the measured working-language share is {number} from the predicted one, "
        f"and by up to {100 * error.max():.0f}; it counts as foretold up to {100 * CALIBRATED:.0f} points on average."
    )
    return Judged(SUPPORTED if error.mean() <= CALIBRATED else REFUTED, number, sentence)


def cost(findings: Findings) -> Judged:
    """The search that Algorithm 1 takes against the mixes that a mixing law is fitted to: a swarm and a sweep."""
    by_part = {row.what: row for row in findings.costs}
    ours, swarm, sweep = (by_part.get(what) for what in (searches.ALGORITHM1, searches.SWARM, searches.SWEEP))
    if ours is None or swarm is None:
        return missing("No swarm was trained.")
    theirs = [part for part in (swarm, sweep) if part]
    their_flops = sum(part.flops for part in theirs)
    number = f"{flops(ours.flops)} against {flops(their_flops)} FLOPs"
    sentence = (
        f"{number} a seed: {ours.final_runs:.1f} and {sum(part.final_runs for part in theirs):.1f} times a from-scratch run "
        f"({ours.runs:.0f} and {sum(part.runs for part in theirs):.0f} runs)."
    )
    return Judged(SUPPORTED if ours.flops < their_flops else REFUTED, number, sentence)


OF_A_LANGUAGE = (
    Claim("transition", "Accuracy rises, then declines", transition, A_PEAK),
    Claim("control", "The control shows no transition", control),
    Claim("dependence", "The language depends on the primary", dependence),
    Claim("knowledge", "The knowledge share falls after the peak", knowledge, A_DECLINE),
    Claim("patches", "What is lost was in the blocks, not in the embeddings", patches, A_DECLINE),
    Claim("working_language", "The working language marks the decline", working_language, A_DECLINE),
    Claim("functional", "Functional neurons fall, and more than in the control", functional, A_DECLINE),
    Claim("lape", "The number of LAPE neurons falls", lape, A_DECLINE),
    Claim("causes", "The transferring neurons cause the transfer", causes, A_PEAK),
    Claim("calibration", "Eq. 1 follows the knowledge share", calibration, A_PEAK),
    Claim("proposal", "Algorithm 1 (from the loss) supports another amount than the original", proposal),
)
OF_THE_STUDY = (
    Claim("optimum", "Algorithm 1 (from the loss) finds the best mix", optimum),
    Claim("original", "The optimised mix beats the original one", original),
    Claim("rivals", "The optimised mix beats its rivals", rivals),
    Claim("guard", "The optimised mix harms no language", guard),
    Claim("schedule", "A schedule beats every mix that keeps its shares", schedule),
    Claim("law", "A mixing law foretells mixes it has not seen", law),
    Claim("predicted", "Token shares foretell the primary's share in from-scratch runs (Eq. 2)", predicted),
    Claim("cost", "Algorithm 1's search costs less than a mixing law's", cost),
)
