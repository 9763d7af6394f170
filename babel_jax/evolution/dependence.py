"""Does a new language depend on the primary one? The test that comes before its share of the corpus is changed."""

import dataclasses

import numpy as np
from scipy import stats

from babel_jax.common import statistics
from babel_jax.common.statistics import Effect
from babel_jax.evolution import stages
from babel_jax.evolution.stages import Stages

SHARES = ("knowledge_share", "working_language")  # the first that was measured decides
THRESHOLD = 0.1  # share of what is solved at the peak; the new-only model alone misses a few problems by chance


@dataclasses.dataclass(frozen=True)
class ShareAtPeak(Effect):
    """The primary's share at the peak, of the source `name`; p is against THRESHOLD."""

    name: str


@dataclasses.dataclass(frozen=True)
class Dependence:
    """Whether a new language lives off the primary and then loses that.

    Attributes:
      tested: False where there is no peak to ask at.
      depends: None where it is undecided, or not tested.
      reason: a sentence.
      p: of "it depends": the larger one of the decline's and the share's, as both must hold; 1 where one points the
        other way; NaN: not known.
      share: what decides beside the decline; None: not measured, or not tested.
    """

    tested: bool
    depends: bool | None
    reason: str
    p: float
    share: ShareAtPeak | None


def dependence(continual: Stages, shares: dict[str, list | None], counts: dict[str, list] | None = None) -> Dependence:
    """Whether the language lives off the primary and then loses that: what Algorithm 1 presupposes.

    It depends if accuracy has an interior peak (the verdict "transition": paired decline, p < 0.05) *and* the share of
    what it solves at the peak that needs the primary has a 95 % lower bound above THRESHOLD. It does not if either is
    refuted: the verdict "rises and stays" (the decline's upper bound lies below stages.MINIMUM_CHANGE), or the share's
    upper bound below THRESHOLD. A language that does not surely rise has no peak to ask at, and is not tested.

    Args:
      continual: the stages of continual pre-training.
      shares: {"knowledge_share", "working_language"}: the share at the peak, a list with one value per seed (NaN:
        undefined there), or None. The working language counts only where the knowledge share was not measured.
      counts: {the same}: observations behind each value. Only where seeds do not differ, as one does not: the interval is
        then Wilson's over all their observations, and without them there is none. Else Student t over seeds.
    """
    if not continual.rises:
        return Dependence(False, None, f"Not tested: {stages.no_peak(continual)}.", float("nan"), None)
    share, fall = _share(shares, counts or {}), continual.decline
    declines = {"transition": True, "rises and stays": False}.get(continual.verdict)
    needs = None if share is None else _side(share.ci)
    depends = False if declines is False or needs is False else True if declines and needs else None
    p_decline = fall.p if fall.value > 0 else 1.0
    p_share = np.nan if share is None else share.p if share.value > THRESHOLD else 1.0
    reason = _reason(depends, declines, needs, fall, share)
    return Dependence(True, depends, reason, float(np.max([p_decline, p_share])), share)


def _share(shares: dict, counts: dict) -> ShareAtPeak | None:
    for name in SHARES:
        if shares.get(name) is None or np.isnan(np.asarray(shares[name], float)).all():
            continue
        value_S = np.asarray(shares[name], float)
        known = ~np.isnan(value_S)
        value_S = value_S[known]
        value, low, high, p = value_S.mean(), np.nan, np.nan, np.nan
        if np.ptp(value_S) > 0:
            _, low, high = statistics.student(value_S)
            p = stats.ttest_1samp(value_S, THRESHOLD).pvalue
        elif n := float(np.asarray(counts[name], float)[known].sum()) if name in counts else 0.0:
            low, high = statistics.wilson(value, n)
            p = 2 * stats.norm.sf(abs(value - THRESHOLD) / np.sqrt(THRESHOLD * (1 - THRESHOLD) / n))
        ci = float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
        return ShareAtPeak(float(value), ci, float(p), name)
    return None


def _side(ci) -> bool | None:
    """Whether an interval lies above the threshold (True), below it (False) or on it, or is not known (None)."""
    return True if ci[0] > THRESHOLD else False if ci[1] < THRESHOLD else None


def _reason(depends, declines, needs, fall: Effect, share: ShareAtPeak | None) -> str:
    change = described(fall)
    if share is None:
        part = "how much of it needs the primary was not measured"
    else:
        bounds = ", ".join(f"{100 * bound:.0f}" for bound in share.ci)
        part = f"a {share.name.replace('_', ' ')} of {100 * share.value:.0f} % [{bounds}] at the peak"
    if depends:
        return f"It lives off the primary and loses that: {change}, and {part}."
    if depends is False:
        refuted = []
        if declines is False:
            least = f"{100 * stages.MINIMUM_CHANGE:.0f} points"
            refuted.append(f"it rises and stays ({change}; a decline below {least} does not count)")
        if needs is False:
            refuted.append(
                f"little of what it solves needs the primary ({part}; below {100 * THRESHOLD:.0f} % is little)"
            )
        return f"It does not depend on the primary: {' and '.join(refuted)}."
    return f"Undecided: {change}, and {part}."


def described(fall: Effect) -> str:
    """The decline of `Stages` in words.

    Below 0 it is a rise from the best checkpoint before the last quarter, which is no peak.
    """
    declines = fall.value >= 0
    value, *ci = (100 * number if declines else -100 * number for number in (fall.value, *fall.ci))
    interval = ", ".join(f"{bound:.0f}" for bound in sorted(ci))
    return (
        f"a decline of {value:.0f} points [{interval}] from the peak"
        if declines
        else f"a further rise of {value:.0f} points [{interval}]"
    )
