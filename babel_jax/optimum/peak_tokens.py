"""Of each new language as many tokens as its continual run had seen at its best checkpoint; the rest is the primary's.

It needs no share P and no loss: a score at each checkpoint, and the tokens seen by then. The hypothesis behind it is that the
best amount of a language is a number of tokens, whatever the budget: by then it has taken from the primary what there is to
take, and what follows replaces that by its own. So a language is cut only where its score surely falls after the peak.
Letters: S seeds, C checkpoints, R replicates.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.run_names import PEAK_TOKENS
from babel_jax.evolution import dependence, stages
from babel_jax.evolution.observation import Observation
from babel_jax.evolution.stages import Stages
from babel_jax.optimum import best_corpus
from babel_jax.optimum.algorithm1 import CHANGE, NOT_TESTED, UNDECIDED, percentiles, sized
from babel_jax.optimum.best_corpus import Constraints, Corpus

SOURCE = PEAK_TOKENS
KEEP = "nothing to gain from cutting"  # the score does not fall after its peak


@dataclasses.dataclass(frozen=True)
class PeakTokens:
    """What the peak of a continual run asks for, of one new language. NaN where no checkpoint can be called the best.

    Attributes:
      language: whose.
      tokens, tokens_ci: of the new language at the peak, and the percentile interval of replicates_R.
      best_step: of the best checkpoint, near which the peak lies.
      by_seed: each seed's own peak [S].
      replicates_R: peaks of resampled curves.
      decision: CHANGE (or none, as the sizes say), KEEP, UNDECIDED or NOT_TESTED; reason: a sentence.
    """

    language: str
    tokens: float
    tokens_ci: tuple[float, float]
    best_step: int
    by_seed: np.ndarray
    replicates_R: np.ndarray
    decision: str
    reason: str


def of_observation(observation: Observation, assumed: bool = False) -> PeakTokens | None:
    """The tokens at the peak of one new language, with their interval; None where its stages cannot be read.

    The interval is of the peaks of `statistics.replicated_curves`, those that the stages are read with: it speaks about other
    seeds, and with one seed about other problems. Each is moved at random by up to half the distance of the checkpoints, since
    nothing was measured between them. On simulated curves that rise and fall the intervals cover 93 to 98 % with three and with
    ten seeds; with one seed 80 to 98 %, for where the curve has a kink smoothing moves its peak.

    `assumed`: that it falls after its peak is taken for granted where the scores leave that undecided.
    """
    run = stages.find(observation.steps, observation.solved)
    if run is None:
        return None
    smoothing_CxC, tokens_C = stages.smoothing_CxC(len(observation.steps)), observation.tokens
    curve_RxC = statistics.replicated_curves(observation.solved) @ smoothing_CxC.T
    pooled = peak_of(stages.pooled_curve_C(observation.solved), tokens_C)
    by_seed = peak_of(observation.score_SxC @ smoothing_CxC.T, tokens_C)
    replicates_R = peak_of(curve_RxC, tokens_C) * _between_checkpoints(curve_RxC.argmax(1), tokens_C)
    replicates_R = np.minimum(replicates_R, tokens_C[-1])  # nothing was seen beyond
    if not observation.has_intervals:
        replicates_R = np.full(len(replicates_R), np.nan)
    decision, reason = _decide(run, observation.has_intervals)
    if assumed and decision == UNDECIDED:
        decision, reason = CHANGE, "it is assumed to fall after its peak"
    if decision == NOT_TESTED:
        pooled, by_seed, replicates_R = np.nan, by_seed * np.nan, replicates_R * np.nan
    return PeakTokens(
        language=observation.language,
        tokens=float(pooled),
        tokens_ci=percentiles(replicates_R),
        best_step=run.peak.step,
        by_seed=by_seed,
        replicates_R=replicates_R,
        decision=decision,
        reason=f"{observation.language}: {reason}.",
    )


def peak_of(curve_xC, tokens_C) -> np.ndarray:
    """Tokens at the maximum of smoothed curves, any leading axes.

    It lies between checkpoints: at the vertex of the parabola, in log tokens, through the best checkpoint and its two
    neighbours. On simulated curves that misses the true peak by 2 to 20 % less than the best checkpoint itself. At an end, and
    where a neighbour has seen no token, it is the checkpoint's.
    """
    curve_xC, tokens_C = np.asarray(curve_xC, float), np.asarray(tokens_C, float)
    best_x = curve_xC.argmax(-1)
    at_best_x = tokens_C[best_x]
    if len(tokens_C) < 3:
        return at_best_x
    middle_x = np.clip(best_x, 1, len(tokens_C) - 2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left_x, right_x = (np.log(tokens_C[middle_x + side] / tokens_C[middle_x]) for side in (-1, 1))
        below_x, above_x = (
            np.take_along_axis(curve_xC, (middle_x + side)[..., None], -1)[..., 0]
            - np.take_along_axis(curve_xC, middle_x[..., None], -1)[..., 0]
            for side in (-1, 1)
        )
        # Through (left, below), (0, 0) and (right, above); the neighbours are lower, so the vertex lies between them.
        vertex_x = (below_x * right_x**2 - above_x * left_x**2) / (2 * (below_x * right_x - above_x * left_x))
        between_x = at_best_x * np.exp(vertex_x)
    return np.where((best_x == middle_x) & np.isfinite(between_x), between_x, at_best_x)


def _between_checkpoints(best_R, tokens_C) -> np.ndarray:
    """Random factors [R] of up to half the distance, in log tokens, between a best checkpoint and its neighbours."""
    positive_C = np.where(tokens_C > 0, tokens_C, np.min(tokens_C, initial=np.inf, where=tokens_C > 0))
    gap_C = np.diff(np.log(positive_C))  # 0 from the checkpoint at 0 tokens to the next
    neighbours_2xC = np.stack([np.append(0, gap_C), np.append(gap_C, 0)])
    half_C = neighbours_2xC.sum(0) / np.maximum((neighbours_2xC > 0).sum(0), 1) / 2
    half_C *= tokens_C > 0
    return np.exp(half_C[best_R] * np.random.default_rng(2).uniform(-1, 1, len(best_R)))


def corpus(peaks: dict[str, PeakTokens], primary: str, original: dict[str, float], constraints: Constraints) -> Corpus:
    """The corpus with the tokens at the peak of every language whose score falls after it, in tokens of the run.

    A budget is kept: the primary has what the new languages leave of it. They never leave it a smaller share than it has in the
    original corpus; where they ask for more, those that change are scaled down together, and `active` says so. Without a
    budget the primary keeps its tokens.

    Args:
      peaks: {new language: …}.
      original: {language: tokens} of the original corpus; with a budget in any unit, for it is scaled to that.

    Returns:
      `tokens`: only what the intervals support changes. `as_written`: every language that falls after its peak has
      the tokens there, whether or not the interval holds what it had; None where no language was tested.
    """
    unit = 1.0 if constraints.budget is None else constraints.budget / sum(original.values())
    original = {language: amount * unit for language, amount in original.items()}
    movable = {language: peak for language, peak in peaks.items() if peak.decision == CHANGE}
    decided = {language: (peak.decision, peak.reason) for language, peak in peaks.items()}
    decided |= {
        language: sized(language, peak.tokens, peak.tokens_ci, original[language], "its peak")
        for language, peak in movable.items()
    }
    changed = {language: peak for language, peak in movable.items() if decided[language][0] == CHANGE}
    as_written, _ = _asked(movable, primary, original, constraints.budget)
    wanted, scale = _asked(changed, primary, original, constraints.budget)
    tokens, active = best_corpus.feasible(wanted, set(original) - {primary, *changed}, original, constraints)
    if scale < 1:
        active.append(f"least share of {primary}, by which the others have {scale:.0%} of what they ask for")
    total = sum(tokens.values())
    return Corpus(
        reading="peak",
        tokens=tokens,
        shares={language: amount / total for language, amount in tokens.items()},
        total=total,
        unconstrained=wanted,
        as_written=None if all(peak.decision == NOT_TESTED for peak in peaks.values()) else as_written,
        ci={name: (amount, amount) for name, amount in wanted.items()}
        | {name: peak.tokens_ci for name, peak in movable.items()},
        active=active,
        decisions={language: decision for language, (decision, _) in decided.items()},
        reasons={language: reason for language, (_, reason) in decided.items()},
    )


def _asked(changed: dict, primary: str, original: dict, budget: float | None) -> tuple[dict[str, float], float]:
    """({language: tokens}, what the changed languages were scaled by): theirs at the peak, the others' as in the original."""
    asked, scale = {language: peak.tokens for language, peak in changed.items()}, 1.0
    if budget is None or not asked:
        return original | asked, scale
    room = sum(original[language] for language in asked)  # more would take from the primary's share
    scale = min(1.0, room / sum(asked.values()))
    asked = {language: scale * tokens for language, tokens in asked.items()}
    freed = room - sum(asked.values())
    return original | asked | {primary: original[primary] + freed}, scale


def _decide(run: Stages, has_intervals: bool) -> tuple[str, str]:
    """Whether a language may be cut to its peak, and why, a clause."""
    if not run.rises:
        return NOT_TESTED, f"the tokens at its peak are not determined: {stages.no_peak(run)}"
    if run.ends_at_peak:
        return KEEP, "its best checkpoint is the last one, so nothing says that fewer tokens are better"
    if not has_intervals:
        return UNDECIDED, "one seed says nothing of the noise of its scores; give n, or the scores of further seeds"
    decline = dependence.described(run.decline)
    if run.decline.ci[0] > 0 and not run.peak_in_end:
        return CHANGE, decline
    if run.verdict == "rises and stays":
        return KEEP, f"it rises and stays ({decline})"
    if run.peak_in_end:
        return UNDECIDED, "its best checkpoint lies in the last quarter of the run; train it for longer"
    return UNDECIDED, f"whether it falls after its peak is undecided ({decline})"
