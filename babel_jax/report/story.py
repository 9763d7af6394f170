"""The story of a study in words: what the page's first screen says, chosen by the data, not by the hypothesis.

Four sentences tell the paper's story (rise, fall, what is inside, the better corpus), each with its interval, or that it was not
tested; cards tell the stages of each new language and what follows for it.
"""

import dataclasses

from babel_jax.evolution.stages import Stages
from babel_jax.languages import registry
from babel_jax.study import words
from babel_jax.study.chance import at_chance, instead
from babel_jax.study.claim import MISSING, NOT_TESTED
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.verdicts import Verdict

OTHER_CURVES = {  # verdict on the stages, where it is no transition: (heading, what is seen)
    "rises and stays": ("It rises and stays", "no transition is seen"),
    "no rise": ("It does not rise", "no transition is seen"),
    "undecided": ("Undecided", "the data cannot tell a transition from none"),
}
CORPUS_VERDICTS = ("schedule", "optimum")  # the first one measured closes the story


@dataclasses.dataclass(frozen=True)
class Card:
    """One thing that the data say: `kind` decides its colour."""

    kind: str
    heading: str
    sentence: str


def lead(findings: Findings) -> str:
    """What was done, and in a few words what came of it."""
    study, languages = findings.study, findings.languages
    real = "on running text" if registry.is_natural(study.primary) else "on real source code"
    where = "in the embedded world" if study.kind == "organism" else real
    text = (
        f"A model that knows {_primary(findings)} goes on with {words.names(languages)} alone"
        f"{', one at a time' if len(languages) > 1 else ''}, {where}, {words.seeds(len(study.seeds))}. "
    )
    if low := [name for name, here in languages.items() if at_chance(here)]:
        said = [sentence for name in low for sentence in (at_chance(languages[name]), *instead(findings, name))]
        if len(low) == len(languages):
            return text + " ".join(said)
        text += " ".join(said) + " "
    falling = [name for name, here in languages.items() if here.stages and here.stages.verdict == "transition"]
    if len(languages) > 1:
        text += f"A transition is seen in {words.names(falling)}." if falling else "No transition is seen."
        open_ = [name for name, here in languages.items() if here.stages and here.stages.verdict == "undecided"]
        return text + (f" In {words.names(open_)} the data cannot tell." if open_ else "")
    ((language, here),) = languages.items()
    accuracy, stages = here.curves.accuracy.get(("continual", language, "all")), here.stages
    if accuracy is None or stages is None:
        return text + "Its accuracy was not measured."
    first, end = words.percent(accuracy.mean[0]), words.percent(stages.plateau.value)
    if not falling:
        return text + f"Its accuracy goes from {first} to {end}; {OTHER_CURVES[stages.verdict][1]}."
    return text + f"Its accuracy rises from {first} to {words.percent(stages.peak.value)} and falls to {end}."


# --- the four sentences ---------------------------------------------------------------------------------------------------


def four(findings: Findings, verdicts: list[Verdict]) -> list[tuple[str, str]]:
    """(heading, sentence): rise, fall, what is inside, the better corpus."""
    said = {(verdict.name, verdict.language): verdict for verdict in verdicts}
    languages = findings.languages
    return [
        ("Rise", _joined(_rise(name, here) for name, here in languages.items())),
        ("Fall", _joined(_fall(name, here) for name, here in languages.items())),
        ("Inside", _joined(_inside(name, said) for name in languages)),
        ("The better corpus", _better(said.get(("original", None)))),
    ]


def _joined(clauses) -> str:
    return words.as_sentence("; ".join(clauses))


def _rise(name: str, here: LanguageFindings) -> str:
    title, run = words.language_name(name), here.stages
    if run is None:
        return f"the accuracy of {title} was not measured"
    start = words.percent(run.start)
    if at_chance(here):
        return f"{title} was not tested: no score is above chance"
    if not run.rises:
        return f"{title} does not surely rise: from {start} to {words.share(run.peak)} at best"
    return f"{title} rises from {start} to {words.share(run.peak)} at step {run.peak.step:,}"


def _fall(name: str, here: LanguageFindings) -> str:
    title, run = words.language_name(name), here.stages
    if run is None or at_chance(here) or not run.rises:
        return f"{title} was not tested, for no rise was seen"
    end, beside = words.share(run.plateau), here.control
    with_control = f", and its control has {words.share(beside.plateau)}" if beside else ", and there is no control"
    if run.verdict == "transition":
        return f"{title} then declines by {words.points(run.decline)} to {end}{with_control} at the end"
    seen = OTHER_CURVES[run.verdict][1]
    return f"{title} ends at {end}, a decline of {words.points(run.decline)} ({seen}){with_control}"


def _inside(name: str, said: dict[tuple, Verdict]) -> str:
    """What of the transfer is seen inside: the knowledge share from peak to end, and what the peak's blocks bring back."""
    title, parts = words.language_name(name), []
    for claim, what in (("knowledge", "the knowledge share goes from "), ("patches", "")):
        verdict = said.get((claim, name))
        if verdict and verdict.number:
            parts.append(what + verdict.number)
    return f"in {title}, {', and '.join(parts)}" if parts else f"what is inside {title}’s model was not tested"


def _better(verdict: Verdict | None) -> str:
    if verdict is None or verdict.verdict == MISSING:
        return "Not tested: the original mix or an optimised one was not trained."
    return f"Not tested. {verdict.sentence}" if verdict.verdict == NOT_TESTED else verdict.sentence


# --- cards ----------------------------------------------------------------------------------------------------------------


def stage_cards(findings: Findings, language: str) -> list[Card]:
    """Of each stage that the data show; of the curve as a whole where they show none."""
    here = findings.languages[language]
    run, name = here.stages, words.language_name(language)
    if run is None:
        return [Card("translation", "The curve", f"The accuracy of {name} was not measured over training.")]
    if reason := at_chance(here):
        return [Card("translation", "At chance", " ".join((reason, *instead(findings, language))))]
    if run.verdict != "transition":
        heading, seen = OTHER_CURVES[run.verdict]
        reaches = f"{name} reaches {words.share(run.peak)} at step {run.peak.step:,}, and has {_level(run)}; {seen}."
        return [Card("translation", heading, reaches)]
    return _three_stages(findings, language, run)


def _level(run: Stages) -> str:
    return f"{words.share(run.plateau)} at the end"


def _three_stages(findings: Findings, language: str, run: Stages) -> list[Card]:
    curves, peak, name = findings.languages[language].curves, run.peak, words.language_name(language)
    knowledge = curves.knowledge.get("continual")
    at_peak = knowledge and knowledge.at(peak.step)
    start = words.percent(curves.accuracy["continual", language, "all"].mean[0])
    rises = f"{name} rises from {start} to {words.share(peak)} at step {peak.step:,}."
    falls = f"It declines by {words.points(run.decline)}{words.p_value(run.decline.p)}"
    if at_peak:
        rises += f" Of what it solves there, {words.percent(at_peak.value)} needs {_primary(findings)}’s knowledge."
        falls += f". The knowledge share goes to {words.percent(knowledge.end().value)}"
    settles = run.settles
    last = (
        Card("stabilisation", "Stabilisation", f"It settles from step {settles.step:,} on, with {_level(run)}.")
        if settles
        else Card("stabilisation", "No stabilisation yet", f"It has not settled by the last step, with {_level(run)}.")
    )
    return [Card("translation", "Translation", rises), Card("transition", "Transition", f"{falls}."), last]


def dependence_cards(findings: Findings, language: str) -> list[Card]:
    """What follows for the language."""
    test = findings.languages[language].dependence
    if not test:
        return []
    name, primary = words.language_name(language), _primary(findings)
    heading = {
        "yes": f"{name} depends on {primary}",
        "no": f"{name} does not depend on {primary}",
        "undecided": f"Whether {name} depends on {primary} is undecided",
        "not tested": f"Whether {name} depends on {primary} was not tested",
    }[words.depends(test)]
    return [Card("dependence", heading, words.as_sentence(test.reason))]


def corpus_cards(verdicts: list[Verdict]) -> list[Card]:
    """What follows for the corpus beyond the better corpus itself: the first of these claims that was measured."""
    verdict = next((e for name in CORPUS_VERDICTS for e in verdicts if e.name == name and e.number), None)
    return [Card("corpus", f"{verdict.claim}: {verdict.verdict}", verdict.sentence)] if verdict else []


def _primary(findings: Findings) -> str:
    return words.language_name(findings.study.primary)
