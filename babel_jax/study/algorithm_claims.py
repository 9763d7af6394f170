"""Claims about Eq. 1 to 3, Algorithm 1 and mixing laws: what they follow, propose and predict, and what they cost."""

import numpy as np

from babel_jax.optimum import algorithm1
from babel_jax.optimum import rivals as searches
from babel_jax.optimum.algorithm1 import Proposal
from babel_jax.optimum.calibration import Link
from babel_jax.study.claim import (
    CLOSE,
    OPEN,
    REFUTED,
    SUPPORTED,
    UNTESTED,
    Judged,
    left_out,
    missing,
    no_contest,
    no_knowledge,
    not_tested,
    unlearned,
)
from babel_jax.study.findings import Findings
from babel_jax.study.words import NBSP, as_sentence, bounds, flops, language_name, minus, per_primary

PREDICTS = 0.5  # part of the trivial prediction's error that a law may keep and still count as predicting
LAWS = {"log_linear": "log-linear mixing law", "quadratic": "quadratic regression"}


def calibration(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    fit = here.calibration.get(algorithm1.DEFAULT_SOURCE, {}).get("knowledge_share")
    if not fit and here.curves.unlearned:
        return not_tested(no_knowledge(here.curves))
    if not fit:
        return missing("Loss or knowledge share was not measured.")
    plain, best = fit.links["identity"], fit.link
    if np.isnan(plain.r2):
        return Judged(OPEN, "", "The knowledge share is the same at every checkpoint, so there is nothing to follow.")
    number = f"off by {100 * plain.mean_error:.0f} points on average"
    sentence = (
        f"Over the checkpoints P(l) is {number} and by up to {100 * plain.largest_error:.0f} ({_fit(plain)}); it counts as "
        f"following up to {100 * CLOSE:.0f} points on average."
    )
    linked = (
        "No link predicts a checkpoint left out better."
        if fit.best == "identity"
        else f"With the {fit.best} link a checkpoint left out is missed by {100 * best.loo_error:.0f} points instead "
        f"of {100 * plain.loo_error:.0f}."
    )
    verdict = SUPPORTED if plain.mean_error <= CLOSE else REFUTED
    return Judged(verdict, number, f"{sentence} {linked}")


def _fit(plain: Link) -> str:
    """How well P(l) itself follows a share. Below 0, R2 says only that the share's own mean would do better."""
    r2 = f"R2 {plain.r2:.2f}" if plain.r2 >= 0 else "R2 below 0"
    return r2 + ("" if np.isnan(plain.slope) else f", slope {minus(format(plain.slope, '.2f'))}")


def proposal(findings: Findings, language: str) -> Judged:
    here = findings.languages[language]
    proposed = here.proposals.get(algorithm1.DEFAULT_SOURCE)
    if not proposed:
        reason = next((gap for gap in here.gaps if gap.startswith("Share from loss: ")), "")
        if reason:
            return not_tested(f"There is no proposal. {reason}")
        return missing("There is no proposal: loss or accuracy was not measured.")
    reason, decision = as_sentence(_beside_primary(findings, language, proposed)), proposed.decision
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
    change = "" if reason.lower().startswith(decision) else f": {decision}"
    return Judged(verdict, number, f"{number}{change}. {reason}")


def _beside_primary(findings: Findings, language: str, proposed: Proposal) -> str:
    """A proposal's reason, with amounts told beside the primary's in place of bare tokens."""
    reason, original = proposed.reason.removeprefix(f"{language}: "), findings.study.original
    asks, _, rest = reason.partition(". ")
    if not asks.startswith("Eq. 3"):
        return reason
    of_primary, primary = original[findings.study.primary], language_name(findings.study.primary)
    asked = per_primary(proposed.tokens, of_primary, proposed.tokens_ci)
    return (
        f"Eq. 3 (pairwise) asks for tokens of {language_name(language)} to those of {primary} as {asked}; the original has "
        f"{per_primary(original[language], of_primary)}. {rest}"
    )


def law(findings: Findings) -> Judged:
    fitted_law = findings.laws
    if not fitted_law:
        reason = next((gap for gap in findings.missing if gap.startswith("Mixing law: ")), "")
        return not_tested(reason) if reason else missing("There are too few mixes to fit a law to.")
    fitted_to = [mix for mix in findings.mixes if mix.run_name.is_swarm or mix.run_name.is_share]
    if reason := unlearned(findings, fitted_to):
        return not_tested(reason)
    held_out = fitted_law.fitted.loo
    error, trivial = held_out.macro_rmse, held_out.baseline_rmse
    number = f"off by {100 * error:.1f} points, without it {100 * trivial:.1f}"
    sentence = (
        f"The {LAWS[fitted_law.chosen]} misses the mean score of a mix left out by {100 * error:.1f} points (root "
        f"mean square over {len(held_out.macro_error_M)} mixes, {fitted_law.fitted.runs} runs), the mean of the others by "
        f"{100 * trivial:.1f}; it counts as predicting if it removes {100 * (1 - PREDICTS):.0f}{NBSP}% of that. This law was "
        f"chosen because {fitted_law.reason}"
    )
    verdict = SUPPORTED if error <= PREDICTS * trivial else REFUTED if error >= trivial else OPEN
    return Judged(verdict, number, as_sentence(sentence))


def predicted(findings: Findings) -> Judged:
    """Eq. 2's share of the primary against the lens in from-scratch runs."""
    rows = [row for row in findings.predicted if np.isfinite(row.predicted) and np.isfinite(row.measured)]
    if not rows:
        return missing("The from-scratch runs were not probed.")
    shown = [mix for mix in findings.mixes if mix.name in {row.name for row in rows}]
    comparable = findings.comparable(shown)
    if not findings.learned(comparable):
        return not_tested(no_contest(findings, comparable or shown))
    rows = [row for row in rows if row.name in {mix.name for mix in comparable}]
    error = np.abs([row.measured - row.predicted for row in rows])
    number = f"off by {100 * error.mean():.0f} points on average"
    sentence = (
        f"Over {len(rows)} pairs of a mix and a language the measured working-language share is {number} from the predicted one, "
        f"and by up to {100 * error.max():.0f}; it counts as predicted up to {100 * CLOSE:.0f} points on average."
        f"{left_out(findings, shown)}"
    )
    return Judged(SUPPORTED if error.mean() <= CLOSE else REFUTED, number, sentence)


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
