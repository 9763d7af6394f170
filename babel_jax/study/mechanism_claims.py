"""Claims about what happens inside the model: blocks, working language, neurons."""

import numpy as np

from babel_jax.study.claim import (
    OPEN,
    REFUTED,
    SUPPORTED,
    Judged,
    above,
    below,
    missing,
    negative,
    not_tested,
    one_seed_note,
)
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.words import NBSP, bounds, minus, p_value, percent, points, share


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
        f"{points(over_embeddings, '+')} more than the embeddings{one_seed_note(findings)}."
    )
    judged = {above(gain.ci) for gain in (over_end, over_embeddings)}
    verdict = judged.pop() if len(judged) == 1 else OPEN
    return Judged(verdict, f"restoring the peak's blocks: {points(over_end, '+')}", sentence)


def working_language(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    continual, beside = (here.curves.working_language.get(run) for run in ("continual", "control"))
    if continual is None or here.curves.peak_step is None:
        return missing("The lens was not run.")
    first, at_peak, end = continual.first(), continual.at(here.curves.peak_step), continual.end()
    number = f"{percent(first.value)} to {share(end)}"
    sentence = (
        f"The primary's share in the intermediate layers goes from {percent(first.value)} at the start over "
        f"{share(at_peak)} at the peak to {share(end)} at the end"
    )
    if beside is not None:
        number += f", control to {share(beside.end())}"
        sentence += f", in the control to {share(beside.end())}"
    if "continual" not in here.curves.concept_share:
        return not_tested(
            f"{sentence}. Other pairs' identifiers were not read at the same prompts: such a share may be what these layers like "
            "to write whatever they are asked for. Measure these runs again.",
            number,
        )
    return _concept(here, sentence)


def _concept(here: LanguageFindings, sentence: str) -> Judged:
    """The verdict on the working language: of the right pair's share minus that of other pairs at the same prompts."""
    curves = here.curves
    concept, beside = (curves.concept_share.get(run) for run in ("continual", "control"))
    others, step = curves.beside_others["continual"], curves.peak_step
    first, at_peak, end = concept.first(), concept.at(step), concept.end()
    number = f"concept share {points(first, '+')} to {points(end, '+')}"
    sentence += (
        f". With other pairs' identifiers at the same prompts it goes from {percent(others.first().value)} over "
        f"{percent(others.at(step).value)} to {percent(others.end().value)}. The difference, the concept share, goes from "
        f"{points(first, '+')} over {points(at_peak, '+')} to {points(end, '+')}."
    )
    if above(first.ci) != SUPPORTED and above(at_peak.ci) != SUPPORTED:
        sentence += (
            " Neither at the start nor at the peak is it surely above 0: what these layers prefer they prefer whatever they are "
            "asked for, so there is no working language that could mark anything."
        )
        return Judged(OPEN, number, sentence)
    if beside is None:
        return Judged(OPEN, number, f"{sentence} There is no control to compare it with.")
    control_end = beside.end()
    number += f", control to {points(control_end, '+')}"
    fall, control_fall = first.value - end.value, beside.first().value - control_end.value
    declines, control_declines = (
        run is not None and run.verdict == "transition" for run in (here.stages, here.control)
    )
    if declines and not control_declines and control_fall > 0.5 * fall > 0:
        sentence += (
            f" It falls in the control too, to {points(control_end, '+')}, where no transition is seen: "
            f"the change is real, but it does not mark the decline."
        )
        return Judged(REFUTED, number, sentence)
    return Judged(OPEN, number, f"{sentence} In the control it ends at {points(control_end, '+')}.")


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
    verdict = above(extra.ci)
    if verdict == SUPPORTED and change.ci[1] >= 0:
        verdict = OPEN
    falls = minus(format(-change.value, ".0f")) + bounds(negative(change.ci), digits=0)
    in_control = f"{control.at(step).value:.0f} to {control.end().value:.0f}"
    more = f"{minus(format(extra.value, '+.0f'))}{bounds(extra.ci, digits=0, sign='+')} beyond the control's fall"
    sentence += f", by {falls}; in the control from {in_control}. That is {more}{one_seed_note(findings)}."
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
    judged = {below(cut.ci) for cut in cuts}
    verdict = judged.pop() if len(judged) == 1 else OPEN
    doubt = ", but not every interval excludes 0" * (verdict == OPEN)
    return Judged(verdict, number, f"{sentence}. The sign is the same at every cut{doubt}.")


def causes(findings: Findings, language: str) -> Judged:
    """Ablation beyond random sets: does it hurt where the primary is needed, and more than where it is not?"""
    ablated = findings.languages[language].causes
    if not ablated or ablated.verdict.matters is None:
        return missing("The transferring neurons were not ablated.")
    matters, specific, crossover = ablated.verdict.matters, ablated.verdict.specific, ablated.verdict.crossover
    verdict, number = below(matters.ci), points(matters, "+")
    sentence = (
        "Beyond random sets of as many neurons, ablating the functional transferring neurons at the peak changes the "
        f"problems solved that need the primary by {number}{p_value(matters.p)}"
    )
    if specific is None:
        return Judged(OPEN if verdict == SUPPORTED else verdict, number, f"{sentence}{one_seed_note(findings)}.")
    sentence += f"; those minus the problems that do not need it by {points(specific, '+')}{p_value(specific.p)}"
    if crossover is not None:
        sentence += f"; compared with the neurons of the shared problems, a difference of {points(crossover, '+')}"
    sentence += f"{one_seed_note(findings)}."
    if verdict == SUPPORTED and specific.ci[1] >= 0:
        number = f"{points(specific, '+')} beyond problems that do not need it"
        return Judged(OPEN, number, f"{sentence} It is not shown to be specific to the transfer.")
    return Judged(verdict, number, sentence)
