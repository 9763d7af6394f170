"""The study's main numbers as a table for the terminal, of at most 80 columns."""

import math
import textwrap

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.mixes import MACRO
from babel_jax.evolution.stages import Stages
from babel_jax.report.course import course
from babel_jax.study import words
from babel_jax.study.chance import at_chance, text_loss
from babel_jax.study.findings import Findings, LanguageFindings

WIDTH = 80
BEST = 3  # so many mixes are shown, and all that the optimiser asks for


def terminal_table(findings: Findings) -> str:
    """Each new language, then the from-scratch mixes; intervals are of 95 %."""
    study = findings.study
    title = f"{words.language_name(study.primary)} to {words.names(study.new)}, {words.seeds(len(study.seeds))}"
    lines = [title[:WIDTH], "-" * 78]
    for name, here in findings.languages.items():
        lines += [words.language_name(name)] * (len(findings.languages) > 1)
        reading = _at_chance if at_chance(here) else _of_language
        lines += [_line(*line) for line in reading(here)]
    if findings.mixes:
        lines += _of_mixes(findings)
    return "\n".join(lines)


def _line(name: str, numbers: str, note: str = "") -> str:
    return f"{name:<37.37} {numbers:<21} {note}".rstrip()[:WIDTH]


def _of_language(here: LanguageFindings) -> list[tuple]:
    """(name, numbers, and what stands beside them) of each line."""
    curves, run, depends = here.curves, here.stages, here.dependence
    step, knowledge = curves.peak_step, curves.knowledge.get("continual")
    start = course(curves.accuracy.get(("continual", curves.new, "all")), step).start
    peak, end = (run.peak.value, run.plateau.value) if run else (None, None)
    share = course(knowledge, step)
    neurons, beside = (course(curves.neurons.get((run, "functional")), step) for run in ("continual", "control"))
    since = "an earlier checkpoint" if run and run.peak_in_end else "the peak"
    return [
        ("accuracy: start, peak, end", _join(start, peak, end), _ci(run and run.plateau.ci)),
        (f"decline from {since}", *_estimate(run and run.decline)),
        ("stages", _stages(run)),
        ("control: end", *_estimate(here.control and here.control.plateau)),
        (
            "depends on the primary",
            words.depends(depends) or "not tested",
            f"p {_number(depends.p)}" if depends else "",
        ),
        (
            "knowledge share: peak, end",
            _join(share.peak, share.end),
            f"ceiling {_number(knowledge and knowledge.ceiling)}",
        ),
        *_working_language(curves),
        (
            "functional neurons: peak, end",
            _join(neurons.peak, neurons.end, digits=0),
            f"control {_number(beside.end, 0)}",
        ),
        *(
            (
                f"P* from {words.source_name(source)}",
                "not determined" if math.isnan(proposal.p_star) else _number(proposal.p_star),
                _ci(proposal.p_star_ci),
            )
            for source, proposal in here.proposals.items()
        ),
    ]


def _at_chance(here: LanguageFindings) -> list[tuple]:
    """What leads where no score is above chance, in place of all that rests on scores."""
    curves, run = here.curves, here.stages
    of_text = text_loss(here)
    lines = [("no score above chance", f"chance {_number(curves.chance)}", f"best {_number(run and run.peak.value)}")]
    if of_text:
        unit, curve = of_text
        lines.append((f"{unit}: start, end", _join(curve.first().value, curve.last().value), _ci(curve.last().ci)))
    return [
        *lines,
        *_working_language(curves),
    ]


def _working_language(curves: Curves) -> list[tuple]:
    """The primary's share, and that beyond other pairs' identifiers at the same prompts."""
    lens, concept = (
        course(of.get("continual"), curves.peak_step) for of in (curves.working_language, curves.concept_share)
    )
    return [
        ("working language: start, peak, end", _join(lens.start, lens.peak, lens.end), "the primary's share"),
        ("beyond other pairs: start, peak, end", _join(concept.start, concept.peak, concept.end), "concept share"),
    ]


def _stages(run: Stages | None) -> str:
    if run is None:
        return "not measured"
    if run.stages:
        first, last = run.stages["transition"]
        return f"{run.verdict} in steps {first}-{last}"
    return run.verdict + ", no transition seen" * (run.verdict != "undecided")


def _of_mixes(findings: Findings) -> list[str]:
    """The mixes by score, the best ones and those that the optimiser asks for."""
    score = findings.main_score
    shown = [mix for mix in findings.mixes if not mix.run_name.is_swarm]  # those have one seed each
    shown.sort(key=lambda mix: -mix.estimate(score).value)
    of = "mean accuracy" if score == MACRO else f"{words.language_name(score)} accuracy"
    lines = [f"{'from scratch':<37} {of:<14} minus the original mix"]
    for place, mix in enumerate(shown):
        if place >= BEST and not mix.run_name.is_optimised:
            continue
        pair = findings.against_original(mix.name)
        difference = f"{pair.value:+.3f} {_ci(pair.ci)}" if pair else ""
        if findings.unlearned([mix, *filter(None, [findings.mix_named(findings.original_name)])])[0]:
            difference = "primary not learned"
        title = words.mix_title(mix.name).replace(words.NBSP, " ")
        lines.append(f"  {title:<35.35} {_number(mix.estimate(score).value):<14} {difference}".rstrip()[:WIDTH])
    for name, title in ((findings.original_name, "original"), (findings.optimised_name, "better corpus")):
        if mix := findings.mix_named(name):
            told = (
                f"{title}: {words.ratios(mix.shares, findings.study.primary)}; primary learned: {words.learned_by(mix)}"
            )
            lines += textwrap.wrap(
                told.replace(words.NBSP, " "), WIDTH - 2, initial_indent="  ", subsequent_indent="    "
            )
    return lines


def _estimate(estimate: Estimate | None) -> tuple[str, str]:
    return (_number(estimate.value), _ci(estimate.ci)) if estimate else ("-", "")


def _number(number: float | None, digits: int = 3) -> str:
    return "-" if number is None or math.isnan(number) else f"{number:.{digits}f}"


def _join(*numbers, digits: int = 3) -> str:
    return "  ".join(_number(number, digits) for number in numbers)


def _ci(ci) -> str:
    return f"[{ci[0]:.3f}, {ci[1]:.3f}]" if ci and all(map(math.isfinite, ci)) else ""
