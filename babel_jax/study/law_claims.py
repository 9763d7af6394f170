"""The claim about the curve as a law: what a continual run foretells of from-scratch mixes, beside what mixing laws do."""

import numpy as np

from babel_jax.optimum import curve_law
from babel_jax.optimum.curve_law import CurveLaw
from babel_jax.study.algorithm_claims import LAWS, PREDICTS
from babel_jax.study.claim import OPEN, REFUTED, SUPPORTED, Judged, missing, no_contest, not_tested
from babel_jax.study.findings import Findings
from babel_jax.study.words import NBSP, as_sentence, bounds, language_name, minus, names, points, seeds


def curve(findings: Findings) -> Judged:
    """Whether the curve, at a distance fitted to other mixes, removes as much of the trivial error as a law must."""
    laws = list(findings.curve_laws.values())
    if not laws:
        reason = next((gap for gap in findings.missing if gap.startswith("Curve as a law")), "")
        return (
            not_tested(reason)
            if reason
            else missing("There are too few mixes, or no continual run, to test a curve on.")
        )
    tested = [mix for mix in findings.mixes if mix.name in laws[0].names]
    if reason := no_contest(findings, tested) or _beyond(laws):
        return not_tested(reason)
    error, trivial = _rms([law.rmse[law.chosen] for law in laws]), _rms([law.baseline_rmse for law in laws])
    number = f"off by {100 * error:.1f} points, without it {100 * trivial:.1f}"
    beside = [
        f"the {name} by {100 * _rms([law.rmse[kind] for law in laws]):.1f}"
        for kind, name in LAWS.items()
        if all(kind in law.rmse for law in laws)
    ]
    sentence = (
        f"{' '.join(map(_fits, laws))} In {names(findings.study.new)} a mix left out is missed by {100 * error:.1f} points (root "
        f"mean square over {len(laws[0].names)} mixes, {laws[0].runs} runs), by the mean of the others by "
        f"{100 * trivial:.1f}{''.join(f', by {each}' for each in beside)}; it counts as foretelling if it removes "
        f"{100 * (1 - PREDICTS):.0f}{NBSP}% of the mean's error"
    )
    verdict = SUPPORTED if error <= PREDICTS * trivial else REFUTED if error >= trivial else OPEN
    return Judged(verdict, number, as_sentence(sentence))


def _beyond(laws: list[CurveLaw]) -> str:
    """Why curves that end early are no test, a sentence; "" where they are one."""
    short = next((law for law in laws if 2 * law.beyond > len(law.names)), None)
    if short is None:
        return ""
    return (
        f"{short.beyond} of {len(short.names)} mixes have more {language_name(short.curve.language)} than the {short.curve.run} "
        "run has seen, where the curve says nothing; train that run for longer."
    )


def _rms(errors: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _fits(law: CurveLaw) -> str:
    """What one language's curve says before and after mixes are fitted, a sentence."""
    order = (
        f"orders the {len(law.names)} mixes with a rank correlation of {minus(f'{law.order.value:.2f}')}"
        f"{bounds(law.order.ci)}"
        if np.isfinite(law.order.value)
        else "gives no order, for it or the mixes' score is constant"
    )
    distance = (
        "a constant distance"
        if law.chosen == curve_law.CONSTANT
        else "a distance that depends on the primary's share, which predicts mixes left out better"
    )
    beyond = f" ({law.beyond} of the mixes have more tokens than it has seen)" if law.beyond else ""
    return (
        f"In {language_name(law.curve.language)} the curve of the {law.curve.run} run ({seeds(len(law.curve.score_SxC))}) "
        f"{order}{beyond}; the mixes score {points(law.distance, '+')} beside it, and {distance} is fitted."
    )
