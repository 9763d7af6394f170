"""What a claim is, what can be said to it, and the rules that several claims go by.

The sentences are chosen by the data, not by the hypothesis; what was not measured is said to be so. A claim
presupposes something, such as a model that has learned the language: where that does not hold it was measured, not tested.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from babel_jax.common import run_names
from babel_jax.common.statistics import Estimate
from babel_jax.evolution import learning, stages
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import algorithm1
from babel_jax.optimum.compare import Comparison
from babel_jax.study.findings import Findings
from babel_jax.study.words import language_name, mix_title, names, percent

SUPPORTED, REFUTED, OPEN, NOT_TESTED, MISSING = "supported", "not supported", "undecided", "not tested", "not measured"
LEVEL = 0.05  # of p-values that are corrected for how many comparisons a claim makes
CLOSE = 0.1  # mean error up to which P(l), or a predicted share, counts as following a measured one
UNTESTED = (
    "The best checkpoint is the first or the last one, where Eq. 1 gives 1 or 0 by construction: "
    "this does not test Algorithm 1."
)
UNDETERMINED = "P* is not determined in any language: this does not test Algorithm 1."
# What a claim presupposes of the continual run.
NOTHING, A_PEAK, A_DECLINE = "nothing", "a best checkpoint", "a best checkpoint, and checkpoints behind it"


@dataclasses.dataclass(frozen=True)
class Judged:
    """What the data say to a claim.

    Attributes:
      verdict: SUPPORTED, REFUTED, OPEN, NOT_TESTED or MISSING.
      number: the main number with its 95 % interval, as text; "" where there is none to go by.
      sentence: all numbers, and what they say.
    """

    verdict: str
    number: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence about the hypothesis, and the function that judges it.

    Attributes:
      name: as `summary.json` has it.
      text: the sentence.
      judge: `(findings, language) -> Judged`, or `(findings) -> Judged` of a claim about the whole study.
      needs: NOTHING, A_PEAK or A_DECLINE.
      of_study: whether it is about the whole study, not about each new language.
      applies: whether a study is asked at all: the claims about a corpus's tasks are for those that were asked them.
    """

    name: str
    text: str
    judge: Callable[..., Judged]
    needs: str = NOTHING
    of_study: bool = False
    applies: Callable[[Findings], bool] = lambda findings: True


def missing(sentence: str) -> Judged:
    return Judged(MISSING, "", sentence)


def not_tested(sentence: str, number: str = "") -> Judged:
    return Judged(NOT_TESTED, number, sentence)


def one_seed_note(findings: Findings) -> str:
    return "" if len(findings.study.seeds) > 1 else " (one seed: nothing is known about others)"


def seeds_note(pair: Comparison) -> str:
    """How many seeds a comparison is over, behind its last number."""
    return f", {len(pair.seeds)} seeds" if len(pair.seeds) > 1 else " (one seed: nothing is known about others)"


def predicted_before(findings: Findings, name: str) -> str:
    """That a mix was written down before its runs were trained, as the end of a text; "" where the study kept no such file."""
    prediction = findings.predictions.get(name)
    if prediction is None:
        return ""
    day, digest = prediction.written[:10], prediction.sha256[:8]
    return f" Predicted on {day} (sha256 {digest}\N{HORIZONTAL ELLIPSIS}), before the mix was trained."


def above(ci) -> str:
    """The claim that a difference is above 0, judged by its interval; NaN bounds leave it open."""
    return SUPPORTED if ci[0] > 0 else REFUTED if ci[1] < 0 else OPEN


def below(ci) -> str:
    """The claim that a difference is below 0."""
    return above(negative(ci))


def negative(ci) -> list[float]:
    return [-bound for bound in ci[::-1]]


def opposite(change: Estimate) -> Estimate:
    return Estimate(-change.value, negative(change.ci))


def no_knowledge(curves: Curves) -> str:
    runs = " and ".join(run.replace("_", "-") for run in curves.unlearned)
    return (
        f"There is no knowledge share: the {runs} model has not learned to solve anything, so it is not known which problems "
        "need the primary. Train it for longer."
    )


def unlearned(findings: Findings, mixes: list[Mix]) -> str:
    """Why from-scratch runs cannot be compared, sentences; "" where every one of them has learned the primary."""
    bar, (missed, runs), primary = findings.bar, findings.unlearned(mixes), language_name(findings.study.primary)
    if not missed:
        return ""
    if bar is None:
        return (
            f"It is not known whether these runs had learned {primary}: no run of {primary} alone was measured. Run the study "
            "again."
        )
    asked = (
        f"at least {percent(learning.PART)} of the accuracy that {bar.source} has in the same seed"
        if bar.measure == learning.ACCURACY
        else f"at most {learning.LOSS_FACTOR:g} times the held-out loss that {bar.source} has in the same seed"
    )
    return f"{missed} of {runs} runs had not learned {primary}; train longer. A run that has learned it has {asked}."


def left_out(findings: Findings, mixes: list[Mix]) -> str:
    """Which of some rivals a comparison leaves out, and why, as the end of a text; "" where it takes in all."""
    gone = [mix for mix in mixes if not mix.learned_primary_S.all()]
    counted = [
        f"{mix_title(mix.name)} ({missed} of {runs} runs)"
        for mix in gone
        for missed, runs in [findings.unlearned([mix])]
    ]
    primary = language_name(findings.study.primary)
    return f" Left out, for they had not learned {primary}: {', '.join(counted)}." if gone else ""


def no_contest(findings: Findings, mixes: list[Mix]) -> str:
    """Why mixes cannot be ranked by what they solve, a sentence; "" where they can."""
    if reason := unlearned(findings, mixes):
        return reason
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


def untested_proposals(findings: Findings, name: str) -> str:
    """Why the proposals from the loss do not test Algorithm 1, a sentence; "" where they do, or a mix is not of Algorithm 1."""
    if not run_names.mix(name).source:
        return ""
    proposals = [here.proposals.get(algorithm1.DEFAULT_SOURCE) for here in findings.languages.values()]
    p_star_K = np.array([proposal.p_star for proposal in proposals if proposal is not None])
    if not p_star_K.size or np.isnan(p_star_K).all():
        return UNDETERMINED
    return UNTESTED if np.isin(p_star_K[~np.isnan(p_star_K)], (0, 1)).all() else ""
