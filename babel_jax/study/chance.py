"""What leads where no score of a new language is above chance: then there is no verdict, no P* and no proposal.

The bits per byte of its held-out texts and the working language are measured whatever the scores are.
"""

import numpy as np

from babel_jax.evolution import stages
from babel_jax.evolution.curve import Curve
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.words import bounds, language_name, number, percent, points, share


def at_chance(here: LanguageFindings) -> str:
    """Why nothing can be said that rests on scores of a new language, a sentence; "" where one is above chance."""
    curves = here.curves
    if curves.above_chance is not False:
        return ""
    best = float(np.nanmax(curves.accuracy["continual", curves.new, "all"].mean))
    return (
        f"No score in {language_name(curves.new)} is above chance, which is {percent(curves.chance)}: at best "
        f"{percent(best, 1)} of the problems are solved, and surely more than "
        f"{percent(curves.chance + stages.MINIMUM_CHANGE)} counts. Train for longer."
    )


def text_loss(here: LanguageFindings) -> tuple[str, Curve] | None:
    """(what it is, the continual run's curve) of the loss on held-out texts: bits per byte, or else nats a token."""
    curves = here.curves
    for metric, unit in (("bits_per_byte", "bits per byte"), ("loss", "loss in nats a token")):
        if curve := curves.loss.get(("continual", curves.new, metric)):
            return unit, curve
    return None


def instead(findings: Findings, language: str) -> list[str]:
    """What leads instead, in sentences; [] where neither was measured."""
    here, sentences = findings.languages[language], []
    if of_text := text_loss(here):
        unit, curve = of_text
        first, last = (number(point.value) + bounds(point.ci) for point in (curve.first(), curve.last()))
        sentences.append(f"On held-out texts of {language_name(language)}, {unit}: from {first} to {last}.")
    if lens := here.curves.working_language.get("continual"):
        first, last = share(lens.first()), share(lens.end())
        primary = language_name(findings.study.primary)
        sentence = f"The working language goes from {first} {primary} to {last}"
        if concept := here.curves.concept_share.get("continual"):
            first, last = (points(point, "+") for point in (concept.first(), concept.end()))
            sentence += f"; beyond other pairs' identifiers at the same prompts, from {first} to {last}"
        sentences.append(f"{sentence}.")
    return sentences
