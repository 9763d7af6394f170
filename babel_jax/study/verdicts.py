"""What the data say to each claim: one verdict a claim, in words, with its main number and interval.

`CLAIMS` holds all of them. A claim about several comparisons is corrected for those; nothing for the number of claims.
"""

import dataclasses

from babel_jax.evolution import stages
from babel_jax.study import algorithm_claims, course_claims, law_claims, mechanism_claims, mix_claims, task_claims
from babel_jax.study.chance import at_chance
from babel_jax.study.claim import A_DECLINE, A_PEAK, MISSING, NOTHING, Claim, Judged, not_tested
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.words import as_sentence

CLAIMS = (
    Claim("transition", "Accuracy rises, then declines", course_claims.transition, A_PEAK),
    Claim("control", "The control shows no transition", course_claims.control),
    Claim("dependence", "The language depends on the primary", course_claims.dependence),
    Claim("knowledge", "The knowledge share falls after the peak", course_claims.knowledge, A_DECLINE),
    Claim("patches", "What is lost was in the blocks, not in the embeddings", mechanism_claims.patches, A_DECLINE),
    Claim("working_language", "The working language marks the decline", mechanism_claims.working_language, A_DECLINE),
    Claim(
        "functional", "Functional neurons fall, and more than in the control", mechanism_claims.functional, A_DECLINE
    ),
    Claim("lape", "The number of LAPE neurons falls", mechanism_claims.lape, A_DECLINE),
    Claim("causes", "The transferring neurons cause the transfer", mechanism_claims.causes, A_PEAK),
    Claim("calibration", "Eq. 1 follows the knowledge share", algorithm_claims.calibration, A_PEAK),
    Claim(
        "proposal", "Algorithm 1 (from the loss) supports another amount than the original", algorithm_claims.proposal
    ),
    Claim("optimum", "Algorithm 1 (from the loss) finds the best mix", mix_claims.optimum, of_study=True),
    Claim("original", "The optimised mix beats the original one", mix_claims.original, of_study=True),
    Claim("sooner", "The optimised mix learns the primary sooner than the original", mix_claims.sooner, of_study=True),
    Claim("rivals", "The optimised mix beats its rivals", mix_claims.rivals, of_study=True),
    Claim("guard", "The optimised mix harms no language", mix_claims.guard, of_study=True),
    Claim("schedule", "A schedule beats every mix that keeps its shares", mix_claims.schedule, of_study=True),
    Claim("law", "A mixing law predicts mixes it has not seen", algorithm_claims.law, of_study=True),
    Claim(
        "curve_law",
        "A continual run's curve foretells from-scratch mixes (the curve as a law)",
        law_claims.curve,
        of_study=True,
    ),
    Claim(
        "predicted",
        "Token shares predict the primary's share in from-scratch runs (Eq. 2)",
        algorithm_claims.predicted,
        of_study=True,
    ),
    Claim("cost", "Algorithm 1's search costs less than a mixing law's", algorithm_claims.cost, of_study=True),
    *task_claims.CLAIMS,
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the data say to one claim.

    Attributes:
      name, claim: of the claim, and its sentence.
      verdict, number, sentence: as of `Judged`.
      language: the new language that it is about; None for what holds of the whole study.
    """

    name: str
    claim: str
    verdict: str
    number: str
    sentence: str
    language: str | None = None


def verdicts(findings: Findings) -> list[Verdict]:
    """Every verdict on a study: those of each new language in turn, then those of the whole study."""
    asked = [claim for claim in CLAIMS if claim.applies(findings)]
    of_language = [claim for claim in asked if not claim.of_study]
    return [
        *(_of_language(claim, findings, language) for language in findings.languages for claim in of_language),
        *(_verdict(claim, claim.judge(findings)) for claim in asked if claim.of_study),
    ]


def _of_language(claim: Claim, findings: Findings, language: str) -> Verdict:
    if reason := at_chance(findings.languages[language]):
        return _verdict(claim, not_tested(reason), language)
    judged = claim.judge(findings, language)
    if judged.verdict != MISSING and (reason := _no_test(findings.languages[language], claim.needs)):
        judged = not_tested(reason)
    return _verdict(claim, judged, language)


def _verdict(claim: Claim, judged: Judged, language: str | None = None) -> Verdict:
    return Verdict(claim.name, claim.text, judged.verdict, judged.number, judged.sentence, language)


def _no_test(here: LanguageFindings, needs: str) -> str:
    """Why a claim that starts from the best checkpoint was not tested in a language, a sentence; "" where it was."""
    if needs == NOTHING:
        return ""
    run = here.stages
    if run is None:
        return (
            ""
            if here.curves.peak_step is None
            else "One problem of one seed does not make a curve. Judge more problems."
        )
    if not run.rises:
        return as_sentence(stages.no_peak(run)) + ("" if run.learned else " Train for longer.")
    if needs == A_DECLINE and run.ends_at_peak:
        return "The best checkpoint is the last one: nothing was measured behind it."
    return ""
